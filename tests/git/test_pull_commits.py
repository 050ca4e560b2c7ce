"""Which commits a pull request brought, told from the base branch's own history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from bot.git.process import Git
from bot.git.pull_commits import Brought, LandingMethod, Unclear, commits_of_pull_request
from tests.git.history_builder import History

LINES = "".join(f"line {number}\n" for number in range(30))


@dataclass
class Pull:
    """A pull request of some commits, and a base branch that moved on meanwhile."""

    history: History
    commits: list[str]

    @property
    def head(self) -> str:
        return self.commits[-1]

    def squash(self) -> str:
        self.history.clock += 60
        self.history.git("merge", "--squash", "--quiet", self.head)
        self.history.git("commit", "--quiet", "-m", "Squashed (#7)")
        return self.history.head

    def rebase(self) -> list[str]:
        self.history.clock += 60
        base = self.history.head
        self.history.git("cherry-pick", *self.commits)
        return self.history.git("rev-list", f"{base}..HEAD").split()


@pytest.fixture
def pull(history: History) -> Pull:
    start = history.commit({"app.py": LINES, "docs.md": LINES})
    history.branch("topic", start)
    commits = [
        history.commit({"app.py": LINES.replace("line 10\n", "ten\n")}, "ten"),
        history.commit({"new.bin": b"\0\1\2"}, "binary"),
        history.commit({"docs.md": LINES.replace("line 20\n", "twenty\n")}, "twenty"),
    ]
    history.checkout("main")
    # Next to the work, so that its context lines differ on the base branch.
    history.commit({"app.py": LINES.replace("line 8\n", "eight\n")}, "neighbour")
    return Pull(history, commits)


async def found(
    git: Git, pull: Pull, merge_commit: str, listed: Sequence[str] = ()
) -> Brought | Unclear:
    later = pull.history.commit({"later": "x\n"})
    return await commits_of_pull_request(
        git, onto=later, merge_commit=merge_commit, head=pull.head, pull_commits=listed
    )


async def test_a_merge_commit_is_the_one_to_revert(git: Git, pull: Pull) -> None:
    merged = pull.history.merge(pull.head)
    assert await found(git, pull, merged) == Brought(method=LandingMethod.MERGE, commits=(merged,))


async def test_a_squash_is_one_commit_although_its_context_moved(git: Git, pull: Pull) -> None:
    squashed = pull.squash()
    assert await found(git, pull, squashed) == Brought(
        method=LandingMethod.SQUASH, commits=(squashed,)
    )


async def test_a_rebase_is_all_its_commits_newest_first(git: Git, pull: Pull) -> None:
    copies = pull.rebase()
    assert await found(git, pull, copies[0]) == Brought(
        method=LandingMethod.REBASE, commits=tuple(copies)
    )


async def test_a_single_commit_is_one_commit_either_way(git: Git, pull: Pull) -> None:
    pull.commits = pull.commits[:1]
    squashed = pull.squash()
    ours = await found(git, pull, squashed)
    assert isinstance(ours, Brought)
    assert ours.commits == (squashed,)


async def test_a_squash_of_a_branch_that_merged_its_base_is_still_told(
    git: Git, pull: Pull
) -> None:
    pull.history.checkout("topic")
    pull.history.merge("main", message="update from main")
    pull.commits.append(pull.history.commit({"late.py": "late\n"}))
    pull.history.checkout("main")
    pull.history.commit({"docs.md": LINES.replace("line 2\n", "two\n")})
    squashed = pull.squash()
    ours = await found(git, pull, squashed)
    assert ours == Brought(method=LandingMethod.SQUASH, commits=(squashed,))


async def test_commits_pushed_straight_onto_the_base_are_those_the_api_lists(
    git: Git, pull: Pull
) -> None:
    pull.history.branch("main", pull.head)
    ours = await found(git, pull, pull.head, pull.commits)
    assert ours == Brought(method=LandingMethod.PUSHED, commits=tuple(reversed(pull.commits)))
    unlisted = await found(git, pull, pull.head)
    assert isinstance(unlisted, Unclear)
    assert "pushed straight" in unlisted.reason


async def test_a_rebase_that_lost_a_commit_is_asked_about(git: Git, pull: Pull) -> None:
    base = pull.history.head
    pull.history.git("cherry-pick", pull.commits[0], pull.commits[2])
    copies = pull.history.git("rev-list", f"{base}..HEAD").split()
    ours = await found(git, pull, copies[0])
    assert isinstance(ours, Unclear)
    assert ours.candidates == tuple(copies)


async def test_a_merge_commit_that_is_on_another_branch_is_asked_about(
    git: Git, pull: Pull
) -> None:
    squashed = pull.squash()
    pull.history.git("reset", "--quiet", "--hard", "HEAD^")
    ours = await found(git, pull, squashed)
    assert isinstance(ours, Unclear)
    assert "not on the base branch" in ours.reason


async def test_an_unrelated_commit_is_not_taken_for_the_pull_request(git: Git, pull: Pull) -> None:
    other = pull.history.commit({"other.py": "x\n"})
    ours = await found(git, pull, other)
    assert isinstance(ours, Unclear)
    assert ours.candidates == (other,)


async def test_a_merge_that_did_not_bring_the_head_is_asked_about(git: Git, pull: Pull) -> None:
    pull.history.branch("elsewhere", "main~1")
    pull.history.commit({"e": "e\n"})
    pull.history.checkout("main")
    merged = pull.history.merge("elsewhere")
    ours = await found(git, pull, merged)
    assert isinstance(ours, Unclear)
    assert ours.candidates == (merged,)
