"""Patch-ids: the same change has the same id wherever it stands (git-patch-id(1)).

Compared without context lines, so a change that was moved next to other work keeps its id.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.git.process import Git

_AS_PATCH = (
    *("diff-tree", "-r", "-p", "--unified=0", "--full-index", "--no-renames", "--no-color"),
    *("--no-ext-diff", "--no-textconv", "--root", "--diff-algorithm=myers"),
)


async def patch_ids(git: Git, commits: Sequence[str]) -> dict[str, str]:
    """Return the patch-id of each commit against its parent; merges and empty commits have none.

    Raises:
        OutputTooLarge: The patches together pass 256 MB.
    """
    if not commits:
        return {}
    stdin = "".join(f"{sha}\n" for sha in commits).encode()
    patch = await git.run(*_AS_PATCH, "--stdin", stdin=stdin, network=True)
    lines = await _ids(git, patch.stdout)
    return {commit: patch_id for patch_id, commit in lines}


async def combined_patch_id(git: Git, before: str, after: str) -> str | None:
    """Return the patch-id of everything between two trees or commits, None where equal."""
    patch = await git.run(*_AS_PATCH, before, after, network=True)
    lines = await _ids(git, patch.stdout)
    return lines[0][0] if lines else None


async def _ids(git: Git, patch: bytes) -> list[tuple[str, str]]:
    said = await git.run("patch-id", "--stable", stdin=patch)
    pairs = (line.split(" ", 1) for line in said.text.splitlines())
    return [(patch_id, commit) for patch_id, commit in pairs]
