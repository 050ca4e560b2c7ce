"""How did a pull request's commits land on its base branch, and which of them are there?

Decided from the branch's own history, never from the API's list: that one is cut at 250 commits
and names the pull request's commits, which a squash or a rebase leaves off the branch. What else
came by the same landing, and whose it was, is `bot.git.landed_changes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from bot.git.errors import ShallowHistory
from bot.git.history import (
    CommitNode,
    combined_patch_id,
    commit_range,
    first_parents,
    is_ancestor,
    merge_base,
    newest_first,
    parents_of,
    patch_ids,
)
from bot.git.merge import merge
from bot.git.process import Git
from bot.git.trees import tree_of
from bot.triggers import Value


class LandingMethod(StrEnum):
    """How a pull request's commits came onto its base branch."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"
    PUSHED = "pushed"
    """Its very commits were pushed onto the base branch, fast-forward."""


class Landing(Value):
    """One step of the base branch by which a pull request came, with all that came by it.

    Attributes:
        status: tells it from `Unclear`.
        method: how it was merged.
        at: the commit of the base branch: the merge, the squash, the last copy or pushed commit.
        nodes: what was merged by it, newest first, with the parents of each: the merge's own side
            branches, or the commits behind a squash or a rebase.
        copies: of a rebase, for each commit that was merged its copy on the base branch.
    """

    status: Literal["landing"] = "landing"
    method: LandingMethod
    at: str
    nodes: tuple[CommitNode, ...]
    copies: dict[str, str] = Field(default_factory=dict)

    @property
    def on_base(self) -> tuple[str, ...]:
        """What is reverted to undo all of it, newest first; of a merge only the merge itself."""
        match self.method:
            case LandingMethod.MERGE | LandingMethod.SQUASH:
                return (self.at,)
            case LandingMethod.REBASE:
                return tuple(self.copies.values())
            case _:
                return self.changes

    @property
    def changes(self) -> tuple[str, ...]:
        """The merged commits that are no merges, newest first.

        Undoing a merge of the base branch into the work would undo others' work.
        """
        return tuple(node.sha for node in self.nodes if len(node.parents) < 2)


class Brought(Value):
    """The commits to revert, newest first; for a merge commit only that one (mainline 1)."""

    status: Literal["brought"] = "brought"
    method: LandingMethod
    commits: tuple[str, ...]


class Unclear(Value):
    """It cannot be told; a person has to name the commits.

    Attributes:
        reason: Why, as a sentence for that person.
        candidates: Commits on the base branch it may mean, newest first.
    """

    status: Literal["unclear"] = "unclear"
    reason: str
    candidates: tuple[str, ...] = ()


_MOST_COMMITS = 1000
# A merge queue merges at most so many pull requests at once.
_LONGEST_GROUP = 100
# GitHub's `GET …/pulls/{number}/commits` ends there without a word.
_API_LISTS_AT_MOST = 250


async def commits_of_pull_request(
    git: Git, *, onto: str, merge_commit: str, head: str, pull_commits: Sequence[str] = ()
) -> Brought | Unclear:
    """Find the commits that undo a pull request which landed with nothing else.

    Takes what `landing_of` takes, and raises what it raises.
    """
    found = await landing_of(
        git, onto=onto, merge_commit=merge_commit, head=head, pull_commits=pull_commits
    )
    if isinstance(found, Unclear):
        return found
    return Brought(method=found.method, commits=found.on_base)


async def landing_of(
    git: Git, *, onto: str, merge_commit: str, head: str, pull_commits: Sequence[str] = ()
) -> Landing | Unclear:
    """Find by which step of its base branch a merged pull request came.

    Args:
        git: The repository, holding all commits named here.
        onto: The base branch's head.
        merge_commit: The pull request's `merge_commit_sha`.
        head: The pull request's head SHA.
        pull_commits: The commits the API lists; needed only where the very commits were pushed
            onto the base branch, which leaves no fork to see in history.

    Raises:
        ShallowHistory: The history is cut off at `merge_commit`.
    """
    if not await is_ancestor(git, merge_commit, onto):
        return Unclear(
            reason=f"its merge commit {merge_commit[:12]} is not on the base branch (any more)"
        )
    parents, shallow = await parents_of(git, merge_commit)
    if shallow:
        raise ShallowHistory(merge_commit)
    if not await is_ancestor(git, head, merge_commit):
        if len(parents) > 1:
            return Unclear(
                reason=f"{merge_commit[:12]} is a merge that did not bring the pull request's head",
                candidates=(merge_commit,),
            )
        return await _of_copies(git, merge_commit, head)
    at = await _brings(git, head, merge_commit)
    if at == head:
        return await _of_push(git, onto, head, pull_commits)
    return await _of_merge(git, at)


async def landing_of_merge(git: Git, merge_commit: str) -> Landing:
    """Read what a merge commit brought, whoever merged it."""
    return await _of_merge(git, merge_commit)


