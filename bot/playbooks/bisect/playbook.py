"""Bisect (root cause isolation): section 2 of the specification.

1. Identify range of commits; run binary search in sandbox.
2. At each step: build, run smoke + evals; record metrics.
3. On culprit found: open fix PR referencing incident; include spec report.
"""

from __future__ import annotations

from functools import partial

from bot.culprit.fresh_runs import runs_needed
from bot.git.history import parents_of
from bot.git.revert import Clean, Empty, RevertConflict
from bot.github.errors import Forbidden, NotFound, Unprocessable, in_words
from bot.playbooks.bisect import messages as words
from bot.playbooks.bisect import status_messages
from bot.playbooks.bisect.finding import guilty
from bot.playbooks.bisect.fix import ended, fix, green_again, reverting
from bot.playbooks.bisect.numeric import NumericSearch
from bot.playbooks.bisect.plan import (
    BisectPlanned,
    TrialSettings,
    make_bisect_plan,
    trial_settings,
)
from bot.playbooks.bisect.ports import BisectResources
from bot.playbooks.bisect.prior_results import NoGoodEnd, earlier_trials
from bot.playbooks.bisect.runners import remove_hidden_refs
from bot.playbooks.bisect.search import RangeSearch, Stopped
from bot.playbooks.bisect.status_messages import checking
from bot.playbooks.bisect.verify import (
    BranchWatch,
    Cancelled,
    Overruled,
    Verifier,
    outcome_of,
    publish_preview,
)
from bot.playbooks.bisect.workflow import BisectWorkflow
from bot.playbooks.incident.context import NewIncident, Offender, begin
from bot.playbooks.incident.phrases import StatusMessage, listed
from bot.playbooks.incident.report_base import Result
from bot.playbooks.plan import everybody_behind, how_far, is_opted_out
from bot.playbooks.pull_request.finish import broke_off, followed_to_its_end
from bot.playbooks.pull_request.proposal import take_earlier_attempts_back
from bot.playbooks.pull_request.publish import Computed, on_newest
from bot.playbooks.run import Ending, Run, Signal, SignalKind, StepFailed, first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.playbooks.undo import TakenBack, Undoer
from bot.records.documents.reports import Verification
from bot.triggers import UNKNOWN_SEVERITY, Autonomy, BisectRequest, Trigger, Value

__all__ = ["bisect"]

NO_RUNNER = "No runner is configured."


async def bisect(
    run: Run, trigger: Trigger, request: BisectRequest, parts: BisectResources
) -> Ending:
    """Find the commit that broke a check, propose its revert, and record all of it.

    Args:
        run: the Run this is part of.
        trigger: who asked, where, and when.
        request: what is searched; what it leaves open is found out first.
        parts: what is acted through.

    Returns:
        How it ended; declined where nothing can be searched, joined where that is done already.

    Raises:
        StepFailed: a step failed for good; what can be undone is undone by then.
    """
    planned = await run.step(
        Step.PLAN_BISECT,
        BisectPlanned,
        lambda _: _plan(request, parts),
    )
    begun = await begin(
        run,
        trigger,
        planned.root,
        lambda plan: NewIncident(
            kind="bisect",
            subject=plan.subject,
            title=words.incident_title(plan.check, plan.base, plan.numeric),
            severity=UNKNOWN_SEVERITY,
            reason=request.reason,
            refs={"bad": plan.bad, "good": plan.good, "check": plan.check, "base": plan.base_head},
        ),
        parts.signing_key,
        words.joined,
    )
    if isinstance(begun, Ending):
        return begun
    plan, opened = begun
    work = BisectWorkflow(run, trigger, plan, parts, opened)
    playbook = _Bisect(work)
    try:
        await playbook.announce()
        return await playbook.search_and_fix()
    except StepFailed as failed:
        if ended := await broke_off(work, failed):
            return ended
        raise


async def _plan(request: BisectRequest, parts: BisectResources) -> BisectPlanned:
    return await make_bisect_plan(
        request,
        github=parts.github,
        mirror=parts.mirror,
        settled=parts.settled,
        has_sandbox=not parts.pool.is_off,
    )


