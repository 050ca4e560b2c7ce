"""One group of alerts under way: what is known of its incident, its words and its record."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from bot import markdown
from bot.playbooks.attempt import NotAllowed, Tries, attempt
from bot.playbooks.incidents import record_files
from bot.playbooks.incidents.casebook import IncidentRecorder
from bot.playbooks.incidents.record_files import RECORDS_BRANCH, Recorded, RecordFile, recorded
from bot.playbooks.judge.playbook import PauseSelfWork
from bot.playbooks.parts import Resources
from bot.playbooks.run import Ending, Run
from bot.playbooks.steps import Step
from bot.playbooks.triage import text as words
from bot.playbooks.triage.opening import Triaged
from bot.playbooks.triage.text import AlertFacts
from bot.playbooks.words.keeping import keep as keep_standing
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.telling import StatusPlaces
from bot.playbooks.work import CLOCKS_DIFFER_BY
from bot.records import incidents
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import Trigger


@dataclass(frozen=True)
class AlertResources:
    """What triage acts through.

    Attributes:
        parts: the repository.
        put: takes a Trigger; one with the same key at most once.
        hold: pauses self-work.
        recording: held while records are committed: a hundred groups that fire at once would
            otherwise keep moving the branch under each other.
        turns: lets a few incidents be announced at a time, for the same reason: everything else
            the process does has to go on meanwhile.
        records: to look at alerts without a write.
    """

    parts: Resources
    put: Callable[[Trigger], Awaitable[object]]
    hold: PauseSelfWork
    recording: asyncio.Lock
    turns: asyncio.Semaphore
    records: AsyncEngine


class AlertWorkflow:
    """One group of alerts and its incident, under way.

    Attributes:
        facts: what its texts need; grows as things appear.
        adr: the text of its decision record.
        casebook: writes down what happens.
        telling: puts words in their places.
        said: what the issue says by now.
        since: when the incident was detected.
        attempt: which attempt at the incident this is, counted from 1.
        first: the first Run that followed this episode of the alerts: perhaps this one.
        decided: what an earlier one decided about it.
    """

    def __init__(self, run: Run, trigger: Trigger, parts: AlertResources, triaged: Triaged) -> None:
        """Begin, or begin again after a crash."""
        self.run, self.trigger, self.parts = run, trigger, parts
        self.github = parts.parts.github
        opened = triaged.opened
        self.incident = opened.incident.id
        self.attempt = opened.attempt
        self.first = triaged.first or run.id
        self.decided = triaged.following
        self.casebook = IncidentRecorder(run, trigger, opened, parts.parts.signing_key)
        self.since = opened.incident.detected_at
        self.telling = StatusPlaces(
            self.github, self.incident, since=self.since - CLOCKS_DIFFER_BY, run=run.id
        )
        self.adr = ""
        self.said = ""
        self._kept: StatusMessage | None = None
        self._labelled = opened.incident.severity
        self.facts = AlertFacts(
            incident=self.incident,
            severity=opened.incident.severity,
            group=triaged.group,
            adr=opened.incident.adr or "",
            records_url=f"{parts.parts.web_url}/blob/{RECORDS_BRANCH}",
            page=parts.parts.page_of(self.incident),
            issue=opened.incident.issue,
        )

    def know(self, **facts: object) -> None:
        """Add to the facts."""
        self.facts = self.facts.model_copy(update=facts)

    async def tell(self) -> None:
        """Make the issue, its label and the records say where it stands, if they do not yet."""
        facts, number = self.facts, self.facts.issue
        body = words.issue_body(facts)
        if body == self.said:
            return
        await self.keep()
        if number is None:
            # Issues are switched off here: the cockpit shows it.
            self.said = body
            return
        old, new = f"severity:{self._labelled}", f"severity:{facts.severity}"

        async def tell(_: bool) -> bool:
            tries = Tries()
            await tries.go("edit", self.telling.update_issue(number, body))
            if old != new:
                await tries.go("unlabel", self.github.labels.remove(number, old))
                await tries.go("label", self.github.labels.add(number, [new]))
            if refused := [each.why for each in tries.tried if each.why]:
                raise NotAllowed(refused[0])
            return True

        what = f"edit #{number}"
        await attempt(self.run, Step.PUBLISH_STATUS, bool, tell, what=what, otherwise=False)
        self.said, self._labelled = body, facts.severity

    async def keep(self) -> None:
        """Have the cockpit show where it stands."""
        standing = words.standing(self.facts)
        if standing != self._kept:
            await keep_standing(self.run, standing)
            self._kept = standing

    async def record(self, step: Step, message: str) -> None:
        """Put the decision record on the records branch, as this step."""
        files = (RecordFile(path=self.facts.adr, content=markdown.for_file(self.adr)),)
        anchor = self.casebook.anchor

        async def record() -> Recorded:
            async with self.parts.recording:
                return await record_files.record(
                    self.github,
                    self.parts.parts.store,
                    files,
                    anchor,
                    message,
                    incident=self.incident,
                )

        put = await recorded(self.run, step, record)
        if put is not None:
            self.know(records_url=f"{self.parts.parts.web_url}/blob/{put.branch}")

    async def close(
        self,
        state: RunState,
        reason: Literal["completed", "not_planned"],
        outcome: Literal["succeeded", "stopped"],
    ) -> Ending:
        """Bring the decision record and the issue to their end, and end the Run."""
        await self.record(Step.RECORD_OUTCOME, f"Record the outcome of incident {self.incident}")
        number = self.facts.issue

        async def close(_: bool) -> bool:
            if number is not None and not await self._fires_again():
                await self.telling.close_issue(number, completed=reason == "completed")
            return True

        what = f"close #{number}"
        await attempt(self.run, Step.CLOSE_INCIDENT_ISSUE, bool, close, what=what, otherwise=False)
        await self.casebook.finish(state, self.digest)
        return Ending(outcome=outcome)

    async def _fires_again(self) -> bool:
        """Whether another Run has taken the incident up again: the issue is that one's now."""
        async with self.parts.records.connect() as conn:
            known = await incidents.find(conn, self.incident)
        return known is not None and known.status is IncidentStatus.ACTIVE

    @property
    def digest(self) -> str:
        """The decision record's SHA-256, in hex: it is all the report there is."""
        return hashlib.sha256(self.adr.encode()).hexdigest()
