"""Revert (fast recovery): section 1 of the specification.

1. Open incident: write audit row with reason and PR/commit refs.
2. Revert offending PR (git revert) into hotfix branch.
3. Run preview smoke + evals; ensure green.
4. Merge hotfix; update ADR with outcome; unpause when safe.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot import markdown
from bot.git.mirror import Mirror
from bot.git.reverting import Clean, Conflict, Empty
from bot.github.client import RepositoryClient
from bot.github.models import BranchRules, MergeMethod, PullRequest
from bot.playbooks import hotfix as hotfixes
from bot.playbooks import outcome as outcomes
from bot.playbooks import revert_records as documents
from bot.playbooks import revert_text as words
from bot.playbooks.casebook import Casebook, Opened, open_incident
from bot.playbooks.checks import Counting, Tally, tally, which_count
from bot.playbooks.follow import Followed, Patience, follow
from bot.playbooks.hotfix import Hotfix, RecordFile
from bot.playbooks.merging import Ask, View, Wait
from bot.playbooks.outcome import RECORDS_BRANCH, BroughtHome
from bot.playbooks.revert_plan import Declined, Plan, Planned, make_plan, recompute
from bot.playbooks.revert_records import Result
from bot.playbooks.revert_text import Case
from bot.playbooks.revert_voice import Voice
from bot.playbooks.run import Ending, Run
from bot.playbooks.standing import Standing
from bot.playbooks.telling import Telling
from bot.records.adr import adr_path
from bot.records.artifacts import Merge, Outcome, TimelineEvent, Verdict, artifact_path
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import RevertRequest, Severity, Trigger, Value

KIND: Literal["revert"] = "revert"
UNKNOWN_SEVERITY = Severity.MEDIUM
"""A person says "revert" without saying how bad it is."""


@dataclass(frozen=True)
class Parts:
    """What a revert acts through, bound to one repository. These are all its side effects."""

    github: RepositoryClient
    mirror: Mirror
    signing_key: Ed25519PrivateKey
    web_url: str
    """The repository's page on GitHub."""
    patience: Patience


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
        return words.joined(opened.incident.issue, opened.incident.id)
    playbook = _Revert(run, trigger, plan, parts, opened)
    await playbook.announce()
    hotfix = await playbook.revert_into_hotfix_branch()
    followed = await playbook.ensure_green_and_merge(hotfix)
    return await playbook.update_records_with_outcome(followed)


class _Counted(Value):
    """Which checks decide, and what the base branch asks of a merge."""

    counting: Counting
    rules: BranchRules


class _Fitted(Value):
    """The hotfix on the moved base; None where nothing is left to revert."""

    hotfix: Hotfix | None


class _Confirmed(Value):
    """What the base branch shows after the merge."""

    same_tree: bool
    tally: Tally


