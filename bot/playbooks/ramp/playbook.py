"""Ramp (progressive traffic): section 4 of the specification.

1. Ramp stages: 5% → 25% → 50% → 100%.
2. Monitor SLOs/ROAS; pause and rollback automatically on breach.
3. Promote to active at 100%; end shadow.
"""

from __future__ import annotations

from bot.playbooks.candidate.capability import RolloutResources
from bot.playbooks.candidate.case import joined, subject_of
from bot.playbooks.incidents.opening import NewIncident, open_incident
from bot.playbooks.planning.declined import Declined
from bot.playbooks.proposal.settling import broke_off
from bot.playbooks.ramp import text as words
from bot.playbooks.ramp.plan import Onward, RampPlanned, make_ramp_plan
from bot.playbooks.ramp.watch import RampWatch
from bot.playbooks.ramp.work import RampWorkflow
from bot.playbooks.run import Ending, Run, Signal, SignalKind, StepFailed
from bot.playbooks.steps import Step
from bot.triggers import RampRequest, Severity, Trigger

__all__ = ["ramp"]


async def ramp(run: Run, trigger: Trigger, request: RampRequest, parts: RolloutResources) -> Ending:
    """Give the candidate more and more of the traffic, and take it back at any anomaly."""
    planned = await run.step(
        Step.PLAN_RAMP,
        RampPlanned,
        lambda _: make_ramp_plan(request, trigger.repository.id, parts),
    )
    plan = planned.root
    if isinstance(plan, Declined):
        return Ending(outcome="declined", reason=plan.reason, remedy=plan.remedy)
    if isinstance(plan, Onward):
        return await _go_on(run, trigger, plan, parts)
    opened = await open_incident(
        run,
        trigger,
        NewIncident(
            kind="ramp",
            subject=subject_of(plan.capability),
            title=words.title(plan.capability, plan.candidate),
            severity=Severity.LOW,
            reason="",
            refs={"capability": plan.capability, "shadow": plan.shadow, "base": plan.base_head},
        ),
        parts.signing_key,
    )
    if opened.joined:
        return joined("ramp", opened.incident.issue, opened.incident.id)
    work = RampWorkflow(run, trigger, plan, parts, opened)
    watch = RampWatch(work, parts)
    try:
        await work.announce(words.starting(work.case))
        return await watch.to_its_end()
    except StepFailed as failed:
        await broke_off(work, failed)
        await work.decline()
        raise


async def _go_on(run: Run, trigger: Trigger, plan: Onward, parts: RolloutResources) -> Ending:
    """Tell the ramp under way that its next stage is wanted."""
    if plan.stage is None:
        return joined("ramp", plan.issue, plan.incident)
    signal = Signal(kind=SignalKind.APPROVE, actor=trigger.actor, reason=f"stage {plan.stage}")
    await parts.wake(plan.run, signal, f"{run.id}:{plan.run}")
    return words.going_on(plan.issue, plan.incident, plan.stage)
