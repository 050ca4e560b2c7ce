"""What a rollback will do: traffic, flags, the shadow after it.

Only the capability's own flag is set; what others wrote beside it stays.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.baseline import ArmSummary, FrozenBaseline
from bot.canary.messages import CLAIMS
from bot.canary.policy import Policy
from bot.canary.ramp_evidence import SAMPLE_RATIO, RampEvidence
from bot.canary.report import MetricReport
from bot.canary.sample_size import pairs_needed
from bot.git.errors import OutputTooLarge
from bot.git.process import Git
from bot.git.revert import Clean, RevertConflict
from bot.git.trees import RawChange, has_tree, read_blob, tree_changes, tree_of, with_entries
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.pull_request.publish import Computed
from bot.playbooks.rollback.ports import RollbackResources, allocation, incidents, ledgers
from bot.playbooks.rollback.traffic_back import TrafficBack, standing_promotion
from bot.playbooks.rollout.capability import Configured, read_configured
from bot.playbooks.rollout.evidence import read_course, report_of_ramp, report_of_shadow
from bot.playbooks.rollout.workflow import is_reported
from bot.records.documents.artifacts import artifact_path
from bot.records.documents.reports import Anomaly, Reshadow
from bot.records.incidents import Incident
from bot.records.lifecycle import UnknownRecord
from bot.traffic.evaluation import RampEvaluation
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import InvalidFlags, flag_document, generation_of, read_flags, written
from bot.triggers import RollbackRequest, Severity, SourceKind, Trigger

_BY_SHARE = (
    (50, Severity.CRITICAL),
    (25, Severity.HIGH),
    (1, Severity.MEDIUM),
    (0, Severity.LOW),
)
"""From so many percent of traffic on."""


def severity_of(percent: int) -> Severity:
    """Judge an anomaly of a candidate that had `percent` of the traffic."""
    return next(severity for least, severity in _BY_SHARE if percent >= least)


_MODE = "100644"
_LARGEST = 4 * 1024 * 1024
"""Bytes; a larger document is not one of ours and is replaced."""


@dataclass(frozen=True)
class SettingFlags:
    """Sets one flag of the committed document; computed twice on a commit it gives the same.

    Attributes:
        mirror: holds the trees.
        path: the document's; None: it is not committed, and nothing changes.
        capability: the flag's name.
        flag: what it becomes.
        generation: of the document from now on, at least.
    """

    mirror: HistoryMirror
    path: str | None
    capability: str
    flag: dict[str, JsonValue]
    generation: int

    async def onto(self, commit: str) -> Clean:
        """Compute it on a commit of the mirror.

        Raises:
            GitError: the mirror could not be read.
        """
        return await self.mirror.read(lambda git: self._onto(git, commit))

    async def _onto(self, git: Git, commit: str) -> Clean:
        base = await tree_of(git, commit)
        if self.path is None:
            return Clean(
                tree=base, onto=commit, base_tree=base, changes=(), new_blobs=(), reverted=()
            )
        content = with_flag(
            await self._present(git, commit), self.capability, self.flag, self.generation
        )
        said = await git.run("hash-object", "-w", "--stdin", stdin=content.encode())
        entry = RawChange(
            path=self.path.encode(), old_mode="000000", new_mode=_MODE, old=None, new=said.text
        )
        tree = await with_entries(git, base, [entry])
        return Clean(
            tree=tree,
            onto=commit,
            base_tree=base,
            changes=await tree_changes(git, base, tree),
            new_blobs=(said.text,),
            reverted=(),
        )

    async def have(self, outcome: Clean | RevertConflict) -> None:
        """Make the objects it names again: another replica may go on with the Run.

        Raises:
            GitError: the mirror could not be brought up to date.
        """
        if not await self.mirror.read(lambda git: has_tree(git, outcome.tree)):
            await self.mirror.refresh([outcome.onto])
            await self.onto(outcome.onto)

    async def _present(self, git: Git, commit: str) -> str | None:
        shape = "--format=%(objecttype) %(objectname)"
        listed = await git.run("ls-tree", shape, commit, "--", self.path or "")
        kind, _, name = listed.text.partition(" ")
        if kind != "blob":
            return None
        try:
            blob = await read_blob(git, name, limit=_LARGEST)
        except OutputTooLarge:
            return None
        return blob.decode("utf-8", "replace")


def with_flag(
    document: str | None, capability: str, flag: dict[str, JsonValue], generation: int
) -> str:
    """Set one flag of a document; a document that cannot be used is written again."""
    found: Any = flag_document([])
    if document is not None:
        with contextlib.suppress(InvalidFlags):
            found = read_flags(document)
    newest = max(generation, generation_of(found) or 0)
    return written(
        {
            **found,
            "metadata": {**found.get("metadata", {}), "generation": newest},
            "flags": {**found["flags"], capability: flag},
        }
    )


BROKEN_DATA = frozenset({SAMPLE_RATIO, "silence"})
"""What speaks against the data, and says nothing of the candidate."""
FEWEST_FAILURES = 5
"""Fewer failures of the baseline are no sign that both providers failed."""


def plan_reshadow(
    capability: str,
    candidate: str,
    policy: Policy,
    anomaly: Anomaly,
    evidence: RampEvidence | None,
    frozen: FrozenBaseline | None,
    *,
    salt: str,
) -> Reshadow:
    """Say whether the candidate has to be shadowed again before it may be ramped again.

    Args:
        capability: what it was to provide.
        candidate: the provider.
        policy: the one it was judged by.
        anomaly: why it was rolled back.
        evidence: of the ramp; None where it was only shadowed.
        frozen: what the shadow taught of the baseline.
        salt: of the next split.
    """
    again = f"/ramp {capability}"
    if anomaly.metric in BROKEN_DATA:
        return Reshadow(
            needed=False,
            reason="The data was broken; nothing was learned about the candidate. Fix what "
            "reports it, then ramp again.",
            failing_metric=None,
            min_pairs=None,
            salt=salt,
            command=again,
        )
    if evidence is not None and frozen is not None and _both_failed(policy, evidence, frozen):
        return Reshadow(
            needed=False,
            reason="The baseline failed as well, so the cause lies elsewhere. Ramp again once the "
            "baseline is healthy.",
            failing_metric=None,
            min_pairs=None,
            salt=salt,
            command=again,
        )
    failing = _failing(anomaly, evidence)
    least = policy.shadow.min_pairs
    if evidence is not None and failing is not None:
        least = pairs_needed(policy, evidence.metrics[failing], evidence.arms)
    return Reshadow(
        needed=True,
        reason=_why(anomaly, failing),
        failing_metric=failing,
        min_pairs=least,
        salt=salt,
        command=f"/shadow {capability} {candidate}",
    )


def _why(anomaly: Anomaly, failing: str | None) -> str:
    if failing is not None:
        return f"{CLAIMS[failing]}, and the shadow before did not show it."
    if anomaly.metric == "inconclusive":
        return "The evidence stayed inconclusive; a longer shadow can tell."
    return "What went wrong was not seen in the shadow before."


def _failing(anomaly: Anomaly, evidence: RampEvidence | None) -> str | None:
    """Name the metric that crossed its limit; an absolute limit counts as the metric it is of."""
    if evidence is None or anomaly.metric is None:
        return None
    name = anomaly.metric.removesuffix("_slo").removesuffix("_budget")
    return name if name in evidence.metrics else None


def _both_failed(policy: Policy, evidence: RampEvidence, frozen: FrozenBaseline) -> bool:
    """Tell whether the baseline fails far more than in the shadow, and the candidate no worse."""
    if any(metric.worse.crossed for metric in evidence.metrics.values()):
        return False
    rule, usual = policy.metrics.error, frozen.error_rate
    if rule is None or usual is None:
        return False
    return _fails_beyond(evidence.arms.baseline, max(usual * rule.margin_ratio, rule.slo_max or 0))


def _fails_beyond(arm: ArmSummary, share: float) -> bool:
    return arm.failed >= FEWEST_FAILURES and arm.failed > share * arm.judged


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
        promoted: who serves since a promotion that stands, where a shadow was taken back.
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
    promoted: str | None = None
    reshadow: Reshadow
    flag: dict[str, JsonValue]
    outcome: Computed

    def change(self, parts: RollbackResources) -> SettingFlags:
        """The fix: the committed flag document gives everything to the baseline."""
        return SettingFlags(
            mirror=parts.mirror,
            path=self.config.flags.path,
            capability=self.capability,
            flag=self.flag,
            generation=self.retreat.generation,
        )


async def make_rollback_plan(
    trigger: Trigger, request: RollbackRequest, retreat: TrafficBack, parts: RollbackResources
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
        promoted = None
        if ledger.mode == "shadow":
            promoted = await standing_promotion(conn, ledger.repository_id, ledger.capability)
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
        promoted=promoted,
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
    verdict = course.judge(until, until)
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
