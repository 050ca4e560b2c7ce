"""Everything that a rollback does to GitHub, git, traffic and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.policy import Provider
from bot.playbooks.ports import FindsIncidents, MovesIncidents
from bot.playbooks.pull_request.ports import ProposalGitHub, ProposalResources
from bot.playbooks.rollout.ports import ConfiguredResources
from bot.playbooks.run import Signal
from bot.records import incidents as incidents_module
from bot.records import pauses as pauses_module
from bot.records import runs as runs_module
from bot.records.incidents import Incident
from bot.records.pauses import Pause, Pausing
from bot.records.runs import StoredRun
from bot.traffic import allocation as allocation_module
from bot.traffic import circuit_breaker as circuit_breaker_module
from bot.traffic import evidence_log as evidence_log_module
from bot.traffic.allocation import Decided
from bot.traffic.circuit_breaker import Tripped
from bot.traffic.evidence_log import BreachFound, EvidenceLog
from bot.traffic.flagd import Allocation, Split


class RollbackAllocation(Protocol):
    """Who serves."""

    async def find(
        self, conn: AsyncConnection, repository_id: int, capability: str
    ) -> Allocation | None: ...

    async def history(
        self, conn: AsyncConnection, repository_id: int, capability: str
    ) -> list[Allocation]: ...

    async def of_repository(
        self, conn: AsyncConnection, repository_id: int
    ) -> list[Allocation]: ...

    async def pause(
        self,
        conn: AsyncConnection,
        repository_id: int,
        capability: str,
        decided: Decided,
        *,
        baseline: Provider,
    ) -> Allocation: ...

    async def set_traffic(
        self,
        conn: AsyncConnection,
        repository_id: int,
        capability: str,
        split: Split,
        decided: Decided,
    ) -> Allocation: ...


class RollbackLedgers(Protocol):
    """What was observed."""

    async def find(self, conn: AsyncConnection, attempt: str) -> EvidenceLog | None: ...


class RollbackCircuitBreaker(Protocol):
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


class RollbackIncidents(MovesIncidents, FindsIncidents, Protocol):
    """The shadow and the ramp before."""

    async def find(self, conn: AsyncConnection, incident_id: str) -> Incident | None: ...


class RollbackPauses(Protocol):
    """Pauses the capability."""

    async def in_force(
        self, conn: AsyncConnection, repository_id: int, scope: str
    ) -> Pause | None: ...

    async def pause(self, conn: AsyncConnection, wanted: Pausing) -> Pause: ...


class RollbackRuns(Protocol):
    """Who watches."""

    async def of_incident(self, conn: AsyncConnection, incident_id: str) -> list[StoredRun]: ...


class RollbackResources(ProposalResources, ConfiguredResources, Protocol):
    """What a rollback acts through.

    Attributes:
        records: the database, for reading.
        wake: sends a Signal to a Run, at most once per key; not from within a step.
    """

    @property
    def github(self) -> ProposalGitHub: ...

    @property
    def records(self) -> AsyncEngine: ...

    def wake(self, run: str, signal: Signal, key: str, /) -> Awaitable[None]: ...


allocation: RollbackAllocation = allocation_module
ledgers: RollbackLedgers = evidence_log_module
circuit_breaker: RollbackCircuitBreaker = circuit_breaker_module
incidents: RollbackIncidents = incidents_module
pauses: RollbackPauses = pauses_module
runs: RollbackRuns = runs_module
