"""One group of alerts from its first word to its last.

The incident is opened with its issue, decision record and audit entry; what follows is asked for
as a Trigger of its own; and only when every condition has cleared is the incident resolved.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.run import Ending, Run, SignalKind, StepFailed
from bot.playbooks.signals import first, heard
from bot.playbooks.steps import Step, WaitPoint
from bot.playbooks.triage import announcing
from bot.playbooks.triage.opening import open_for_group, severity_of
from bot.playbooks.triage.work import AlertResources, AlertWorkflow
from bot.records import alerts, incidents
from bot.records.alerts import ConditionGroup
from bot.records.audit import chain
from bot.records.documents.adr import with_outcome, with_status
from bot.records.documents.artifacts import DecisionOutcome
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.notifications import announce
from bot.triggers import OURSELVES, Severity, TriageRequest, Trigger, Value

__all__ = ["follow_alerts"]

_ORDER = list(Severity)
_SETTLING = 4
"""What has cleared is looked at once more after this part of the usual wait: alerts flap."""


class _Looked(Value):
    """The group now, and the severity its incident has."""

    group: ConditionGroup
    severity: Severity
    ended: bool = False


async def follow_alerts(
    run: Run, trigger: Trigger, request: TriageRequest, parts: AlertResources
) -> Ending:
    """Keep the incident of one group of alerts."""
    triaged = await open_for_group(run, trigger, request.group, signing_key=parts.parts.signing_key)
    if triaged is None:
        reason = "There is no such group of alerts, or they are followed already."
        return Ending(outcome="declined", reason=reason)
    work = AlertWorkflow(run, trigger, parts, triaged)
    try:
        async with parts.turns:
            await announcing.follow_group(work)
        return await _to_its_end(work)
    except StepFailed as failed:
        await _broke_off(work, failed)
        raise


async def _to_its_end(work: AlertWorkflow) -> Ending:
    """Follow the group until every condition has cleared."""
    began = await work.run.now()
    patience = work.parts.parts.patience
    was_clear = False
    while True:
        now = await work.run.now()
        looked = await _look(work, now, may_end=was_clear)
        work.know(group=looked.group, severity=looked.severity, resolved=looked.ended)
        await work.tell()
        if looked.ended:
            return await _resolved(work, now)
        was_clear = looked.group.is_clear
        pause = patience.look_again / (_SETTLING if was_clear else 1)
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

    async def read(_: bool) -> ConditionGroup | None:
        async with records.connect() as conn:
            return await alerts.find(conn, group_id)

    # `Group | None` is a type, and only used to read the result back.
    found = await work.run.step(Step.READ_ALERTS, ConditionGroup | None, read)  # type: ignore[arg-type]
    group: ConditionGroup = found or work.facts.group
    is_over = group.is_clear and may_end
    is_worse = _ORDER.index(severity_of(group)) > _ORDER.index(work.facts.severity)
    if not is_over and (group.is_clear or not is_worse):
        return _Looked(group=group, severity=work.facts.severity)
    return await _write_down(work, now, may_end=may_end)


async def _write_down(work: AlertWorkflow, now: datetime, *, may_end: bool) -> _Looked:
    """Raise the severity, or end the incident, by what is known at just that moment."""
    incident, group_id, run = work.incident, work.facts.group.id, work.run.id

    async def change(conn: AsyncConnection) -> _Looked:
        group = await alerts.find(conn, group_id, lock=True) or work.facts.group
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
    work.know(stopped=by)
    work.adr = with_status(work.adr, "rejected", now.date())
    work.adr = with_outcome(work.adr, DecisionOutcome.FAILED, now.date(), f"closed by {by}.")
    await work.tell()
    return await work.close(RunState.CANCELLED, "not_planned", "stopped")


async def _given_up(work: AlertWorkflow) -> Ending:
    """Nobody says that it is over: it stays open, and the next word takes it up again."""
    now = await work.run.now()
    await _let_go(work, "incident.left", None, now)
    await work.casebook.finish(RunState.TIMED_OUT, work.digest)
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
    """Note what did not work; the next word of the group begins anew."""

    async def change(conn: AsyncConnection) -> bool:
        await alerts.let_go(conn, work.facts.group.id)
        return True

    await work.run.write(Step.RELEASE_ALERTS, bool, change)
    await work.casebook.broke_off(failed.step, str(failed))
