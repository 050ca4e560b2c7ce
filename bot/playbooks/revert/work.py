"""One revert under way: what is known about it so far, and the papers it keeps.

Everything here follows from recorded steps, so a replay after a crash comes to the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.git.mirror import Mirror
from bot.git.reverting import Conflict
from bot.github.client import RepositoryClient
from bot.github.models import BranchRules
from bot.playbooks import hotfix as hotfixes
from bot.playbooks.casebook import Casebook, Opened
from bot.playbooks.checks import Counting, which_count
from bot.playbooks.follow import Patience
from bot.playbooks.hotfix import RecordFile
from bot.playbooks.looking import required
from bot.playbooks.outcome import RECORDS_BRANCH
from bot.playbooks.revert import records as documents
from bot.playbooks.revert import text as words
from bot.playbooks.revert.plan import Plan
from bot.playbooks.revert.records import Result
from bot.playbooks.revert.text import Case
from bot.playbooks.revert.voice import Voice
from bot.playbooks.run import Run
from bot.playbooks.standing import Standing
from bot.playbooks.telling import Telling
from bot.records.adr import adr_path, superseded_by
from bot.records.artifacts import TimelineEvent, artifact_path
from bot.triggers import RevertRequest, Trigger, Value

KIND: Literal["revert"] = "revert"

CLOCKS_DIFFER_BY = timedelta(hours=1)
"""At most, ours and GitHub's: what is ours is looked for from that long before the command."""


@dataclass(frozen=True)
class Parts:
    """What a revert acts through, bound to one repository. These are all its side effects."""

    github: RepositoryClient
    mirror: Mirror
    signing_key: Ed25519PrivateKey
    web_url: str
    """The repository's page on GitHub."""
    patience: Patience


class Counted(Value):
    """Which checks decide, and what the base branch asks of a merge."""

    counting: Counting
    rules: BranchRules


class TakenBack(Value):
    """What came of closing the hotfix: its merge, where it was merged a moment before."""

    merged: str | None


class Work:
    """One revert under way.

    Attributes:
        case: the facts its texts need; grows as things appear.
        conflict: what a person has to resolve, if anything.
        counting: the checks that decide.
        adr: the text of its decision record.
    """

    def __init__(
        self, run: Run, trigger: Trigger, plan: Plan, parts: Parts, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        self.run = run
        self.trigger = trigger
        self.plan = plan
        self.parts = parts
        self.github = parts.github
        self.attempt = opened.attempt
        self.casebook = Casebook(run, trigger, opened, parts.signing_key)
        self.conflict = plan.outcome if isinstance(plan.outcome, Conflict) else None
        self.counting = Counting(smoke=(), smoke_from="passed before", evals=())
        self.adr = ""
        self._timeline: list[TimelineEvent] = []
        identity, since = opened.incident.id, opened.incident.detected_at
        telling = Telling(parts.github, identity, since=since - CLOCKS_DIFFER_BY, run=run.id)
        self.voice = Voice(run, telling, _asked_on(trigger, plan), opened.attempt)
        title = f"Revert {words.offenders_in_words(plan.offenders)}"
        config = plan.config
        self.case = Case(
            incident=identity,
            repository=trigger.repository.full_name,
            repository_url=parts.web_url,
            requested_by=trigger.actor,
            reason=_reason(trigger),
            severity=opened.incident.severity,
            base=plan.base,
            offenders=plan.offenders,
            branch=_branch(identity, opened.attempt),
            adr=adr_path(config.adr.directory, identity, title, since.date()),
            artifact=artifact_path(config.artifacts.root, KIND, identity),
            records_branch=RECORDS_BRANCH,
            before=plan.before,
            config_fault=plan.config_fault,
            issue=opened.incident.issue,
        )
        self._opened_on = since.date()

    def know(self, **facts: Any) -> None:
        """Add to the facts."""
        self.case = self.case.model_copy(update=facts)

    def happened(self, at: datetime, what: str, url: str | None = None) -> None:
        """Add to the report's timeline."""
        self._timeline.append(TimelineEvent(at=at, what=what, url=url))

    async def see_which_checks_count(self) -> None:
        """Settle which checks decide about the hotfix (Decisions 5)."""

        async def count(_: bool) -> Counted:
            plan, github = self.plan, self.github
            rules = await github.rules.for_branch(plan.base, plan.facts)
            before = await github.checks.results(plan.before)
            ours = await github.app()
            others = [result for result in before if result.app_id != ours.id]
            names = await required(github, rules)
            return Counted(counting=which_count(plan.config.checks, names, others), rules=rules)

        counted = await self.run.step("see which checks count", Counted, count)
        self.counting = counted.counting

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case, self.plan, self.counting, at=at, audit=self.casebook.anchor
        )

    async def tell(self, standing: Standing, head: str | None = None) -> None:
        """Make every place say the same."""
        self.know(severity=self.casebook.severity)
        await self.voice.everywhere(self.case, self.counting, standing, head)

    async def take_back(self) -> str | None:
        """Close the hotfix and delete its branch; its merge, where that came first."""

        async def undo(_: bool) -> TakenBack:
            number = self.case.pull_request
            merged = await hotfixes.take_back(self.github, self.case.branch, number)
            return TakenBack(merged=merged)

        return (await self.run.step("take the hotfix back", TakenBack, undo)).merged

    async def take_earlier_attempts_back(self) -> None:
        """Close what an earlier attempt at this incident left open."""
        earlier = [_branch(self.case.incident, each) for each in range(1, self.attempt)]
        if not earlier:
            return

        async def undo(_: bool) -> bool:
            for branch in earlier:
                await hotfixes.take_back(self.github, branch, None)
            return True

        await self.run.step("take earlier attempts back", bool, undo)

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The ADR, the report, and the ADRs that this one supersedes (if it stands)."""
        report = documents.report(
            self.case,
            self.plan,
            self.trigger,
            self.counting,
            result.model_copy(update={"timeline": tuple(self._timeline)}),
            run=self.run.id,
            audit=self.casebook.anchor,
        )
        older = () if result.accepted is False else self.plan.superseded
        return (
            RecordFile(path=self.case.adr, content=self.adr),
            RecordFile(path=self.case.artifact, content=report.decode()),
            *(
                RecordFile(
                    path=file.path,
                    content=superseded_by(file.content, self.case.adr, self._opened_on),
                )
                for file in older
            ),
        )


def _branch(incident: str, attempt: int) -> str:
    return f"hotfix/revert-{incident}" + ("" if attempt == 1 else f"-{attempt}")


def _asked_on(trigger: Trigger, plan: Plan) -> int | None:
    """Where people look for an answer; None where only the incident issue is left."""
    if trigger.source.subject is not None:
        return trigger.source.subject
    return next((o.number for o in plan.offenders if o.number), None)


def _reason(trigger: Trigger) -> str:
    return trigger.request.reason if isinstance(trigger.request, RevertRequest) else ""
