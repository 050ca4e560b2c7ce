"""Somebody closes an incident's issue, or opens it again: then so is the incident.

As long as a Run is at work on it, the Run decides; its own last step closes the issue.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.commands import replies
from bot.commands.answer import TriggerAnswer
from bot.github.calls.issues import Emotion
from bot.github.client import RepositoryClient
from bot.playbooks.incident.record_files import (
    RECORDS_BRANCH,
    RecordFile,
    bring_home,
    checked,
    record,
)
from bot.playbooks.run import attempt
from bot.playbooks.steps import Step
from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.audit.anchors import Anchor, sign
from bot.records.branch_record import RecordStore
from bot.records.documents.adr import amended_adr, amended_report, outcome_of
from bot.records.incidents import Incident
from bot.records.lifecycle import AlreadyOpen, IllegalMove, IncidentStatus
from bot.triggers import ActorKind, CancelRequest, CloseRequest, ReopenRequest, Trigger, Value

_TO_RESOLVED = {
    IncidentStatus.TRIAGE: (IncidentStatus.ACTIVE, IncidentStatus.MITIGATED),
    IncidentStatus.ACTIVE: (IncidentStatus.MITIGATED,),
}
"""What lies between a status and resolved."""

_ACTIONS = {
    IncidentStatus.RESOLVED: "incident.resolved",
    IncidentStatus.DECLINED: "incident.cancelled",
    IncidentStatus.ACTIVE: "incident.reopened",
}
"""What the audit calls that an incident became so."""


class _Found(Value):
    """The incident whose issue it is, if it is one of ours."""

    incident: Incident | None = None
    is_worked_on: bool = False
    report: str | None = None
    """The path of its report."""


class _Papers(Value):
    """Its decision record and report as they stand, and whether they are on the default branch."""

    adr: str = ""
    report: str = ""
    are_home: bool = False


class _Moved(Value):
    """The end of the audit chain afterwards, or why the incident stays as it is."""

    anchor: Anchor | None = None
    why_not: str = ""


class IssueClosings:
    """Resolves incidents that somebody closes, by their issue or a word; takes them up again."""

    def __init__(
        self, records: AsyncEngine, signing_key: Ed25519PrivateKey, store: RecordStore
    ) -> None:
        """Read from `records`; audit heads are signed with `signing_key`.

        What is amended is what `store` has, never what somebody may have pushed to the branch.
        """
        self._records = records
        self._signing_key = signing_key
        self._store = store

    async def heed(self, answer: TriggerAnswer, request: CloseRequest | ReopenRequest) -> None:
        """Do with the incident what was done with its issue."""
        closes = isinstance(request, CloseRequest)
        incident = await self._move_on(answer, None, closes=closes)
        if incident and not closes and answer.trigger.actor.kind is ActorKind.PERSON:
            await answer.say(replies.open_again(incident.kind))

    async def leave(self, answer: TriggerAnswer, left: Incident) -> None:
        """End an incident that its Run left open: it may have no issue to close."""
        if await self._move_on(answer, left.id, closes=True) is None:
            return None
        if left.issue is not None:
            number = left.issue
            is_mitigated = left.status is IncidentStatus.MITIGATED

            async def close(_: bool) -> bool:
                await answer.client.issues.close(
                    number, "completed" if is_mitigated else "not_planned"
                )
                return True

            what = f"close #{number}"
            await attempt(
                answer.run, Step.CLOSE_INCIDENT_ISSUE, bool, close, what=what, otherwise=False
            )
        return await answer.say(replies.left_by(answer.trigger.actor, left))

    async def _move_on(
        self, answer: TriggerAnswer, named: str | None, *, closes: bool
    ) -> Incident | None:
        """Resolve an incident or take it up again, with its records.

        Args:
            answer: to whoever asked.
            named: the incident; None: the one whose issue this is.
            closes: whether it is resolved.

        Returns:
            The incident; None where it stays as it is. Why is said by then, if anything is.
        """
        run, trigger = answer.run, answer.trigger
        found = await run.step(
            Step.READ_INCIDENT_OF_ISSUE, _Found, lambda _: self._find(trigger, named)
        )
        incident = found.incident
        if incident is None or incident.is_open is not closes:
            if named is not None:
                await answer.nothing_here()
            return None
        if found.is_worked_on:
            await answer.say(replies.still_at_work(trigger.actor), Emotion.REFUSED)
            return None
        papers = await attempt(
            run,
            Step.READ_RECORD_FILES,
            _Papers,
            lambda _: self._read(answer.client, incident.adr, found.report),
            what="read its records",
            otherwise=_Papers(),
        )
        status = IncidentStatus.RESOLVED if closes else IncidentStatus.ACTIVE
        if named is not None and incident.status is not IncidentStatus.MITIGATED:
            # As when its Run was cancelled: nothing came of it.
            status = IncidentStatus.DECLINED
        said = f"{'closed' if closes else 'opened again'} by {trigger.actor.login}"
        now = await run.now()
        adr, report = _amended(papers, status, said, now)
        digest = hashlib.sha256(report.encode()).hexdigest() if report else None

        async def move(conn: AsyncConnection) -> _Moved:
            return await self._move(conn, trigger, incident, status, digest, run.id, now)

        moved = await run.write(Step.MOVE_INCIDENT.of(status), _Moved, move)
        if moved.anchor is None:
            await answer.say(replies.stays_closed(trigger.actor, moved.why_not), Emotion.REFUSED)
            return None
        anchor, files = moved.anchor, _files(found, adr, report)
        message = f"Incident {incident.id} {said}"

        async def put(look_first: bool) -> bool:
            await record(answer.client, self._store, files, anchor, message, incident=incident.id)
            if papers.are_home:
                base = await answer.client.default_branch()
                rules = await answer.client.branch_rules(base)
                await bring_home(
                    answer.client, self._store, files, message, rules=rules, look_first=look_first
                )
            return True

        what = f"write to {markdown.code(RECORDS_BRANCH)}"
        await attempt(run, Step.WRITE_RECORD_FILES, bool, put, what=what, otherwise=False)
        return incident

    async def _find(self, trigger: Trigger, named: str | None) -> _Found:
        issue = trigger.source.subject
        async with self._records.connect() as conn:
            incident = None
            if named is not None:
                incident = await incidents.find(conn, named)
            elif issue is not None:
                incident = await incidents.find_by_issue(conn, trigger.repository.id, issue)
            of = [] if incident is None else await runs.of_incident(conn, incident.id)
        reports = [run.artifact_path for run in of if run.artifact_path]
        return _Found(
            incident=incident,
            is_worked_on=any(run.is_live for run in of),
            report=reports[-1] if reports else None,
        )

    async def _read(self, client: RepositoryClient, adr: str | None, report: str | None) -> _Papers:
        await checked(client, self._store)
        paths = [path for path in (adr, report) if path is not None]
        kept = await self._store.contents(client.repository.id, paths)
        base = await client.default_branch()
        return _Papers(
            adr=kept.get(adr or "", ""),
            report=kept.get(report or "", ""),
            are_home=adr is not None and await client.contents.read(adr, base) is not None,
        )

    async def _move(
        self,
        conn: AsyncConnection,
        trigger: Trigger,
        incident: Incident,
        status: IncidentStatus,
        digest: str | None,
        run: str,
        now: datetime,
    ) -> _Moved:
        is_resolved = status is IncidentStatus.RESOLVED
        between = _TO_RESOLVED.get(incident.status, ()) if is_resolved else ()
        try:
            for each in (*between, status):
                await incidents.move(conn, incident.id, each, at=now)
        except (IllegalMove, AlreadyOpen) as refusal:
            return _Moved(why_not=str(refusal))
        entry = await chain.append(
            conn,
            trigger.repository.id,
            _ACTIONS[status],
            actor=trigger.actor.login,
            at=now,
            incident=incident.id,
            run=run,
            refs={"issue": incident.issue, "artifact_sha256": digest},
            data={"reason": _reason(trigger)},
        )
        return _Moved(anchor=sign(entry.head, self._signing_key, now))


def _amended(papers: _Papers, status: IncidentStatus, said: str, at: datetime) -> tuple[str, str]:
    outcome = outcome_of(papers.adr, status)
    try:
        adr = amended_adr(papers.adr, outcome, f"{said}.", at=at)
        return adr, amended_report(papers.report, status, outcome, said, at=at)
    except ValueError:
        # Somebody rewrote them: what cannot be read is left as it is, the audit has it all.
        return "", ""


def _reason(trigger: Trigger) -> str:
    request = trigger.request
    if isinstance(request, CloseRequest):
        if request.why in ("deleted", "transferred"):
            return f"its issue was {request.why}"
        return f"its issue was closed{f' as {request.why}' if request.why else ''}"
    if isinstance(request, CancelRequest):
        return "it was left by /cancel"
    return "its issue was opened again"


def _files(found: _Found, adr: str, report: str) -> tuple[RecordFile, ...]:
    paths = (found.incident.adr if found.incident else None, found.report)
    return tuple(
        RecordFile(path=path, content=content)
        for path, content in zip(paths, (adr, report), strict=True)
        if path and content
    )
