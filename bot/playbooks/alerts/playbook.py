"""An alert: which change is to blame, what follows, whom to ask.

The incident is opened with its issue, decision record and audit entry; what follows is asked for
as a Trigger of its own; and only when every condition has cleared is the incident resolved.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.github.models import Issue
from bot.playbooks.alerts import messages as words
from bot.playbooks.alerts.decide import (
    Following,
    LeaveIt,
    RevertIt,
    calm_before_end,
    naming,
    what_follows,
)
from bot.playbooks.alerts.evidence import gather, trigger_for
from bot.playbooks.alerts.messages import AlertFacts
from bot.playbooks.alerts.ports import AlertResources, alerts, chain, incidents, notifications
from bot.playbooks.alerts.workflow import (
    AlertWorkflow,
    began_at,
    open_for_group,
    remember,
    severity_of,
)
from bot.playbooks.incident.publisher import StatusPlaces
from bot.playbooks.rollback.traffic_back import what_would_go_back
from bot.playbooks.rollout.evidence import live_ledger
from bot.playbooks.run import Ending, Run, SignalKind, StepFailed, attempt, first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.records.alerts import ConditionGroup
from bot.records.documents.adr import adr_path, with_outcome, with_status
from bot.records.documents.artifacts import DecisionOutcome
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import OURSELVES, Severity, TriageRequest, Trigger, Value


async def ask_people(
    run: Run,
    trigger: Trigger,
    facts: AlertFacts,
    status_places: StatusPlaces,
    records: AsyncEngine,
    *,
    first: str,
) -> None:
    """Ask for a rollback that is left to people: on the ramp's issue, else on the incident's.

    Once for each time the alert fires again; nothing is asked where nothing could be done.

    Args:
        run: this Run.
        trigger: the Trigger that is triaged.
        facts: the incident.
        status_places: puts words in their places.
        records: the database, for reading.
        first: the first Run that followed the alerts this time.
    """
    left = facts.following
    if not isinstance(left, LeaveIt) or left.capability is None:
        return
    capability = left.capability

    async def see(_: bool) -> int:
        async with records.connect() as conn:
            if not await what_would_go_back(conn, trigger.repository.id, capability):
                return 0
            live = await live_ledger(conn, trigger.repository.id, capability)
            watched = None if live is None else await incidents.find(conn, live.attempt)
        return (watched.issue if watched else None) or facts.issue or 0

    number = await run.step(Step.FIND_WATCHED_ISSUE, int, see)
    if not number:
        return

    async def ask(look_first: bool) -> bool:
        text = words.asked_by_hand(facts, left, number)
        await status_places.comment(
            number, f"by-hand-{first}", text, look_first=look_first or first != run.id
        )
        return True

    what = f"comment on #{number}"
    await attempt(run, Step.COMMENT_ROLLBACK_COMMAND, bool, ask, what=what, otherwise=False)


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
    work.facts = work.facts.model_copy(update={"following": following})
    await _open_issue(work)
    work.adr = words.decision(work.facts, on=now, audit=work.recorder.anchor)
    await work.record(Step.RECORD_INCIDENT, f"Open incident {work.incident}")
    await _ask(work, following, now)
    await ask_people(
        work.run, work.trigger, work.facts, work.status_places, work.parts.records, first=work.first
    )


async def _decide(work: AlertWorkflow, now: datetime) -> Following:
    found = await _what_follows(work, now)
    path = adr_path(
        found.adr, work.incident, f"Respond to {work.facts.group.title}", work.since.date()
    )
    work.facts = work.facts.model_copy(update={"following": found.following, "adr": path})
    # First of all nothing further is merged; then people hear of it.
    await work.run.write(Step.RECORD_FOLLOW_UP, bool, partial(_write, work, found, now))
    return found.following


async def _what_follows(work: AlertWorkflow, now: datetime) -> _Following:
    group = work.facts.group
    firing = [each for each in group.conditions if each.firing]
    began = began_at(group, work.since)

    async def look(_: bool) -> _Following:
        parts = work.parts
        evidence, config = await gather(
            firing,
            began,
            github=work.github,
            mirror=parts.mirror,
            settled=parts.settled,
            now=now,
        )
        named = naming(firing)
        if named is not None and named.capability is not None and not evidence.is_known:
            # Its name may have left the configuration while a candidate still has its traffic.
            async with parts.records.connect() as conn:
                here = work.trigger.repository.id
                found = await what_would_go_back(conn, here, named.capability)
            evidence = evidence.model_copy(update={"is_known": found is not None})
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
    if number is not None and work.attempt > 1 and not await _reopened(work, number, body):
        # Somebody deleted it: what fires again has to be seen.
        number = None if work.run.patched(Patch.GONE_ISSUES) else number
    if number is None:

        async def open_issue(look_first: bool) -> Issue:
            return await work.status_places.open_issue(
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
            work.facts = work.facts.model_copy(update={"issue": issue.number})
            await work.recorder.issue(issue.number)
    work.said = body


async def _reopened(work: AlertWorkflow, number: int, body: str) -> bool:
    """Open the issue again with what it is to say; False where it is gone, or GitHub refuses."""

    async def reopen(_: bool) -> bool:
        await work.github.issues.reopen(number)
        await work.status_places.update_issue(number, body)
        return True

    what = f"open #{number} again"
    return await attempt(
        work.run, Step.REOPEN_INCIDENT_ISSUE, bool, reopen, what=what, otherwise=False
    )


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


class _Seen(ConditionGroup):
    """The group, with its incident's severity; None: a Run begun before this was read."""

    severity: Severity | None = None


