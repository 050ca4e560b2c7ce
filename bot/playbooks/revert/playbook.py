"""Revert (fast recovery): section 1 of the specification.

1. Open incident: write audit row with reason and PR/commit refs.
2. Revert offending PR (git revert) into hotfix branch.
3. Run preview smoke + evals; ensure green.
4. Merge hotfix; update ADR with outcome; unpause when safe.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from bot import markdown
from bot.git.reverting import Clean, Conflict, Empty
from bot.github.models import MergeMethod, PullRequest
from bot.playbooks import hotfix as hotfixes
from bot.playbooks.casebook import open_incident
from bot.playbooks.computed import have_computed
from bot.playbooks.follow import Fitted, Followed, Watched, follow
from bot.playbooks.hotfix import Hotfix, RecordFile
from bot.playbooks.merging import APPROVABLE, Ask, View, Wait, Why
from bot.playbooks.revert import endings as endings
from bot.playbooks.revert import standings as standings
from bot.playbooks.revert import text as words
from bot.playbooks.revert.outcome import broke_off, update_records_with_outcome
from bot.playbooks.revert.plan import Declined, Planned, make_plan, recompute
from bot.playbooks.revert.records import Result
from bot.playbooks.revert.work import KIND, Parts, Work
from bot.playbooks.run import Ending, Run, SignalKind, StepFailed
from bot.playbooks.signals import first, heard
from bot.records.artifacts import Outcome
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Actor, ActorKind, RevertRequest, Severity, Trigger, Value

__all__ = ["Parts", "revert"]

UNKNOWN_SEVERITY = Severity.MEDIUM
"""A person says "revert" without saying how bad it is."""


async def revert(run: Run, trigger: Trigger, request: RevertRequest, parts: Parts) -> Ending:
    """Bring the repository back to before what the request names, and record all of it."""
    planned = await run.step(
        "work out what to revert",
        Planned,
        lambda _: make_plan(request, github=parts.github, mirror=parts.mirror),
    )
    plan = planned.root
    if isinstance(plan, Declined):
        return Ending(outcome="declined", reason=plan.reason, remedy=plan.remedy)
    opened = await open_incident(
        run,
        trigger,
        kind=KIND,
        subject=plan.subject,
        title=f"{plan.base} broken by {words.offenders_in_words(plan.offenders)}",
        severity=request.severity or UNKNOWN_SEVERITY,
        reason=request.reason,
        refs={
            "pull_requests": [o.number for o in plan.offenders if o.number],
            "commits": [*plan.commits],
            "base": plan.base_head,
        },
        signing_key=parts.signing_key,
    )
    if opened.joined:
        return endings.joined(opened.incident.issue, opened.incident.id)
    work = Work(run, trigger, plan, parts, opened)
    playbook = _Revert(work)
    try:
        await playbook.announce()
        if cancelled := await playbook.cancelled_already():
            return await update_records_with_outcome(work, cancelled)
        hotfix = await playbook.revert_into_hotfix_branch()
        followed = await playbook.ensure_green_and_merge(hotfix)
        return await update_records_with_outcome(work, followed)
    except StepFailed as failed:
        await broke_off(work, failed)
        raise


class _Refitted(Value):
    """The hotfix on the moved base; None where nothing is left to revert."""

    hotfix: Hotfix | None
    conflict: Conflict | None = None


class _Revert:
    """The steps, and what `follow` asks of the playbook whose hotfix it follows."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.run = work.run
        self.github = work.github
        self._approval: tuple[Why, str] | None = None
        self._files: tuple[RecordFile, ...] = ()

    async def announce(self) -> None:
        """Open the incident issue and put the sticky status where people asked."""
        work = self.work
        standing = standings.starting(work.case)
        await work.take_earlier_attempts_back()
        await work.see_which_checks_count()
        now = await self.run.now()
        work.happened(now, "incident opened")
        if work.case.issue is None:
            work.know(issue=await work.voice.open_issue(work.case, standing))
            await work.casebook.issue(work.case.issue or 0)
        await work.voice.first_status(work.case, standing)
        work.decide(now)

    async def cancelled_already(self) -> Followed | None:
        """Hear whether somebody said `/cancel` before there was a hotfix."""
        cancel = first(await heard(self.run, 0), SignalKind.CANCEL)
        if cancel is None:
            return None
        return Followed(how="cancelled", at=await self.run.now(), by=cancel.actor)

    # 2. Revert offending PR (git revert) into hotfix branch.

    async def revert_into_hotfix_branch(self) -> Hotfix:
        """Publish the computed revert with its ADR and report, and open its pull request."""
        work, run = self.work, self.run
        self._files = work.record_files(_pending(work.plan.outcome.onto))
        publish = partial(self._publish, work.plan.outcome, None)
        hotfix = await run.step("publish the hotfix", Hotfix, publish)
        commit_url = f"{work.parts.web_url}/commit/{hotfix.commit}"
        work.happened(await run.now(), "hotfix published", commit_url)
        pull = await run.step("open the hotfix pull request", PullRequest, self._open_pull_request)
        work.know(pull_request=pull.number)
        work.happened(await run.now(), "hotfix pull request opened", pull.html_url)
        await self._note_hotfix("hotfix.opened", hotfix)
        if assignees := words.assignees(work.case):

            async def assign(_: bool) -> bool:
                await self.github.issues.ensure_assignees(pull.number, assignees)
                return True

            await run.step("assign the requester", bool, assign)
        return hotfix

    async def _publish(
        self, outcome: Clean | Conflict, onto_hotfix: str | None, look_first: bool
    ) -> Hotfix:
        work = self.work
        await have_computed(work.plan, outcome, work.parts.mirror)
        return await hotfixes.publish(
            outcome,
            self._files,
            mirror=work.parts.mirror,
            git_data=self.github.git,
            branch=work.case.branch,
            message=words.commit_message(work.case, work.plan.commits),
            key=f"{work.case.incident}/{outcome.onto[:12]}",
            onto_hotfix=onto_hotfix,
            look_first=look_first,
        )

    async def _open_pull_request(self, look_first: bool) -> PullRequest:
        work = self.work
        standing = (
            standings.conflicted(work.case, work.conflict)
            if work.conflict
            else standings.starting(work.case)
        )
        section = words.pull_request_section(work.case, work.counting, standing)
        return await self.github.pulls.ensure_pull_request(
            head=work.case.branch,
            base=work.plan.base,
            title=words.pull_request_title(work.case),
            body=markdown.with_section("", "status", section),
            draft=work.conflict is not None,
            look_first=look_first,
        )

    async def _note_hotfix(self, action: str, hotfix: Hotfix) -> None:
        case = self.work.case
        await self.work.casebook.hotfix(
            action,
            issue=case.issue,
            pull_request=case.pull_request,
            adr=case.adr,
            artifact=case.artifact,
            head=hotfix.commit,
            refs={
                "issue": case.issue,
                "pull_request": case.pull_request,
                "branch": hotfix.branch,
                "commit": hotfix.commit,
                "base": hotfix.base_head,
            },
        )

    # 3. Run preview smoke + evals; ensure green.  4. Merge hotfix.

    async def ensure_green_and_merge(self, hotfix: Hotfix) -> Followed:
        """Wait for the checks that count, and merge when all of them are green."""
        work, config = self.work, self.work.plan.config
        method = config.revert.merge_method
        watched = Watched(
            pull_request=work.case.pull_request or 0,
            hotfix=hotfix,
            counting=work.counting,
            before=work.plan.before,
            preferred=MergeMethod(method) if method else None,
            checks_may_take=timedelta(minutes=config.checks.timeout_minutes),
            conflict=work.conflict is not None,
            evals_wanted=work.trigger.actor.kind is not ActorKind.PERSON,
        )
        return await follow(self.run, self, self.github, watched, work.parts.patience)

    async def tell(self, move: Wait | Ask, view: View, deadline: datetime) -> None:
        """Say where the hotfix stands; ask the requester once for each thing needed."""
        work = self.work
        asked = (move.why, view.head) if isinstance(move, Ask) else None
        await self._settle_approval(asked if asked and asked[0] in APPROVABLE else None)
        standing = standings.standing_for(move, view, work.case, deadline, work.conflict)
        await work.tell(standing, view.head)
        if isinstance(move, Ask):
            await work.voice.ask(work.case, standing, move.why)

    async def _settle_approval(self, wanted: tuple[Why, str] | None) -> None:
        """Keep the records in step with what has to be approved now, if anything."""
        if wanted == self._approval:
            return
        if self._approval is not None:
            await self.work.casebook.need_no_approval(*self._approval)
        if wanted is not None:
            await self.work.casebook.wait_for_approval(*wanted)
        self._approval = wanted

    async def approved(self, why: Why, head: str, by: Actor) -> None:
        """Write down who waved what through."""
        await self.work.casebook.approved(why, head, by.login)
        self._approval = None
        self.work.happened(await self.run.now(), f"{why}: approved by {by.login}")

    async def green(self, view: View) -> None:
        """Say on the hotfix itself that it is verified, before it is merged."""
        await self._settle_approval(None)
        case = self.work.case
        await self.work.voice.verified(case, standings.green(case, view.tally), view.head)

    def start_over(self) -> None:
        """Be ready to ask again what was asked before."""
        self.work.voice.start_over()

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""
        message = words.commit_message(self.work.case, self.work.plan.commits)
        title, _, body = message.partition("\n\n")
        return title, body

    async def refit(self, hotfix: Hotfix, view: View) -> Fitted:
        """Compute the revert on the base's new head; publish only what merging would not give."""
        work = self.work
        if view.base_ref and view.base_ref != work.case.base:
            work.know(base=view.base_ref)

        async def compute(look_first: bool) -> _Refitted:
            return await self._refit(hotfix, view, look_first)

        found = await self.run.step("fit the hotfix to the moved base", _Refitted, compute)
        work.conflict = found.conflict or work.conflict
        if found.hotfix is not None and found.hotfix.commit != hotfix.commit:
            await self._note_hotfix("hotfix.recomputed", found.hotfix)
        return Fitted(hotfix=found.hotfix, conflict=found.conflict is not None)

    async def _refit(self, hotfix: Hotfix, view: View, look_first: bool) -> _Refitted:
        work, mirror = self.work, self.work.parts.mirror
        outcome = await recompute(work.plan, mirror, work.case.base)
        if isinstance(outcome, Empty):
            return _Refitted(hotfix=None)
        as_it_is = hotfix.model_copy(update={"base_head": outcome.onto})
        if isinstance(outcome, Conflict):
            return _Refitted(hotfix=as_it_is, conflict=outcome)
        if not view.up_to_date_required and await hotfixes.merging_gives(
            mirror, hotfix, outcome, self._files
        ):
            return _Refitted(hotfix=as_it_is)
        return _Refitted(hotfix=await self._publish(outcome, hotfix.commit, look_first))


def _pending(base_head: str) -> Result:
    return Result(status=IncidentStatus.ACTIVE, outcome=Outcome.PENDING, base_head=base_head)
