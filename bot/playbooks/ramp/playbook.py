"""The ramp, as the specification has it.

1. Ramp stages: 5% → 25% → 50% → 100%.
2. Monitor SLOs/ROAS; pause and rollback automatically on breach.
3. Promote to active at 100%; end shadow.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from bot import markdown
from bot.canary.policy import Phase
from bot.canary.report import RampReport
from bot.playbooks.incident.context import NewIncident, Opened, begin
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.record_files import BroughtHome
from bot.playbooks.incident.report_base import Result
from bot.playbooks.plan import CannotPlan
from bot.playbooks.pull_request.finish import conclude, rollout_broke_off
from bot.playbooks.ramp import messages
from bot.playbooks.ramp import messages as words
from bot.playbooks.ramp.decide import (
    AskAboutRamp,
    Enter,
    Move,
    PromoteCandidate,
    RampHeld,
    RollBackRamp,
    StageApproval,
    is_agreed,
    missing_agreement,
    next_move,
    stage_after,
)
from bot.playbooks.ramp.messages import RampMessages
from bot.playbooks.ramp.plan import Onward, RampPlan, RampPlanned, make_ramp_plan
from bot.playbooks.ramp.ports import RampResources
from bot.playbooks.ramp.snapshot import RampSnapshot, RampTraffic, describe_ramp, look_at_ramp
from bot.playbooks.rollout import capability
from bot.playbooks.rollout.capability import policy_for, read_configured
from bot.playbooks.rollout.messages import joined, ramp_outlook, subject_of
from bot.playbooks.rollout.workflow import (
    RolloutWorkflow,
    WeighedCandidate,
    ask_for_rollback,
    is_reported,
)
from bot.playbooks.run import (
    Ending,
    Run,
    Signal,
    SignalKind,
    StepFailed,
    Wait,
    attempt,
    first,
    heard,
)
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.playbooks.undo import TakenBack, Undoer, see_what_to_undo, undo
from bot.records.approvals import FOUNDERS_STAGE
from bot.records.documents.artifacts import DecisionOutcome
from bot.records.lifecycle import IncidentStatus, RunState
from bot.traffic.evidence_log import BreachFound
from bot.triggers import OURSELVES, Actor, ActorKind, RampRequest, Severity, Trigger


class RampWorkflow(RolloutWorkflow[RampPlan, RampMessages, RampReport]):
    """One ramp under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: RampPlan, parts: RampResources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        super().__init__(
            run,
            trigger,
            plan,
            parts,
            opened,
            RampMessages,
            "ramp",
            words.title(plan.capability, plan.candidate),
            shadow=plan.shadow,
            shadow_report=plan.shadow_report,
            power=words.powers(plan.policy, plan.rate, plan.seen_within),
        )

    def weighed(self) -> WeighedCandidate:
        """What was weighed before it began, for the decision record."""
        return messages.weighed(self.case, self.plan.policy)

    def issue_body(self, standing: StatusMessage, picture: str | None) -> str:
        """What its issue says."""
        return words.issue(self.case, standing, self.report, picture)


