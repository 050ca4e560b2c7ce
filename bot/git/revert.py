"""The tree a revert leads to, computed without a work tree; and what the command prints.

To revert C (parent P) onto H, three loose commits are made: B with C's tree, O with H's tree on
top of B, T with P's tree on top of B. Merging T into O is the three-way merge of `git revert`:
base C, ours H, theirs P. The same tree comes out, or the same conflict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

from bot.git.errors import NoSuchParent, OutputTooLarge
from bot.git.history import CommitInfo, last_changes, newest_first, resolve_expression
from bot.git.merge import MergedTree, merge
from bot.git.process import Git, git_directory, require_git
from bot.git.trees import (
    ChangedPath,
    RawChange,
    commit_trees,
    empty_tree,
    raw_changes,
    read_blob,
    record_pathspecs,
    tree_changes,
    tree_of,
    with_entries,
)
from bot.triggers import Value

_LARGEST = 1024 * 1024
"""Bytes; a larger file is none that is kept."""
_MOST_TOGETHER = 50
"""Commits undone in one, where one by one they are in conflict."""


@dataclass(frozen=True)
class KeptFiles:
    """Which files a revert leaves alone.

    Attributes:
        paths: Globs of where they may be; nothing elsewhere is ever kept.
        named: Whether a path there (UTF-8) is named like one.
        wrote: Whether a file of this path and these bytes is one; None takes every file there.
    """

    paths: tuple[str, ...] = ()
    named: Callable[[str], bool] = lambda _: True
    wrote: Callable[[str, bytes], bool] | None = None

    async def among(
        self, git: Git, tree: str, other: str, *, but: frozenset[bytes] = frozenset()
    ) -> list[RawChange]:
        """List the differences of two trees that are about files named like kept ones.

        Args:
            git: The repository.
            tree: The tree differed from.
            other: The tree differing.
            but: Paths to leave out.
        """
        specs = record_pathspecs(self.paths)
        if not specs:
            return []
        return [
            change
            for change in await raw_changes(git, tree, other, specs)
            if change.path not in but and self._is_named(change.path)
        ]

    async def of(self, git: Git, tree: str, other: str) -> frozenset[bytes]:
        """Give the paths in which two trees differ and whose file in `tree` is kept."""
        found = await self.among(git, tree, other)
        return frozenset([change.path for change in found if await self._holds(git, change)])

    def _is_named(self, path: bytes) -> bool:
        try:
            return self.named(path.decode())
        except UnicodeDecodeError:
            return self.wrote is None

    async def _holds(self, git: Git, change: RawChange) -> bool:
        if self.wrote is None:
            return True
        if change.old is None or not change.old_mode.startswith("100"):
            return False
        try:
            content = await read_blob(git, change.old, limit=_LARGEST)
        except OutputTooLarge:
            return False
        # Somebody may have made a large file look like one: reading it holds up nothing else.
        return await asyncio.to_thread(self.wrote, change.path.decode(), content)


NOTHING_KEPT = KeptFiles()


# Loose helper commits get the same id each time they are made for the same trees.
_EPOCH = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}


class EmptyReason(StrEnum):
    """Why a revert would change nothing."""

    NOTHING_LEFT = "nothing_left"
    """The commit's effect is not on the branch (any more): reverted or overwritten already."""
    COMMIT_EMPTY = "commit_empty"
    """The commit itself changed nothing against its parent."""
    ONLY_RECORDS = "only_records"
    """The commit changed only record files, which a revert leaves alone."""


class PathConflict(Value):
    """One path on which the branch and the revert disagree.

    Attributes:
        path: The path as text; bytes that are not UTF-8 are shown escaped.
        kinds: Git's words: `contents`, `modify/delete`, `rename/delete`, `binary`, …
        in_base: Whether the reverted commit left the path there.
        in_ours: Whether the branch still has it.
        in_theirs: Whether the state before the reverted commit had it.
        changed_since: The last commits, newest first, that changed it between the two.
    """

    path: str
    kinds: tuple[str, ...]
    in_base: bool
    in_ours: bool
    in_theirs: bool
    changed_since: tuple[CommitInfo, ...] = ()


