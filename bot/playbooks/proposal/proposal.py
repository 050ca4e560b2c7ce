"""A proposal: one computed change with its records, as a pull request followed to its end.

The playbook says what is changed and in which words; publishing, opening, fitting it to a moved
base, asking for approvals and merging are alike for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bot import markdown
from bot.git.reverting import Clean, Conflict, Empty
from bot.github.models import MergeMethod, PullRequest
from bot.playbooks.incidents.opening import Refs
from bot.playbooks.incidents.record_files import RecordFile
from bot.playbooks.proposal import hotfix as hotfixes
from bot.playbooks.proposal import standings
from bot.playbooks.proposal.computed import Change, on_newest
from bot.playbooks.proposal.follow import Fitted, Followed, Watched, follow
from bot.playbooks.proposal.founder import AskedPlan, founder_decides, founders_plan
from bot.playbooks.proposal.hotfix import Hotfix
from bot.playbooks.proposal.merging import APPROVABLE, Ask, View, Wait, Why
from bot.playbooks.undo.undoing import TakenBack, Undoer
from bot.playbooks.words.standing import Standing
from bot.playbooks.work import Work
from bot.triggers import Actor, Value


@dataclass(frozen=True)
class Terms:
    """What is proposed, and who decides about it.

    Attributes:
        title: the pull request's title (plain text).
        message: the commit's message; its first line is also the merge's title.
        files: the record files committed with the change.
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
    starting: Standing
    evals_wanted: bool = False
    person_wanted: bool = False
    irreversible: tuple[str, ...] = ()
    doubtful: bool = False
    refs: Refs = field(default_factory=dict)


class _Refitted(Value):
    """The proposal on the moved base; None where nothing is left to change."""

    hotfix: Hotfix | None
    conflict: Conflict | None = None


