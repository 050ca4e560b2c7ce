"""Computes a change and publishes it as a pull request.

The change is a tree computed on the mirror, with the record files of the incident beside it in
the same commit. GitHub makes the commit itself, so it is signed and shown as Verified
(docs/decisions/0017).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field, RootModel

from bot.config import Config
from bot.git.landed_changes import compute_what_is_left
from bot.git.merge import merge
from bot.git.process import Git
from bot.git.revert import Clean, Empty, RevertConflict
from bot.git.trees import RawChange, has_tree, read_blob, tree_changes, tree_of, with_entries
from bot.github.calls.trees import TreeChange
from bot.playbooks.incident.branches import Naming
from bot.playbooks.incident.own_files import own_files
from bot.playbooks.incident.record_files import RecordFile
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.pull_request.ports import ProposalGit, ProposalGitHub
from bot.triggers import Value

Outcome = Clean | RevertConflict | Empty


class Computed(RootModel[Annotated[Outcome, Field(discriminator="status")]]):
    """What computing gave, as one storable type."""


class ComputedChange(Protocol):
    """A change that can be computed on any commit, and again with the same result."""

    async def onto(self, commit: str) -> Outcome:
        """Compute it on a commit of the mirror."""

    async def have(self, outcome: Clean | RevertConflict) -> None:
        """Bring what `outcome` names into this mirror, unless it is there."""


@dataclass(frozen=True)
class Reverting:
    """Undoing commits, newest first; record files stay as they are."""

    mirror: HistoryMirror
    commits: Sequence[str]
    config: Config
    incidents: tuple[str, ...] = ()
    """The incidents whose hotfixes are undone: their records are ours wherever else they are."""

    async def onto(self, commit: str) -> Outcome:
        """Compute the revert on a commit of the mirror."""
        own = await self.mirror.read(lambda git: own_files(self.config, git, self.incidents))
        return await self.mirror.read(
            lambda git: compute_what_is_left(git, self.commits, commit, keep=own.kept)
        )

    async def have(self, outcome: Clean | RevertConflict) -> None:
        """Bring what `outcome` names into this mirror, unless it is there.

        It was computed into the mirror of one machine. Another replica may go on with the Run, or
        the mirror may be lost; computing again on the same base gives the same tree.

        Raises:
            GitError: the mirror could not be brought up to date.
        """
        if await self._has_tree(outcome.tree) and await self._has_tree(outcome.onto):
            return
        await self.mirror.refresh([outcome.onto, *self.commits])
        await self.onto(outcome.onto)

    async def _has_tree(self, treeish: str) -> bool:
        return await self.mirror.read(lambda git: has_tree(git, treeish))


async def on_newest(change: ComputedChange, mirror: HistoryMirror, branch: str) -> Outcome:
    """Compute a change on the newest head of a branch.

    Args:
        change: a revert or another change that can be computed on any commit.
        mirror: brought up to date first.
        branch: its name, without `refs/heads/`.

    Returns:
        What computing gave; a conflict is a result, too.

    Raises:
        RemoteUnavailable: the mirror could not be brought up to date.
        UnknownRevision: there is no such branch.
    """
    await mirror.refresh()
    return await change.onto(await mirror.branch_head(branch))


RECORD_MODE = "100644"

Have = Callable[[], Awaitable[None]]
"""Brings what a computed change names into the mirror."""


class Hotfix(Value):
    """A published change: its branch, its commit there, and the base it was computed on."""

    branch: str
    commit: str
    tree: str
    base_head: str


async def publish(
    outcome: Clean | RevertConflict,
    files: Sequence[RecordFile],
    *,
    mirror: HistoryMirror,
    have: Have,
    git_data: ProposalGit,
    branch: str,
    message: str,
    key: str,
    onto_hotfix: str | None = None,
    look_first: bool,
) -> Hotfix:
    """Put the computed change and the record files on `branch` as one commit.

    Args:
        outcome: what was computed; of a conflict the tree with its markers.
        files: the record files.
        mirror: holds the trees.
        have: makes what was computed again, where the mirror had to be cloned again.
        git_data: GitHub's Git Data API.
        branch: created where it is missing, only ever moved forward.
        message: the commit's message.
        key: names this commit in a trailer, by which a second attempt finds it.
        onto_hotfix: the hotfix commit this one replaces when the base has moved: then both are
            parents, so that the branch moves forward and is never forced.
        look_first: whether an earlier attempt may have done it.

    Raises:
        BranchExists: the branch is somebody else's, where it was to be made.
        Conflict: the branch points elsewhere.
        GitHubError, GitError: it could not be done.
    """
    base_tree, tree, entries = await mirror.read(
        lambda git: _trees(git, outcome, files), after_rebuild=have
    )
    await git_data.publish_tree(base_tree, entries, expected_tree=tree)
    commit = await git_data.ensure_commit_on_branch(
        branch,
        key=key,
        tree=tree,
        parents=(onto_hotfix, outcome.onto) if onto_hotfix else (outcome.onto,),
        message=message,
        new_branch=onto_hotfix is None,
        look_first=look_first,
    )
    return Hotfix(branch=branch, commit=commit.sha, tree=tree, base_head=outcome.onto)


class Closed(Value):
    """What came of closing: whether there was anything, and its merge where that came first."""

    any: bool = False
    merged: str | None = None


async def branches_of(github: ProposalGitHub, naming: Naming) -> dict[str, int]:
    """Find the branches of an incident, and which attempt each is of.

    What is called as it would be, and is somebody else's, is not among them.
    """
    found = {}
    for beginning in naming.beginnings:
        for name in await github.git.branches(beginning):
            if naming.may_have(name):
                found[name] = await _attempt_of(github, naming, name)
    return {name: attempt for name, attempt in found.items() if attempt is not None}


async def _attempt_of(github: ProposalGitHub, naming: Naming, branch: str) -> int | None:
    """Which attempt at the incident a branch is of; None where it is gone or somebody else's."""
    keys = () if naming.says_whose(branch) else await github.git.steps_on(branch)
    return naming.attempt_of(branch, keys)


