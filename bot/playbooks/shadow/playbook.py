"""The shadow, as the specification has it.

1. Start with capability and candidate.
2. Dual-write metrics gathered; compare latency/error/cost.
3. If the diff report is within policy bounds, propose a ramp.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from bot import markdown
from bot.canary.report import ShadowDiffReport
from bot.playbooks.incident.context import NewIncident, Opened, begin
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.report_base import Result
from bot.playbooks.pull_request.finish import conclude, rollout_broke_off
from bot.playbooks.rollout.capability import TrafficControl
from bot.playbooks.rollout.messages import RolloutMessages, joined, shadow_outlook, subject_of
from bot.playbooks.rollout.workflow import RolloutWorkflow, WeighedCandidate, why_taken_back
from bot.playbooks.run import Ending, Run, Signal, SignalKind, StepFailed, Wait, first, heard
from bot.playbooks.shadow import messages
from bot.playbooks.shadow import messages as words
from bot.playbooks.shadow.decide import (
    AskAboutShadow,
    Move,
    ProposeRamp,
    ShadowSnapshot,
    StopShadow,
    describe_shadow,
    look_at_shadow,
    next_move,
)
from bot.playbooks.shadow.plan import ShadowPlan, ShadowPlanned, make_shadow_plan
from bot.playbooks.shadow.ports import ShadowResources
from bot.playbooks.steps import Step, WaitPoint
from bot.playbooks.undo import TakenBack, Undoer, see_what_to_undo, undo
from bot.records.documents.artifacts import DecisionOutcome
from bot.records.lifecycle import IncidentStatus, RunState
from bot.traffic.flagd import Split
from bot.triggers import OURSELVES, Severity, ShadowRequest, Trigger


class ShadowWorkflow(RolloutWorkflow[ShadowPlan, RolloutMessages, ShadowDiffReport]):
    """One shadow under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: ShadowPlan, parts: ShadowResources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        title = words.title(plan.capability, plan.candidate)
        super().__init__(run, trigger, plan, parts, opened, RolloutMessages, "shadow", title)

    def weighed(self) -> WeighedCandidate:
        """What was weighed before it began, for the decision record."""
        return messages.weighed(self.case, self.plan.policy)

    def issue_body(self, standing: StatusMessage, picture: str | None) -> str:
        """What its issue says."""
        return words.issue(self.case, standing, self.report, picture)


_INSISTING = ("inconclusive", "the ramp")


async def shadow(
    run: Run, trigger: Trigger, request: ShadowRequest, parts: ShadowResources
) -> Ending:
    """Run the candidate beside the baseline, compare them, and propose a ramp or not.

    Args:
        run: the Run this is part of.
        trigger: who asked, where, and when.
        request: the capability, and the candidate.
        parts: what is acted through.

    Returns:
        How it ended; declined where it may not begin, joined where one is under way already.

    Raises:
        StepFailed: a step failed for good; what can be undone is undone by then.
    """
    planned = await run.step(
        Step.PLAN_SHADOW,
        ShadowPlanned,
        lambda _: make_shadow_plan(request, trigger.repository.id, parts),
    )
    begun = await begin(
        run,
        trigger,
        planned.root,
        lambda plan: NewIncident(
            kind="shadow",
            subject=subject_of(plan.capability),
            title=words.title(plan.capability, plan.candidate),
            severity=Severity.LOW,
            reason="",
            refs={
                "capability": plan.capability,
                "candidate": plan.candidate,
                "base": plan.base_head,
            },
        ),
        parts.signing_key,
        partial(joined, "shadow"),
    )
    if isinstance(begun, Ending):
        return begun
    plan, opened = begun
    playbook = _Shadow(ShadowWorkflow(run, trigger, plan, parts, opened), parts)
    try:
        await playbook.work.announce(words.mirroring(playbook.work.case, ()))
        await playbook.begin()
        return await playbook.compare()
    except StepFailed as failed:
        await rollout_broke_off(playbook.work, failed)
        await playbook.work.decline()
        raise


