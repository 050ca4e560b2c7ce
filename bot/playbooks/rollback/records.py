"""What a rollback leaves behind: its ADR and its report, as pure functions of the facts."""

from __future__ import annotations

from datetime import datetime

from bot.playbooks.candidacy import CandidateCase
from bot.playbooks.papers import Result, numbered, origin, pointers
from bot.playbooks.rollback.plan import RollbackPlan
from bot.playbooks.rollback.text import title
from bot.records.audit_chain.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, Pointer, render
from bot.records.documents.artifacts import HotfixRefs, TimelineEvent, canonical_bytes
from bot.records.documents.rollback_report import RollbackReport, TrafficChange
from bot.triggers import Trigger


def decision(case: CandidateCase, plan: RollbackPlan, *, at: datetime, audit: Anchor) -> str:
    """Write the ADR of a rollback: proposed, its outcome pending."""
    candidate = case.candidate or "the candidate"
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=title(case.capability, case.candidate),
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=(
                f"{candidate} had {plan.retreat.before}% of the traffic of {case.capability}.",
                plan.anomaly.said,
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
                        "Takes effect within a second, without a deployment.",
                        "Reversible: the candidate can be ramped again.",
                    ),
                    bad=("What the candidate did better is missing meanwhile.",),
                ),
                Option(
                    name="Hold the stage and look",
                    good=("More is learnt about the candidate.",),
                    bad=("Users go on meeting it meanwhile.",),
                ),
            ),
            chosen="Roll back and pause",
            because="an anomaly is not discussed with users in it.",
            consequences=Option(
                name="Roll back and pause",
                good=(f"{case.baseline} serves everything again.",),
                bad=(plan.reshadow.reason,),
            ),
            confirmation="The committed flag document and what is served agree: the baseline only, "
            "paused.",
            more=(*pointers(case), Pointer(label=plan.mode.capitalize(), value=plan.report)),
            audit=audit,
        )
    )


def report(
    case: CandidateCase,
    plan: RollbackPlan,
    trigger: Trigger,
    result: Result,
    *,
    run: str,
    timeline: tuple[TimelineEvent, ...],
    audit: Anchor,
) -> bytes:
    """Write `incidents/rollback-<id>.json`."""
    refs = result.refs or HotfixRefs(base_branch=case.base, base=plan.base_head, branch=case.branch)
    return canonical_bytes(
        RollbackReport(
            incident=case.incident,
            run=run,
            repository=case.repository,
            repository_id=str(trigger.repository.id),
            trigger=origin(trigger),
            requested_by=case.requested_by.login,
            reason=case.reason,
            severity=case.severity,
            status=result.status,
            outcome=result.outcome,
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
            merge=result.merge,
            timeline=timeline,
            adr=case.adr,
            issue=numbered(case, "issues", case.issue),
            pull_request=numbered(case, "pull", case.pull_request),
            audit=audit,
        )
    )
