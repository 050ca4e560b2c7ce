"""What a rollback has to write down: the anomaly, the diffs, and whether to shadow again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.report import MetricReport
from bot.playbooks.candidate.capability import Configured, RolloutResources, read_configured
from bot.playbooks.candidate.reports import read_course, report_of_ramp, report_of_shadow
from bot.playbooks.candidate.rolling_back import is_reported
from bot.playbooks.proposal.computed import Computed
from bot.playbooks.rollback.change import SettingFlags
from bot.playbooks.rollback.reshadow import plan_reshadow
from bot.playbooks.rollback.retreat import TrafficBack
from bot.playbooks.rollback.severity import severity_of
from bot.records import incidents
from bot.records.documents.artifacts import artifact_path
from bot.records.documents.rollback_report import Anomaly, Reshadow
from bot.records.incidents import Incident
from bot.records.lifecycle import UnknownRecord
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import RampEvaluation
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import flag_document
from bot.triggers import RollbackRequest, Severity, SourceKind, Trigger


class RollbackPlan(Configured):
    """Everything a rollback writes down.

    Attributes:
        capability: which.
        retreat: what was taken back.
        mode: whether the candidate was shadowed or ramped.
        policy: the digest of the policy it was judged by.
        anomaly: why it was taken back.
        severity: how bad it is.
        diffs: what was compared, by metric.
        report: the path of the shadow's or ramp's report.
        watched: the shadow's or ramp's issue.
        reshadow: what has to happen before it may be ramped again.
        flag: the capability's flag, as it is served now.
        outcome: the fix, computed on the head of the base branch.
    """

    capability: str
    retreat: TrafficBack
    mode: Literal["shadow", "ramp"]
    policy: str
    anomaly: Anomaly
    severity: Severity
    diffs: dict[str, MetricReport]
    report: str
    watched: int | None
    reshadow: Reshadow
    flag: dict[str, JsonValue]
    outcome: Computed

    def change(self, parts: RolloutResources) -> SettingFlags:
        """The fix: the committed flag document gives everything to the baseline."""
        return SettingFlags(
            mirror=parts.mirror,
            path=self.config.flags.path,
            capability=self.capability,
            flag=self.flag,
            generation=self.retreat.generation,
        )


async def make_rollback_plan(
    trigger: Trigger, request: RollbackRequest, retreat: TrafficBack, parts: RolloutResources
) -> RollbackPlan:
    """Gather what was observed, and compute the fix.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    found = await read_configured(parts)
    async with parts.records.connect() as conn:
        ledger = await ledgers.find(conn, retreat.attempt or "")
        if ledger is None:
            raise UnknownRecord(f"nothing is observed for {retreat.attempt}")
        incident = await incidents.find(conn, ledger.attempt)
        facts = await _observed(conn, ledger, retreat, trigger, request)
        served = await allocation.of_repository(conn, trigger.repository.id)
    flag: dict[str, Any] = flag_document(served)["flags"][request.capability]
    change = SettingFlags(
        mirror=parts.mirror,
        path=found.config.flags.path,
        capability=request.capability,
        flag=flag,
        generation=retreat.generation,
    )
    return RollbackPlan(
        **dict(found),
        **facts,
        capability=request.capability,
        retreat=retreat,
        mode=ledger.mode,
        policy=ledger.policy.digest,
        severity=request.severity or severity_of(retreat.before),
        report=artifact_path(found.config.artifacts.root, ledger.mode, ledger.attempt),
        watched=_issue(incident),
        flag=flag,
        outcome=Computed(await change.onto(found.base_head)),
    )


async def _observed(
    conn: AsyncConnection,
    ledger: EvidenceLog,
    retreat: TrafficBack,
    trigger: Trigger,
    request: RollbackRequest,
) -> dict[str, Any]:
    """Read the anomaly, the diffs and the plan to re-shadow."""
    course = await read_course(conn, ledger)
    candidate, until = retreat.candidate or "", ledger.closed_at or retreat.at
    verdict = course.judge(until)
    anomaly = _anomaly(retreat, trigger)
    evidence = course.evidence if isinstance(course, RampEvaluation) else None
    if isinstance(course, RampEvaluation):
        metrics = report_of_ramp(
            ledger,
            course,
            verdict,
            candidate=candidate,
            salt="",
            shadow="",
            now=until,
            ended="breach",
        ).metrics
    else:
        metrics = report_of_shadow(ledger, course, verdict, candidate=candidate, now=until).metrics
    history = await allocation.history(conn, ledger.repository_id, ledger.capability)
    ramps = {each.split.attempt for each in history if each.split.mode == "ramp"}
    return {
        "anomaly": anomaly,
        "diffs": metrics,
        "reshadow": plan_reshadow(
            request.capability,
            candidate,
            ledger.policy,
            anomaly,
            evidence,
            ledger.frozen,
            salt=str(len(ramps) + 1),
        ),
    }


def _anomaly(retreat: TrafficBack, trigger: Trigger) -> Anomaly:
    breach = retreat.breach
    if breach is None or is_reported(breach):
        return Anomaly(
            kind="alert" if trigger.source.kind is SourceKind.ALERT else "person",
            metric=None,
            said=breach.evidence if breach else "",
        )
    return Anomaly(
        kind="breach",
        metric=breach.metric,
        said=breach.evidence,
        log_e=breach.log_e,
        limit=breach.limit,
        also=breach.also,
    )


def _issue(incident: Incident | None) -> int | None:
    return None if incident is None else incident.issue