async def _brings(git: Git, head: str, tip: str) -> str:
    """The oldest commit of the first-parent line of `tip` that has `head`.

    GitHub names the last commit of a push as the merge commit of all pull requests in the push.
    """
    parents, _ = await parents_of(git, tip)
    if tip == head or not parents or not await is_ancestor(git, head, parents[0]):
        return tip
    said = await git.run("rev-list", "--first-parent", tip, f"^{head}", "--")
    line = said.text.split()
    # Whatever comes after a commit that has it, has it too.
    low, high = 0, len(line) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if await is_ancestor(git, head, line[middle]):
            low = middle
        else:
            high = middle - 1
    above, _ = await parents_of(git, line[low])
    return head if above and above[0] == head else line[low]


async def _of_merge(git: Git, at: str) -> Landing:
    nodes = await commit_range(git, f"{at}^1", at)
    return Landing(
        method=LandingMethod.MERGE,
        at=at,
        nodes=tuple(node for node in reversed(nodes) if node.sha != at),
    )


async def _of_push(
    git: Git, onto: str, head: str, pull_commits: Sequence[str]
) -> Landing | Unclear:
    known = [sha for sha in pull_commits if await is_ancestor(git, sha, onto)]
    if known and len(known) == len(pull_commits) < _API_LISTS_AT_MOST:
        ordered = await newest_first(git, known)
        nodes = [CommitNode(sha=sha, parents=(await parents_of(git, sha))[0]) for sha in ordered]
        return Landing(method=LandingMethod.PUSHED, at=head, nodes=tuple(nodes))
    return Unclear(
        reason="its commits were pushed straight onto the base branch, and which ones cannot be"
        " told from its history",
        candidates=(head,),
    )


async def _of_copies(git: Git, merge_commit: str, head: str) -> Landing | Unclear:
    """Tell a squash from a rebase: neither leaves the pull request's own commits behind."""
    fork = await merge_base(git, merge_commit, head)
    if fork is None:
        return Unclear(
            reason="its head shares no history with the base branch", candidates=(merge_commit,)
        )
    nodes = tuple(reversed(await commit_range(git, fork, head)))
    own = [node.sha for node in nodes if len(node.parents) < 2]
    if len(own) > _MOST_COMMITS:
        return Unclear(
            reason=f"it has more than {_MOST_COMMITS:,} commits", candidates=(merge_commit,)
        )
    squash = Landing(method=LandingMethod.SQUASH, at=merge_commit, nodes=nodes)
    # The common case first: it needs the blobs of two differences, not of every commit. A rebase
    # whose last commit alone does what all do together is undone by undoing that one.
    whole = await combined_patch_id(git, fork, head)
    last = await patch_ids(git, [merge_commit])
    if whole is not None and whole == last.get(merge_commit):
        return squash
    chain = await first_parents(git, merge_commit, max(len(own), 1))
    ids = await patch_ids(git, [*own, *chain])
    counted = [sha for sha in own if sha in ids]
    wanted = [ids[sha] for sha in counted]
    found = [sha for sha in chain if sha in ids][: len(wanted)]
    if wanted and [ids[sha] for sha in found] == wanted:
        copies = dict(zip(counted, found, strict=True))
        return Landing(method=LandingMethod.REBASE, at=merge_commit, nodes=nodes, copies=copies)
    if (earlier := await _earlier(git, merge_commit, fork, whole, own)) is not None:
        return earlier.model_copy(update={"nodes": nodes})
    some = tuple(sha for sha in chain if ids.get(sha) in set(wanted))
    if not some and await _is_squash_of(git, merge_commit, head):
        return squash
    return Unclear(
        reason=f"{merge_commit[:12]} and the commits before it match its {len(own)} commit(s)"
        " neither one by one nor all in one",
        candidates=some or (merge_commit,),
    )


async def _earlier(
    git: Git, named: str, fork: str, whole: str | None, own: Sequence[str]
) -> Landing | None:
    """Look for a squash or a rebase some steps before the commit that GitHub names.

    It may name the last commit of a merge queue's group for every pull request of the group.
    """
    said = await git.run(
        *("rev-list", "--first-parent", f"--max-count={_LONGEST_GROUP}", named, f"^{fork}", "--")
    )
    line = said.text.split()[1:]
    ids = await patch_ids(git, [*own, *line])
    squashes = [sha for sha in line if whole is not None and ids.get(sha) == whole]
    if len(squashes) == 1:
        return Landing(method=LandingMethod.SQUASH, at=squashes[0], nodes=())
    counted = [sha for sha in own if sha in ids]
    wanted = [ids[sha] for sha in counted]
    for start in range(len(line) - len(wanted) + 1):
        run = line[start : start + len(wanted)]
        if wanted and [ids.get(sha) for sha in run] == wanted:
            copies = dict(zip(counted, run, strict=True))
            return Landing(method=LandingMethod.REBASE, at=run[0], nodes=(), copies=copies)
    return None


async def _is_squash_of(git: Git, merge_commit: str, head: str) -> bool:
    """Tell whether merging `head` into the commit before gives exactly this commit's tree.

    GitHub makes a squash so. The last commit of a rebase passes as well, but its patch-id is that
    of the pull request's last commit, which the caller has ruled out.
    """
    merged = await merge(git, f"{merge_commit}^", head)
    return merged.clean and merged.tree == await tree_of(git, merge_commit)
