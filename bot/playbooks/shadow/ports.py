"""Everything that a shadow does to GitHub, git and the records, as Protocols."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.ports import FindsIncidents
from bot.playbooks.rollout.ports import RolloutResources
from bot.records import incidents as incidents_module
from bot.records import pauses as pauses_module
from bot.records.audit import chain as chain_module
from bot.records.audit.chain import AuditEntry
from bot.records.incidents import Incident
from bot.records.pauses import Pause
from bot.traffic import allocation as allocation_module
from bot.traffic import evidence_log as evidence_log_module
from bot.traffic.evaluation import RampEvaluation, ShadowEvaluation
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import Allocation


class ShadowEvaluations(Protocol):
    """What is concluded from the evidence by now."""

    async def current(
        self, attempt: str
    ) -> tuple[EvidenceLog, RampEvaluation | ShadowEvaluation]: ...

    def forget(self, attempt: str) -> None: ...


class ShadowAllocation(Protocol):
    """Who serves."""

    async def find(
        self, conn: AsyncConnection, repository_id: int, capability: str
    ) -> Allocation | None: ...


class ShadowLedgers(Protocol):
    """What is observed."""

    async def find(self, conn: AsyncConnection, attempt: str) -> EvidenceLog | None: ...


class ShadowIncidents(FindsIncidents, Protocol):
    """Earlier shadows."""

    async def find(self, conn: AsyncConnection, incident_id: str) -> Incident | None: ...


class ShadowPauses(Protocol):
    """Whether the capability is paused."""

    async def in_force(
        self, conn: AsyncConnection, repository_id: int, scope: str
    ) -> Pause | None: ...


class ShadowChain(Protocol):
    """What a rollback planned."""

    async def of_incident(self, conn: AsyncConnection, incident_id: str) -> list[AuditEntry]: ...


class ShadowResources(RolloutResources, Protocol):
    """What a shadow acts through."""

    @property
    def evaluations(self) -> ShadowEvaluations: ...


allocation: ShadowAllocation = allocation_module
ledgers: ShadowLedgers = evidence_log_module
incidents: ShadowIncidents = incidents_module
pauses: ShadowPauses = pauses_module
chain: ShadowChain = chain_module