class Clean(Value):
    """The revert applies.

    Attributes:
        tree: The id of the resulting tree.
        onto: The commit it is based on.
        base_tree: That commit's tree, GitHub's `base_tree`.
        changes: What must be set on `base_tree` to get `tree`.
        new_blobs: Ids among the changes that the remote cannot have: merging made them here, so
            their bytes must be uploaded first.
        reverted: The commits undone, in that order; those without effect left are not among them.
        left: The paths that they changed and that stay, since they are kept.
    """

    status: Literal["clean"] = "clean"
    tree: str
    onto: str
    base_tree: str
    changes: tuple[ChangedPath, ...]
    new_blobs: tuple[str, ...]
    reverted: tuple[str, ...]
    left: tuple[str, ...] = ()


class RevertConflict(Value):
    """The revert of `commit` needs a person.

    Attributes:
        commit: The commit at which undoing stopped.
        onto: The commit it was to be undone on.
        paths: The paths in conflict.
        tree: The tree with conflict markers, never to be published as a fix.
        reverted: The commits of the stack undone before it.
    """

    status: Literal["conflict"] = "conflict"
    commit: str
    onto: str
    paths: tuple[PathConflict, ...]
    tree: str
    reverted: tuple[str, ...] = ()


class Empty(Value):
    """The revert would change nothing, and why."""

    status: Literal["empty"] = "empty"
    reason: EmptyReason
    tree: str


class RevertedTree(Value):
    """Undoing worked; `touched` are the blobs on either side of the undone commits."""

    tree: str
    base_tree: str
    reverted: tuple[str, ...]
    touched: frozenset[str]
    left: tuple[str, ...] = ()


async def compute_revert(
    git: Git,
    commits: Sequence[str],
    onto: str,
    *,
    mainline: int = 1,
    keep: KeptFiles = NOTHING_KEPT,
) -> Clean | RevertConflict | Empty:
    """Compute what reverting `commits` on top of `onto` gives.

    Args:
        git: The repository; blobs it lacks are fetched as needed.
        commits: Full SHAs, in any order; undone newest first, each on top of the last.
        onto: Full SHA of the commit to undo them on.
        mainline: For merge commits, the parent to go back to (1 is the branch merged into).
        keep: The files that stay as they are on `onto`.

    Raises:
        ShallowHistory: A parent is cut off.
        NoSuchParent: A merge has no parent of that number.
        PathNotUtf8: A changed path cannot be published.
        GitError: Git failed otherwise.
    """
    outcome = await reverted_tree(git, commits, onto, mainline=mainline, keep=keep)
    if isinstance(outcome, RevertConflict):
        return await _with_authors(git, outcome)
    if isinstance(outcome, Empty):
        return outcome
    changes = await tree_changes(git, outcome.base_tree, outcome.tree)
    # Whatever stood on either side of the undone commits, or stands on `onto`, the remote has.
    known = outcome.touched | {change.previous for change in changes if change.previous}
    new = dict.fromkeys(
        change.sha
        for change in changes
        if change.sha and not change.is_submodule and change.sha not in known
    )
    return Clean(
        tree=outcome.tree,
        onto=onto,
        base_tree=outcome.base_tree,
        changes=changes,
        new_blobs=tuple(new),
        reverted=outcome.reverted,
        left=outcome.left,
    )


