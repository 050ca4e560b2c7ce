"""What a rollback leaves behind: its ADR and its report, as pure functions of the facts."""

from __future__ import annotations

from datetime import datetime

from bot.playbooks.incident.report_base import ReportAccount, pointers
from bot.playbooks.rollback.messages import RollbackFacts, title
from bot.playbooks.rollback.plan import RollbackPlan
from bot.playbooks.rollout.messages import RolloutMessages
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, Pointer, render
from bot.records.documents.artifacts import HotfixRefs, canonical_bytes
from bot.records.documents.reports import Anomaly, RollbackReport, TrafficChange


def decision(
    case: RolloutMessages, facts: RollbackFacts, watched: Pointer, *, at: datetime, audit: Anchor
) -> str:
    """Write the ADR of a rollback: proposed, its outcome pending.

    `watched`: the report of the shadow or ramp that was taken back.
    """
    candidate = case.candidate or "the candidate"
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=title(case.capability, case.candidate),
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=(
                f"{candidate} had {facts.before}% of the traffic of {case.capability}."
                if facts.before
                else f"{candidate} got copies of requests of {case.capability}, unseen by users.",
                _why(case, facts.anomaly),
            ),
            drivers=(
                "Users come first: traffic goes back before anything is looked into.",
                "The baseline is known to work.",
                f"Severity: {case.severity}.",
            ),
            options=(
                Option(
                    name="Roll back and pause",
                    good=(
                        "it takes effect within a second, without a deployment.",
                        "it is reversible: the candidate can be ramped again.",
                    ),
                    bad=("what the candidate did better is missing meanwhile.",),
                ),
                Option(
                    name="Hold the stage and look",
                    good=("more is learnt about the candidate.",),
                    bad=("users keep meeting it meanwhile.",),
                ),
                Option(
                    name="Forward fix",
                    good=("what the candidate does better stays.",),
                    bad=("users keep meeting it until somebody has fixed it.",),
                ),
                Option(
                    name="Do nothing",
                    good=("no traffic moves.",),
                    bad=("users keep meeting it.",),
                ),
            ),
            chosen="Roll back and pause",
            because="users should not wait in an anomaly while it is discussed.",
            consequences=Option(
                name="Roll back and pause",
                good=(f"{case.baseline} serves everything again.",),
                bad=("no candidate gets any traffic until somebody lifts the pause.",),
            ),
            confirmation="The committed flag document and what is served agree: the baseline only, "
            "paused.",
            more=(*pointers(case), watched),
            audit=audit,
        )
    )


def _why(case: RolloutMessages, anomaly: Anomaly) -> str:
    if anomaly.kind == "breach":
        return anomaly.said
    who = case.requested_by.login
    return f"{who} reported: {case.reason}" if case.reason else f"{who} had it taken back."


def report(account: ReportAccount, case: RolloutMessages, plan: RollbackPlan) -> bytes:
    """Write `incidents/rollback-<id>.json`."""
    refs = account.result.refs or HotfixRefs(
        base_branch=case.base, base=plan.base_head, branch=case.branch
    )
    return canonical_bytes(
        RollbackReport(
            **account.told,
            capability=case.capability,
            baseline=case.baseline,
            candidate=case.candidate,
            paused=True,
            anomaly=plan.anomaly,
            traffic=TrafficChange(
                before=plan.retreat.before,
                generation=plan.retreat.generation,
                at=plan.retreat.at,
            ),
            diffs=plan.diffs,
            ramp_report=plan.report if plan.mode == "ramp" else None,
            shadow_diff=plan.report if plan.mode == "shadow" else None,
            reshadow=plan.reshadow,
            refs=refs,
        )
    )