class _Looked(Value):
    """The group now, and the severity its incident has."""

    group: ConditionGroup
    severity: Severity
    ended: bool = False


async def follow_alerts(
    run: Run, trigger: Trigger, request: TriageRequest, parts: AlertResources
) -> Ending:
    """Keep the incident of one group of alerts until every condition has cleared.

    Args:
        run: the Run this is part of.
        trigger: the alerts as they were heard of; it names the repository.
        request: names the group by its key in the records.
        parts: what is acted through; it limits how many are announced at a time.

    Returns:
        How it ended; declined where there is no such group, or another Run follows it.

    Raises:
        StepFailed: a step failed for good; the group is let go by then, for another Run.
    """
    triaged = await open_for_group(run, trigger, request.group, signing_key=parts.signing_key)
    if triaged is None:
        reason = "There is no such group of alerts, or they are followed already."
        return Ending(outcome="declined", reason=reason)
    work = AlertWorkflow(run, trigger, parts, triaged)
    try:
        async with parts.turns:
            await follow_group(work)
        return await _to_its_end(work)
    except StepFailed as failed:
        await _broke_off(work, failed)
        raise


async def _to_its_end(work: AlertWorkflow) -> Ending:
    """Follow the group until every condition has cleared."""
    began = await work.run.now()
    patience = work.parts.patience
    flaps = work.run.patched(Patch.FLAPPING_ALERTS)
    calm = calm_before_end(patience.look_again, work.attempt if flaps else 1)
    clear_since: datetime | None = None
    while True:
        now = await work.run.now()
        may_end = clear_since is not None and (not flaps or now - clear_since >= calm)
        looked = await _look(work, now, may_end=may_end)
        work.facts = work.facts.model_copy(
            update={"group": looked.group, "severity": looked.severity, "resolved": looked.ended}
        )
        await work.tell()
        if looked.ended:
            return await _resolved(work, now)
        clear_since = (clear_since or now) if looked.group.is_clear else None
        pause = patience.look_again
        if clear_since is not None:
            pause = clear_since + calm - now if flaps else calm
        signals = await heard(work.run, pause.total_seconds(), WaitPoint.ALERTS)
        if cancel := first(signals, SignalKind.CANCEL):
            by = cancel.actor.login if cancel.actor else OURSELVES.login
            return await _cancelled(work, by)
        if now - began > patience.give_up:
            return await _given_up(work)