async def reverted_tree(
    git: Git,
    commits: Sequence[str],
    onto: str,
    *,
    mainline: int = 1,
    keep: KeptFiles = NOTHING_KEPT,
) -> RevertedTree | RevertConflict | Empty:
    """Compute only the tree, as `compute_revert` does; conflicts do not say who came since."""
    require_git()
    onto_tree = await tree_of(git, onto)
    tree = onto_tree
    reverted: list[str] = []
    touched: set[str] = set()
    left: set[bytes] = set()
    reasons: list[EmptyReason] = []
    steps: list[tuple[str, _Step]] = []
    for commit in await newest_first(git, commits):
        step = await _Step.read(git, commit, mainline, keep)
        left |= step.kept
        if step.empty is not None:
            reasons.append(step.empty)
        else:
            steps.append((commit, step))
    while steps:
        merged, together = await _undo_first(git, [step for _, step in steps], tree, keep)
        if not merged.clean:
            return _conflict(steps[0][0], onto, merged, tuple(reverted))
        if merged.tree == tree:
            reasons.append(EmptyReason.NOTHING_LEFT)
        else:
            tree = merged.tree
            reverted += [commit for commit, _ in steps[:together]]
            touched = touched.union(*(step.blobs for _, step in steps[:together]))
        del steps[:together]
    if tree == onto_tree:
        # Of several reasons the one that says most about the branch.
        reason = min(reasons, key=list(EmptyReason).index, default=EmptyReason.NOTHING_LEFT)
        return Empty(reason=reason, tree=onto_tree)
    return RevertedTree(
        tree=tree,
        base_tree=onto_tree,
        reverted=tuple(reverted),
        touched=frozenset(touched),
        left=tuple(sorted(path.decode("utf-8", "backslashreplace") for path in left)),
    )


class _Step(Value):
    """One commit of the stack: the tree it left, and the tree to go back to.

    `kept` are the paths it changed that stay; `undone` the others.
    """

    after: str
    before: str
    empty: EmptyReason | None
    blobs: frozenset[str]
    kept: frozenset[bytes]
    undone: frozenset[bytes]

    @classmethod
    async def read(cls, git: Git, commit: str, mainline: int, keep: KeptFiles) -> _Step:
        after, before = await _way_back(git, commit, mainline)
        changes = await raw_changes(git, after, before)
        empty = None if changes else EmptyReason.COMMIT_EMPTY
        kept = await keep.of(git, after, before) if changes else frozenset()
        undone = [change for change in changes if change.path not in kept]
        if kept:
            before = await with_entries(git, after, undone)
            empty = None if undone else EmptyReason.ONLY_RECORDS
        blobs = frozenset(sha for change in changes for sha in (change.old, change.new) if sha)
        return cls(
            after=after,
            before=before,
            empty=empty,
            blobs=blobs,
            kept=kept,
            undone=frozenset(change.path for change in undone),
        )

    async def apply(self, git: Git, onto_tree: str, keep: KeptFiles) -> MergedTree:
        """Merge the way back into `onto_tree`, the reverted commit's own tree as the base."""
        merged = await _three_way(git, self.after, onto_tree, self.before)
        if not keep.paths:
            return merged
        if merged.clean and not await keep.of(git, onto_tree, merged.tree):
            return merged
        return await self._apply_without(git, onto_tree, keep) or merged

    async def _apply_without(self, git: Git, onto_tree: str, keep: KeptFiles) -> MergedTree | None:
        """Merge with no record file in sight, then put those of `onto_tree` back.

        A renamed directory makes git ask whether records added to it should follow, or take them
        along. Three trees have to be rewritten, so this is done only where the plain merge is in
        conflict or moved a record. What is undone is in sight, however it is named.
        """
        nothing = await empty_tree(git)
        kept = await keep.among(git, nothing, onto_tree, but=self.undone)
        if not kept:
            return None
        bare = [
            await with_entries(git, tree, await keep.among(git, tree, nothing, but=self.undone))
            for tree in (self.after, onto_tree, self.before)
        ]
        merged = await _three_way(git, *bare)
        return replace(merged, tree=await with_entries(git, merged.tree, kept))


async def _undo_first(
    git: Git, steps: Sequence[_Step], onto_tree: str, keep: KeptFiles
) -> tuple[MergedTree, int]:
    """Undo the first of some steps, newest first; where it is in conflict, as few as will do.

    Of changes to the same lines, undone all or in part already, the newest alone is in conflict
    with what there is now, and what they did together is not.

    Returns:
        The outcome, and how many are undone by it; in conflict, that of the first alone.
    """
    alone = await steps[0].apply(git, onto_tree, keep)
    if alone.clean:
        return alone, 1
    both = steps[0]
    for together, older in enumerate(steps[1:_MOST_TOGETHER], 2):
        # As they were undone right after the newest of them.
        back = await older.apply(git, both.before, keep)
        if not back.clean:
            break
        undone = both.undone | older.undone
        both = both.model_copy(update={"before": back.tree, "undone": undone})
        merged = await both.apply(git, onto_tree, keep)
        if merged.clean:
            return merged, together
    return alone, 1


