"""One group of alerts under way: what is known of its incident, its words and its record."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.playbooks.incidents import record_files
from bot.playbooks.incidents.casebook import Casebook
from bot.playbooks.incidents.record_files import RECORDS_BRANCH, RecordFile
from bot.playbooks.judge.playbook import Hold
from bot.playbooks.parts import Parts
from bot.playbooks.run import Ending, Run
from bot.playbooks.triage import text as words
from bot.playbooks.triage.opening import Triaged
from bot.playbooks.triage.text import Facts
from bot.playbooks.words.keeping import keep as keep_standing
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.telling import Telling
from bot.playbooks.work import CLOCKS_DIFFER_BY
from bot.records.lifecycle import RunState
from bot.triggers import Trigger


@dataclass(frozen=True)
class TriageParts:
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

    parts: Parts
    put: Callable[[Trigger], Awaitable[object]]
    hold: Hold
    recording: asyncio.Lock
    turns: asyncio.Semaphore
    records: AsyncEngine


class TriageWork:
    """One group of alerts and its incident, under way.

    Attributes:
        facts: what its texts need; grows as things appear.
        adr: the text of its decision record.
        casebook: writes down what happens.
        telling: puts words in their places.
        said: what the issue says by now.
        since: when the incident was detected.
        attempt: which attempt at the incident this is, counted from 1.
    """

    def __init__(self, run: Run, trigger: Trigger, parts: TriageParts, triaged: Triaged) -> None:
        """Begin, or begin again after a crash."""
        self.run, self.trigger, self.parts = run, trigger, parts
        self.github = parts.parts.github
        opened = triaged.opened
        self.incident = opened.incident.id
        self.attempt = opened.attempt
        self.casebook = Casebook(run, trigger, opened, parts.parts.signing_key)
        self.since = opened.incident.detected_at
        self.telling = Telling(
            self.github, self.incident, since=self.since - CLOCKS_DIFFER_BY, run=run.id
        )
        self.adr = ""
        self.said = ""
        self._kept: Standing | None = None
        self._labelled = opened.incident.severity
        self.facts = Facts(
            incident=self.incident,
            severity=opened.incident.severity,
            group=triaged.group,
            adr=opened.incident.adr or "",
            records_url=f"{parts.parts.web_url}/blob/{RECORDS_BRANCH}",
            issue=opened.incident.issue,
        )

    def know(self, **facts: object) -> None:
        """Add to the facts."""
        self.facts = self.facts.model_copy(update=facts)

    async def tell(self) -> None:
        """Make the issue, its label and the records say where it stands, if they do not yet."""
        facts, number = self.facts, self.facts.issue
        body = words.issue_body(facts)
        if number is None or body == self.said:
            return
        await self.keep()
        old, new = f"severity:{self._labelled}", f"severity:{facts.severity}"

        async def tell(_: bool) -> bool:
            await self.telling.update_issue(number, body)
            if old != new:
                await self.github.labels.remove(number, old)
                await self.github.labels.add(number, [new])
            return True

        await self.run.step("tell people where it stands", bool, tell)
        self.said, self._labelled = body, facts.severity

    async def keep(self) -> None:
        """Have the cockpit show where it stands."""
        standing = words.standing(self.facts)
        if standing != self._kept:
            await keep_standing(self.run, standing)
            self._kept = standing

    async def record(self, name: str, message: str) -> None:
        """Put the decision record on the records branch, as the step `name`."""
        files = (RecordFile(path=self.facts.adr, content=self.adr),)
        anchor = self.casebook.anchor

        async def record(_: bool) -> str:
            async with self.parts.recording:
                return await record_files.record(self.github, files, anchor, message)

        await self.run.step(name, str, record)

    async def close(
        self,
        state: RunState,
        reason: Literal["completed", "not_planned"],
        outcome: Literal["succeeded", "stopped"],
    ) -> Ending:
        """Bring the decision record and the issue to their end, and end the Run."""
        await self.record("record the outcome", f"Record the outcome of incident {self.incident}")
        number = self.facts.issue

        async def close(_: bool) -> bool:
            if number is not None:
                await self.telling.close_issue(number, completed=reason == "completed")
            return True

        await self.run.step("close the incident issue", bool, close)
        await self.casebook.finish(state, self.digest)
        return Ending(outcome=outcome)

    @property
    def digest(self) -> str:
        """The decision record's SHA-256, in hex: it is all the report there is."""
        return hashlib.sha256(self.adr.encode()).hexdigest()