class _Preview(Value):
    """The commit without the suspect; None where the revert conflicts, or as `refused` says."""

    sha: str | None
    refused: str | None = None


class _Suspect(Value):
    """The commit to revert, as people know it, and its parents."""

    offender: Offender
    parents: tuple[str, ...]
    autonomy: Autonomy


class _GreenAgain(Exception):
    """The check passes on the branch again."""

    def __init__(self, head: str) -> None:
        super().__init__(head)
        self.head = head


class _Enough(Exception):
    """A person ended it, or nobody came."""

    def __init__(self, standing: StatusMessage, how: str) -> None:
        super().__init__(how)
        self.standing = standing
        self.how = how


class _Bisect:
    """The steps."""

    def __init__(self, work: BisectWorkflow) -> None:
        self.work = work
        self.run = work.run
        self.github = work.github
        self._preview_made = False
        self._branch = BranchWatch(work)
        self._is_closed = False
        # Whatever breaks, no trial may go on and no ref stay behind.
        work.undoers.append(
            Undoer(
                of=(Step.DISPATCH_TRIAL, Step.BUILD_REVERT_COMMIT),
                act=self._stop_trying,
                by_hand=lambda: "cancel the trial runs under Actions",
            )
        )

    async def announce(self) -> None:
        """Open the incident issue, write its ADR, and say on the bad end that it has begun."""
        work = self.work
        await take_earlier_attempts_back(work)
        now = await self.run.now()
        work.happened(now, "incident opened")
        standing = status_messages.starting(work.case)
        if work.case.issue is None:
            title, body = words.issue_title(work.case), words.issue_body(work.case, standing, "")
            await work.open_issue(title, body)
        work.decide(now)
        files = work.record_files(Result())
        await work.record(Step.RECORD_INCIDENT, files, f"Open incident {work.case.incident}")
        await work.tell(standing)

    async def search_and_fix(self) -> Ending:
        """Search until the culprit is found and confirmed, then propose its revert."""
        work = self.work
        try:
            range_search = await self._identify_range()
            culprit, verification = await self._find(range_search)
            await self.clean_up()
            if culprit is None:
                return await self._nobody(range_search)
            if work.autonomy in (Autonomy.OFF, Autonomy.PROPOSE):
                standing = status_messages.only_named(
                    work.case, range_search.finding, culprit, verification
                )
                if self.run.patched(Patch.WATCHED_WHILE_PAUSED):
                    await self._until_green(standing)
                return await ended(work, standing, "only proposed")
            outcome = await self._compute(culprit)
            if isinstance(outcome, Empty):
                standing = status_messages.not_to_revert(work.case, range_search.finding, culprit)
                return await ended(work, standing, "not on the branch any more")
            return await self._propose(range_search, verification, outcome)
        except NoGoodEnd:
            await self.clean_up()
            return await ended(work, status_messages.nothing_older(work.case), "no good end")
        except Cancelled as stop:
            await self.clean_up()
            return await ended(work, status_messages.cancelled(work.case, stop.by), "cancelled")
        except _Enough as stop:
            return await ended(work, stop.standing, stop.how)
        except _GreenAgain as good:
            standing = status_messages.green_again(work.case, good.head)
            return await green_again(work, good.head, standing)

    # 1. Identify range of commits; run binary search.  2. At each step: build, smoke, evals.

    async def _identify_range(self) -> RangeSearch:
        work = self.work
        range_search = work.begin_hunt(await self.run.now())
        if work.attempt > 1:
            range_search.remembered = await earlier_trials(self.run, work.case.incident)
            range_search.notes += words.remembered(range_search.remembered)
        await range_search.identify_range()
        work.happened(await self.run.now(), f"range read: {len(range_search.graph)} commits")
        return range_search

    async def _find(self, range_search: RangeSearch) -> tuple[str | None, Verification]:
        """Search and verify, again and again where a person wants it; None: there is nobody."""
        work = self.work

        async def tell() -> None:
            running = len(work.scheduler.running)
            work.note_progress()
            standing = status_messages.searching(
                work.case, range_search.finding, running, range_search.outlook
            )
            await work.tell(standing)

        while True:
            stopped = await range_search.pursue(tell)
            finding = range_search.finding
            work.note_progress()
            await work.name_suspects(finding)
            if stopped is not None and stopped.cancelled:
                raise Cancelled(stopped.by)
            # That a number changed too little to be pinned on a commit is no probability.
            sure = finding.may_report or work.case.numeric is not None
            if finding.status in ("no_culprit", "before_range") and sure:
                return None, _not_made("there is no suspect")
            culprit = guilty(finding, range_search.graph)
            if culprit is None:
                why = stopped.why if stopped else finding.reason
                standing = status_messages.paused(work.case, finding, why)
                if stopped is None and finding.status == "class":
                    standing = status_messages.indistinguishable(work.case, finding)
                if self._closed(stopped):
                    why = stopped.why if stopped else NO_RUNNER
                    standing = self._cannot_try(range_search, stopped, None)
                await self._report_and_wait(range_search, standing, why)
                continue
            suspect = await self._suspect(culprit)
            needed = 0 if stopped else self._fresh_runs(range_search, suspect)
            if needed > range_search.trials_left:
                why = words.too_few_trials(needed, range_search.trials_left)
                standing = status_messages.paused(work.case, finding, why)
                await self._report_and_wait(range_search, standing, why, besides=needed)
                continue
            try:
                verification = await self._verify(range_search, suspect, stopped)
            except Overruled:
                await self.clean_up()
                continue
            work.verification = verification
            work.happened(await self.run.now(), f"suspect {culprit[:12]}: {verification.boundary}")
            sure = finding.may_act or verification.boundary == "confirmed"
            if sure and verification.boundary in ("confirmed", "not made"):
                return culprit, verification
            standing = status_messages.unconfirmed(work.case, finding, culprit, verification)
            if verification.boundary == "not made":
                standing = status_messages.paused(work.case, finding, finding.reason)
                if self._closed(stopped):
                    standing = self._cannot_try(range_search, stopped, culprit)
            await self._report_and_wait(range_search, standing, "unconfirmed")

    def _closed(self, stopped: Stopped | None) -> bool:
        """Whether no commit can be tried here, as far as is known by now."""
        self._is_closed = not self.work.scheduler.is_open or (
            stopped is not None and stopped.closed
        )
        return self._is_closed

    def _cannot_try(
        self, range_search: RangeSearch, stopped: Stopped | None, culprit: str | None
    ) -> StatusMessage:
        work = self.work
        why = stopped.why if stopped else ""
        has_sandbox = work.plan.has_sandbox and not why
        return status_messages.cannot_try(
            work.case, range_search.finding, culprit, why=why, has_sandbox=has_sandbox
        )

    async def _report_and_wait(
        self, range_search: RangeSearch, standing: StatusMessage, why: str, *, besides: int = 0
    ) -> None:
        """Report, and wait for a person to have it go on; `besides` trials to check a suspect."""
        work = self.work
        await self.clean_up()
        work.happened(await self.run.now(), f"paused: {why}")
        files = work.record_files(Result(stopped=why))
        message = f"Report on incident {work.case.incident}"
        await work.record(Step.RECORD_FINDINGS, files, message)
        await work.tell(standing)
        await work.publisher.ask(work.case, standing, "paused")
        began = await self.run.now()
        while True:
            signals = await self._pause()
            now = await self.run.now()
            if cancel := first(signals, SignalKind.CANCEL):
                raise Cancelled(cancel.actor)
            ruled = [signal for signal in signals if range_search.rule(signal)]
            if first(signals, SignalKind.RETRY) or ruled:
                work.publisher.start_over()
                if self.run.patched(Patch.SETTINGS_READ_AGAIN) or (
                    self._is_closed and self.run.patched(Patch.WATCHED_WHILE_PAUSED)
                ):
                    await self._read_settings_again()
                range_search.refill(now, besides)
                return
            if now - began > work.parts.patience.give_up:
                raise _Enough(status_messages.given_up(work.case), "given up")

    async def _pause(self) -> list[Signal]:
        """Wait for people, and for the check to be green again on the branch.

        Raises:
            _GreenAgain: it is.
        """
        seconds = 3600.0
        if self.run.patched(Patch.WATCHED_WHILE_PAUSED):
            if (head := await self._branch.green_at()) is not None:
                raise _GreenAgain(head)
            seconds = self.work.parts.patience.look_later.total_seconds()
        return await heard(self.run, seconds, WaitPoint.PAUSED_SEARCH)

    async def _read_settings_again(self) -> None:
        """Somebody may have configured a runner since, another one, or renamed the branch."""
        parts, plan = self.work.parts, self.work.plan

        async def read(_: bool) -> TrialSettings:
            return await trial_settings(
                plan,
                parts.github,
                parts.mirror,
                parts.settled,
                has_sandbox=not parts.pool.is_off,
            )

        self.work.equip(await self.run.step(Step.READ_TRIAL_SETTINGS, TrialSettings, read))

    async def _until_green(self, standing: StatusMessage) -> None:
        """The search is over and a person decides: stay until the branch is well, or nobody comes.

        Raises:
            Cancelled, _GreenAgain: it is over before that.
        """
        work = self.work
        files = work.record_files(Result(stopped="only proposed"))
        message = f"Report on incident {work.case.incident}"
        await work.record(Step.RECORD_FINDINGS, files, message)
        await work.tell(standing)
        await work.publisher.ask(work.case, standing, "only proposed")
        began = await self.run.now()
        while await self.run.now() - began <= work.parts.patience.give_up:
            if cancel := first(await self._pause(), SignalKind.CANCEL):
                raise Cancelled(cancel.actor)

    async def _suspect(self, culprit: str) -> _Suspect:
        """Who brought the culprit, for the titles; and what it is compared with."""

        async def read(_: bool) -> _Suspect:
            mirror, base = self.work.parts.mirror, self.work.case.base
            parents, _shallow = await mirror.read(lambda git: parents_of(git, culprit))
            head = await mirror.branch_head(base)
            pulls, mixed = await everybody_behind(culprit, base, head, self.github, mirror)
            pull = next((p for p in pulls if p.base.ref == base), None)
            alone = pull is not None and len(pulls) == 1 and not mixed
            title = pull.title if pull else self.work.case.subjects.get(culprit, "")
            if pulls and not alone:
                title = f"what came with {listed([f'#{each.number}' for each in pulls])}"
            who = Offender(
                number=pull.number if pull and alone else None,
                title=title,
                sha=culprit,
                commits=(culprit,),
                author=pull.user.login if pull else None,
            )
            config, trigger = self.work.plan.config, self.work.trigger
            off = [await is_opted_out(p, config.self_work, self.github) for p in pulls]
            autonomy = how_far(trigger, pulls, config, mixed=mixed, opted_out=any(off))
            return _Suspect(offender=who, parents=parents, autonomy=autonomy)

        suspect = await self.run.step(Step.READ_SUSPECT, _Suspect, read)
        self.work.case = self.work.case.model_copy(update={"offenders": (suspect.offender,)})
        self.work.autonomy = suspect.autonomy
        return suspect

    def _fresh_runs(self, range_search: RangeSearch, suspect: _Suspect) -> int:
        """How many trials checking the suspect takes at first; none where none can be made."""
        if not self.work.scheduler.is_open:
            return 0
        each = runs_needed(max(range_search.search.flake_bounds()))
        # The suspect, its parents, and the bad end without it.
        return each * (len(suspect.parents) + 2)

    async def _verify(
        self, range_search: RangeSearch, suspect: _Suspect, stopped: Stopped | None
    ) -> Verification:
        """Fresh, interleaved runs of culprit, parents, and the bad end without the culprit."""
        work, culprit = self.work, suspect.offender.sha
        if not work.scheduler.is_open:
            return _not_made("no trial workflow is configured")
        if stopped is not None:
            return _not_made("the search was stopped before")
        preview = await self._preview(range_search, culprit)

        parallel, search = work.plan.config.bisect.parallel, range_search.search

        async def tell(left: int) -> None:
            yet = checking(left, work.scheduler.table, parallel)
            running = len(work.scheduler.running)
            await work.tell(status_messages.verifying(work.case, culprit, running, yet))

        def overrules(signal: Signal) -> bool:
            if not (self.run.patched(Patch.WORDS_WHILE_CHECKING) and range_search.rule(signal)):
                return False
            return guilty(range_search.finding, range_search.graph) != culprit

        verifier = Verifier(
            self.run,
            work.scheduler,
            parallel=parallel,
            look_again=work.look_again,
            tell=tell,
            outcome_of=search.outcome_of if isinstance(search, NumericSearch) else outcome_of,
            overrules=overrules,
        )
        bounds = search.flake_bounds()
        return await verifier.verify(
            culprit, suspect.parents, preview, bounds, most=range_search.trials_left
        )

    async def _preview(self, range_search: RangeSearch, culprit: str) -> str | None:
        """The bad end with the culprit reverted, as a commit that can be tried; None: none is."""
        work = self.work

        async def make(look_first: bool) -> _Preview:
            change = reverting(work, culprit)
            outcome = await change.onto(work.plan.bad)
            if not isinstance(outcome, Clean):
                return _Preview(sha=None)
            try:
                made = await publish_preview(
                    outcome,
                    incident=work.case.incident,
                    mirror=work.parts.mirror,
                    have=partial(change.have, outcome),
                    git_data=self.github.git,
                    look_first=look_first,
                )
            except (Forbidden, NotFound, Unprocessable) as refusal:
                # Such as one that changes a workflow, without the permission for it.
                return _Preview(sha=None, refused=in_words(refusal))
            return _Preview(sha=made)

        self._preview_made = True
        preview = await self.run.step(Step.BUILD_REVERT_COMMIT, _Preview, make)
        if preview.refused is not None:
            range_search.note(words.revert_not_tried(preview.refused))
        return preview.sha

    async def _stop_trying(self) -> TakenBack:
        return TakenBack(found=await self.clean_up())

    async def clean_up(self) -> bool:
        """Stop what still runs, and remove all that was made for trials; whether there was any."""
        tried = await self.work.scheduler.clear()
        if tried or self._preview_made:
            await remove_hidden_refs(
                self.run,
                self.github.git,
                incident=self.work.case.incident,
                repository_id=self.work.trigger.repository.id,
            )
            self._preview_made = False
            return True
        return False

    # 3. On culprit found: open fix PR referencing incident; include spec report.

    async def _compute(self, culprit: str) -> Clean | RevertConflict | Empty:
        work = self.work

        async def compute(_: bool) -> Computed:
            change, mirror = reverting(work, culprit), work.parts.mirror
            return Computed(await on_newest(change, mirror, work.case.base))

        return (await self.run.step(Step.COMPUTE_FIX, Computed, compute)).root

    async def _propose(
        self, range_search: RangeSearch, verification: Verification, outcome: Clean | RevertConflict
    ) -> Ending:
        work = self.work
        culprit = work.case.offenders[0]
        work.happened(await self.run.now(), f"culprit found: {culprit.sha[:12]}")
        await work.tell(status_messages.proposing())
        proposal = await fix(work, verification, outcome)
        try:
            published = await proposal.open()
        except StepFailed as failed:
            # What was searched for so long is told all the same.
            found = words.found_all_the_same(work.case, range_search.finding, str(failed))
            raise StepFailed(failed.step, found) from failed
        if culprit.number is not None:
            body = words.culprit_comment(work.case, range_search.finding, verification)
            await work.publisher.comment(Step.COMMENT_ON_CULPRIT, culprit.number, "culprit", body)
        return await followed_to_its_end(work, await proposal.follow(published))

    async def _nobody(self, range_search: RangeSearch) -> Ending:
        """The search is sure that there is no culprit in this range."""
        work, finding = self.work, range_search.finding
        if finding.status == "no_culprit":
            return await ended(work, status_messages.nobody(work.case, finding), "no culprit")
        if work.plan.good is None:
            return await ended(work, status_messages.nothing_older(work.case), "no good end")
        return await ended(work, status_messages.older(work.case, finding), "before the range")


def _not_made(why: str) -> Verification:
    return Verification(boundary="not made", revert="not made", note=why)
