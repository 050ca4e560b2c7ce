"""One bisect under way: what is known about it so far, and the papers it keeps.

Everything here follows from recorded steps, so a replay after a crash comes to the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.git.history import describe
from bot.playbooks import outcome as outcomes
from bot.playbooks.bisect import records as documents
from bot.playbooks.bisect.finding import chart
from bot.playbooks.bisect.lab import Laboratory
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.bisect.records import BisectResult
from bot.playbooks.bisect.search import Hunt
from bot.playbooks.bisect.text import BisectCase
from bot.playbooks.bisect.voice import BisectVoice, as_picture
from bot.playbooks.casebook import Casebook, Opened
from bot.playbooks.checks import Counting
from bot.playbooks.hotfix import RecordFile
from bot.playbooks.outcome import RECORDS_BRANCH
from bot.playbooks.revert.work import Parts
from bot.playbooks.run import Run
from bot.playbooks.standing import Standing
from bot.playbooks.telling import Telling
from bot.records import progress
from bot.records.adr import adr_path
from bot.records.artifacts import Outcome, TimelineEvent, artifact_path
from bot.records.bisect_report import Finding, Verification
from bot.records.lifecycle import IncidentStatus
from bot.triggers import BisectRequest, Trigger

KIND: Literal["bisect"] = "bisect"
_SUBJECTS = 10


class BisectWork:
    """One bisect under way.

    Attributes:
        case: the facts its texts need; grows as things appear.
        lab: tries commits.
        hunt: the search; None before the range is known.
        verification: the fresh runs that checked the suspect, once made.
        counting: the checks that decide about the fix.
        adr: the text of its decision record.
    """

    def __init__(
        self, run: Run, trigger: Trigger, plan: BisectPlan, parts: Parts, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        self.run = run
        self.trigger = trigger
        self.plan = plan
        self.parts = parts
        self.github = parts.github
        self.attempt = opened.attempt
        self.casebook = Casebook(run, trigger, opened, parts.signing_key)
        identity, since = opened.incident.id, opened.incident.detected_at
        telling = Telling(parts.github, identity, since=since, run=run.id)
        self.voice = BisectVoice(run, telling, trigger.source.subject, opened.attempt)
        self.lab = Laboratory(run, parts.github, plan, since=trigger.received_at)
        self.hunt: Hunt | None = None
        self.verification: Verification | None = None
        self.counting = Counting(smoke=(), smoke_from="passed before", evals=())
        self.adr = ""
        self.section: str | None = None
        self._timeline: list[TimelineEvent] = []
        title = f"Find what broke {plan.check or 'the trial workflow'}"
        config, request = plan.config, trigger.request
        self.case = BisectCase(
            incident=identity,
            repository=trigger.repository.full_name,
            repository_url=parts.web_url,
            requested_by=trigger.actor,
            reason=request.reason if isinstance(request, BisectRequest) else "",
            severity=opened.incident.severity,
            base=plan.base,
            offenders=(),
            branch=_branch(identity, opened.attempt),
            adr=adr_path(config.adr.directory, identity, title, since.date()),
            artifact=artifact_path(config.artifacts.root, KIND, identity),
            records_branch=RECORDS_BRANCH,
            config_fault=plan.config_fault,
            issue=opened.incident.issue,
            published=True,
            proposal="fix",
            check=plan.check,
            bad=plan.bad,
            good=plan.good or "",
            trials_left=config.bisect.trials if self.lab.is_open else 0,
        )

    @property
    def look_again(self) -> timedelta:
        """How long to wait for a delivery before looking anyway."""
        return self.parts.patience.look_again

    def begin_hunt(self, since: datetime) -> Hunt:
        """Prepare the search; its minutes count from `since`."""
        self.hunt = Hunt(
            self.run,
            self.github,
            self.parts.mirror,
            self.plan,
            self.lab,
            look_again=self.look_again,
            since=since,
        )
        return self.hunt

    def know(self, **facts: Any) -> None:
        """Add to the facts."""
        self.case = self.case.model_copy(update=facts)

    def happened(self, at: datetime, what: str, url: str | None = None) -> None:
        """Add to the report's timeline."""
        self._timeline.append(TimelineEvent(at=at, what=what, url=url))

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case, at=at, seed=self.seed or "pending", audit=self.casebook.anchor
        )

    @property
    def seed(self) -> str | None:
        """The search's seed, as text."""
        return str(self.hunt.search.settings.seed) if self.hunt else None

    def note_progress(self) -> None:
        """Bring the facts up to the search's state."""
        if self.hunt is not None:
            self.know(
                good=next(iter(self.hunt.graph.goods), ""),
                commits=len(self.hunt.graph),
                known=len(self.hunt.known),
                trials_left=self.hunt.trials_left,
                notes=tuple(self.hunt.notes),
                severity=self.casebook.severity,
            )

    async def name_suspects(self, finding: Finding) -> None:
        """Read the first lines of the likeliest suspects' messages."""
        asked = [each.sha for each in finding.suspects[:_SUBJECTS]]

        async def read(_: bool) -> dict[str, str]:
            infos = await self.parts.mirror.read(lambda git: describe(git, asked))
            return {info.sha: info.subject for info in infos}

        self.know(subjects=await self.run.step("read who is suspected", dict[str, str], read))

    async def tell(self, standing: Standing) -> None:
        """Make every place say the same."""
        self.note_progress()
        await self._show()
        picture = as_picture(chart(self.hunt.search)) if self.hunt else ""
        await self.voice.everywhere(
            self.case, standing, picture=picture, trials=self.lab.table, section=self.section
        )

    async def _show(self) -> None:
        """Have whoever looks at the cockpit see how far it is."""
        if self.hunt is None:
            return
        now, run = await self.run.now(), self.run.id
        document = documents.shown(self.case, self.hunt, self.lab.table, self.verification)

        async def change(conn: AsyncConnection) -> bool:
            await progress.put(conn, run, self.trigger.repository.id, document, at=now)
            return True

        await self.run.write("show how far it is", bool, change)

    def pending(self) -> BisectResult:
        """What is known of the outcome while it is open."""
        return BisectResult(status=IncidentStatus.ACTIVE, outcome=Outcome.PENDING)

    def record_files(self, result: BisectResult) -> tuple[RecordFile, RecordFile]:
        """The ADR and the report."""
        self.note_progress()
        report = documents.report(
            self.case,
            self.plan,
            self.trigger,
            self.hunt,
            self.lab.table,
            self.verification,
            result,
            run=self.run.id,
            timeline=tuple(self._timeline),
            audit=self.casebook.anchor,
        )
        return (
            RecordFile(path=self.case.adr, content=self.adr),
            RecordFile(path=self.case.artifact, content=report.decode()),
        )

    async def record(self, name: str, files: tuple[RecordFile, ...], message: str) -> None:
        """Put files and the audit anchor on the records branch."""
        anchor = self.casebook.anchor
        await self.run.step(
            name, str, lambda _: outcomes.record(self.github, files, anchor, message)
        )


def _branch(incident: str, attempt: int) -> str:
    return f"fix/bisect-{incident}" + ("" if attempt == 1 else f"-{attempt}")
