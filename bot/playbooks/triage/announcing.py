"""How the incident of a group of alerts begins: what follows is decided, and people hear of it."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.models import Issue
from bot.playbooks.attempt import attempt
from bot.playbooks.steps import Step
from bot.playbooks.triage import text as words
from bot.playbooks.triage.asking import trigger_for
from bot.playbooks.triage.blame import Following, LeaveIt, RevertIt, what_follows
from bot.playbooks.triage.by_hand import ask_people
from bot.playbooks.triage.opening import began_at, remember
from bot.playbooks.triage.suspecting import gather
from bot.playbooks.triage.work import AlertWorkflow
from bot.records import incidents
from bot.records.audit import chain
from bot.records.documents.adr import adr_path
from bot.triggers import OURSELVES, Severity, Value


class _Following(Value):
    following: Following
    adr: str
    self_work: bool = False


async def follow_group(work: AlertWorkflow) -> None:
    """Decide what follows, open the issue, and put the decision record in its place.

    Where an earlier Run of this episode has decided, that stands: what it did may be undone, or
    begun, by people since.
    """
    now = await work.run.now()
    following = work.decided or await _decide(work, now)
    work.know(following=following)
    await _open_issue(work)
    work.adr = words.decision(work.facts, on=now, audit=work.casebook.anchor)
    await work.record(Step.RECORD_INCIDENT, f"Open incident {work.incident}")
    await _ask(work, following, now)
    await ask_people(
        work.run, work.trigger, work.facts, work.telling, work.parts.records, first=work.first
    )


async def _decide(work: AlertWorkflow, now: datetime) -> Following:
    found = await _what_follows(work, now)
    path = adr_path(
        found.adr, work.incident, f"Respond to {work.facts.group.title}", work.since.date()
    )
    work.know(following=found.following, adr=path)
    # First of all nothing further is merged; then people hear of it.
    await work.run.write(Step.RECORD_FOLLOW_UP, bool, partial(_write, work, found, now))
    return found.following


async def _what_follows(work: AlertWorkflow, now: datetime) -> _Following:
    group = work.facts.group
    firing = [each for each in group.conditions if each.firing]
    began = began_at(group, work.since)

    async def look(_: bool) -> _Following:
        parts = work.parts.parts
        evidence, config = await gather(
            firing,
            began,
            github=work.github,
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

    return await work.run.step(Step.READ_BLAME, _Following, look)


async def _open_issue(work: AlertWorkflow) -> None:
    facts, number = work.facts, work.facts.issue
    body = words.issue_body(facts)
    await work.keep()
    if number is None:

        async def open_issue(look_first: bool) -> Issue:
            return await work.telling.open_issue(
                words.issue_title(facts.group),
                body,
                labels=("incident", f"severity:{facts.severity}"),
                assignees=(),
                look_first=look_first or work.attempt > 1,
            )

        issue = await attempt(
            work.run,
            Step.OPEN_INCIDENT_ISSUE,
            Issue,
            open_issue,
            what="open an issue",
            otherwise=None,
        )
        if issue is not None:
            work.know(issue=issue.number)
            await work.casebook.issue(issue.number)
    elif work.attempt > 1:

        async def reopen(_: bool) -> bool:
            await work.github.issues.reopen(number)
            await work.telling.update_issue(number, body)
            return True

        await attempt(
            work.run,
            Step.REOPEN_INCIDENT_ISSUE,
            bool,
            reopen,
            what=f"open #{number} again",
            otherwise=False,
        )
    work.said = body


async def _ask(work: AlertWorkflow, following: Following, now: datetime) -> None:
    asked = trigger_for(following, work.facts, work.trigger, run=work.first, at=now)
    if asked is None:
        return

    async def put(_: bool) -> bool:
        await work.parts.put(asked)
        return True

    await work.run.step(Step.REQUEST_PLAYBOOK.of(asked.request.command), bool, put)


async def _write(
    work: AlertWorkflow, found: _Following, now: datetime, conn: AsyncConnection
) -> bool:
    group = work.facts.group
    signals = {each.said.signal for each in group.conditions if each.firing}
    is_safety = "safety.violation" in signals
    overrun = "budget.overrun" in signals and work.facts.severity is not Severity.LOW
    blamed = found.self_work and isinstance(found.following, RevertIt)
    if is_safety or overrun or blamed:
        await work.parts.hold(
            conn,
            work.trigger,
            key=work.trigger.key,
            reason=words.hold_reason(group),
            is_safety=is_safety,
            at=now,
        )
    await incidents.refer(conn, work.incident, adr=work.facts.adr)
    await remember(conn, work.run.id, found.following, now)
    await chain.append(
        conn,
        work.trigger.repository.id,
        "alert.judged",
        actor=OURSELVES.login,
        at=now,
        incident=work.incident,
        run=work.run.id,
        data={"decision": found.following.action, "reason": found.following.reason},
    )
    return True
