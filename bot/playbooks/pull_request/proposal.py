"""A proposal: one computed change with its records, as a pull request followed to its end.

The playbook says what is changed and in which words; publishing, opening, fitting it to a moved
base, asking for approvals and merging are alike for all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import dropwhile
from typing import Any

from bot import markdown
from bot.git.revert import Clean, Empty, RevertConflict
from bot.github.errors import (
    BranchExists,
    BranchMoved,
    Forbidden,
    NotFound,
    Unprocessable,
    in_words,
    is_by_ruleset,
)
from bot.github.markers import BODY_LIMIT
from bot.github.models import MergeMethod, PullRequest
from bot.playbooks.incident.branches import flat, folder_of
from bot.playbooks.incident.context import Refs
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.record_files import RecordFile
from bot.playbooks.pull_request import publish as hotfixes
from bot.playbooks.pull_request import status_messages
from bot.playbooks.pull_request.approval import (
    AskedPlan,
    founder_decides,
    founders_plan,
    others_pushed,
    plan_of_others,
)
from bot.playbooks.pull_request.decide import APPROVABLE, AskPerson, Why
from bot.playbooks.pull_request.messages import how_long
from bot.playbooks.pull_request.ownership import (
    SHOWN,
    Foreign,
    HeadMoves,
    read_foreign,
    touched_for_good,
)
from bot.playbooks.pull_request.publish import ComputedChange, Hotfix, on_newest
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.pull_request.watch import Fitted, Followed, Watched, follow
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.run import NotAllowed, Signal, Wait, attempt
from bot.playbooks.steps import Patch, Step, steps_of
from bot.playbooks.undo import TakenBack, Undoer
from bot.triggers import Actor, Value

ACTION_REQUIRED = "Action required"
"""Begins the title of a proposal that is not ready, where it cannot be shown as a draft."""


@dataclass(frozen=True)
class ProposalTerms:
    """What is proposed, and who decides about it.

    Attributes:
        title: the pull request's title (plain text).
        message: the commit's message; its first line is also the merge's title.
        files: the record files committed with the change; its branch is named in them as the case
            has it so far.
        before: the last commit of the base branch before the incident.
        starting: what its description says until there is more to say.
        evals_wanted: whether a person has to agree where no evals are configured.
        person_wanted: whether a person decides about the merge, however green it is.
        irreversible: paths of the change that cannot be undone: a Founder decides.
        doubtful: whether it is opened as a draft although the change applies.
        refs: what the audit entry names besides.
    """

    title: str
    message: str
    files: tuple[RecordFile, ...]
    before: str
    starting: StatusMessage
    evals_wanted: bool = False
    person_wanted: bool = False
    irreversible: tuple[str, ...] = ()
    doubtful: bool = False
    refs: Refs = field(default_factory=dict)


class _Refitted(Value):
    """The proposal on the moved base; None where nothing is left to change."""

    hotfix: Hotfix | None
    conflict: RevertConflict | None = None
    refused: str = ""
    """Why its branch can neither be moved nor replaced."""


class Proposal:
    """Proposes one change, and is what `follow` asks of its playbook."""

    def __init__(
        self,
        work: ProposalWorkflow[Any, Any],
        change: ComputedChange,
        outcome: Clean | RevertConflict,
        terms: ProposalTerms,
    ) -> None:
        """Prepare.

        Args:
            work: the incident.
            change: what is changed.
            outcome: the change computed on the head of the base branch.
            terms: what is proposed.
        """
        self.work = work
        self.run = work.run
        self.github = work.github
        self._name = work.case.proposal
        self._first_branch = work.case.branch
        self._steps = steps_of(work.case.proposal)
        self._change = change
        self._outcome = outcome
        self._base = outcome.onto
        self._terms = terms
        self._files = terms.files
        self._conflict = outcome if isinstance(outcome, RevertConflict) else None
        self._approval: tuple[Why, str] | None = None
        self._asked_plan: str | None = None
        work.undoers.extend(undoers_of(work))

    async def open(self) -> Hotfix:
        """Publish the change with its records, and open its pull request."""
        work, run = self.work, self.run
        hotfix = await run.step(self._steps.publish, Hotfix, self._publish_first)
        self._files = _on_branch(self._files, work.case.branch, hotfix.branch)
        work.case = work.case.model_copy(update={"branch": hotfix.branch})
        work.happened(
            await run.now(),
            f"{self._name} published",
            f"{work.parts.web_url}/commit/{hotfix.commit}",
        )
        work.observe(base=hotfix.base_head, head=hotfix.commit, tally=None)
        pull = await run.step(
            self._steps.open, PullRequest, partial(self._open_pull_request, hotfix.commit)
        )
        drafts = pull.draft or not (self._conflict or self._terms.doubtful)
        work.case = work.case.model_copy(update={"pull_request": pull.number, "has_drafts": drafts})
        work.happened(await run.now(), f"{self._name} pull request opened", pull.html_url)
        await self._note("opened", hotfix)
        return hotfix

    async def follow(self, hotfix: Hotfix) -> Followed:
        """See it through until it is merged, closed or given up."""
        work, config = self.work, self.work.plan.config
        method = config.revert.merge_method
        watched = Watched(
            pull_request=work.case.pull_request or 0,
            hotfix=hotfix,
            counting=work.counting,
            before=self._terms.before,
            preferred=MergeMethod(method) if method else None,
            checks_may_take=timedelta(minutes=config.checks.timeout_minutes),
            conflict=self._conflict is not None,
            drafts=work.case.has_drafts,
            evals_wanted=self._terms.evals_wanted,
            person_wanted=self._terms.person_wanted,
            irreversible=self._terms.irreversible,
            offenders=tuple(each.number for each in work.case.offenders if each.number),
        )
        parts = work.parts
        return await follow(self.run, self, self.github, parts.mirror, watched, parts.patience)

    # --- what `follow` asks for ---

    async def tell(
        self,
        move: Wait | AskPerson,
        view: PullRequestSnapshot,
        deadline: datetime,
        now: datetime,
    ) -> None:
        """Say where it stands; ask the requester once for each thing needed."""
        work = self.work
        if self.run.patched(Patch.BOUND_TO_BASE) and view.base_ref:
            # Where it goes is anybody's to change who may write here.
            work.case = work.case.model_copy(update={"base": view.base_ref})
        asked = (move.why, view.head) if isinstance(move, AskPerson) else None
        plan = self._plan_asked(move, view) if isinstance(move, AskPerson) else None
        await self._settle_approval(asked if asked and asked[0] in APPROVABLE else None, plan)
        self._observe(view)
        if isinstance(move, AskPerson) and move.why == "not cured":
            await work.not_cured(move.names, bad=self._outcome.onto)
        if plan is not None and isinstance(move, AskPerson) and move.why == "foreign":
            standing = others_pushed(work.case, plan, view)
        elif plan is not None:
            standing = founder_decides(work.case, plan, view.tally)
        else:
            outlook = how_long(view.tally, work.counting.took, work.case.base, now)
            standing = status_messages.standing_for(
                move, view, work.case, deadline, self._conflict, outlook
            )
        await work.tell(standing, view.head)
        if isinstance(move, AskPerson):
            # Each commit of somebody else's is a question of its own.
            named = f"{move.why} {view.head[:SHOWN]}" if move.why == "foreign" else move.why
            await work.publisher.ask(work.case, standing, named)

    async def green(self, view: PullRequestSnapshot) -> None:
        """Say on the proposal itself that it is verified, before it is merged."""
        await self._settle_approval(None)
        self._observe(view)
        standing = status_messages.green(self.work.case, view.tally)
        await self.work.verified(standing, view.head, is_awaited=view.waits_for_us)

    async def approved(self, why: Why, head: str, by: Actor, names: tuple[str, ...] = ()) -> None:
        """Write down who waved what through."""
        await self.work.recorder.approved(why, head, by.login, names)
        self._approval = None
        what = f"{why} ({', '.join(names)})" if names else why
        self.work.happened(await self.run.now(), f"{what}: approved by {by.login}")

    async def whose(self, number: int, head: str) -> Foreign:
        """Read who made the head of our pull request, and what it touches for good."""
        pull = await self.github.pulls.get(number)
        if pull.head.sha != head:
            raise HeadMoves(f"#{number} is being pushed to")
        # Where we made it after all, it is another than the one that we published last.
        found = await read_foreign(self.github, pull) or Foreign(head=head)
        written = {each.path: each.content for each in self._files}
        config = self.work.plan.config
        touched = await touched_for_good(self.github, number, config, written)
        return found.model_copy(update={"irreversible": touched})

    def note_joined(self, signals: Sequence[Signal]) -> None:
        """Take notice of who asked for the same meanwhile."""
        self.work.note_joined(signals)

    def start_over(self) -> None:
        """Be ready to ask again what was asked before."""
        self.work.publisher.start_over()
        # A request that has expired is made again.
        self._approval = None

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""
        title, _, body = self._terms.message.partition("\n\n")
        return title, body

    async def refit(self, hotfix: Hotfix, view: PullRequestSnapshot) -> Fitted:
        """Compute the change on the base's new head; publish only what merging would not give."""
        if view.base_ref and view.base_ref != self.work.case.base:
            self.work.case = self.work.case.model_copy(update={"base": view.base_ref})

        async def compute(look_first: bool) -> _Refitted:
            return await self._refit(hotfix, view, look_first)

        found = await self.run.step(self._steps.refit, _Refitted, compute)
        lasts = None if self.run.patched(Patch.PASSING_CONFLICTS) else self._conflict
        self._conflict = found.conflict or lasts
        if found.hotfix is not None:
            self._base = found.hotfix.base_head
            if found.hotfix.branch != hotfix.branch:
                await self._take_its_place(hotfix, found.hotfix)
            if found.hotfix.commit != hotfix.commit:
                await self._note("recomputed", found.hotfix)
        return Fitted(
            hotfix=found.hotfix,
            conflict=found.conflict is not None,
            pull_request=self.work.case.pull_request or 0,
            refused=found.refused,
        )

    # --- pieces ---

    async def _publish_first(self, look_first: bool) -> Hotfix:
        """Publish under the first name that is free or ours already; nothing else is touched."""
        naming, wanted = self.work.naming, self.work.case.branch
        if look_first:
            there = await hotfixes.branches_of(self.github, naming)
            ours = [name for name, made_by in there.items() if made_by == naming.attempt]
            if ours:
                return await self._publish(self._outcome, None, ours[0], look_first)
        names, taken = [*naming.names(wanted)], BranchExists(f"{wanted} belongs to somebody else.")
        while names:
            name = names.pop(0)
            try:
                return await self._publish(self._outcome, None, name, look_first)
            except BranchExists as exists:
                taken = exists
            except Unprocessable:
                # GitHub does not say that a branch called as the folder is in the way.
                if not await self._is_in_the_way(name):
                    raise
                names = [flat(each) for each in (name, *names)]
        raise taken

    async def _publish(
        self,
        outcome: Clean | RevertConflict,
        onto_hotfix: str | None,
        branch: str,
        look_first: bool,
    ) -> Hotfix:
        await self._change.have(outcome)
        try:
            return await hotfixes.publish(
                outcome,
                _on_branch(self._files, self.work.case.branch, branch),
                mirror=self.work.parts.mirror,
                have=partial(self._change.have, outcome),
                git_data=self.github.git,
                branch=branch,
                message=self._terms.message,
                key=self.work.naming.key(outcome.onto),
                onto_hotfix=onto_hotfix,
                look_first=look_first,
            )
        except (Forbidden, Unprocessable) as refusal:
            if not is_by_ruleset(refusal) or await self._is_in_the_way(branch):
                raise
            why = f"GitHub refuses the branch {branch}: {in_words(refusal)}."
            raise NotAllowed(why) from refusal

    async def _is_in_the_way(self, branch: str) -> bool:
        """Whether a branch is called as the folder of this one, so that git cannot have both."""
        folder = folder_of(branch)
        return folder != branch and await self.github.git.branch(folder) is not None

    async def _open_pull_request(self, commit: str, look_first: bool) -> PullRequest:
        case, standing = self.work.case, self._terms.starting
        if self._conflict is not None:
            standing = status_messages.conflicted(case, self._conflict)
        return await self.github.pulls.ensure_pull_request(
            head=case.branch,
            base=case.base,
            title=self._terms.title,
            title_without_draft=f"{ACTION_REQUIRED}: {self._terms.title}",
            body=markdown.with_section("", "status", self.work.section(standing), limit=BODY_LIMIT),
            draft=self._conflict is not None or self._terms.doubtful,
            commit=commit,
            look_first=look_first,
        )

    async def _refit(
        self, hotfix: Hotfix, view: PullRequestSnapshot, look_first: bool
    ) -> _Refitted:
        mirror = self.work.parts.mirror
        outcome = await on_newest(self._change, mirror, self.work.case.base)
        if isinstance(outcome, Empty):
            return _Refitted(hotfix=None)
        as_it_is = hotfix.model_copy(update={"base_head": outcome.onto})
        if isinstance(outcome, RevertConflict):
            return _Refitted(hotfix=as_it_is, conflict=outcome)
        merging_gives_it = await hotfixes.merging_gives(
            mirror, partial(self._change.have, outcome), hotfix, outcome, self._files
        )
        if merging_gives_it and not view.up_to_date_required:
            return _Refitted(hotfix=as_it_is)
        if view.methods == ("rebase",) and not merging_gives_it:
            # Computed again it would hold a merge, of which GitHub makes no such rebase.
            return await self._beside(hotfix, outcome, look_first)
        try:
            fitted = await self._publish(outcome, hotfix.commit, hotfix.branch, look_first)
        except BranchMoved:
            # By somebody, just now: the next look sees what is there.
            return _Refitted(hotfix=hotfix, conflict=self._conflict)
        except NotAllowed:
            return await self._beside(hotfix, outcome, look_first)
        if self._conflict is not None and not self._terms.doubtful:
            await self._no_longer_in_conflict()
        return _Refitted(hotfix=fitted)

    async def _beside(self, hotfix: Hotfix, outcome: Clean, look_first: bool) -> _Refitted:
        """Publish it on a branch of its own, where that of before cannot be moved."""
        names = [*self.work.naming.names(self._first_branch)]
        if "/" not in hotfix.branch:
            names = [flat(each) for each in names]
        why = "No name is free for another branch."
        for name in [*dropwhile(lambda each: each != hotfix.branch, names)][1:]:
            try:
                return _Refitted(hotfix=await self._publish(outcome, None, name, look_first))
            except BranchExists:
                continue
            except NotAllowed as refusal:
                why = str(refusal)
                break
        return _Refitted(hotfix=hotfix, conflict=self._conflict, refused=why)

    async def _take_its_place(self, before: Hotfix, hotfix: Hotfix) -> None:
        """Open the pull request of a proposal that was published beside another, and end that."""
        work, old = self.work, self.work.case.pull_request or 0
        self._files = _on_branch(self._files, before.branch, hotfix.branch)
        work.case = work.case.model_copy(update={"branch": hotfix.branch})
        opening = partial(self._open_pull_request, hotfix.commit)
        pull = await self.run.step(self._steps.open, PullRequest, opening)
        work.case = work.case.model_copy(update={"pull_request": pull.number})
        work.happened(await self.run.now(), f"{self._name} replaced", pull.html_url)
        said = status_messages.replaced(work.case, pull.number)

        async def end(_: bool) -> bool:
            there = await self.github.pulls.get(old)
            body = markdown.with_section(
                there.body or "", "status", work.section(said), limit=BODY_LIMIT
            )
            await self.github.pulls.update(old, body=body)
            await hotfixes.take_back(self.github, before.branch)
            return True

        what = f"close #{old} and delete its branch"
        closing = Step.CLOSE_EARLIER_ATTEMPTS
        await attempt(self.run, closing, bool, end, what=what, otherwise=False)

    async def _no_longer_in_conflict(self) -> None:
        """Take back what kept it from being merged; where GitHub refuses, a person can."""
        pull = await self.github.pulls.get(self.work.case.pull_request or 0)
        with suppress(Forbidden, NotFound, Unprocessable):
            if pull.draft:
                await self.github.pulls.mark_ready(pull)
            if pull.title.startswith(ACTION_REQUIRED):
                await self.github.pulls.update(pull.number, title=self._terms.title)

    async def _note(self, what: str, hotfix: Hotfix) -> None:
        case = self.work.case
        await self.work.recorder.hotfix(
            f"{self._name}.{what}",
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
                **self._terms.refs,
            },
        )

    def _plan_asked(self, move: AskPerson, view: PullRequestSnapshot) -> AskedPlan | None:
        """What a yes to this question is bound to, where it is bound to more than the commit."""
        until = timedelta(hours=self.work.plan.config.founder.approval_hours)
        if move.why == "foreign":
            foreign = view.foreign or Foreign(head=view.head, unknown=True)
            return plan_of_others(self.work.case, foreign, until)
        if move.why == "founder":
            return founders_plan(self.work.case, view.head, self._terms.irreversible, until)
        return None

    def _observe(self, view: PullRequestSnapshot) -> None:
        self.work.observe(base=self._base, head=view.head, tally=view.tally)

    async def _settle_approval(
        self, wanted: tuple[Why, str] | None, plan: AskedPlan | None = None
    ) -> None:
        """Keep the records in step with what has to be approved now, if anything."""
        digest = plan.digest if plan else None
        if wanted == self._approval and (wanted is None or digest == self._asked_plan):
            return
        if self._approval is not None:
            asks_again = wanted is not None
            await self.work.recorder.need_no_approval(*self._approval, asks_again=asks_again)
        if wanted is not None:
            await self.work.recorder.wait_for_approval(*wanted, plan)
        self._approval, self._asked_plan = wanted, digest