async def _look(work: AlertWorkflow, now: datetime, *, may_end: bool) -> _Looked:
    """See where the group stands; with `may_end`, what has cleared ends the incident.

    Most looks find nothing to write, and a hundred groups may be looked at each second.
    """
    group_id, records = work.facts.group.id, work.parts.records

    async def read(_: bool) -> _Seen | None:
        async with records.connect() as conn:
            group = await alerts.find(conn, group_id)
            incident = await incidents.find(conn, work.incident)
        severity = None if incident is None else incident.severity
        return None if group is None else _Seen(**dict(group), severity=severity)

    # `_Seen | None` is a type, and only used to read the result back.
    found = await work.run.step(Step.READ_ALERTS, _Seen | None, read)  # type: ignore[arg-type]
    seen: _Seen = found or _Seen(**dict(work.facts.group))
    is_over = seen.is_clear and may_end
    if is_over or (not seen.is_clear and severity_of(seen).rank > work.judged.rank):
        looked = await _write_down(work, now, may_end=may_end)
        work.judged = looked.severity
        return looked
    # What a person says of it stands, until it gets worse than what they saw.
    return _Looked(group=seen, severity=seen.severity or work.facts.severity)


async def _write_down(work: AlertWorkflow, now: datetime, *, may_end: bool) -> _Looked:
    """Raise the severity, or end the incident, by what is known at just that moment."""
    incident, group_id, run = work.incident, work.facts.group.id, work.run.id

    async def change(conn: AsyncConnection) -> _Looked:
        group = await alerts.find(conn, group_id, lock=True) or work.facts.group
        known = await incidents.count_alerts(conn, incident, group.received)
        worse = severity_of(group)
        if not group.is_clear and worse.rank > known.severity.rank:
            known = await incidents.set_severity(conn, incident, worse)
            await notifications.announce(conn, known, at=now)
        if not (group.is_clear and may_end):
            return _Looked(group=group, severity=known.severity)
        await alerts.let_go(conn, group_id)
        for status in (IncidentStatus.MITIGATED, IncidentStatus.RESOLVED):
            await incidents.move(conn, incident, status, at=now)
        await chain.append(
            conn,
            work.trigger.repository.id,
            "incident.resolved",
            actor=OURSELVES.login,
            at=now,
            incident=incident,
            run=run,
            data={"conditions": len(group.conditions), "received": group.received},
        )
        return _Looked(group=group, severity=known.severity, ended=True)

    return await work.run.write(Step.READ_FIRING_ALERTS, _Looked, change)


async def _resolved(work: AlertWorkflow, now: datetime) -> Ending:
    work.adr = with_status(work.adr, "accepted", now.date())
    said = "every condition has cleared."
    work.adr = with_outcome(work.adr, DecisionOutcome.CONFIRMED, now.date(), said)
    return await work.close(RunState.SUCCEEDED, "completed", "succeeded")


async def _cancelled(work: AlertWorkflow, by: str) -> Ending:
    now = await work.run.now()
    await _let_go(work, "incident.cancelled", IncidentStatus.DECLINED, now)
    work.facts = work.facts.model_copy(update={"stopped": by})
    work.adr = with_status(work.adr, "rejected", now.date())
    work.adr = with_outcome(work.adr, DecisionOutcome.FAILED, now.date(), f"closed by {by}.")
    await work.tell()
    return await work.close(RunState.CANCELLED, "not_planned", "stopped")


async def _given_up(work: AlertWorkflow) -> Ending:
    """Nobody says that it is over: it stays open, and the next word takes it up again."""
    now = await work.run.now()
    await _let_go(work, "incident.left", None, now)
    await work.recorder.finish(RunState.TIMED_OUT, work.digest)
    return Ending(outcome="stopped")


async def _let_go(
    work: AlertWorkflow, action: str, status: IncidentStatus | None, now: datetime
) -> None:
    group, incident = work.facts.group.id, work.incident

    async def change(conn: AsyncConnection) -> bool:
        await alerts.let_go(conn, group)
        if status is not None:
            await incidents.move(conn, incident, status, at=now)
        await chain.append(
            conn,
            work.trigger.repository.id,
            action,
            actor=OURSELVES.login,
            at=now,
            incident=incident,
            run=work.run.id,
        )
        return True

    await work.run.write(Step.STOP_FOLLOWING_ALERTS, bool, change)


async def _broke_off(work: AlertWorkflow, failed: StepFailed) -> None:
    """Note what did not work; the next word of the group begins again."""

    async def change(conn: AsyncConnection) -> bool:
        await alerts.let_go(conn, work.facts.group.id)
        return True

    await work.run.write(Step.RELEASE_ALERTS, bool, change)
    await work.recorder.broke_off(failed.step, str(failed))
