"""The records as one visitor may see them: every read is limited to their repositories."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import (
    answered,
    approvals,
    bisects,
    budgets,
    dashboard,
    incidents,
    pauses,
    runs,
    sensitive_config,
    steps,
)
from bot.records.answered import CommandResult
from bot.records.approvals import Approval
from bot.records.audit import chain
from bot.records.audit.chain import AuditEntry, UnreadableRow
from bot.records.bisects import BisectProgress
from bot.records.budgets import Balance, Budget
from bot.records.dashboard import Filter, Times
from bot.records.incidents import Incident
from bot.records.pauses import Pause
from bot.records.runs import StoredRun
from bot.records.sensitive_config import ConfigQuestion
from bot.records.steps import StoredStep
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import Allocation
from bot.triggers import Severity

T = TypeVar("T", Incident, StoredRun, CommandResult, EvidenceLog, Pause)


class ScopedRecords:
    """What may be seen. Something else is not found, as if it did not exist."""

    def __init__(self, conn: AsyncConnection, names: Mapping[int, str]) -> None:
        """Look through `conn` at these repositories only; `names`: what they are called now."""
        self._conn = conn
        self._names = names
        self._ids = tuple(names)

    # Incidents

    async def gravest(self, wanted: Filter, *, limit: int) -> list[Incident]:
        """Incidents, the gravest first."""
        found = await dashboard.gravest(self._conn, self._ids, wanted, limit=limit)
        return [self._called(each) for each in found]

    async def newest(
        self, wanted: Filter, *, before: str | None = None, limit: int
    ) -> list[Incident]:
        """Incidents, the newest first."""
        found = await dashboard.newest(self._conn, self._ids, wanted, before=before, limit=limit)
        return [self._called(each) for each in found]

    async def count_open(self) -> dict[Severity, int]:
        """How many incidents are open, by severity."""
        return dict(await dashboard.count_open(self._conn, self._ids))

    async def lately_resolved(self, *, limit: int) -> list[Incident]:
        """What was resolved last."""
        found = await dashboard.lately_resolved(self._conn, self._ids, limit=limit)
        return [self._called(each) for each in found]

    async def times(self, *, since: datetime) -> Times:
        """How long incidents took since then."""
        return await dashboard.times(self._conn, self._ids, since=since)

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident."""
        found = self._mine(await incidents.find(self._conn, incident_id))
        return None if found is None else self._called(found)

    async def these(self, incident_ids: Collection[str]) -> dict[str, Incident]:
        """Incidents by their ids."""
        found = await dashboard.these(self._conn, self._ids, incident_ids)
        return {key: self._called(each) for key, each in found.items()}

    # Runs

    async def live_runs(self, *, limit: int, besides: Collection[str] = ()) -> list[StoredRun]:
        """What is at work on other incidents than these, oldest first."""
        return await dashboard.live_runs(self._conn, self._ids, limit=limit, besides=besides)

    async def count_live(self, *, besides: Collection[str] = ()) -> int:
        """How much is at work, on other incidents than these."""
        return await dashboard.count_live(self._conn, self._ids, besides=besides)

    async def needing_somebody(self) -> list[str]:
        """Which incidents wait for a person; their ids."""
        return await dashboard.needing_somebody(self._conn, self._ids)

    async def leading_runs(self, incident_ids: Collection[str]) -> dict[str, StoredRun]:
        """The Run of each incident that says where it stands."""
        return await dashboard.leading_runs(self._conn, self._ids, incident_ids)

    async def runs_of(
        self, incident: Incident, *, before: str | None = None, limit: int
    ) -> list[StoredRun]:
        """The newest Runs of an incident, or those before one, newest first."""
        return await dashboard.runs_of(
            self._conn, self._ids, incident.id, before=before, limit=limit
        )

    async def live_runs_of(self, incident: Incident) -> list[StoredRun]:
        """What is at work on an incident, oldest first."""
        return await dashboard.live_runs_of(self._conn, self._ids, incident.id)

    async def run(self, run_id: str) -> StoredRun | None:
        """One Run."""
        return self._mine(await runs.find(self._conn, run_id))

    async def steps_of(self, run: StoredRun) -> list[StoredStep]:
        """What a Run has done to the world."""
        return await steps.of_run(self._conn, run.id) if self._mine(run) else []

    async def approval_of(self, run: StoredRun) -> Approval | None:
        """The approval a Run asked for last, if it needs more than any writer's."""
        return await approvals.latest(self._conn, run.id) if self._mine(run) else None

    async def asked_a_founder(self) -> set[str]:
        """Which Runs wait for a Founder; their ids."""
        return await approvals.pending(self._conn, self._ids)

    async def usual_duration(self, playbook: str) -> timedelta | None:
        """How long a playbook takes here."""
        return await dashboard.usual_duration(self._conn, self._ids, playbook)

    async def progress_of(self, run: StoredRun) -> BisectProgress | None:
        """How far a bisect is."""
        return await bisects.progress_of(self._conn, run.id) if self._mine(run) else None

    async def answer(self, run_id: str) -> CommandResult | None:
        """What became of a request."""
        return self._mine(await answered.find_result(self._conn, run_id))

    # Traffic, pauses, budgets

    async def ledgers(self, *, limit: int, beyond: int = 0) -> list[EvidenceLog]:
        """Shadows and ramps: those under way, then the newest of those that are over."""
        return await ledgers.newest(self._conn, self._ids, limit=limit, beyond=beyond)

    async def count_ledgers(self) -> int:
        """How many shadows and ramps are under way."""
        return await ledgers.count_open(self._conn, self._ids)

    async def ledger(self, attempt: str) -> EvidenceLog | None:
        """One shadow or ramp."""
        return self._mine(await ledgers.find(self._conn, attempt))

    async def served_by(self, ledger: EvidenceLog) -> list[Allocation]:
        """Every split a shadow or ramp had, oldest first."""
        return await allocation.of_attempt(self._conn, ledger.attempt) if self._mine(ledger) else []

    async def serving(self) -> list[Allocation]:
        """Who serves which capability."""
        return await allocation.of_repositories(self._conn, self._ids)

    async def pauses(self) -> list[Pause]:
        """What is held."""
        return [each for each in await pauses.all_in_force(self._conn) if self._mine(each)]

    async def config_questions(self) -> list[ConfigQuestion]:
        """Versions of the configuration that do not count yet, the oldest first."""
        return await sensitive_config.waiting(self._conn, self._ids)

    async def balance(self, repository_id: int, budget: Budget, now: datetime) -> Balance:
        """How full a budget is."""
        if repository_id not in self._ids:
            raise LookupError("not among what may be seen")
        return await budgets.balance_of(self._conn, repository_id, budget, now)

    async def spent_lately(self, now: datetime) -> set[int]:
        """Which repositories drew on a budget or a cap in a window that may still be open."""
        return (await dashboard.spent_lately(self._conn, now)).keys() & set(self._ids)

    # Audit

    async def timeline(self, incident: Incident) -> list[AuditEntry]:
        """What the audit chain says of an incident, in order."""
        return await chain.of_incident(self._conn, incident.id) if self._mine(incident) else []

    async def heads(self) -> dict[int, tuple[int, str]]:
        """The ends of the audit chains."""
        return await dashboard.heads(self._conn, self._ids)

    async def search_audit(
        self, repository_id: int, *, words: str, actor: str, before: int | None, limit: int
    ) -> list[AuditEntry | UnreadableRow]:
        """Audit entries of one repository, newest first."""
        if repository_id not in self._ids:
            return []
        numbers = await dashboard.search_audit(
            self._conn, repository_id, words=words, actor=actor, before=before, limit=limit
        )
        return await chain.numbered(self._conn, repository_id, numbers)

    async def chain(
        self, repository_id: int, *, after: int = 0, limit: int | None = None
    ) -> list[AuditEntry | UnreadableRow]:
        """The audit chain of one repository, in order."""
        if repository_id not in self._ids:
            return []
        return await chain.read(self._conn, repository_id, after=after, limit=limit)

    def _called(self, incident: Incident) -> Incident:
        """With its repository's name of now: another may have the one it was opened under."""
        return incident.model_copy(update={"repository": self._names[incident.repository_id]})

    def _mine(self, found: T | None) -> T | None:
        return found if found is not None and found.repository_id in self._ids else None
