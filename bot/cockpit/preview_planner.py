"""Works plans out as the playbooks do, and says them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncEngine

from bot import LazyModule, markdown
from bot.cockpit.preview import Preview, nothing, of_bisect, of_pause, of_revert, of_unpause
from bot.errors import Passing
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.plan import CannotPlan, Declined
from bot.safety.config_in_force import ConfigInForce
from bot.triggers import (
    BisectRequest,
    PauseRequest,
    RampRequest,
    Repository,
    Request,
    RevertRequest,
    RollbackRequest,
    ShadowRequest,
    UnpauseRequest,
)

if TYPE_CHECKING:
    from bot.cockpit import preview_traffic
    from bot.playbooks.bisect import plan as bisects
    from bot.playbooks.revert import plan as reverts
else:
    # The first preview loads them: a server at rest plans nothing.
    preview_traffic = LazyModule("bot.cockpit.preview_traffic")
    bisects = LazyModule("bot.playbooks.bisect.plan")
    reverts = LazyModule("bot.playbooks.revert.plan")


SOON_S = 5.0
"""How long a page waits for its plan; what takes longer goes on, for whoever looks again."""


class Planner:
    """Says what a request would do in a repository as it is now."""

    def __init__(
        self,
        github: GitHub,
        mirror: Callable[[Repository], Mirror],
        records: AsyncEngine,
        config: ConfigInForce,
        no_counters: Callable[[], str | None],
    ) -> None:
        """Read these, and change nothing.

        Args:
            github: the repositories.
            mirror: their histories.
            records: what is served, held and tried.
            config: as it counts.
            no_counters: tells why Prometheus cannot be asked; None: it can.
        """
        self._github = github
        self._mirror = mirror
        self._records = records
        self._config = config
        self._no_counters = no_counters
        self._planning: set[asyncio.Task[Preview]] = set()

    async def preview(self, repository: Repository, request: Request) -> Preview:
        """Say what a request would do, or soon that it is not known yet."""
        planning = asyncio.create_task(self._worked_out(repository, request), name="plan")
        self._planning.add(planning)
        planning.add_done_callback(self._planning.discard)
        done, _ = await asyncio.wait([planning], timeout=SOON_S)
        if done:
            return planning.result()
        why = "GitHub does not answer." if self._github.is_silent else "It goes on meanwhile."
        return Preview(
            "The plan takes long to work out",
            (why, "You can start it anyway, or look again in a minute."),
            goes_on=True,
        )

    async def _worked_out(self, repository: Repository, request: Request) -> Preview:
        try:
            return await self._preview(repository, request)
        except CannotPlan as stop:
            return nothing(stop.declined)
        except (Passing, GitHubError, GitError) as fault:
            why = markdown.text(str(fault), limit=300)
            lines = (why, "You can start it anyway: it waits until that has passed.")
            return Preview("The plan cannot be worked out just now", lines, goes_on=True)

    async def _preview(self, repository: Repository, request: Request) -> Preview:
        match request:
            case RevertRequest() | BisectRequest():
                return await self._of_proposal(repository, request)
            case ShadowRequest() | RampRequest() | RollbackRequest():
                return await self._of_traffic(repository, request)
            case PauseRequest():
                config = (await self._config.of(repository)).config
                async with self._records.connect() as conn:
                    return await of_pause(conn, repository.id, request, config)
            case UnpauseRequest():
                async with self._records.connect() as conn:
                    return await of_unpause(conn, repository.id, request)
        return Preview(
            f"This asks for /{request.command}",
            ("It is judged and carried out as the same words in a comment would be.",),
            goes_on=True,
        )

    async def _of_proposal(
        self, repository: Repository, request: RevertRequest | BisectRequest
    ) -> Preview:
        client = self._github.repository(repository, playbook="cockpit")
        mirror = self._mirror(repository)
        settled = partial(self._config.settled, repository.id)
        if isinstance(request, BisectRequest):
            bisect = await bisects.make_bisect_plan(
                request, github=client, mirror=mirror, settled=settled
            )
            trials = bisect.root
            return nothing(trials) if isinstance(trials, Declined) else of_bisect(trials)
        revert = await reverts.make_plan(request, github=client, mirror=mirror, settled=settled)
        plan = revert.root
        return nothing(plan) if isinstance(plan, Declined) else of_revert(plan)

    async def _of_traffic(
        self, repository: Repository, request: ShadowRequest | RampRequest | RollbackRequest
    ) -> Preview:
        config = (await self._config.of(repository)).config
        async with self._records.connect() as conn:
            match request:
                case ShadowRequest():
                    return await preview_traffic.of_shadow(conn, repository.id, request, config)
                case RampRequest():
                    return await preview_traffic.of_ramp(
                        *(conn, repository.id, request, config), no_counters=self._no_counters()
                    )
                case RollbackRequest():
                    return await preview_traffic.of_rollback(conn, repository.id, request, config)
