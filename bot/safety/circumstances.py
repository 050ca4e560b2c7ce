"""What an admission rests on, read just now: role, configuration, pauses, caps and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.config import Config
from bot.github.client import GitHub, RepositoryClient
from bot.playbooks.undo.reversibility import planned, worst
from bot.records.database import reading
from bot.records.safety import budgets, pauses
from bot.records.safety.budgets import Budget, BudgetState
from bot.safety.admission import ADVANCING, PLAYBOOKS, Facts, Held, Initiative, initiative_of
from bot.safety.caps import DRAWN, caps, every_budget, said
from bot.safety.config_in_force import ConfigInForce
from bot.triggers import (
    Autonomy,
    PullRequestTarget,
    RampRequest,
    Request,
    RevertRequest,
    Role,
    RollbackRequest,
    ShadowRequest,
    Trigger,
)

OPT_OUT = "playbook:off"


class Circumstances:
    """Reads the Facts of any Trigger."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        config: ConfigInForce,
        clock: Callable[[], datetime],
    ) -> None:
        """Read from these."""
        self._github = github
        self._records = records
        self._config = config
        self._clock = clock

    async def of(self, trigger: Trigger) -> Facts:
        """Read what an admission rests on.

        Raises:
            GitHubError: GitHub could not be read.
        """
        request, command = trigger.request, trigger.request.command
        client = self._github.repository(trigger.repository, playbook=command)
        initiative = initiative_of(trigger)
        role = Role.NONE
        if initiative is Initiative.PERSON:
            role = await client.permissions.role_of(trigger.actor.login)
        facts = Facts(
            command=command,
            initiative=initiative,
            role=role,
            reversibility=worst(planned(command)),
        )
        config = (await self._config.of(trigger.repository)).config
        facts = facts.model_copy(update={"needed": config.commands.needed(command)})
        if command not in PLAYBOOKS:
            return facts
        async with reading(self._records).connect() as conn:
            held = await _held(conn, trigger)
            known = caps(config.caps)
            drawn = tuple(known[name] for name in DRAWN.get(command, ()))
            facts = facts.model_copy(update={"held": held, "draws_on": drawn})
            if initiative is Initiative.PERSON:
                return facts
            cap = await _cap_reached(conn, trigger, drawn, self._clock())
            budget = await _fullest(conn, trigger, config, self._clock())
        return facts.model_copy(
            update={
                "cap": cap,
                "budget": budget,
                "opted_out": initiative is Initiative.AUTOMATIC
                and await _opted_out(client, request),
                "autonomy": _autonomy(request, config),
            }
        )


async def _held(conn: AsyncConnection, trigger: Trigger) -> Held | None:
    match trigger.request:
        case ShadowRequest() | RampRequest() | RollbackRequest() as request:
            pause = await pauses.in_force(conn, trigger.repository.id, request.capability)
        case _:
            return None
    if pause is None:
        return None
    return Held(scope=pause.scope, reason=pause.reason, by=pause.set_by)


async def _cap_reached(
    conn: AsyncConnection, trigger: Trigger, drawn: Sequence[Budget], now: datetime
) -> str | None:
    for cap in drawn:
        balance = await budgets.balance_of(conn, trigger.repository.id, cap, now)
        if balance.used + 1 > cap.limit:
            return said(cap)
    return None


async def _fullest(
    conn: AsyncConnection, trigger: Trigger, config: Config, now: datetime
) -> BudgetState:
    """The fullest of the configured budgets, for what spends on new things.

    A recovery draws on caps only: an overrun is itself a reason to revert.
    """
    if trigger.request.command not in ADVANCING:
        return BudgetState.OK
    configured = [every_budget(config)[name] for name in config.budgets]
    states = [
        (await budgets.balance_of(conn, trigger.repository.id, each, now)).state
        for each in configured
    ]
    return max(states, key=list(BudgetState).index, default=BudgetState.OK)


async def _opted_out(client: RepositoryClient, request: Request) -> bool:
    if not isinstance(request, RevertRequest):
        return False
    for target in request.targets:
        if isinstance(target, PullRequestTarget):
            pull = await client.pulls.find(target.number)
            if pull is not None and OPT_OUT in {label.lower() for label in pull.labels}:
                return True
    return False


def _autonomy(request: Request, config: Config) -> Autonomy:
    if isinstance(request, RevertRequest) and request.autonomy is not None:
        return request.autonomy.at_most(config.triggers.autonomy)
    return config.triggers.autonomy
