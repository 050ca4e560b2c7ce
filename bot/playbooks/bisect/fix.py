"""The fix pull request: the culprit reverted on the branch, with ADR, report and spec report.

Step 3 of the specification. It is followed like any hotfix, but only a person has it merged.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

from pydantic import Field, RootModel

from bot import markdown
from bot.git.mirror import Mirror
from bot.git.reverting import Clean, Conflict, Empty, compute_revert
from bot.github.models import MergeMethod, PullRequest
from bot.playbooks import hotfix as hotfixes
from bot.playbooks.bisect import text as words
from bot.playbooks.bisect.records import spec_report
from bot.playbooks.bisect.work import BisectWork
from bot.playbooks.checks import Counting, Tally, which_count
from bot.playbooks.follow import Fitted, Followed, Watched, follow
from bot.playbooks.hotfix import Hotfix, RecordFile
from bot.playbooks.looking import required
from bot.playbooks.merging import APPROVABLE, Ask, View, Wait, Why
from bot.playbooks.revert import standings as standings
from bot.playbooks.standing import Standing
from bot.records.artifacts import canonical_bytes
from bot.records.bisect_report import Finding, Verification
from bot.records.spec_report import SPEC_REPORT_PATH, SpecReport
from bot.triggers import Actor, Value


class Computed(RootModel[Annotated[Clean | Conflict | Empty, Field(discriminator="status")]]):
    """What reverting the culprit gives, as one storable type."""


class _Refitted(Value):
    """The fix on the moved base; None where nothing is left to revert."""

    hotfix: Hotfix | None
    conflict: Conflict | None = None


async def compute_fix(
    mirror: Mirror, culprit: str, onto: str, keep_paths: tuple[str, ...]
) -> Clean | Conflict | Empty:
    """Compute the revert of the culprit on a commit; record files stay as they are there."""
    return await mirror.read(
        lambda git: compute_revert(git, [culprit], onto, keep_paths=keep_paths)
    )


class Fix:
    """Proposes the revert of one culprit, and is what `follow` asks of its playbook."""

    def __init__(
        self,
        work: BisectWork,
        finding: Finding,
        verification: Verification,
        outcome: Clean | Conflict,
    ) -> None:
        """Prepare.

        Args:
            work: the bisect.
            finding: what the search concluded.
            verification: the fresh runs.
            outcome: the revert on the head of the base branch.
        """
        self.work = work
        self.run = work.run
        self.github = work.github
        self.culprit = work.case.offenders[0].sha
        self.spec: SpecReport | None = None
        self._finding = finding
        self._verification = verification
        self._outcome = outcome
        self._conflict = outcome if isinstance(outcome, Conflict) else None
        self._files: tuple[RecordFile, ...] = ()
        self._approval: tuple[Why, str] | None = None

    async def propose(self) -> Hotfix:
        """Publish the fix with its records, and open its pull request."""
        work, run = self.work, self.run
        await self._see_which_checks_count()
        self._files = self._record_files()
        hotfix = await run.step("publish the fix", Hotfix, partial(self._publish, None, None))
        work.happened(
            await run.now(), "fix published", f"{work.parts.web_url}/commit/{hotfix.commit}"
        )
        self.spec = self._spec(None, hotfix)
        pull = await run.step("open the fix pull request", PullRequest, self._open)
        work.know(pull_request=pull.number)
        self.spec = self._spec(None, hotfix)
        work.happened(await run.now(), "fix pull request opened", pull.html_url)
        await self._note("fix.opened", hotfix)
        return hotfix

    async def follow(self, hotfix: Hotfix) -> Followed:
        """See it through until it is merged or closed; a person decides."""
        work, config = self.work, self.work.plan.config
        method = config.revert.merge_method
        watched = Watched(
            pull_request=work.case.pull_request or 0,
            hotfix=hotfix,
            counting=work.counting,
            before=work.case.good or work.plan.bad,
            preferred=MergeMethod(method) if method else None,
            checks_may_take=timedelta(minutes=config.checks.timeout_minutes),
            conflict=self._conflict is not None,
            evals_wanted=False,
            person_wanted=True,
        )
        return await follow(self.run, self, self.github, watched, work.parts.patience)

    # --- what `follow` asks for ---

    async def tell(self, move: Wait | Ask, view: View, deadline: datetime) -> None:
        """Say where the fix stands; ask the requester once for each thing needed."""
        asked = (move.why, view.head) if isinstance(move, Ask) else None
        await self._settle_approval(asked if asked and asked[0] in APPROVABLE else None)
        case = self.work.case
        standing = standings.standing_for(move, view, case, deadline, self._conflict)
        self.spec = self._spec(view.tally, None, head=view.head)
        await self.say(standing)
        if isinstance(move, Ask):
            await self.work.voice.ask(self.work.case, standing, move.why)

    async def say(self, standing: Standing) -> None:
        """Make every place say the same, the description with its table included."""
        if self.spec is not None:
            self.work.section = words.fix_section(
                self.work.case, standing, self._finding, self._verification, self.spec
            )
        await self.work.tell(standing)

    async def green(self, view: View) -> None:
        """Say that it is verified, before it is merged."""
        await self._settle_approval(None)
        self.spec = self._spec(view.tally, None, head=view.head)
        await self.say(standings.green(self.work.case, view.tally))

    async def approved(self, why: Why, head: str, by: Actor) -> None:
        """Write down who waved what through."""
        await self.work.casebook.approved(why, head, by.login)
        self._approval = None
        self.work.happened(await self.run.now(), f"{why}: approved by {by.login}")

    def start_over(self) -> None:
        """Be ready to ask again what was asked before."""
        self.work.voice.start_over()

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""
        title, _, body = words.commit_message(self.work.case, [self.culprit]).partition("\n\n")
        return title, body

    async def refit(self, hotfix: Hotfix, view: View) -> Fitted:
        """Compute the revert on the base's new head; its own spec report wins over another's."""
        if view.base_ref and view.base_ref != self.work.case.base:
            self.work.know(base=view.base_ref)

        async def compute(look_first: bool) -> _Refitted:
            return await self._refit(hotfix, view, look_first)

        found = await self.run.step("fit the fix to the moved base", _Refitted, compute)
        self._conflict = found.conflict or self._conflict
        if found.hotfix is not None and found.hotfix.commit != hotfix.commit:
            await self._note("fix.recomputed", found.hotfix)
        return Fitted(hotfix=found.hotfix, conflict=found.conflict is not None)

    async def _refit(self, hotfix: Hotfix, view: View, look_first: bool) -> _Refitted:
        mirror = self.work.parts.mirror
        await mirror.refresh()
        head = await mirror.branch_head(self.work.case.base)
        keep = self.work.plan.config.record_paths
        outcome = await compute_fix(mirror, self.culprit, head, keep)
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

    # --- pieces ---

    async def _see_which_checks_count(self) -> None:
        """The configured or required checks and, first of all, the one that is broken."""
        work = self.work

        async def count(_: bool) -> Counting:
            plan, github = work.plan, self.github
            rules = await github.rules.for_branch(plan.base, plan.facts)
            before = await github.checks.results(work.case.good or plan.bad)
            ours = (await github.app()).id
            others = [result for result in before if result.app_id != ours]
            return which_count(plan.config.checks, await required(github, rules), others)

        counting = await self.run.step("see which checks count", Counting, count)
        check = work.plan.check
        if check is not None and check not in counting.names:
            counting = counting.model_copy(update={"smoke": (check, *counting.smoke)})
        work.counting = counting

    async def _publish(
        self, outcome: Clean | Conflict | None, onto_hotfix: str | None, look_first: bool
    ) -> Hotfix:
        work, outcome = self.work, outcome or self._outcome
        return await hotfixes.publish(
            outcome,
            self._files,
            mirror=work.parts.mirror,
            git_data=self.github.git,
            branch=work.case.branch,
            message=words.commit_message(work.case, [self.culprit]),
            key=f"{work.case.incident}/{outcome.onto[:12]}",
            onto_hotfix=onto_hotfix,
            look_first=look_first,
        )

    async def _open(self, look_first: bool) -> PullRequest:
        case = self.work.case
        standing = words.proposing()
        if self._conflict is not None:
            standing = standings.conflicted(case, self._conflict)
        section = ""
        if self.spec is not None:
            section = words.fix_section(
                case, standing, self._finding, self._verification, self.spec
            )
        doubtful = self._verification.revert == "refuted"
        return await self.github.pulls.ensure_pull_request(
            head=case.branch,
            base=case.base,
            title=words.fix_title(case),
            body=markdown.with_section("", "status", section),
            draft=self._conflict is not None or doubtful,
            look_first=look_first,
        )

    async def _note(self, action: str, hotfix: Hotfix) -> None:
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
                "culprit": self.culprit,
            },
        )

    async def _settle_approval(self, wanted: tuple[Why, str] | None) -> None:
        """Keep the records in step with what has to be approved now, if anything."""
        if wanted == self._approval:
            return
        if self._approval is not None:
            await self.work.casebook.need_no_approval(*self._approval)
        if wanted is not None:
            await self.work.casebook.wait_for_approval(*wanted)
        self._approval = wanted

    def _spec(
        self, tally: Tally | None, hotfix: Hotfix | None, *, head: str | None = None
    ) -> SpecReport:
        work = self.work
        return spec_report(
            work.case,
            work.trigger,
            self._verification,
            work.lab.table,
            work.counting,
            tally,
            run=self.run.id,
            seed=work.seed or "0",
            base_head=hotfix.base_head if hotfix else self._outcome.onto,
            head=hotfix.commit if hotfix else head,
        )

    def _record_files(self) -> tuple[RecordFile, ...]:
        spec = self._spec(None, None)
        written = canonical_bytes(spec).decode()
        pending = self.work.pending().model_copy(update={"spec": spec})
        return (
            *self.work.record_files(pending),
            RecordFile(path=SPEC_REPORT_PATH, content=written),
        )
