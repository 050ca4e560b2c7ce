"""What is going on about one issue or pull request: its incidents, and the Runs at work on them."""

from __future__ import annotations

from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.playbooks.run import Run as EngineRun
from bot.records.lifecycle import RunState
from bot.records.recovery import incidents, runs
from bot.records.recovery.incidents import Incident
from bot.records.recovery.runs import Run
from bot.triggers import Source, Trigger, Value

_RECENT = 200


class Here(Value):
    """The incidents and Runs about one issue or pull request, each list oldest Run first.

    `elsewhere` are Runs of the same repository that wait for an approval: an id may name them.
    """

    incidents: tuple[Incident, ...]
    runs: tuple[Run, ...]
    elsewhere: tuple[Run, ...] = ()

    @property
    def live(self) -> tuple[Run, ...]:
        """Those that may still do something."""
        return tuple(run for run in self.runs if run.is_live)

    @property
    def last_failed(self) -> Run | None:
        """The last one that broke off."""
        failed = [run for run in self.runs if run.broke_off]
        return max(failed, key=lambda run: run.created_at, default=None)

    def pending(self, approval: str | None) -> tuple[Run, ...]:
        """Those that wait for an approval: the one named by (the end of) its id, or all here."""
        waiting = [run for run in self.runs if run.state is RunState.AWAITING_APPROVAL]
        if approval is None:
            return tuple(waiting)
        everywhere = {run.id: run for run in (*waiting, *self.elsewhere)}
        return tuple(run for key, run in everywhere.items() if key.endswith(approval.lower()))


async def look_here(run: EngineRun, records: AsyncEngine, trigger: Trigger) -> Here:
    """Read what is going on where a Trigger came from; read once, whatever happens after."""
    find = partial(find_here, records, trigger.repository.id, trigger.source)
    return await run.step("see what is going on", Here, find)


async def find_here(records: AsyncEngine, repository: int, source: Source, _: bool) -> Here:
    """Read what concerns the issue, pull request or check-run that a Trigger came from."""
    subject = source.subject
    async with records.connect() as conn:
        live = await runs.list_live(conn, repository)
        broken_off = await runs.list_broken_off(conn, repository)
        meant = {run.incident_id for run in (*live, *broken_off) if _is_meant(run, source)}
        recent = await incidents.list_recent(conn, repository, limit=_RECENT)
        found = [each for each in recent if _concerns(each, subject) or each.id in meant]
        # What is open comes first; of what is over only the latest is of interest.
        chosen = [each for each in found if each.is_open] or found[:1]
        attached = [r for each in chosen for r in await runs.of_incident(conn, each.id)]
        early = [
            run
            for run in await runs.without_incident(conn, repository)
            if subject is not None and Trigger.model_validate(run.trigger).source.subject == subject
        ]
    return Here(
        incidents=tuple(chosen),
        runs=(*attached, *reversed(early)),
        elsewhere=tuple(run for run in live if run.state is RunState.AWAITING_APPROVAL),
    )


def _is_meant(run: Run, source: Source) -> bool:
    """Whether its check-run's button was pressed, or it was asked for in this place."""
    if run.id == source.run:
        return True
    asked_on = Trigger.model_validate(run.trigger).source.subject
    return source.subject is not None and asked_on == source.subject


def _concerns(incident: Incident, subject: int | None) -> bool:
    if subject is None:
        return False
    named = f"pull_request:{subject}" in incident.subject.split("+")
    return named or incident.issue == subject or subject in incident.prs