class _Shadow:
    """The steps."""

    def __init__(self, work: ShadowWorkflow, parts: ShadowResources) -> None:
        self.work = work
        self.run = work.run
        self.parts = parts
        self.plan = work.plan
        self.attempt = work.case.incident
        self._lever = TrafficControl(self.run, work.trigger.repository.id, self.attempt, self.plan)
        self.work.undoers.append(
            Undoer(
                of=(Step.START_MIRRORING,),
                act=self._give_up_mirroring,
                by_hand=lambda: markdown.code(f"/rollback {self.plan.capability}"),
            )
        )
        self._asking = False

    async def begin(self) -> None:
        """Take observations, and have requests mirrored."""
        now, plan = await self.run.now(), self.plan
        split = Split(
            baseline=plan.policy.baseline,
            candidate=plan.candidate,
            mode="shadow",
            attempt=self.attempt,
            sample_rate=plan.policy.shadow.sample_rate,
            seed=plan.policy.seed,
        )
        await self._lever.open(
            Step.START_MIRRORING,
            split,
            now,
            asked_for=f"a shadow of {plan.candidate} was asked for",
            why=f"shadow of {plan.candidate}",
        )

    async def compare(self) -> Ending:
        """Look again and again, until there is a verdict or somebody ends it."""
        held_since: datetime | None = None
        patience = self.parts.patience
        while True:
            look = await self.run.step(Step.READ_EVIDENCE, ShadowSnapshot, self._look)
            now = await self.run.now()
            if look.over:
                return await self._taken_away(look)
            move = next_move(self.plan.policy, look.judged.verdict, look.extra_cost, look.pairs)
            if isinstance(move, ProposeRamp | StopShadow):
                return await self._conclude(move)
            await self._settle_asking(isinstance(move, AskAboutShadow) and move.may_insist)
            await self._tell(move, look, now)
            held_since = (held_since or now) if isinstance(move, AskAboutShadow) else None
            signals = await heard(self.run, patience.look_again.total_seconds(), WaitPoint.SHADOW)
            insisted = first(signals, SignalKind.APPROVE) if self._asking else None
            if insisted and isinstance(move, AskAboutShadow):
                return await self._insisted_on(insisted, move)
            reject = first(signals, SignalKind.REJECT) if self._asking else None
            if cancel := first(signals, SignalKind.CANCEL) or reject:
                await undo(await see_what_to_undo(self.work))
                standing = words.cancelled(self.work.case, cancel.actor)
                return await self._ended(standing, "cancelled", RunState.CANCELLED)
            if held_since and now - held_since > patience.give_up:
                standing = words.given_up(self.work.case)
                return await self._ended(standing, "given up", RunState.TIMED_OUT)

    # --- pieces ---

    async def _give_up_mirroring(self) -> TakenBack:
        """Mirror nothing more: nobody would compare it."""
        return TakenBack(found=await self._stop_mirroring("the shadow was given up"))

    async def _settle_asking(self, asking: bool) -> None:
        """Keep the records in step with whether somebody may insist now."""
        if asking and not self._asking:
            await self.work.recorder.wait_for_approval(*_INSISTING)
        elif self._asking and not asking:
            await self.work.recorder.need_no_approval(*_INSISTING)
        self._asking = asking

    async def _insisted_on(self, by: Signal, ask: AskAboutShadow) -> Ending:
        """A person wants the ramp although the evidence does not say so: it will be watched."""
        login = OURSELVES.login if by.actor is None else by.actor.login
        await self.work.recorder.approved(*_INSISTING, login)
        self._asking = False
        standing = words.insisted_on(self.work.case, login, ask.reasons)
        return await self._ended(standing, "insisted on", RunState.SUCCEEDED)

    async def _look(self, _: bool) -> ShadowSnapshot:
        return await look_at_shadow(self.parts.evaluations, self.attempt, self.parts.clock())

    async def _tell(self, move: Move, look: ShadowSnapshot, now: datetime) -> None:
        """Say where it stands, when that changed or was said some time ago."""
        what = move.may_insist if isinstance(move, AskAboutShadow) else type(move)
        if not self.work.is_news((what, look.left is None), now):
            return
        self.work.report = await self._describe()
        case = self.work.case
        if isinstance(move, AskAboutShadow):
            standing = words.held(case, move.reasons, may_insist=move.may_insist)
            await self.work.tell(standing)
            await self.work.publisher.ask(case, standing, "held")
        elif isinstance(move, Wait):
            await self.work.tell(words.mirroring(case, move.missing, self._outlook(look)))

    def _outlook(self, look: ShadowSnapshot) -> str:
        """How long it takes yet; nothing where an older look did not see it."""
        if look.started is None:
            return ""
        until = look.started + timedelta(hours=self.plan.policy.shadow.max_hours)
        return shadow_outlook(look.started, look.left, until)

    async def _describe(self) -> ShadowDiffReport:
        async def describe(_: bool) -> ShadowDiffReport:
            now = self.parts.clock()
            return await describe_shadow(self.parts.records, self.attempt, self.plan, now)

        return await self.run.step(Step.READ_FULL_EVIDENCE, ShadowDiffReport, describe)

    async def _stop_mirroring(self, why: str) -> bool:
        split = Split(baseline=self.plan.policy.baseline)
        return await self._lever.close(Step.STOP_MIRRORING, split, await self.run.now(), why=why)

    async def _conclude(self, move: ProposeRamp | StopShadow) -> Ending:
        case = self.work.case
        if isinstance(move, ProposeRamp):
            return await self._ended(words.within_bounds(case), "within bounds", RunState.SUCCEEDED)
        say = words.out_of_bounds if move.how == "out of bounds" else words.too_dear
        return await self._ended(say(case, move.reasons), move.how, RunState.CANCELLED)

    async def _taken_away(self, look: ShadowSnapshot) -> Ending:
        """Somebody or something else ended it."""
        case, breach = self.work.case, look.breach
        if breach is not None and look.judged.breach is not None:
            return await self._conclude(StopShadow("out of bounds", (breach.evidence,)))
        why = why_taken_back(breach.metric, breach.evidence) if breach else "It was taken back."
        return await self._ended(words.rolled_back(case, why), "rolled back", RunState.CANCELLED)

    async def _ended(self, standing: StatusMessage, how: str, state: RunState) -> Ending:
        work = self.work
        await self._settle_asking(False)
        await self._stop_mirroring(f"shadow {how}")
        work.report = await self._describe()
        work.case = work.case.model_copy(update={"reported": True})
        within = how in ("within bounds", "insisted on")
        if within:
            await work.recorder.move(f"shadow.{how}", IncidentStatus.MITIGATED)
            await work.recorder.move("ramp.proposed", IncidentStatus.RESOLVED)
        else:
            await work.recorder.move(f"shadow.{how}", IncidentStatus.DECLINED)
        result = Result(
            status=IncidentStatus.RESOLVED if within else IncidentStatus.DECLINED,
            outcome=DecisionOutcome.CONFIRMED if within else DecisionOutcome.FAILED,
            stopped=None if within else how,
            accepted=within,
            said=f"the candidate is {how}." if within else f"the shadow ended: {how}.",
        )
        self.parts.evaluations.forget(self.attempt)
        return await conclude(work, result, standing, state, home=True)
