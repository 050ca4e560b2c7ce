"""The change that a proposal makes, computed on the mirror without a work tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field, RootModel

from bot.config import Config
from bot.git.mirror import Mirror
from bot.git.revert import Clean, Empty, RevertConflict, compute_revert
from bot.git.trees import has_tree
from bot.playbooks.incidents.own_files import own_files

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

    mirror: Mirror
    commits: Sequence[str]
    config: Config
    incidents: tuple[str, ...] = ()
    """The incidents whose hotfixes are undone: their records are ours wherever else they are."""

    async def onto(self, commit: str) -> Outcome:
        """Compute the revert on a commit of the mirror."""
        own = await self.mirror.read(lambda git: own_files(self.config, git, self.incidents))
        return await self.mirror.read(
            lambda git: compute_revert(git, self.commits, commit, keep=own.kept)
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


async def on_newest(change: ComputedChange, mirror: Mirror, branch: str) -> Outcome:
    """Compute a change on the newest head of a branch."""
    await mirror.refresh()
    return await change.onto(await mirror.branch_head(branch))
