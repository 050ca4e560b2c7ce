"""Works plans out as the playbooks do, and says them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from bot import markdown
from bot.cockpit.preview import Preview, nothing, of_bisect, of_pause, of_revert, of_unpause
from bot.cockpit.preview_traffic import of_ramp, of_rollback, of_shadow
from bot.errors import Passing
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.bisect.plan import make_bisect_plan
from bot.playbooks.plan import CannotPlan, Declined
from bot.playbooks.revert.plan import make_plan
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

    async def preview(self, repository: Repository, request: Request) -> Preview:
        """Say what a request would do."""
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
            bisect = (
                await make_bisect_plan(request, github=client, mirror=mirror, settled=settled)
            ).root
            return nothing(bisect) if isinstance(bisect, Declined) else of_bisect(bisect)
        planned = await make_plan(request, github=client, mirror=mirror, settled=settled)
        plan = planned.root
        return nothing(plan) if isinstance(plan, Declined) else of_revert(plan)

    async def _of_traffic(
        self, repository: Repository, request: ShadowRequest | RampRequest | RollbackRequest
    ) -> Preview:
        config = (await self._config.of(repository)).config
        async with self._records.connect() as conn:
            match request:
                case ShadowRequest():
                    return await of_shadow(conn, repository.id, request, config)
                case RampRequest():
                    reason = self._no_counters()
                    return await of_ramp(conn, repository.id, request, config, no_counters=reason)
                case RollbackRequest():
                    return await of_rollback(conn, repository.id, request, config)