class _Revert:
    """One revert under way. What it knows comes from recorded steps alone."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: Plan, parts: Parts, opened: Opened
    ) -> None:
        self.run = run
        self.trigger = trigger
        self.plan = plan
        self.parts = parts
        self.github = parts.github
        self.casebook = Casebook(run, trigger, opened, parts.signing_key)
        self.timeline: list[TimelineEvent] = []
        self.adr = ""
        identity = opened.incident.id
        telling = Telling(parts.github, identity, since=opened.incident.detected_at, run=run.id)
        self.voice = Voice(run, telling, _asked_on(trigger, plan))
        title = f"Revert {words.offenders_in_words(plan.offenders)}"
        on = opened.incident.detected_at.date()
        again = "" if opened.attempt == 1 else f"-{opened.attempt}"
        self.case = Case(
            incident=identity,
            repository=trigger.repository.full_name,
            repository_url=parts.web_url,
            requested_by=trigger.actor,
            reason=_reason(trigger),
            severity=opened.incident.severity,
            base=plan.base,
            offenders=plan.offenders,
            branch=f"hotfix/revert-{identity}{again}",
            adr=adr_path(plan.config.adr.directory, identity, title, on),
            artifact=artifact_path(plan.config.artifacts.root, KIND, identity),
            records_branch=RECORDS_BRANCH,
        )

    async def announce(self) -> None:
        """Open the incident issue and put the sticky status where people asked."""
        case, standing = self.case, words.starting(self.plan)
        counted = await self.run.step("see which checks count", _Counted, self._count)
        self.counting, self.rules = counted.counting, counted.rules
        self._happened(await self.run.now(), "incident opened")
        self._know(issue=await self.voice.open_issue(case, standing))
        await self.voice.first_status(self.case, standing)

    async def _count(self, _: bool) -> _Counted:
        rules = await self.github.branch_rules(self.plan.base)
        before = await self.github.checks.results(self.plan.before)
        ours = await self.github.app()
        counting = which_count(
            self.plan.config.checks,
            [check.name for check in rules.required_checks],
            [result for result in before if result.app_id != ours.id],
        )
        return _Counted(counting=counting, rules=rules)

    # 2. Revert offending PR (git revert) into hotfix branch.

    async def revert_into_hotfix_branch(self) -> Hotfix:
        """Publish the computed revert with its ADR and report, and open its pull request."""
        now = await self.run.now()
        self.adr = documents.decision(
            self.case, self.plan, self.counting, at=now, audit=self.casebook.anchor
        )
        hotfix = await self.run.step(
            "publish the hotfix", Hotfix, partial(self._publish, self.plan.outcome, None)
        )
        commit_url = f"{self.parts.web_url}/commit/{hotfix.commit}"
        self._happened(now, "hotfix published", commit_url)
        pull = await self.run.step(
            "open the hotfix pull request", PullRequest, self._open_pull_request
        )
        self._know(pull_request=pull.number)
        self._happened(await self.run.now(), "hotfix pull request opened", pull.html_url)
        if assignees := words.assignees(self.case):
            await self.run.step(
                "assign the requester",
                bool,
                lambda _: self._assign(pull.number, assignees),
            )
        await self._note_hotfix("hotfix.opened", hotfix)
        return hotfix

    async def _publish(
        self, outcome: Clean | Conflict, onto_hotfix: str | None, look_first: bool
    ) -> Hotfix:
        return await hotfixes.publish(
            outcome,
            self._record_files(self._pending(outcome.onto)),
            mirror=self.parts.mirror,
            git_data=self.github.git,
            branch=self.case.branch,
            message=words.commit_message(self.case, self.plan.commits),
            key=f"{self.case.incident}/{outcome.onto[:12]}",
            onto_hotfix=onto_hotfix,
            look_first=look_first,
        )

    async def _open_pull_request(self, look_first: bool) -> PullRequest:
        standing = self._conflicted() or words.starting(self.plan)
        section = words.pull_request_section(self.case, self.counting, standing)
        return await self.github.pulls.ensure_pull_request(
            head=self.case.branch,
            base=self.plan.base,
            title=words.pull_request_title(self.case),
            body=markdown.with_section("", "status", section),
            draft=isinstance(self.plan.outcome, Conflict),
            look_first=look_first,
        )

    async def _assign(self, number: int, logins: tuple[str, ...]) -> bool:
        await self.github.issues.ensure_assignees(number, logins)
        return True

    async def _note_hotfix(self, action: str, hotfix: Hotfix) -> None:
        case = self.case
        await self.casebook.hotfix(
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
        config = self.plan.config
        method = config.revert.merge_method
        return await follow(
            self.run,
            self,
            self.github,
            pull_request=self.case.pull_request or 0,
            hotfix=hotfix,
            counting=self.counting,
            preferred=MergeMethod(method) if method else None,
            waiting_time=timedelta(minutes=config.checks.timeout_minutes),
            patience=self.parts.patience,
            conflict=isinstance(self.plan.outcome, Conflict),
        )

    async def tell(self, move: Wait | Ask, view: View, deadline: datetime) -> None:
        """Say where the hotfix stands; ask the requester once for each thing needed."""
        standing = self._standing(move, view, deadline)
        await self.voice.everywhere(self.case, self.counting, standing, view.head)
        if isinstance(move, Ask):
            await self.voice.ask(self.case, standing, move.why)

    async def green(self, view: View) -> None:
        """Say on the hotfix itself that it is verified, before it is merged."""
        await self.voice.verified(self.case, words.green(view.tally), view.head)

    async def refit(self, hotfix: Hotfix, view: View) -> Hotfix | None:  # noqa: ARG002  Owner's
        """Compute the revert on the base's new head; publish only what merging would not give."""
        fitted = await self.run.step(
            "fit the hotfix to the moved base", _Fitted, partial(self._refit, hotfix)
        )
        if fitted.hotfix is not None and fitted.hotfix.commit != hotfix.commit:
            await self._note_hotfix("hotfix.recomputed", fitted.hotfix)
        return fitted.hotfix

    async def _refit(self, hotfix: Hotfix, look_first: bool) -> _Fitted:
        outcome = await recompute(self.plan, self.parts.mirror)
        if isinstance(outcome, Empty):
            return _Fitted(hotfix=None)
        as_it_is = hotfix.model_copy(update={"base_head": outcome.onto})
        if isinstance(outcome, Conflict):
            return _Fitted(hotfix=as_it_is)
        files = self._record_files(self._pending(self.plan.outcome.onto))
        if await hotfixes.merging_gives(self.parts.mirror, hotfix, outcome, files):
            return _Fitted(hotfix=as_it_is)
        return _Fitted(hotfix=await self._publish(outcome, hotfix.commit, look_first))

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""
        title, _, body = words.commit_message(self.case, self.plan.commits).partition("\n\n")
        return title, body

    def _standing(self, move: Wait | Ask, view: View, deadline: datetime) -> Standing:
        if isinstance(move, Wait):
            if view.queue == "waiting":
                return words.in_queue(view.tally)
            return words.verifying(view.tally, deadline)
        match move.why:
            case "conflict":
                return self._conflicted() or words.merge_refused("it conflicts", view.tally)
            case "red":
                return words.red(view.tally, self.case)
            case "nothing counts":
                return words.nothing_counts(self.case)
            case "timed out":
                return words.timed_out(move.names, view.tally)
            case "changed":
                return words.changed_by_others(view.tally)
            case "review":
                return words.awaiting_review(move.names, view.approvals_missing, view.tally)
            case "merge refused":
                return words.merge_refused(move.reason, view.tally)

    def _conflicted(self) -> Standing | None:
        outcome = self.plan.outcome
        return words.conflicted(self.case, outcome) if isinstance(outcome, Conflict) else None

    # 4. … update ADR with outcome.

    async def update_records_with_outcome(self, followed: Followed) -> Ending:
        """Record what came of it, bring the records home, and have the final word."""
        if followed.how != "merged" or followed.sha is None:
            return await self._stopped(followed)
        self._happened(followed.at, "hotfix merged", f"{self.parts.web_url}/commit/{followed.sha}")
        await self.casebook.move(
            "hotfix.merged",
            IncidentStatus.MITIGATED,
            refs={"commit": followed.sha, "method": followed.method},
            watch=followed.sha,
            pull_request=self.case.pull_request,
        )
        confirmed = await self._confirm(followed.sha, followed.hotfix)
        cured = confirmed.same_tree or confirmed.tally.verdict == "green"
        final_tally = followed.tally if confirmed.same_tree else confirmed.tally
        if cured:
            self._happened(await self.run.now(), "incident resolved")
            await self.casebook.move("incident.resolved", IncidentStatus.RESOLVED)
        result = Result(
            status=IncidentStatus.RESOLVED if cured else IncidentStatus.MITIGATED,
            outcome=Outcome.CONFIRMED if cured else Outcome.FAILED,
            tally=followed.tally,
            verdict=Verdict.GREEN,
            commit=followed.hotfix.commit,
            base_head=followed.hotfix.base_head,
            merge=Merge(sha=followed.sha, method=followed.method, at=followed.at),
            accepted=True,
            said=f"merged as {followed.sha[:12]}; "
            + (
                f"{self.plan.base} is what was verified."
                if cured
                else f"{self.plan.base} did not turn green."
            ),
        )
        standing = (
            words.merged(followed.sha, self.case, final_tally)
            if cured
            else words.not_cured(followed.sha, self.case, final_tally)
        )
        return await self._end(
            result, standing, followed, RunState.SUCCEEDED if cured else RunState.FAILED, home=True
        )

    async def _confirm(self, sha: str, hotfix: Hotfix) -> _Confirmed:
        """See whether the base branch is what was verified; else wait for its own checks."""
        began = await self.run.now()
        minutes = timedelta(minutes=self.plan.config.checks.timeout_minutes)
        while True:
            found = await self.run.step(
                "see what the base branch is now", _Confirmed, partial(self._look_at, sha, hotfix)
            )
            now = await self.run.now()
            waiting = found.tally.verdict == "waiting" and now - began < minutes
            if found.same_tree or not waiting:
                return found
            await self.voice.status(self.case, words.confirming(sha, self.case, found.tally))
            await self.run.wait(self.parts.patience.look_again.total_seconds())

    async def _look_at(self, sha: str, hotfix: Hotfix, _: bool) -> _Confirmed:
        commit = await self.github.git.commit(sha)
        if commit is not None and commit.tree == hotfix.tree:
            return _Confirmed(same_tree=True, tally=Tally(verdict="green", rows=()))
        results = await self.github.checks.results(sha)
        return _Confirmed(same_tree=False, tally=tally(self.counting, results))

    async def _stopped(self, followed: Followed) -> Ending:
        """End without a merge: undo what is open, and say so."""
        if followed.how in ("cancelled", "cured elsewhere"):
            await self.run.step("take the hotfix back", bool, self._take_back)
        self._happened(followed.at, f"hotfix {followed.how}")
        await self.casebook.move(f"hotfix.{followed.how}", IncidentStatus.DECLINED)
        by = followed.by or self.case.requested_by
        standing = {
            "cancelled": words.cancelled(self.case, by),
            "cured elsewhere": words.cured_elsewhere(self.case),
            "given up": words.given_up(),
        }.get(followed.how, words.closed_unmerged(self.case))
        result = Result(
            status=IncidentStatus.DECLINED,
            outcome=Outcome.FAILED,
            tally=followed.tally,
            verdict=_verdict(followed.tally),
            commit=followed.hotfix.commit,
            base_head=followed.hotfix.base_head,
            accepted=False,
            said=f"not merged: {followed.how}.",
        )
        state = RunState.TIMED_OUT if followed.how == "given up" else RunState.CANCELLED
        return await self._end(result, standing, followed, state, home=False)

    async def _take_back(self, _: bool) -> bool:
        if self.case.pull_request is not None:
            await self.github.pulls.close(self.case.pull_request)
        return await self._delete_branch(_)

    async def _delete_branch(self, _: bool) -> bool:
        await self.github.git.delete_branch(self.case.branch)
        return True

    async def _end(
        self,
        result: Result,
        standing: Standing,
        followed: Followed,
        state: RunState,
        *,
        home: bool,
    ) -> Ending:
        on = await self.run.now()
        self.adr = documents.settled(self.adr, result, on)
        self._know(audit_head=f"{self.casebook.anchor.seq}:{self.casebook.anchor.head_hash[:12]}")
        files = self._record_files(result)
        message = f"Record the outcome of incident {self.case.incident}"
        await self.run.step(
            "record the outcome",
            str,
            lambda _: outcomes.record(self.github, files, self.casebook.anchor, message),
        )
        self._know(published=True)
        if home:
            await self.run.step(
                "bring the records to the default branch",
                BroughtHome,
                lambda again: self._bring_home(files, message, again),
            )
            await self.run.step("delete the hotfix branch", bool, self._delete_branch)
        await self.voice.everywhere(self.case, self.counting, standing, followed.hotfix.commit)
        await self.voice.close_issue(self.case, standing)
        await self.voice.final_word(self.case, standing)
        digest = hashlib.sha256(files[1].content.encode()).hexdigest()
        await self.casebook.finish(state, digest)
        return Ending(outcome="succeeded" if standing.state == "done" else "stopped")

    async def _bring_home(
        self, files: tuple[RecordFile, ...], message: str, look_first: bool
    ) -> BroughtHome:
        rules = await self.github.branch_rules(self.plan.default_branch)
        return await outcomes.bring_home(
            self.github, files, message, rules=rules, look_first=look_first
        )

    # --- records ---

    def _pending(self, base_head: str) -> Result:
        return Result(status=IncidentStatus.ACTIVE, outcome=Outcome.PENDING, base_head=base_head)

    def _record_files(self, result: Result) -> tuple[RecordFile, RecordFile]:
        report = documents.report(
            self.case,
            self.plan,
            self.trigger,
            self.counting,
            result.model_copy(update={"timeline": tuple(self.timeline)}),
            run=self.run.id,
            audit=self.casebook.anchor,
        )
        return (
            RecordFile(path=self.case.adr, content=self.adr),
            RecordFile(path=self.case.artifact, content=report.decode()),
        )

    def _know(self, **facts: str | int | bool | None) -> None:
        self.case = self.case.model_copy(update=facts)

    def _happened(self, at: datetime, what: str, url: str | None = None) -> None:
        self.timeline.append(TimelineEvent(at=at, what=what, url=url))


def _asked_on(trigger: Trigger, plan: Plan) -> int | None:
    """Where people look for an answer; None where only the incident issue is left."""
    if trigger.source.subject is not None:
        return trigger.source.subject
    return next((o.number for o in plan.offenders if o.number), None)


def _reason(trigger: Trigger) -> str:
    return trigger.request.reason if isinstance(trigger.request, RevertRequest) else ""


def _verdict(result: Tally) -> Verdict:
    return {
        "green": Verdict.GREEN,
        "red": Verdict.RED,
        "waiting": Verdict.PENDING,
        "nothing counts": Verdict.NO_CHECKS,
    }[result.verdict]