class RampWatch:
    """Watches one ramp."""

    def __init__(self, work: RampWorkflow, parts: RampResources) -> None:
        """Begin, or begin again after a crash."""
        self.work = work
        self.run = work.run
        self.parts = parts
        self.plan = work.plan
        self.attempt = work.case.incident
        self._repository = work.trigger.repository.id
        self._lever = RampTraffic(work.run, self._repository, self.attempt, work.plan)
        self._a_while = parts.patience.look_again.total_seconds()
        self._approvals: tuple[StageApproval, ...] = ()
        self._insisted: frozenset[int] = frozenset()
        self._asked: frozenset[int] = frozenset()
        self._asking: AskAboutRamp | None = None
        self._began = False
        self.work.undoers.append(
            Undoer(
                of=(Step.START_TRAFFIC, Step.INCREASE_TRAFFIC),
                act=self._give_back,
                by_hand=lambda: markdown.code(f"/rollback {self.plan.capability}"),
            )
        )

    async def to_its_end(self) -> Ending:
        """Look again and again, and do what follows."""
        if ended := await self._agree_to_begin():
            return ended
        await self._begin()
        asked_since: datetime | None = None
        while True:
            look = await self.run.step(Step.READ_EVIDENCE, RampSnapshot, self._look)
            now = await self.run.now()
            if look.over is not None:
                return await self._over(look)
            move = next_move(
                self.plan.policy,
                look.phase,
                look.judged.verdict,
                approvals=self._approvals,
                insisted=self._insisted,
            )
            if isinstance(move, RollBackRamp):
                # Pause and roll back at once; the rollback writes down the incident.
                await self._lever.trip(BreachFound.of(move.breach), now)
                continue
            if isinstance(move, Enter | PromoteCandidate) and look.paused is not None:
                move = RampHeld(missing=(f"The capability is paused: {look.paused}",))
            if isinstance(move, Enter | PromoteCandidate):
                await self._settle_asking(None)
                await self._move_on(move, look.phase)
                continue
            await self._settle_asking(move if isinstance(move, AskAboutRamp) else None)
            await self._tell(move, look, now)
            asked_since = (asked_since or now) if isinstance(move, AskAboutRamp) else None
            if ended := await self._listen(look.phase):
                return ended
            if asked_since and now - asked_since > self.parts.patience.give_up:
                return await self._leave(words.given_up(self.work.case), "given up")

    # --- stages ---

    async def _agree_to_begin(self) -> Ending | None:
        """Wait for whoever has to agree to the first stage."""
        policy, began = self.plan.policy, await self.run.now()
        stage = policy.phases[0].stage
        while not is_agreed(policy, stage, self._approvals):
            ask = missing_agreement(policy, stage, self._approvals)
            await self._settle_asking(ask)
            standing = words.asking_to_begin(ask)
            await self.work.tell(standing)
            await self.work.publisher.ask(self.work.case, standing, f"approval of {stage}")
            if ended := await self._listen(-1):
                return ended
            if await self.run.now() - began > self.parts.patience.give_up:
                standing = words.given_up(self.work.case, began=False)
                return await self._leave(standing, "given up")
        await self._settle_asking(None)
        return None

    async def _begin(self) -> None:
        now, first_phase = await self.run.now(), self.plan.policy.phases[0]
        self._began = True
        await self._lever.begin(first_phase, now)
        await self._entered(first_phase, now)

    async def _move_on(self, move: Enter | PromoteCandidate, phase: int) -> None:
        """Grow or promote; where somebody took the traffic away meanwhile, the next look tells."""
        now = await self.run.now()
        try:
            if isinstance(move, PromoteCandidate):
                await self._lever.promote(now)
                return
            await self._lever.enter(phase + 1, move.phase, now)
        except StepFailed:
            look = await self.run.step(Step.READ_EVIDENCE, RampSnapshot, self._look)
            if look.over is None:
                raise
            return
        await self._entered(move.phase, now)

    async def _entered(self, phase: Phase, now: datetime) -> None:
        if self.run.patched(Patch.STAGES_ANSWERED):
            # A yes that comes late is to the phase before, also where both are of one stage.
            self._asked = frozenset()
        self.work.happened(now, f"{phase.percent}% of traffic given to the candidate")
        flags = self.plan.config.flags
        if flags.path is not None and flags.commits == "stage":
            await self._commit_flags(flags.path, f"{phase.percent}%")

    async def _commit_flags(self, path: str, what: str) -> None:
        message = f"Flags: {what} of {self.plan.capability} for {self.plan.candidate}"

        async def commit(look_first: bool) -> BroughtHome:
            return await capability.commit(
                self.work.github,
                self.work.parts.store,
                self.parts.records,
                self._repository,
                path,
                message,
                look_first=look_first,
            )

        await attempt(
            self.run,
            Step.COMMIT_FLAG_DOCUMENT,
            BroughtHome,
            commit,
            what=f"commit {markdown.code(path)}",
            otherwise=None,
        )

    # --- people ---

    async def _look(self, _: bool) -> RampSnapshot:
        now = self.parts.clock()
        return await look_at_ramp(
            self.parts.evaluations, self.parts.records, self.attempt, self.plan, now
        )

    async def _tell(self, move: Move, look: RampSnapshot, now: datetime) -> None:
        """Say where it stands, when that changed or was said some time ago."""
        stage, is_open = getattr(move, "stage", None), look.left is None
        notices = look.judged.notices
        if not self.work.is_news((type(move), look.phase, stage, is_open, notices), now):
            return
        self.work.report = await self._describe()
        await self._see_the_policy()
        case, phase = self.work.case, self.plan.policy.phases[look.phase]
        if isinstance(move, AskAboutRamp):
            standing = words.asking(case, phase, move, notices)
            await self.work.tell(standing)
            await self.work.publisher.ask(case, standing, f"{move.why} of {move.stage}")
        elif isinstance(move, Wait):
            await self.work.tell(
                words.serving(case, phase, move.missing, self._outlook(look), notices)
            )

    def _outlook(self, look: RampSnapshot) -> str:
        """How long it takes yet; nothing where an older look did not see it."""
        if look.entered is None:
            return ""
        policy, phase = self.plan.policy, self.plan.policy.phases[look.phase]
        later = sum((each.min_bake for each in policy.phases[look.phase + 1 :]), timedelta())
        # Revenue is waited for as long as it may be attributed.
        roas = policy.metrics.roas
        longest = phase.max_bake if roas is None else phase.max_bake + roas.maturity
        return ramp_outlook(
            look.entered,
            look.left,
            later,
            look.entered + longest,
            takes_back=policy.on_inconclusive == "rollback",
        )

    async def _see_the_policy(self) -> None:
        """Notice that the configuration has another policy by now: it counts for the next ramp."""

        async def see(_: bool) -> bool:
            found = await read_configured(self.parts)
            try:
                now = policy_for(found.config, self.plan.capability, self.plan.policy.baseline)
            except CannotPlan:
                return True
            return now.digest != self.plan.policy.digest

        changed = await self.run.step(Step.READ_POLICY_CHANGE, bool, see)
        self.work.case = self.work.case.model_copy(update={"policy_changed": changed})

    async def _describe(self) -> RampReport:
        async def describe(_: bool) -> RampReport:
            now = self.parts.clock()
            return await describe_ramp(self.parts.records, self.attempt, self.plan, now)

        return await self.run.step(Step.READ_FULL_EVIDENCE, RampReport, describe)

    async def _settle_asking(self, ask: AskAboutRamp | None) -> None:
        """Keep the records in step with what has to be approved now, if anything."""
        if ask is not None and self._asking is not None and _same(ask, self._asking):
            return
        if self._asking is not None:
            why, of = _why(self._asking), _of(self._asking)
            await self.work.recorder.need_no_approval(why, of, asks_again=ask is not None)
        if ask is not None:
            await self.work.recorder.wait_for_approval(_why(ask), _of(ask))
            self._asked |= {ask.stage}
        self._asking = ask

    async def _listen(self, phase: int) -> Ending | None:
        """Wait for a Signal; the end, where a person wants one."""
        signals = await heard(self.run, self._a_while, WaitPoint.RAMP)
        cancel = first(signals, SignalKind.CANCEL)
        reject = first(signals, SignalKind.REJECT) if self._asking else None
        if ender := cancel or reject:
            standing = words.cancelled(self.work.case, ender.actor, began=self._began)
            return await self._leave(standing, "cancelled")
        for signal in signals:
            if signal.kind is SignalKind.APPROVE:
                await self._approve(signal, phase)
        return None

    async def _approve(self, signal: Signal, phase: int) -> None:
        """Take a person's word for the stage that comes next."""
        policy, answered = self.plan.policy, self.run.patched(Patch.STAGES_ANSWERED)
        if phase + 1 >= len(policy.phases) and not answered:
            return
        stage = stage_after(policy, phase)
        is_meant = signal.reason == _named(stage) if signal.reason else stage in self._asked
        if not is_meant and self.run.patched(Patch.ASKED_STAGES):
            # It was on its way while the stage before was entered, and is about that.
            return
        by = signal.actor or Actor(kind=OURSELVES.kind, login="somebody")

        async def founder(_: bool) -> bool:
            return by.kind is ActorKind.PERSON and await self.parts.is_founder(by.login)

        is_founder = await self.run.step(Step.READ_FOUNDER_ROLE, bool, founder)
        self._approvals += (StageApproval(stage=stage, by=by.login, founder=is_founder),)
        self._insisted |= {phase}
        if answered and not is_founder and self._asking is not None and self._asking.founder:
            # It counts where the evidence is inconclusive, and is not what is asked for.
            return
        if self._asking is not None:
            await self.work.recorder.approved(_why(self._asking), _of(self._asking), by.login)
            self._asking = None
        self.work.happened(await self.run.now(), f"stage of {stage}% approved by {by.login}")

    # --- the end ---

    async def _give_back(self) -> TakenBack:
        """Give everything back to the baseline: nobody would watch the candidate any more."""
        found = await self._lever.leave("the ramp was given up", await self.run.now())
        return TakenBack(found=found)

    async def _leave(self, standing: StatusMessage, how: str) -> Ending:
        """End it although nothing is wrong."""
        if self._began:
            undone = await undo(await see_what_to_undo(self.work))
            for left in undone.left:
                raise StepFailed(left.step, left.why)
            look = await self.run.step(Step.READ_EVIDENCE, RampSnapshot, self._look)
            if look.over not in (None, "left"):
                # Something else was quicker.
                return await self._over(look)
        return await self._ended(standing, how, RunState.CANCELLED)

    async def _over(self, look: RampSnapshot) -> Ending:
        """It ended: say how, and see to the rollback where there was an anomaly."""
        case = self.work.case
        if look.over == "promoted":
            return await self._ended(words.promoted(case), "promoted", RunState.SUCCEEDED)
        if look.over == "left":
            return await self._ended(words.cancelled(case, None), "taken back", RunState.CANCELLED)
        breach = look.breach or BreachFound(metric="unknown", evidence="It was taken back.")
        if not is_reported(breach):
            capability = self.plan.capability
            await ask_for_rollback(self.run, self.work.trigger, capability, breach, self.parts)
        return await self._ended(
            words.rolled_back(case, breach.verdict), "rolled back", RunState.ROLLED_BACK
        )

    async def _ended(self, standing: StatusMessage, how: str, state: RunState) -> Ending:
        work, now = self.work, await self.run.now()
        work.happened(now, f"ramp {how}")
        await self._settle_asking(None)
        if self._began:
            work.report = await self._describe()
            work.case = work.case.model_copy(update={"reported": True})
            path = self.plan.config.flags.path
            # After an anomaly the rollback brings the document home, beside what explains it.
            if path is not None and how != "rolled back":
                await self._commit_flags(path, "all" if how == "promoted" else "baseline")
        promoted = how == "promoted"
        if promoted:
            await work.recorder.move("ramp.promoted", IncidentStatus.MITIGATED)
            await work.recorder.move("incident.resolved", IncidentStatus.RESOLVED)
        else:
            await work.recorder.move(f"ramp.{how}", IncidentStatus.DECLINED)
        result = Result(
            status=IncidentStatus.RESOLVED if promoted else IncidentStatus.DECLINED,
            outcome=DecisionOutcome.CONFIRMED if promoted else DecisionOutcome.FAILED,
            stopped=None if promoted else how,
            accepted=promoted,
            said=f"the candidate was {how}.",
        )
        self.parts.evaluations.forget(self.attempt)
        return await conclude(work, result, standing, state, home=self._began)


