"""One group of alerts from its first word to its last.

The incident is opened with its issue, decision record and audit entry; what follows is asked for
as a Trigger of its own; and only when every condition has cleared is the incident resolved.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.github.models import Issue
from bot.playbooks.incidents import record_files
from bot.playbooks.incidents.casebook import Casebook
from bot.playbooks.incidents.record_files import RECORDS_BRANCH, RecordFile
from bot.playbooks.judge.playbook import Hold
from bot.playbooks.parts import Parts
from bot.playbooks.run import Ending, Run, SignalKind, StepFailed
from bot.playbooks.signals import first, heard
from bot.playbooks.triage import text as words
from bot.playbooks.triage.asking import trigger_for
from bot.playbooks.triage.blame import (
    Following,
    LeaveIt,
    RevertIt,
    what_follows,
)
from bot.playbooks.triage.by_hand import ask_people
from bot.playbooks.triage.opening import Triaged, began_at, open_for_group, severity_of
from bot.playbooks.triage.suspecting import gather
from bot.playbooks.triage.text import Facts
from bot.playbooks.words.keeping import keep
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.telling import Telling
from bot.records.audit_chain import audit
from bot.records.documents.adr import adr_path, with_outcome, with_status
from bot.records.documents.artifacts import Outcome
from bot.records.intake import alerts
from bot.records.intake.alerts import Group
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.notices.announcing import announce
from bot.records.recovery import incidents
from bot.triggers import OURSELVES, Severity, TriageRequest, Trigger, Value

__all__ = ["TriageParts", "triage"]

_CLOCKS_DIFFER_BY = timedelta(hours=1)
_ORDER = list(Severity)
_SETTLING = 4
"""What has cleared is looked at once more after this part of the usual wait: alerts flap."""


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


async def triage(run: Run, trigger: Trigger, request: TriageRequest, parts: TriageParts) -> Ending:
    """Keep the incident of one group of alerts."""
    triaged = await open_for_group(run, trigger, request.group, signing_key=parts.parts.signing_key)
    if triaged is None:
        return Ending(outcome="declined", reason="There is no such group of alerts.")
    work = _Triage(run, trigger, parts, triaged)
    try:
        async with parts.turns:
            await work.announce()
        return await work.to_its_end()
    except StepFailed as failed:
        await work.broke_off(failed)
        raise


class _Following(Value):
    following: Following
    adr: str
    self_work: bool = False


class _Looked(Value):
    """The group now, and the severity its incident has."""

    group: Group
    severity: Severity
    ended: bool = False


class _Triage:
    def __init__(self, run: Run, trigger: Trigger, parts: TriageParts, triaged: Triaged) -> None:
        self.run, self.trigger, self.parts = run, trigger, parts
        self.github = parts.parts.github
        opened = triaged.opened
        self.incident = opened.incident.id
        self.attempt = opened.attempt
        self.casebook = Casebook(run, trigger, opened, parts.parts.signing_key)
        self.since = opened.incident.detected_at
        self.telling = Telling(
            self.github, self.incident, since=self.since - _CLOCKS_DIFFER_BY, run=run.id
        )
        self.adr = ""
        self._said = ""
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
        self.facts = self.facts.model_copy(update=facts)

    # --- its beginning ---

    async def announce(self) -> None:
        """Decide what follows, open the issue, and put the decision record in its place."""
        now = await self.run.now()
        found = await self._what_follows(now)
        path = adr_path(
            found.adr, self.incident, f"Respond to {self.facts.group.title}", self.since.date()
        )
        self.know(following=found.following, adr=path)
        # First of all nothing further is merged; then people hear of it.
        await self.run.write("write down what follows", bool, partial(self._write, found, now))
        await self._open_issue()
        self.adr = words.decision(self.facts, on=now, audit=self.casebook.anchor)
        await self._record("record the incident", f"Open incident {self.incident}")
        await self._ask(found.following, now)
        await ask_people(self.run, self.trigger, self.facts, self.telling, self.parts.records)

    async def _what_follows(self, now: datetime) -> _Following:
        group = self.facts.group
        firing = [each for each in group.conditions if each.firing]
        began = began_at(group, self.since)

        async def look(_: bool) -> _Following:
            parts = self.parts.parts
            evidence, config = await gather(
                firing,
                began,
                github=self.github,
                mirror=parts.mirror,
                settled=parts.settled,
                now=now,
            )
            following: Following = LeaveIt(reason="it was over before anything could be done")
            if firing:
                following = what_follows(evidence)
            blamed = evidence.named
            return _Following(
                following=following,
                adr=config.adr.directory,
                self_work=blamed is not None and blamed.is_self_work,
            )

        return await self.run.step("see whom it blames", _Following, look)

    async def _open_issue(self) -> None:
        facts, number = self.facts, self.facts.issue
        body = words.issue_body(facts)
        await self._keep()
        if number is None:

            async def open_issue(look_first: bool) -> Issue:
                return await self.telling.open_issue(
                    words.issue_title(facts.group),
                    body,
                    labels=("incident", f"severity:{facts.severity}"),
                    assignees=(),
                    look_first=look_first or self.attempt > 1,
                )

            issue = await self.run.step("open the incident issue", Issue, open_issue)
            self.know(issue=issue.number)
            await self.casebook.issue(issue.number)
        elif self.attempt > 1:

            async def reopen(_: bool) -> bool:
                await self.github.issues.reopen(number)
                await self.telling.update_issue(number, body)
                return True

            await self.run.step("open the incident issue again", bool, reopen)
        self._said = body

    async def _record(self, name: str, message: str) -> None:
        files = (RecordFile(path=self.facts.adr, content=self.adr),)
        anchor = self.casebook.anchor

        async def record(_: bool) -> str:
            async with self.parts.recording:
                return await record_files.record(self.github, files, anchor, message)

        await self.run.step(name, str, record)

    # --- what follows ---

    async def _ask(self, following: Following, now: datetime) -> None:
        asked = trigger_for(following, self.facts, self.trigger, run=self.run.id, at=now)
        if asked is None:
            return

        async def put(_: bool) -> bool:
            await self.parts.put(asked)
            return True

        await self.run.step(f"ask for the {asked.request.command}", bool, put)

    async def _write(self, found: _Following, now: datetime, conn: AsyncConnection) -> bool:
        group = self.facts.group
        signals = {each.said.signal for each in group.conditions if each.firing}
        is_safety = "safety.violation" in signals
        overrun = "budget.overrun" in signals and self.facts.severity is not Severity.LOW
        blamed = found.self_work and isinstance(found.following, RevertIt)
        if is_safety or overrun or blamed:
            await self.parts.hold(
                conn,
                self.trigger,
                key=self.trigger.key,
                reason=words.hold_reason(group),
                is_safety=is_safety,
                at=now,
            )
        await incidents.refer(conn, self.incident, adr=self.facts.adr)
        await audit.append(
            conn,
            self.trigger.repository.id,
            "alert.judged",
            actor=OURSELVES.login,
            at=now,
            incident=self.incident,
            run=self.run.id,
            data={"decision": found.following.action, "reason": found.following.reason},
        )
        return True

    # --- its end ---

    async def to_its_end(self) -> Ending:
        """Follow the group until every condition has cleared."""
        began = await self.run.now()
        patience = self.parts.parts.patience
        was_clear = False
        while True:
            now = await self.run.now()
            looked = await self._look(now, may_end=was_clear)
            self.know(group=looked.group, severity=looked.severity, resolved=looked.ended)
            await self._tell()
            if looked.ended:
                return await self._resolved(now)
            was_clear = looked.group.is_clear
            pause = patience.look_again / (_SETTLING if was_clear else 1)
            signals = await heard(self.run, pause.total_seconds())
            if cancel := first(signals, SignalKind.CANCEL):
                by = cancel.actor.login if cancel.actor else OURSELVES.login
                return await self._cancelled(by)
            if now - began > patience.give_up:
                return await self._given_up()

    async def _look(self, now: datetime, *, may_end: bool) -> _Looked:
        """See where the group stands; with `may_end`, what has cleared ends the incident.

        Most looks find nothing to write, and a hundred groups may be looked at each second.
        """
        group_id, records = self.facts.group.id, self.parts.records

        async def read(_: bool) -> Group | None:
            async with records.connect() as conn:
                return await alerts.find(conn, group_id)

        # `Group | None` is a type, and only used to read the result back.
        found = await self.run.step("look at the alerts", Group | None, read)  # type: ignore[arg-type]
        group: Group = found or self.facts.group
        is_over = group.is_clear and may_end
        is_worse = _ORDER.index(severity_of(group)) > _ORDER.index(self.facts.severity)
        if not is_over and (group.is_clear or not is_worse):
            return _Looked(group=group, severity=self.facts.severity)
        return await self._write_down(now, may_end=may_end)

    async def _write_down(self, now: datetime, *, may_end: bool) -> _Looked:
        """Raise the severity, or end the incident, by what is known at just that moment."""
        incident, group_id, run = self.incident, self.facts.group.id, self.run.id

        async def change(conn: AsyncConnection) -> _Looked:
            group = await alerts.find(conn, group_id, lock=True) or self.facts.group
            known = await incidents.count_alerts(conn, incident, group.received)
            worse = severity_of(group)
            if not group.is_clear and _ORDER.index(worse) > _ORDER.index(known.severity):
                known = await incidents.set_severity(conn, incident, worse)
                await announce(conn, known, at=now)
            if not (group.is_clear and may_end):
                return _Looked(group=group, severity=known.severity)
            await alerts.let_go(conn, group_id)
            for status in (IncidentStatus.MITIGATED, IncidentStatus.RESOLVED):
                await incidents.move(conn, incident, status, at=now)
            await audit.append(
                conn,
                self.trigger.repository.id,
                "incident.resolved",
                actor=OURSELVES.login,
                at=now,
                incident=incident,
                run=run,
                data={"conditions": len(group.conditions), "received": group.received},
            )
            return _Looked(group=group, severity=known.severity, ended=True)

        return await self.run.write("see what still fires", _Looked, change)

    async def _tell(self) -> None:
        facts, number = self.facts, self.facts.issue
        body = words.issue_body(facts)
        if number is None or body == self._said:
            return
        await self._keep()
        old, new = f"severity:{self._labelled}", f"severity:{facts.severity}"

        async def tell(_: bool) -> bool:
            await self.telling.update_issue(number, body)
            if old != new:
                await self.github.labels.remove(number, old)
                await self.github.labels.add(number, [new])
            return True

        await self.run.step("tell people where it stands", bool, tell)
        self._said, self._labelled = body, facts.severity

    async def _keep(self) -> None:
        standing = words.standing(self.facts)
        if standing != self._kept:
            await keep(self.run, standing)
            self._kept = standing

    async def _resolved(self, now: datetime) -> Ending:
        self.adr = with_status(self.adr, "accepted", now.date())
        said = "every condition has cleared."
        self.adr = with_outcome(self.adr, Outcome.CONFIRMED, now.date(), said)
        return await self._close(RunState.SUCCEEDED, "completed", "succeeded")

    async def _cancelled(self, by: str) -> Ending:
        now = await self.run.now()
        await self._let_go("incident.cancelled", IncidentStatus.DECLINED, now)
        self.know(stopped=by)
        self.adr = with_status(self.adr, "rejected", now.date())
        self.adr = with_outcome(self.adr, Outcome.FAILED, now.date(), f"closed by {by}.")
        await self._tell()
        return await self._close(RunState.CANCELLED, "not_planned", "stopped")

    async def _given_up(self) -> Ending:
        """Nobody says that it is over: it stays open, and the next word takes it up again."""
        now = await self.run.now()
        await self._let_go("incident.left", None, now)
        await self.casebook.finish(RunState.TIMED_OUT, self._digest())
        return Ending(outcome="stopped")

    async def _let_go(self, action: str, status: IncidentStatus | None, now: datetime) -> None:
        group, incident = self.facts.group.id, self.incident

        async def change(conn: AsyncConnection) -> bool:
            await alerts.let_go(conn, group)
            if status is not None:
                await incidents.move(conn, incident, status, at=now)
            await audit.append(
                conn,
                self.trigger.repository.id,
                action,
                actor=OURSELVES.login,
                at=now,
                incident=incident,
                run=self.run.id,
            )
            return True

        await self.run.write("stop following the alerts", bool, change)

    async def broke_off(self, failed: StepFailed) -> None:
        """Note what did not work; the next word of the group begins anew."""

        async def change(conn: AsyncConnection) -> bool:
            await alerts.let_go(conn, self.facts.group.id)
            return True

        await self.run.write("let go of the alerts", bool, change)
        await self.casebook.broke_off(failed.step, str(failed))

    async def _close(
        self,
        state: RunState,
        reason: Literal["completed", "not_planned"],
        outcome: Literal["succeeded", "stopped"],
    ) -> Ending:
        await self._record("record the outcome", f"Record the outcome of incident {self.incident}")
        number = self.facts.issue

        async def close(_: bool) -> bool:
            if number is not None:
                await self.telling.close_issue(number, completed=reason == "completed")
            return True

        await self.run.step("close the incident issue", bool, close)
        await self.casebook.finish(state, self._digest())
        return Ending(outcome=outcome)

    def _digest(self) -> str:
        return hashlib.sha256(self.adr.encode()).hexdigest()