async def close(
    github: ProposalGitHub, branches: Collection[str], pull_request: int | None
) -> Closed:
    """Close the pull request of a proposal.

    Args:
        github: the repository.
        branches: its branches.
        pull_request: its pull request; None where it may have been opened unnoticed.
    """
    numbers = {pull_request} if pull_request else set()
    for branch in branches:
        numbers |= {pull.number async for pull in github.pulls.list(head=branch)}
    for number in sorted(numbers):
        closed = await github.pulls.close(number)
        if closed.is_merged:
            return Closed(any=True, merged=closed.merge_commit_sha or closed.head.sha)
    return Closed(any=bool(numbers))


async def delete_branch(github: ProposalGitHub, naming: Naming, branch: str) -> bool:
    """Delete a proposal's branch; whether it was there. Somebody else's of that name stays."""
    if not naming.says_whose(branch):
        if await _attempt_of(github, naming, branch) != naming.attempt:
            return False
    elif await github.git.branch(branch) is None:
        return False
    await github.git.delete_branch(branch)
    return True


async def take_back(github: ProposalGitHub, branch: str) -> None:
    """Close the pull request of an earlier attempt and delete its branch, unless it was merged."""
    if (await close(github, (branch,), None)).merged is None:
        await github.git.delete_branch(branch)


async def with_records(
    git: Git, treeish: str, files: Sequence[RecordFile]
) -> tuple[str, tuple[RecordFile, ...]]:
    """Lay record files into a tree, computed on the mirror: its id, and the files that it has.

    Where something else stands in place of a file's folder, such as a link, nothing gives way.
    """
    tree = await _laid_into(git, treeish, files)
    changes = await tree_changes(git, treeish, tree)
    in_the_way = tuple(f"{change.path}/" for change in changes if change.sha is None)
    if not in_the_way:
        return tree, tuple(files)
    fitting = tuple(file for file in files if not file.path.startswith(in_the_way))
    return await _laid_into(git, treeish, fitting), fitting


async def _laid_into(git: Git, treeish: str, files: Sequence[RecordFile]) -> str:
    written = []
    for file in files:
        said = await git.run("hash-object", "-w", "--stdin", stdin=file.content.encode())
        written.append(
            RawChange(
                path=file.path.encode(),
                old_mode="000000",
                new_mode=RECORD_MODE,
                old=None,
                new=said.text,
            )
        )
    return await with_entries(git, treeish, written)


async def merging_gives(
    mirror: HistoryMirror, have: Have, hotfix: Hotfix, outcome: Clean, files: Sequence[RecordFile]
) -> bool:
    """Tell whether merging the hotfix as it is into the moved base gives just what is wanted."""
    wanted, _ = await mirror.read(
        lambda git: with_records(git, outcome.tree, files), after_rebuild=have
    )
    merged = await mirror.read(lambda git: merge(git, outcome.onto, hotfix.commit))
    return merged.clean and merged.tree == wanted


async def _trees(
    git: Git, outcome: Clean | RevertConflict, files: Sequence[RecordFile]
) -> tuple[str, str, list[TreeChange]]:
    """The base's tree, the tree wanted, and what must be sent to get from one to the other."""
    base_tree = await tree_of(git, outcome.onto)
    tree, fitting = await with_records(git, outcome.tree, files)
    return base_tree, tree, await _entries(git, outcome, base_tree, fitting)


async def _entries(
    git: Git, outcome: Clean | RevertConflict, base_tree: str, files: Sequence[RecordFile]
) -> list[TreeChange]:
    if isinstance(outcome, Clean):
        changes, fresh = outcome.changes, set(outcome.new_blobs)
    else:
        # Which of a conflict's blobs merging made here is not kept: upload them all.
        changes = await tree_changes(git, base_tree, outcome.tree)
        fresh = {change.sha for change in changes if change.sha and not change.is_submodule}
    entries = [
        TreeChange(
            path=change.path,
            mode=change.mode,
            sha=change.sha,
            content=await read_blob(git, change.sha) if change.sha in fresh else None,
        )
        for change in changes
    ]
    records = [
        TreeChange(path=file.path, mode=RECORD_MODE, content=file.content.encode())
        for file in files
    ]
    return [*entries, *records]
