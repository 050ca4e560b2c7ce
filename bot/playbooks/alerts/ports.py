"""Everything that an alert's incident does to GitHub, git and the records, as Protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.config import Config
from bot.github.models import Issue
from bot.playbooks.autorevert.ports import PauseSelfWork, SuspectGitHub
from bot.playbooks.incident.ports import (
    IncidentStore,
    RecordsComments,
    RecordsGitHub,
    StatusComments,
    StatusGitHub,
    StatusIssues,
    StatusPulls,
)
from bot.playbooks.ports import (
    AppendsToChain,
    FindsIncidents,
    HistoryMirror,
    LandingPulls,
    MovesIncidents,
    MovesRuns,
    NotesRuns,
    RefersIncidents,
)
from bot.playbooks.run import Patience
from bot.records import alerts as alerts_module
from bot.records import incidents as incidents_module
from bot.records import notifications as notifications_module
from bot.records import runs as runs_module
from bot.records.alerts import ConditionGroup
from bot.records.audit import chain as chain_module
from bot.records.incidents import Incident, Opening
from bot.records.runs import StoredRun
from bot.triggers import Severity, Trigger


class AlertComments(StatusComments, RecordsComments, Protocol):
    """Comments on issues and pull requests."""


class AlertIssues(StatusIssues, Protocol):
    """Issues."""

    async def reopen(self, number: int) -> Issue: ...


class AlertLabels(Protocol):
    """Labels on issues."""

    async def add(self, number: int, names: Sequence[str]) -> tuple[str, ...]: ...

    async def remove(self, number: int, name: str) -> None: ...


class AlertPulls(StatusPulls, LandingPulls, Protocol):
    """Pull requests."""


class AlertGitHub(StatusGitHub, RecordsGitHub, SuspectGitHub, Protocol):
    """Reads what came before the alerts, says where their incident stands, and records it."""

    @property
    def comments(self) -> AlertComments: ...

    @property
    def issues(self) -> AlertIssues: ...

    @property
    def labels(self) -> AlertLabels: ...

    @property
    def pulls(self) -> AlertPulls: ...

    async def default_branch(self) -> str: ...


class AlertAlerts(Protocol):
    """The group of alerts."""

    async def find(
        self, conn: AsyncConnection, group: str, *, lock: bool = False
    ) -> ConditionGroup | None: ...

    async def follow(self, conn: AsyncConnection, group: str, run: str) -> None: ...

    async def let_go(self, conn: AsyncConnection, group: str) -> None: ...


class AlertIncidents(RefersIncidents, MovesIncidents, FindsIncidents, Protocol):
    """Its incident."""

    async def count_alerts(
        self, conn: AsyncConnection, incident_id: str, count: int
    ) -> Incident: ...

    async def find(self, conn: AsyncConnection, incident_id: str) -> Incident | None: ...

    async def open_or_join(
        self, conn: AsyncConnection, opening: Opening
    ) -> tuple[Incident, bool]: ...

    async def set_severity(
        self, conn: AsyncConnection, incident_id: str, severity: Severity
    ) -> Incident: ...


class AlertRuns(MovesRuns, NotesRuns, Protocol):
    """The Runs that follow it."""

    async def find(self, conn: AsyncConnection, run_id: str) -> StoredRun | None: ...

    async def of_incident(self, conn: AsyncConnection, incident_id: str) -> list[StoredRun]: ...


class AlertNotifications(Protocol):
    """Who is notified."""

    async def announce(
        self, conn: AsyncConnection, incident: Incident, *, at: datetime, spared: str | None = None
    ) -> None: ...


class AlertChain(AppendsToChain, Protocol):
    """The audit chain."""


class AlertResources(Protocol):
    """What an alert's incident acts through.

    Attributes:
        hold: pauses self-work.
        recording: held while records are committed: a hundred groups that fire at once would
            otherwise keep moving the branch under each other.
        turns: lets a few incidents be announced at a time, for the same reason: everything else
            the process does has to go on meanwhile.
        records: to look at alerts without a write.
    """

    @property
    def github(self) -> AlertGitHub: ...

    @property
    def mirror(self) -> HistoryMirror: ...

    @property
    def store(self) -> IncidentStore: ...

    @property
    def signing_key(self) -> Ed25519PrivateKey: ...

    @property
    def web_url(self) -> str: ...

    @property
    def patience(self) -> Patience: ...

    @property
    def hold(self) -> PauseSelfWork: ...

    @property
    def recording(self) -> asyncio.Lock: ...

    @property
    def turns(self) -> asyncio.Semaphore: ...

    @property
    def records(self) -> AsyncEngine: ...

    def settled(self, newest: Config, /) -> Awaitable[Config]: ...

    def put(self, trigger: Trigger, /) -> Awaitable[object]: ...

    def page_of(self, incident: str) -> str | None: ...


alerts: AlertAlerts = alerts_module
incidents: AlertIncidents = incidents_module
runs: AlertRuns = runs_module
notifications: AlertNotifications = notifications_module
chain: AlertChain = chain_module
