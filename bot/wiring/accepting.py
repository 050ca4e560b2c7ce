"""Taking a Trigger that waits for an answer: from the HTTP API, or from the cockpit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config
from bot.intake.api.recoveries import Accepted, DeclinedRequest
from bot.playbooks import preflight
from bot.playbooks.candidate.capability import UnknownName
from bot.playbooks.incidents.first_report import first_place
from bot.playbooks.planning.declined import CannotPlan
from bot.records.recovery import runs
from bot.safety.admission import Refused, admit
from bot.safety.circumstances import limits_of
from bot.safety.config_in_force import ConfigInForce
from bot.triggers import ActorKind, Trigger, derived_id
from bot.wiring.mirrors import Mirrors


@dataclass(frozen=True)
class RequestWiring:
    """Starts Runs for callers who want to know which.

    Attributes:
        start: starts the Run of a Trigger; started twice it is the same one.
        records: the database, for reading.
        config: the configuration in force.
        mirrors: the configuration as it was fetched last, for where reports will be.
        no_counters: tells why Prometheus cannot be asked; None: it can.
        clock: tells the time (UTC).
    """

    start: Callable[[Trigger], Awaitable[None]]
    records: AsyncEngine
    config: ConfigInForce
    mirrors: Mirrors
    no_counters: Callable[[], str | None]
    clock: Callable[[], datetime]

    async def begin(self, trigger: Trigger) -> str:
        """Start the Run of a Trigger and give its id."""
        await self.start(trigger)
        return derived_id(trigger.key, trigger.received_at)

    async def accept(self, trigger: Trigger) -> Accepted:
        """Start the Run of a Trigger and say where its report will be.

        Raises:
            Declined: it cannot be done as things stand, and that can be told at once.
        """
        if isinstance(trigger.request, preflight.ASKED):
            await self._make_sure(trigger)
        known = await self.mirrors.known_config(trigger.repository)
        config = await self.config.settled(trigger.repository.id, known)
        await self._within_limits(trigger, config)
        run = await self.begin(trigger)
        place = first_place(trigger.request, run, config.artifacts.root)
        return Accepted(run=run, incident=run, artifact_path=place.path, ref=place.ref)

    async def _within_limits(self, trigger: Trigger, config: Config) -> None:
        """Say at once what would refuse the Run, without asking GitHub: it may be away.

        Raises:
            Declined: a cap or a budget is used up, or what is asked for is paused.
        """
        async with self.records.connect() as conn:
            if await runs.find_by_trigger(conn, trigger.key) is not None:
                return
            decision = admit(await limits_of(conn, trigger, config, self.clock()))
        if trigger.actor.kind is ActorKind.MACHINE and isinstance(decision, Refused):
            raise DeclinedRequest(f"{decision.reason} {decision.remedy}")

    async def _make_sure(self, trigger: Trigger) -> None:
        config = (await self.config.of(trigger.repository)).config
        async with self.records.connect() as conn:
            try:
                await preflight.make_sure(conn, trigger, config, no_counters=self.no_counters())
            except UnknownName as unknown:
                raise DeclinedRequest(
                    f"{unknown.reason} {unknown.remedy}", unknown.field
                ) from unknown
            except CannotPlan as stop:
                raise DeclinedRequest(f"{stop.reason} {stop.remedy}") from stop
