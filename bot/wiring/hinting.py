"""Who is told that something changed on GitHub: the Runs that watch it, and the keepers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.github.meanings import Hint
from bot.records.recovery import runs
from bot.safety.flag_keeper import FlagKeeper
from bot.safety.gatekeeper import Gatekeeper
from bot.specs.keeper import SpecKeeper


class Hinting:
    """Passes hints on. A hint only says "look again": to lose one costs time, never work."""

    def __init__(
        self,
        records: AsyncEngine,
        *,
        specs: SpecKeeper,
        gatekeeper: Gatekeeper,
        flag_keeper: FlagKeeper,
        hint: Callable[[str], Awaitable[None]],
    ) -> None:
        """Prepare; `hint` wakes one Run."""
        self._records = records
        self._specs = specs
        self._gatekeeper = gatekeeper
        self._flag_keeper = flag_keeper
        self._hint = hint

    async def pass_on(self, hint: Hint) -> None:
        """Wake whoever watches what a delivery was about."""
        self._specs.heard(hint.repository, hint.pull_requests, hint.head_sha)
        self._stir_keepers(hint)
        async with self._records.connect() as conn:
            woken = {
                run.id
                for number in (hint.pull_requests or (None,))
                for sha in {hint.head_sha, hint.former_sha}
                for run in await runs.watching(
                    conn, hint.repository.id, head_sha=sha, pull_request=number
                )
            }
        for run in sorted(woken):
            await self._hint(run)

    def _stir_keepers(self, hint: Hint) -> None:
        ref = hint.ref or ""
        if hint.head_sha and "gh-readonly-queue/" in ref:
            self._gatekeeper.merge_group(hint.repository, hint.head_sha, ref)
        elif ref.startswith("refs/heads/"):
            self._gatekeeper.pushed(hint.repository)
            self._flag_keeper.pushed(hint.repository)
        elif hint.about_pull_request:
            self._gatekeeper.pull_request(hint.repository, hint.pull_requests, hint.labels)
        else:
            self._gatekeeper.stirred(hint.repository)
