"""One bisect under way: its search, its words in their places, and its papers.

Everything here follows from recorded steps, so a replay after a crash comes to the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.git.history import describe
from bot.github.calls.checks import Button
from bot.pictures.addresses import MOST_STRETCHES
from bot.pictures.evidence import Stretch
from bot.playbooks.bisect import messages as words
from bot.playbooks.bisect import report as documents
from bot.playbooks.bisect.finding import bars, chart
from bot.playbooks.bisect.messages import BisectMessages
from bot.playbooks.bisect.plan import BisectPlan, TrialSettings
from bot.playbooks.bisect.ports import BisectGitHub, BisectResources, bisects
from bot.playbooks.bisect.runners import trial_runner_for
from bot.playbooks.bisect.search import RangeSearch
from bot.playbooks.bisect.trials import TrialScheduler
from bot.playbooks.checks.green import CheckTally
from bot.playbooks.checks.results import BISECT_CHECK
from bot.playbooks.incident import phrases
from bot.playbooks.incident.context import Opened, case_of
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.publisher import OurCheck, PublishedStatus
from bot.playbooks.incident.record_files import RecordFile
from bot.playbooks.incident.report_base import Result
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.run import Run
from bot.playbooks.steps import Patch, Step
from bot.records.documents.reports import Finding, SpecReport, Verification
from bot.triggers import Autonomy, Trigger

_BUTTONS = (
    Button("Cancel", "End this search (/cancel)", "cancel"),
    Button("Skip", "Leave out what is tried now (/skip)", "skip"),
    Button("Retry", "Go on, with a new budget (/retry)", "retry"),
)
_SUBJECTS = 10
_MANY = 4
"""From so many cancelled runs on it is not chance."""


class BisectWorkflow(ProposalWorkflow[BisectPlan, BisectMessages]):
    """One bisect under way.

    Attributes:
        scheduler: tries commits.
        range_search: the search; None before the range is known.
        verification: the fresh runs that checked the suspect, once made.
        spec: what the fix must achieve and what is observed, once there is one.
        autonomy: how far the fix goes by itself.
    """

    parts: BisectResources
    github: BisectGitHub

    def __init__(
        self, run: Run, trigger: Trigger, plan: BisectPlan, parts: BisectResources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        trial_runner = trial_runner_for(
            plan, parts, trigger, run=run.id, incident=opened.incident.id
        )
        self.scheduler = TrialScheduler(run, trial_runner, plan, trigger.repository.id)
        self.range_search: RangeSearch | None = None
        self.verification: Verification | None = None
        self.spec: SpecReport | None = None
        self.autonomy = Autonomy.OPEN
        case = case_of(
            BisectMessages,
            trigger,
            opened,
            plan,
            kind="bisect",
            proposal="fix",
            title=words.task(plan.check, plan.numeric),
            web_url=parts.web_url,
            short=run.patched(Patch.SHORT_BRANCH_NAMES),
            published=True,
            check=plan.check,
            numeric=plan.numeric,
            bad=plan.bad,
            good=plan.good or "",
            trials_left=plan.config.bisect.trials if self.scheduler.is_open else 0,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=trigger.source.subject)

    @property
    def look_again(self) -> timedelta:
        """How long to wait for a delivery before looking anyway."""
        return self.parts.patience.look_again

    def equip(self, found: TrialSettings) -> None:
        """Try commits from now on as the configuration has it by now."""
        config = self.plan.config.model_copy(update={"bisect": found.bisect})
        base = found.base or self.plan.base
        self.plan = self.plan.model_copy(
            update={
                "config": config,
                "has_sandbox": found.has_sandbox,
                "facts": found.facts or self.plan.facts,
                "base": base,
            }
        )
        self.case = self.case.model_copy(update={"base": base})
        trial_runner = trial_runner_for(
            self.plan, self.parts, self.trigger, run=self.run.id, incident=self.case.incident
        )
        self.scheduler.equip(trial_runner, self.plan)
        if self.range_search is not None:
            self.range_search.equip(self.plan)

    def begin_hunt(self, since: datetime) -> RangeSearch:
        """Prepare the search; its minutes count from `since`."""
        self.range_search = RangeSearch(
            self.run,
            self.github,
            self.parts.mirror,
            self.plan,
            self.scheduler,
            patience=self.parts.patience,
            since=since,
        )
        return self.range_search

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case,
            at=at,
            # A number's search draws nothing.
            seed=None if self.plan.numeric else self.seed or "pending",
            audit=self.recorder.anchor,
        )

    @property
    def seed(self) -> str | None:
        """The search's seed, as text."""
        return self.range_search.seed if self.range_search else None

    def note_progress(self) -> None:
        """Bring the facts up to the search's state."""
        if self.range_search is not None:
            self.case = self.case.model_copy(
                update={
                    "good": next(iter(self.range_search.graph.goods), ""),
                    "commits": len(self.range_search.graph),
                    "known": len(self.range_search.known),
                    "trials_left": self.range_search.trials_left,
                    "notes": self._notes(self.range_search),
                    "severity": self.recorder.severity,
                }
            )

    def _notes(self, range_search: RangeSearch) -> tuple[str, ...]:
        room = (words.NO_ROOM,) if range_search.waits_for_room else ()
        rest = (words.perhaps_an_outage(self.case),) if range_search.rests else ()
        count = self.scheduler.cancelled
        often = (words.often_cancelled(count),) if count >= _MANY else ()
        return (*range_search.notes, *self.scheduler.notes, *room, *rest, *often)

    async def name_suspects(self, finding: Finding) -> None:
        """Read the first lines of the likeliest suspects' messages."""
        asked = [each.sha for each in finding.suspects[:_SUBJECTS]]

        async def read(_: bool) -> dict[str, str]:
            infos = await self.parts.mirror.read(lambda git: describe(git, asked))
            return {info.sha: info.subject for info in infos}

        subjects = await self.run.step(Step.READ_SUBJECTS, dict[str, str], read)
        self.case = self.case.model_copy(update={"subjects": subjects})

    async def tell(
        self, standing: StatusMessage, head: str | None = None, *, last: bool = False
    ) -> None:
        """Make every place say the same."""
        self.note_progress()
        await self._show()
        await super().tell(standing, head, last=last)

    async def _show(self) -> None:
        """Have whoever looks at the cockpit see how far it is."""
        if self.range_search is None:
            return
        now, run = await self.run.now(), self.run.id
        document = documents.shown(
            self.case, self.range_search, self.scheduler.table, self.verification
        )

        async def change(conn: AsyncConnection) -> bool:
            await bisects.put_progress(conn, run, self.trigger.repository.id, document, at=now)
            return True

        await self.run.write(Step.STORE_PROGRESS, bool, change)

    def section(self, standing: StatusMessage) -> str:
        """The managed section of the fix pull request's description."""
        if self.range_search is None or self.verification is None or self.spec is None:
            return ""
        return words.fix_section(
            self.case, standing, self.range_search.finding, self.verification, self.spec
        )

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What every place says of a standing; the check-run is on the bad end."""
        del head
        case = self.case
        picture = self._picture(self.range_search) if self.range_search else ""
        return PublishedStatus(
            standing=standing,
            status=phrases.status(case, standing),
            issue=words.issue_body(case, standing, picture),
            section=self.section(standing) or None,
            check=OurCheck(
                name=BISECT_CHECK,
                head=case.bad,
                title=words.check_title(standing),
                summary=words.check_summary(case, standing, picture, self.scheduler.table),
                buttons=_BUTTONS,
                # Progress, not a verdict on the commit: it never stands in the way of a merge.
                conclusion=None if standing.state == "working" else "neutral",
            ),
        )

    def _picture(self, range_search: RangeSearch) -> str:
        stretches = [
            Stretch(first=each.first, count=each.count, sha=each.sha, probability=each.probability)
            for each in bars(range_search.search, MOST_STRETCHES)
        ]
        return words.as_picture(chart(range_search.search), self.parts.pictures.of(stretches))

    def observe(self, *, base: str, head: str | None, tally: CheckTally | None) -> None:
        """Bring the spec report up to what the fix is now."""
        self.spec = self.spec_report(base=base, head=head, tally=tally)

    def spec_report(self, *, base: str, head: str | None, tally: CheckTally | None) -> SpecReport:
        """Say what the fix must achieve, and what is observed of it by now."""
        return documents.spec_report(
            self.case,
            self.trigger,
            self.verification or Verification(boundary="not made", revert="not made"),
            self.scheduler.table,
            self.counting,
            tally,
            run=self.run.id,
            seed=self.seed,
            base_head=base,
            head=head,
        )

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The ADR and the report."""
        self.note_progress()
        report = documents.report(
            self.account(result),
            self.plan,
            self.range_search,
            self.scheduler.table,
            self.verification,
            self.spec,
        )
        return self.adr_and_report(report)