def undoers_of(work: ProposalWorkflow[Any, Any]) -> tuple[Undoer, Undoer]:
    """How a proposal is taken back: its pull request is closed, its branch deleted."""
    # What is gone when it is looked for again was taken back by the attempt before.

    async def branches() -> tuple[str, ...]:
        # Looked for, since publishing may have broken off before its name was known.
        there = await hotfixes.branches_of(work.github, work.naming)
        return tuple(name for name, made_by in there.items() if made_by == work.attempt)

    async def close(again: bool) -> TakenBack:
        known = work.case.pull_request
        # What is known needs no look at the branches, which may be what cannot be read.
        there = () if known is not None else await branches()
        closed = await hotfixes.close(work.github, there, known)
        return TakenBack(found=closed.any or again, merged=closed.merged)

    async def delete(again: bool) -> TakenBack:
        found = await branches()
        for branch in found:
            await work.github.git.delete_branch(branch)
        return TakenBack(found=bool(found) or again)

    steps = steps_of(work.case.proposal)

    async def undo_opening() -> TakenBack:
        return await work.run.step(steps.undo_open, TakenBack, close)

    async def undo_publishing() -> TakenBack:
        return await work.run.step(steps.undo_publish, TakenBack, delete)

    return (
        Undoer(
            of=(steps.publish, steps.refit),
            act=undo_publishing,
            by_hand=lambda: f"delete the branch {markdown.code(work.case.branch)}",
        ),
        Undoer(
            of=(steps.open,),
            act=undo_opening,
            by_hand=lambda: f"close the pull request of {markdown.code(work.case.branch)}",
        ),
    )


async def take_earlier_attempts_back(work: ProposalWorkflow[Any, Any]) -> None:
    """Close what an earlier attempt at this incident left open."""
    if work.attempt == 1:
        return

    async def undo(_: bool) -> bool:
        there = await hotfixes.branches_of(work.github, work.naming)
        for branch, made_by in there.items():
            if made_by < work.attempt:
                await hotfixes.take_back(work.github, branch)
        return True

    await attempt(
        work.run,
        Step.CLOSE_EARLIER_ATTEMPTS,
        bool,
        undo,
        what=f"close the {work.case.proposal} of the attempt before and delete its branch",
        otherwise=False,
    )


def _on_branch(files: Sequence[RecordFile], was: str, now: str) -> tuple[RecordFile, ...]:
    """The record files as they are for another branch than they were written for."""
    if was == now:
        return tuple(files)
    return tuple(
        file.model_copy(update={"content": file.content.replace(json.dumps(was), json.dumps(now))})
        for file in files
    )