class Proposal:
    """Proposes one change, and is what `follow` asks of its playbook."""

    def __init__(
        self, work: Work[Any, Any], change: Change, outcome: Clean | Conflict, terms: Terms
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
        self._change = change
        self._outcome = outcome
        self._base = outcome.onto
        self._terms = terms
        self._conflict = outcome if isinstance(outcome, Conflict) else None
        self._approval: tuple[Why, str] | None = None
        work.undoers.extend(undoers_of(work))

    async def open(self) -> Hotfix:
        """Publish the change with its records, and open its pull request."""
        work, run = self.work, self.run
        publish = partial(self._publish, self._outcome, None)
        hotfix = await run.step(f"publish the {self._name}", Hotfix, publish)
        work.happened(
            await run.now(),
            f"{self._name} published",
            f"{work.parts.web_url}/commit/{hotfix.commit}",
        )
        work.observe(base=hotfix.base_head, head=hotfix.commit, tally=None)
        opening = f"open the {self._name} pull request"
        pull = await run.step(opening, PullRequest, self._open_pull_request)
        work.know(pull_request=pull.number)
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
            evals_wanted=self._terms.evals_wanted,
            person_wanted=self._terms.person_wanted,
            irreversible=self._terms.irreversible,
        )
        return await follow(self.run, self, self.github, watched, work.parts.patience)

    # --- what `follow` asks for ---

    async def tell(self, move: Wait | Ask, view: View, deadline: datetime) -> None:
        """Say where it stands; ask the requester once for each thing needed."""
        work = self.work
        asked = (move.why, view.head) if isinstance(move, Ask) else None
        await self._settle_approval(asked if asked and asked[0] in APPROVABLE else None)
        self._observe(view)
        if isinstance(move, Ask) and move.why == "not cured":
            await work.not_cured(move.names, bad=self._outcome.onto)
        if isinstance(move, Ask) and (plan := self._for_the_founder((move.why, view.head))):
            standing = founder_decides(work.case, plan, view.tally)
        else:
            standing = standings.standing_for(move, view, work.case, deadline, self._conflict)
        await work.tell(standing, view.head)
        if isinstance(move, Ask):
            await work.voice.ask(work.case, standing, move.why)

    async def green(self, view: View) -> None:
        """Say on the proposal itself that it is verified, before it is merged."""
        await self._settle_approval(None)
        self._observe(view)
        await self.work.verified(standings.green(self.work.case, view.tally), view.head)

    async def approved(self, why: Why, head: str, by: Actor) -> None:
        """Write down who waved what through."""
        await self.work.casebook.approved(why, head, by.login)
        self._approval = None
        self.work.happened(await self.run.now(), f"{why}: approved by {by.login}")

    def start_over(self) -> None:
        """Be ready to ask again what was asked before."""
        self.work.voice.start_over()
        # A request that has expired is made anew.
        self._approval = None

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""
        title, _, body = self._terms.message.partition("\n\n")
        return title, body

    async def refit(self, hotfix: Hotfix, view: View) -> Fitted:
        """Compute the change on the base's new head; publish only what merging would not give."""
        if view.base_ref and view.base_ref != self.work.case.base:
            self.work.know(base=view.base_ref)

        async def compute(look_first: bool) -> _Refitted:
            return await self._refit(hotfix, view, look_first)

        name = f"fit the {self._name} to the moved base"
        found = await self.run.step(name, _Refitted, compute)
        self._conflict = found.conflict or self._conflict
        if found.hotfix is not None:
            self._base = found.hotfix.base_head
            if found.hotfix.commit != hotfix.commit:
                await self._note("recomputed", found.hotfix)
        return Fitted(hotfix=found.hotfix, conflict=found.conflict is not None)

    # --- pieces ---

    async def _publish(
        self, outcome: Clean | Conflict, onto_hotfix: str | None, look_first: bool
    ) -> Hotfix:
        case = self.work.case
        await self._change.have(outcome)
        return await hotfixes.publish(
            outcome,
            self._terms.files,
            mirror=self.work.parts.mirror,
            git_data=self.github.git,
            branch=case.branch,
            message=self._terms.message,
            key=f"{case.incident}/{outcome.onto[:12]}",
            onto_hotfix=onto_hotfix,
            look_first=look_first,
        )

    async def _open_pull_request(self, look_first: bool) -> PullRequest:
        case, standing = self.work.case, self._terms.starting
        if self._conflict is not None:
            standing = standings.conflicted(case, self._conflict)
        return await self.github.pulls.ensure_pull_request(
            head=case.branch,
            base=case.base,
            title=self._terms.title,
            body=markdown.with_section("", "status", self.work.section(standing)),
            draft=self._conflict is not None or self._terms.doubtful,
            look_first=look_first,
        )

    async def _refit(self, hotfix: Hotfix, view: View, look_first: bool) -> _Refitted:
        mirror = self.work.parts.mirror
        outcome = await on_newest(self._change, mirror, self.work.case.base)
        if isinstance(outcome, Empty):
            return _Refitted(hotfix=None)
        as_it_is = hotfix.model_copy(update={"base_head": outcome.onto})
        if isinstance(outcome, Conflict):
            return _Refitted(hotfix=as_it_is, conflict=outcome)
        if not view.up_to_date_required and await hotfixes.merging_gives(
            mirror, hotfix, outcome, self._terms.files
        ):
            return _Refitted(hotfix=as_it_is)
        return _Refitted(hotfix=await self._publish(outcome, hotfix.commit, look_first))

    async def _note(self, what: str, hotfix: Hotfix) -> None:
        case = self.work.case
        await self.work.casebook.hotfix(
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

    def _for_the_founder(self, wanted: tuple[Why, str]) -> AskedPlan | None:
        if wanted[0] != "founder":
            return None
        hours = self.work.plan.config.founder.approval_hours
        return founders_plan(
            self.work.case, wanted[1], self._terms.irreversible, timedelta(hours=hours)
        )

    def _observe(self, view: View) -> None:
        self.work.observe(base=self._base, head=view.head, tally=view.tally)

    async def _settle_approval(self, wanted: tuple[Why, str] | None) -> None:
        """Keep the records in step with what has to be approved now, if anything."""
        if wanted == self._approval:
            return
        if self._approval is not None:
            await self.work.casebook.need_no_approval(*self._approval)
        if wanted is not None:
            await self.work.casebook.wait_for_approval(*wanted, self._for_the_founder(wanted))
        self._approval = wanted


def undoers_of(work: Work[Any, Any]) -> tuple[Undoer, Undoer]:
    """How a proposal is taken back: its pull request is closed, its branch deleted."""
    name = work.case.proposal

    # What is gone when it is looked for again was taken back by the attempt before.

    async def close(again: bool) -> TakenBack:
        case = work.case
        closed = await hotfixes.close(work.github, case.branch, case.pull_request)
        return TakenBack(found=closed.any or again, merged=closed.merged)

    async def delete(again: bool) -> TakenBack:
        found = await hotfixes.delete_branch(work.github, work.case.branch)
        return TakenBack(found=found or again)

    opening, publishing = f"open the {name} pull request", f"publish the {name}"

    async def undo_opening() -> TakenBack:
        return await work.run.step(f"undo: {opening}", TakenBack, close)

    async def undo_publishing() -> TakenBack:
        return await work.run.step(f"undo: {publishing}", TakenBack, delete)

    return (
        Undoer(
            of=(publishing, f"fit the {name} to the moved base"),
            act=undo_publishing,
            by_hand=lambda: f"delete the branch {markdown.code(work.case.branch)}",
        ),
        Undoer(
            of=(opening,),
            act=undo_opening,
            by_hand=lambda: f"close the pull request of {markdown.code(work.case.branch)}",
        ),
    )


async def take_earlier_attempts_back(work: Work[Any, Any]) -> None:
    """Close what an earlier attempt at this incident left open."""
    earlier = work.earlier_branches
    if not earlier:
        return

    async def undo(_: bool) -> bool:
        for branch in earlier:
            await hotfixes.take_back(work.github, branch)
        return True

    await work.run.step("take earlier attempts back", bool, undo)
