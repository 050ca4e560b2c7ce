"""Everything that rollouts do in common to GitHub, git and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.baseline import FrozenBaseline
from bot.canary.counters import CounterSource
from bot.canary.policy import Policy
from bot.config import Config
from bot.github.models import RepositoryFacts
from bot.pictures.addresses import PictureAddresses
from bot.playbooks.incident.ports import IncidentGitHub, IncidentResources
from bot.playbooks.ports import FindsIncidents, HistoryMirror, MovesRuns
from bot.records import incidents as incidents_module
from bot.records import pauses as pauses_module
from bot.records import runs as runs_module
from bot.records.pauses import Pause
from bot.records.runs import StoredRun
from bot.traffic import allocation as allocation_module
from bot.traffic import evidence_log as evidence_log_module
from bot.traffic.allocation import Decided
from bot.traffic.evidence_log import EvidenceLog, LogEntry
from bot.traffic.flagd import Allocation, Split
from bot.triggers import Trigger


class RolloutAllocation(Protocol):
    """Who serves."""

    async def find(
        self, conn: AsyncConnection, repository_id: int, capability: str
    ) -> Allocation | None: ...

    async def lift_pause(
        self, conn: AsyncConnection, repository_id: int, capability: str, decided: Decided
    ) -> Allocation | None: ...

    async def of_attempt(self, conn: AsyncConnection, attempt: str) -> list[Allocation]: ...

    async def of_repository(
        self, conn: AsyncConnection, repository_id: int
    ) -> list[Allocation]: ...

    async def set_traffic(
        self,
        conn: AsyncConnection,
        repository_id: int,
        capability: str,
        split: Split,
        decided: Decided,
    ) -> Allocation: ...


class RolloutLedgers(Protocol):
    """What is observed."""

    async def checkpoint(self, conn: AsyncConnection, attempt: str) -> tuple[int, bytes] | None: ...

    async def close(self, conn: AsyncConnection, attempt: str, *, at: datetime) -> EvidenceLog: ...

    async def entries(
        self, conn: AsyncConnection, attempt: str, *, after: int, until: int, limit: int = 50
    ) -> Sequence[LogEntry]: ...

    async def locked(self, conn: AsyncConnection, attempt: str) -> EvidenceLog: ...

    async def open_log(
        self,
        conn: AsyncConnection,
        *,
        attempt: str,
        run_id: str,
        repository_id: int,
        capability: str,
        policy: Policy,
        at: datetime,
        frozen: FrozenBaseline | None = None,
        source: CounterSource | None = None,
    ) -> EvidenceLog: ...

    async def open_ones(
        self, conn: AsyncConnection, repository_id: int | None = None
    ) -> list[EvidenceLog]: ...


class RolloutPauses(Protocol):
    """Whether the capability is paused."""

    async def in_force(
        self, conn: AsyncConnection, repository_id: int, scope: str
    ) -> Pause | None: ...


class RolloutRuns(MovesRuns, Protocol):
    """The Run, and those of another incident."""

    async def of_incident(self, conn: AsyncConnection, incident_id: str) -> list[StoredRun]: ...


class RolloutIncidents(FindsIncidents, Protocol):
    """Whether a rollback is under way."""


class ConfiguredGitHub(Protocol):
    """Reads the repository's settings."""

    async def about(self) -> RepositoryFacts: ...


class ConfiguredResources(Protocol):
    """What the configuration is read through."""

    @property
    def github(self) -> ConfiguredGitHub: ...

    @property
    def mirror(self) -> HistoryMirror: ...

    def settled(self, newest: Config, /) -> Awaitable[Config]: ...


class RolloutResources(IncidentResources, ConfiguredResources, Protocol):
    """What a shadow and a ramp act through.

    Attributes:
        records: the database, for reading.
        ask: has a Run started for a Trigger; asked twice it is the same one.
        clock: tells the time (UTC); read inside steps only.
    """

    @property
    def github(self) -> IncidentGitHub: ...

    @property
    def pictures(self) -> PictureAddresses: ...

    @property
    def records(self) -> AsyncEngine: ...

    def ask(self, trigger: Trigger, /) -> Awaitable[None]: ...

    def clock(self) -> datetime: ...


allocation: RolloutAllocation = allocation_module
incidents: RolloutIncidents = incidents_module
ledgers: RolloutLedgers = evidence_log_module
pauses: RolloutPauses = pauses_module
runs: RolloutRuns = runs_module