async def _three_way(git: Git, base_tree: str, our_tree: str, their_tree: str) -> MergedTree:
    base = await _loose_commit(git, base_tree)
    ours, theirs = await asyncio.gather(
        _loose_commit(git, our_tree, base), _loose_commit(git, their_tree, base)
    )
    return await merge(git, ours, theirs)


async def _loose_commit(git: Git, tree: str, parent: str | None = None) -> str:
    above = ("-p", parent) if parent else ()
    said = await git.run("commit-tree", *above, "-m", "revert base", tree, environment=_EPOCH)
    return said.text


async def _way_back(git: Git, commit: str, mainline: int) -> tuple[str, str]:
    """Return the commit's tree and the tree to go back to: nothing, for the first commit."""
    trees = await commit_trees(git, commit, mainline)
    if not trees.parents:
        return trees.tree, await empty_tree(git)
    if trees.before is None:
        raise NoSuchParent(commit, mainline, len(trees.parents))
    return trees.tree, trees.before


def _conflict(
    commit: str, onto: str, merged: MergedTree, reverted: tuple[str, ...]
) -> RevertConflict:
    paths = tuple(
        PathConflict(
            path=unmerged.path.decode("utf-8", "backslashreplace"),
            kinds=unmerged.kinds,
            in_base=1 in unmerged.stages,
            in_ours=2 in unmerged.stages,
            in_theirs=3 in unmerged.stages,
        )
        for unmerged in merged.unmerged
    )
    return RevertConflict(
        commit=commit, onto=onto, paths=paths, tree=merged.tree, reverted=reverted
    )


async def _with_authors(git: Git, conflict: RevertConflict) -> RevertConflict:
    since = await last_changes(
        git, conflict.commit, conflict.onto, [path.path for path in conflict.paths]
    )
    paths = tuple(
        path.model_copy(update={"changed_since": since.get(path.path, ())})
        for path in conflict.paths
    )
    return conflict.model_copy(update={"paths": paths})


class ComputedRevert(Value):
    """What the `revert` command prints with `--json`.

    Attributes:
        status: Whether the revert applies, is in conflict, or would change nothing.
        tree: The resulting tree's id; in a conflict, the tree that holds conflict markers.
        conflicts: The paths in conflict; bytes that are not UTF-8 are shown escaped.
    """

    status: Literal["clean", "conflict", "empty"]
    tree: str
    conflicts: tuple[str, ...] = ()


async def open_clone(path: Path) -> Git:
    """Find the git directory of a person's clone (or of a bare repository) at `path`.

    The clone's own configuration and its user's stay in force, as for `git revert` there.

    Raises:
        NotARepository: There is none.
        GitTooOld: Host git cannot do the work.
    """
    require_git()
    git_dir = await git_directory(path)
    return Git(git_dir, isolated=False, protocols=("https", "http", "ssh", "file"), timeout=600.0)


async def revert_report(
    repo: Path, commit: str, onto: str, keep: KeptFiles = NOTHING_KEPT
) -> ComputedRevert:
    """Compute what reverting `commit` on `onto` gives, writing nothing but objects.

    Args:
        repo: A clone's directory (or a directory inside it), or a bare repository.
        commit: Any revision; a merge goes back to its first parent.
        onto: Any revision.
        keep: The files left as they are on `onto`.

    Raises:
        GitError: The path is no repository, a revision names no commit, the clone is shallow
            just there, or git is too old; the message says what to do.
    """
    git = await open_clone(repo)
    undone = await resolve_expression(git, commit)
    base = await resolve_expression(git, onto)
    outcome = await reverted_tree(git, [undone], base, keep=keep)
    if isinstance(outcome, RevertConflict):
        paths = tuple(path.path for path in outcome.paths)
        return ComputedRevert(status="conflict", tree=outcome.tree, conflicts=paths)
    if isinstance(outcome, Empty):
        return ComputedRevert(status="empty", tree=outcome.tree)
    return ComputedRevert(status="clean", tree=outcome.tree)