def _same(one: AskAboutRamp, other: AskAboutRamp) -> bool:
    return (one.why, one.stage) == (other.why, other.stage)


def _why(ask: AskAboutRamp) -> str:
    return FOUNDERS_STAGE if ask.founder else ask.why


def _of(ask: AskAboutRamp) -> str:
    return f"stage {ask.stage}%"


def _named(stage: int) -> str:
    """What a yes says that names its stage, as `/ramp STAGE` does."""
    return f"stage {stage}"


async def ramp(run: Run, trigger: Trigger, request: RampRequest, parts: RampResources) -> Ending:
    """Give the candidate more and more of the traffic, and take it back at any anomaly.

    Args:
        run: the Run this is part of.
        trigger: who asked, where, and when.
        request: the capability, and the stage that is agreed to, if one was named.
        parts: what is acted through.

    Returns:
        How it ended. Where a ramp is under way already, this only tells that one to go on.

    Raises:
        StepFailed: a step failed for good; what can be undone is undone by then.
    """
    planned = await run.step(
        Step.PLAN_RAMP,
        RampPlanned,
        lambda _: make_ramp_plan(
            request, trigger.repository.id, parts, place=trigger.source.subject
        ),
    )
    plan = planned.root
    if isinstance(plan, Onward):
        return await _go_on(run, trigger, plan, parts)
    begun = await begin(
        run,
        trigger,
        plan,
        lambda plan: NewIncident(
            kind="ramp",
            subject=subject_of(plan.capability),
            title=words.title(plan.capability, plan.candidate),
            severity=Severity.LOW,
            reason="",
            refs={"capability": plan.capability, "shadow": plan.shadow, "base": plan.base_head},
        ),
        parts.signing_key,
        partial(joined, "ramp"),
    )
    if isinstance(begun, Ending):
        return begun
    plan, opened = begun
    work = RampWorkflow(run, trigger, plan, parts, opened)
    watch = RampWatch(work, parts)
    try:
        await work.announce(words.starting(work.case))
        return await watch.to_its_end()
    except StepFailed as failed:
        await rollout_broke_off(work, failed)
        await work.decline()
        raise


async def _go_on(run: Run, trigger: Trigger, plan: Onward, parts: RampResources) -> Ending:
    """Tell the ramp under way that its next stage is wanted."""
    if plan.stage is None:
        return joined("ramp", plan.issue, plan.incident)
    if trigger.source.through is not None and run.patched(Patch.STAGES_ANSWERED):
        return words.not_by_hand(trigger.source.through, plan.capability, plan.stage)
    signal = Signal(kind=SignalKind.APPROVE, actor=trigger.actor, reason=_named(plan.stage))
    await parts.wake(plan.run, signal, f"{run.id}:{plan.run}")
    return words.going_on(plan.issue, plan.incident, plan.stage, plan.needed)
