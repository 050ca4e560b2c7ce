"""Files that a revert leaves as they are on the branch, by their place and by what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot.git.errors import OutputTooLarge
from bot.git.process import Git
from bot.git.trees import RawChange, raw_changes, read_blob, record_pathspecs

_LARGEST = 1024 * 1024
"""Bytes; a larger file is none that is kept."""


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
