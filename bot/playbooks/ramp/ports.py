"""Everything that a ramp does to GitHub, git and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.ports import FindsIncidents, MovesIncidents
from bot.playbooks.rollout.ports import RolloutResources
from bot.playbooks.run import Signal
from bot.records import incidents as incidents_module
from bot.records import pauses as pauses_module
from bot.records.incidents import Incident
from bot.records.pauses import Pause
from bot.traffic import allocation as allocation_module
from bot.traffic import circuit_breaker as circuit_breaker_module
from bot.traffic import evidence_log as evidence_log_module
from bot.traffic.circuit_breaker import Tripped
from bot.traffic.evaluation import Look, RampEvaluation, ShadowEvaluation
from bot.traffic.evidence_log import BreachFound, EvidenceLog
from bot.traffic.flagd import Allocation


class RampEvaluations(Protocol):
    """What is concluded from the evidence by now."""

    async def current(
        self, attempt: str
    ) -> tuple[EvidenceLog, RampEvaluation | ShadowEvaluation]: ...

    async def look(self, attempt: str, now: datetime) -> Look: ...

    def forget(self, attempt: str) -> None: ...


class RampAllocation(Protocol):
    """Who serves."""

    async def find(
        self, conn: AsyncConnection, repository_id: int, capability: str
    ) -> Allocation | None: ...

    async def history(
        self, conn: AsyncConnection, repository_id: int, capability: str
    ) -> list[Allocation]: ...

    async def of_attempt(self, conn: AsyncConnection, attempt: str) -> list[Allocation]: ...


class RampLedgers(Protocol):
    """What is observed."""

    async def close(self, conn: AsyncConnection, attempt: str, *, at: datetime) -> EvidenceLog: ...

    async def enter_phase(
        self, conn: AsyncConnection, attempt: str, phase: int, *, at: datetime
    ) -> EvidenceLog: ...

    async def find(self, conn: AsyncConnection, attempt: str) -> EvidenceLog | None: ...

    async def locked(self, conn: AsyncConnection, attempt: str) -> EvidenceLog: ...


class RampCircuitBreaker(Protocol):
    """Gives the traffic back."""

    async def trip(
        self,
        conn: AsyncConnection,
        attempt: str,
        breach: BreachFound,
        *,
        at: datetime,
        actor: str,
        run: str | None = None,
        incident: str | None = None,
    ) -> Tripped: ...


class RampIncidents(MovesIncidents, FindsIncidents, Protocol):
    """The shadow that it follows."""

    async def find(self, conn: AsyncConnection, incident_id: str) -> Incident | None: ...


class RampPauses(Protocol):
    """Whether the capability is paused."""

    async def in_force(
        self, conn: AsyncConnection, repository_id: int, scope: str
    ) -> Pause | None: ...


class RampResources(RolloutResources, Protocol):
    """What a ramp acts through.

    Attributes:
        wake: sends a Signal to a Run, at most once per key; not from within a step.
        is_founder: tells whether a person is a Founder of this repository.
        no_counters: tells why Prometheus cannot be asked; None: it can.
    """

    @property
    def evaluations(self) -> RampEvaluations: ...

    def wake(self, run: str, signal: Signal, key: str, /) -> Awaitable[None]: ...

    def is_founder(self, login: str, /) -> Awaitable[bool]: ...

    def no_counters(self) -> str | None: ...


allocation: RampAllocation = allocation_module
ledgers: RampLedgers = evidence_log_module
circuit_breaker: RampCircuitBreaker = circuit_breaker_module
incidents: RampIncidents = incidents_module
pauses: RampPauses = pauses_module
