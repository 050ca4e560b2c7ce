"""Where results go once they are known (Decisions 1).

Results cannot sit in the commit they judge. They go at once to the records branch, which only
the App writes, then to the default branch: directly where its rules allow, else through one
rolling pull request. A file that is there already with the same bytes is not written again, so
doing any of this twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bot import markdown
from bot.github.calls.trees import TreeChange
from bot.github.client import RepositoryClient
from bot.github.errors import Conflict, Forbidden, Unprocessable
from bot.github.models import BranchRules
from bot.playbooks.checks.results import SKIPS_CHECKS
from bot.records.audit_chain.anchors import Anchor, with_anchor
from bot.triggers import Value

RECORDS_BRANCH = "playbooks/records"
OUTCOMES_BRANCH = "playbooks/outcomes"
ANCHORS_PATH = "audit/anchors.jsonl"
_ATTEMPTS = 8
_SKIP_CI = f"\n\n{SKIPS_CHECKS}"

Edit = Callable[[str], str]
"""From a file's present text (empty where there is no file) to its new text."""


class RecordFile(Value):
    """A file that records what happens; committed with the change, then to the records branch."""

    path: str
    content: str


class BroughtHome(Value):
    """How the final files reached the default branch; through a pull request where it has one."""

    commit: str
    pull_request: int | None = None


async def record(
    github: RepositoryClient, files: Sequence[RecordFile], anchor: Anchor, message: str
) -> str:
    """Put files and the audit anchor on the records branch; its head afterwards."""
    edits = _replacing(files) | {ANCHORS_PATH: lambda text: with_anchor(text, anchor)}
    return await commit_edits(github, RECORDS_BRANCH, edits, message + _SKIP_CI, start=None)


async def bring_home(
    github: RepositoryClient,
    files: Sequence[RecordFile],
    message: str,
    *,
    rules: BranchRules,
    look_first: bool,
) -> BroughtHome:
    """Put the final files on the branch whose `rules` are given."""
    if rules.allows_direct_commits:
        try:
            commit = await commit_edits(
                github, rules.branch, _replacing(files), message + _SKIP_CI, start=rules.branch
            )
            return BroughtHome(commit=commit)
        except (Forbidden, Unprocessable):
            # A rule we could not read forbids it: take the pull request instead.
            pass
    return await _through_pull_request(github, files, message, rules.branch, look_first)


async def _through_pull_request(
    github: RepositoryClient,
    files: Sequence[RecordFile],
    message: str,
    branch: str,
    look_first: bool,
) -> BroughtHome:
    rolling = [pull async for pull in github.pulls.list(base=branch, head=OUTCOMES_BRANCH)]
    if not rolling and not look_first:
        # What is left of an earlier, merged or closed one would drag old states along.
        await github.git.delete_branch(OUTCOMES_BRANCH)
    commit = await commit_edits(github, OUTCOMES_BRANCH, _replacing(files), message, start=branch)
    if rolling:
        return BroughtHome(commit=commit, pull_request=rolling[0].number)
    pull = await github.pulls.ensure_pull_request(
        head=OUTCOMES_BRANCH,
        base=branch,
        title="Record the outcomes of incidents",
        body="Reports and decision records of incidents whose outcome is known by now. They are "
        f"on {markdown.code(RECORDS_BRANCH)} already; merging this brings them to "
        f"{markdown.code(branch)}.",
        look_first=look_first,
    )
    return BroughtHome(commit=commit, pull_request=pull.number)


async def commit_edits(
    github: RepositoryClient,
    branch: str,
    edits: Mapping[str, Edit],
    message: str,
    *,
    start: str | None,
) -> str:
    """Commit edits to files of a branch, moving it forward only; its head afterwards.

    Somebody else's push in between is built upon.

    Args:
        github: the repository.
        branch: the branch; made where it is missing.
        edits: for each path, from the present text to the new one.
        message: the commit's message.
        start: the branch to make it from; None makes one without history.

    Raises:
        Conflict: others kept pushing in between.
    """
    for _ in range(_ATTEMPTS):
        there = await github.git.branch(branch)
        base = there.sha if there else (await github.git.head(start) if start else None)
        changes = await _changes(github, base, edits)
        if not changes and there:
            return there.sha
        tree = await github.git.publish_tree(base, changes)
        commit = await github.git.create_commit(
            tree=tree, parents=[base] if base else [], message=message
        )
        try:
            if there is None:
                await github.git.ensure_branch(branch, commit.sha, look_first=False)
            else:
                await github.git.fast_forward(branch, commit.sha)
        except Conflict:
            continue
        return commit.sha
    raise Conflict(f"{branch} kept moving while it was being written: try again")


async def _changes(
    github: RepositoryClient, base: str | None, edits: Mapping[str, Edit]
) -> list[TreeChange]:
    changes = []
    for path, edit in sorted(edits.items()):
        file = await github.contents.read(path, base) if base else None
        before = file.content.decode("utf-8", "replace") if file else None
        after = edit(before or "")
        if after != before:
            changes.append(TreeChange(path=path, content=after.encode()))
    return changes


def _replacing(files: Sequence[RecordFile]) -> dict[str, Edit]:
    def becomes(content: str) -> Edit:
        return lambda _: content

    return {file.path: becomes(file.content) for file in files}
