"""The rollback, as the specification has it.

1. Pause capability and revert traffic to baseline.
2. File incident; capture diffs; notify Founder if high/critical.
3. Open fix PR; include plan to re-shadow if needed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.playbooks.incident.branches import about_capability
from bot.playbooks.incident.context import NewIncident, Opened, begin, case_of
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.publisher import PublishedStatus
from bot.playbooks.incident.record_files import BroughtHome, RecordFile
from bot.playbooks.incident.report_base import Result
from bot.playbooks.plan import CannotPlan, Declined
from bot.playbooks.pull_request.finish import broke_off, followed_to_its_end
from bot.playbooks.pull_request.proposal import Proposal, ProposalTerms, take_earlier_attempts_back
from bot.playbooks.pull_request.snapshot import see_which_checks_count
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.rollback import messages as words
from bot.playbooks.rollback import report as documents
from bot.playbooks.rollback.messages import RollbackFacts
from bot.playbooks.rollback.plan import RollbackPlan, make_rollback_plan
from bot.playbooks.rollback.ports import RollbackResources, allocation, incidents
from bot.playbooks.rollback.traffic_back import (
    TrafficBack,
    give_traffic_back,
    standing_promotion,
)
from bot.playbooks.rollout import capability
from bot.playbooks.rollout.capability import policy_in_force, read_configured
from bot.playbooks.rollout.messages import RolloutMessages, status, subject_of
from bot.playbooks.rollout.workflow import plan_refs
from bot.playbooks.run import Ending, Run, Signal, SignalKind, StepFailed, attempt
from bot.playbooks.steps import Patch, Step
from bot.records.documents.adr import Pointer
from bot.records.lifecycle import IncidentStatus
from bot.triggers import ActorKind, RollbackRequest, Trigger


class RollbackWorkflow(ProposalWorkflow[RollbackPlan, RolloutMessages]):
    """One rollback under way."""

    merging_vouches = True

    def __init__(
        self,
        run: Run,
        trigger: Trigger,
        plan: RollbackPlan,
        parts: RollbackResources,
        opened: Opened,
    ) -> None:
        """Begin, or begin again after a crash."""
        retreat = plan.retreat
        case = case_of(
            RolloutMessages,
            trigger,
            opened,
            plan,
            kind="rollback",
            proposal="fix",
            title=words.title(plan.capability, retreat.candidate),
            web_url=parts.web_url,
            short=run.patched(Patch.SHORT_BRANCH_NAMES),
            about=about_capability(plan.capability),
            capability=plan.capability,
            baseline=retreat.baseline,
            candidate=retreat.candidate,
            policy=plan.policy,
            before=plan.base_head,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=trigger.source.subject)
        self.facts = RollbackFacts(
            anomaly=plan.anomaly,
            before=retreat.before,
            reshadow=plan.reshadow,
            diffs=plan.diffs,
            watched=plan.watched,
            promoted=plan.promoted,
        )

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case,
            self.facts,
            Pointer(label=self.plan.mode.capitalize(), value=self.plan.report),
            at=at,
            audit=self.recorder.anchor,
        )

    def section(self, standing: StatusMessage) -> str:
        """The managed section of the fix pull request's description."""
        return words.section(self.case, standing, self.facts, self.counting)

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What every place says of a standing."""
        del head
        case = self.case
        issue = words.issue(case, standing, self.facts)
        section = None if case.pull_request is None else self.section(standing)
        return PublishedStatus(standing, status(case, standing), issue, section)

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The ADR and the report."""
        return self.adr_and_report(documents.report(self.account(result), self.case, self.plan))


async def rollback(
    run: Run, trigger: Trigger, request: RollbackRequest, parts: RollbackResources
) -> Ending:
    """Take all traffic back to the baseline, and write down why.

    Args:
        run: the Run this is part of.
        trigger: who asked, where, and when; a person, a ramp, or an alert.
        request: the capability, why, and how bad it is, if that was said.
        parts: what is acted through.

    Returns:
        How it ended; declined where there was nothing to take back.

    Raises:
        StepFailed: a step failed for good; once traffic is back, it stays back.
    """
    taken = await _take_back(run, trigger, request)
    if taken.attempt is None:
        return await _nothing(run, trigger, request, parts)
    # Whoever watched it looks again, and sees that it is over.
    hint = Signal(kind=SignalKind.HINT)
    await parts.wake(taken.watcher, hint, f"{run.id}:{taken.watcher}")
    plan = await run.step(
        Step.PLAN_ROLLBACK,
        RollbackPlan,
        lambda _: make_rollback_plan(trigger, request, taken, parts),
    )
    begun = await begin(
        run,
        trigger,
        plan,
        lambda plan: NewIncident(
            kind="rollback",
            subject=subject_of(request.capability),
            title=words.title(request.capability, taken.candidate),
            severity=plan.severity,
            reason=request.reason,
            refs={
                "capability": request.capability,
                "attempt": taken.attempt,
                "generation": taken.generation,
                "base": plan.base_head,
            },
        ),
        parts.signing_key,
        words.joined,
    )
    if isinstance(begun, Ending):
        if run.patched(Patch.JOINED_FLAGS):
            # The rollback under way knows nothing of a promotion that this one took back.
            await _commit_flags(run, trigger, plan, parts)
        return begun
    plan, opened = begun
    work = RollbackWorkflow(run, trigger, plan, parts, opened)
    if not await _commit_flags(run, trigger, plan, parts):
        # What matters is done. The fix sets the document too, and people have to hear of it.
        work.happened(await run.now(), "the flag document could not be committed")
    try:
        await _file_incident(work)
        return await _propose_fix(work, parts)
    except StepFailed as failed:
        if ended := await broke_off(work, failed):
            return ended
        raise


