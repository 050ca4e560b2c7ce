"""The `revert` command's work on a local clone: the same computation, told in one report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bot.git.history import resolve_expression
from bot.git.process import Git, git_directory, require_git
from bot.git.revert import NOTHING_KEPT, Empty, KeptFiles, RevertConflict, reverted_tree
from bot.triggers import Value


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