# 1. Pause capability and revert traffic to baseline.


async def _take_back(run: Run, trigger: Trigger, request: RollbackRequest) -> TrafficBack:
    now = await run.now()

    async def change(conn: AsyncConnection) -> TrafficBack:
        return await give_traffic_back(conn, trigger, request, run=run.id, now=now)

    return await run.write(Step.ROLL_BACK_TRAFFIC, TrafficBack, change)


async def _nothing(
    run: Run, trigger: Trigger, request: RollbackRequest, parts: RollbackResources
) -> Ending:
    """Say why there is nothing to take back."""

    async def why(_: bool) -> Declined:
        found = await read_configured(parts)
        try:
            policy_in_force(found.config, request.capability, None)
        except CannotPlan as unknown:
            return unknown.declined
        here, name = trigger.repository.id, request.capability
        async with parts.records.connect() as conn:
            promoted = await standing_promotion(conn, here, name)
        return words.nothing_to_take_back(name, promoted).declined

    said = await run.step(Step.EXPLAIN_NOTHING_TO_ROLL_BACK, Declined, why)
    return Ending(outcome="declined", reason=said.reason, remedy=said.remedy)


async def _commit_flags(
    run: Run, trigger: Trigger, plan: RollbackPlan, parts: RollbackResources
) -> bool:
    """Bring the document that is served to the repository: programs may read the file."""
    path = plan.config.flags.path
    if path is None:
        return True

    async def commit(look_first: bool) -> BroughtHome:
        return await capability.commit(
            parts.github,
            parts.store,
            parts.records,
            trigger.repository.id,
            path,
            words.flags_message(plan.capability, plan.retreat.baseline),
            look_first=look_first,
        )

    home = await attempt(
        run,
        Step.COMMIT_FLAG_DOCUMENT,
        BroughtHome,
        commit,
        what=f"commit {markdown.code(path)}",
        otherwise=None,
    )
    return home is not None


# 2. File incident; capture diffs. Opening it notified the Founder if it is high or critical.


async def _file_incident(work: RollbackWorkflow) -> None:
    run, case, plan = work.run, work.case, work.plan
    await take_earlier_attempts_back(work)
    await see_which_checks_count(work, plan.base_head)
    now = await run.now()
    work.happened(plan.retreat.at, "all traffic given to the baseline")
    work.happened(now, "incident opened")
    standing = words.starting(case)
    if case.issue is None:
        body = words.issue(case, standing, work.facts)
        await work.open_issue(words.issue_title(case), body)
    await work.recorder.papers(adr=work.case.adr, artifact=work.case.artifact)
    work.decide(now)
    refs = plan_refs(plan.retreat.candidate, plan.reshadow)
    await work.recorder.note(Step.RECORD_RESHADOW_PLAN, "rollback.planned", refs)
    await _use_up_the_shadow(work)
    files = work.record_files(Result())
    await work.record(Step.RECORD_INCIDENT, files, f"Open incident {case.incident}")
    await work.publisher.first_status(work.saying(standing, None))


async def _use_up_the_shadow(work: RollbackWorkflow) -> None:
    """What the shadow before proposed does not hold any more, where it has to be made again."""
    if not work.plan.reshadow.needed:
        return
    now, name = await work.run.now(), work.case.capability
    repository_id = work.trigger.repository.id

    async def change(conn: AsyncConnection) -> bool:
        history = await allocation.history(conn, repository_id, name)
        # What another candidate's shadow proposed holds as before.
        own = {e.split.attempt for e in history if e.split.candidate == work.case.candidate}
        for shadow in await incidents.resolved_about(
            conn, repository_id, "shadow", subject_of(name)
        ):
            if shadow.id in own:
                await incidents.move(conn, shadow.id, IncidentStatus.CLOSED, at=now)
        return True

    await work.run.write(Step.CLOSE_SHADOW, bool, change)


# 3. Open fix PR; include plan to re-shadow if needed.


async def _propose_fix(work: RollbackWorkflow, parts: RollbackResources) -> Ending:
    plan, case = work.plan, work.case
    outcome = plan.outcome.root
    if outcome.status == "empty":
        raise StepFailed(Step.COMPUTE_FIX, "the flag document could not be computed")
    fix = Proposal(
        work,
        plan.change(parts),
        outcome,
        ProposalTerms(
            title=words.title(case.capability, case.candidate),
            message=words.commit_message(case, work.facts),
            files=work.record_files(Result()),
            before=plan.base_head,
            starting=words.starting(case),
            person_wanted=work.trigger.actor.kind is not ActorKind.PERSON,
        ),
    )
    published = await fix.open()
    followed = await fix.follow(published)
    return await followed_to_its_end(work, followed)
