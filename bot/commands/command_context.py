"""The incidents and Runs that a command concerns, by where it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.playbooks.pull_request.ownership import is_named
from bot.playbooks.run import Run as EngineRun
from bot.playbooks.steps import Step
from bot.records import approvals, incidents, runs
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.runs import StoredRun
from bot.triggers import Source, Trigger, Value

_RECENT = 200


class CommandContext(Value):
    """The incidents and Runs about one issue or pull request, each list oldest Run first.

    `elsewhere` are Runs of the same repository that wait for an approval: an id may name them.
    `parked` are those that hear nothing until the release that began them is back.
    """

    incidents: tuple[Incident, ...]
    runs: tuple[StoredRun, ...]
    elsewhere: tuple[StoredRun, ...] = ()
    parked: tuple[str, ...] = ()
    asked_about: dict[str, str] = Field(default_factory=dict)
    """The commit that each Run which waits for an approval asks about, by the Run's id."""
    asked_before: bool = False
    """Whether something under way here has asked for an approval, and waits for none now."""
    ended: str = ""
    """What ended without a merge, such as `revert`, where this is its own pull request or issue."""

    @property
    def live(self) -> tuple[StoredRun, ...]:
        """Those that may still do something."""
        return tuple(run for run in self.runs if run.is_live)

    @property
    def last_failed(self) -> StoredRun | None:
        """The last one that broke off: of an open incident first, which somebody waits for.

        What was declined is among the others: nothing came of it, and it can be asked again. What
        another Run goes on with is not.
        """
        waited_for = {each.id for each in self.incidents if each.is_open}
        taken_up = {(run.incident_id, run.playbook) for run in self.live if run.incident_id}
        failed = [
            run
            for run in self.runs
            if run.broke_off and (run.incident_id, run.playbook) not in taken_up
        ]
        return max(
            failed, key=lambda run: (run.incident_id in waited_for, run.created_at), default=None
        )

    @property
    def left(self) -> tuple[Incident, ...]:
        """The incidents that are open here and that no Run works on: they wait for somebody."""
        worked_on = {run.incident_id for run in self.live}
        return tuple(each for each in self.incidents if each.is_open and each.id not in worked_on)

    @property
    def is_left(self) -> bool:
        """Whether a Run of one of those broke off."""
        left = {each.id for each in self.left}
        return self.last_failed is not None and self.last_failed.incident_id in left

    def asked_about_here(self) -> tuple[str, ...]:
        """The commits that are asked about here."""
        asked = [self.asked_about.get(run.id) for run in self.pending(None)]
        return tuple(commit for commit in asked if commit is not None)

    def pending(self, approval: str | None) -> tuple[StoredRun, ...]:
        """Those that wait for an approval: all here, or the one named.

        It is named by (the end of) its id, or by the commit it asks about.
        """
        waiting = [run for run in self.runs if run.state is RunState.AWAITING_APPROVAL]
        if approval is None:
            return tuple(waiting)
        everywhere = {run.id: run for run in (*waiting, *self.elsewhere)}
        return tuple(
            run
            for key, run in everywhere.items()
            if key.endswith(approval.lower()) or is_named(approval, self.asked_about.get(key, ""))
        )


class Executions(Protocol):
    """What is known of the executions behind the Runs."""

    async def settle(self, repository_id: int | None = None) -> None:
        """End, in the records, the Runs of a repository whose execution is over."""

    def is_parked(self, run: str) -> bool:
        """Whether a Run waits for another release of this bot."""

    async def give_up(self, run: str) -> None:
        """End a Run that waits for another release."""


@dataclass(frozen=True)
class ContextReader:
    """Reads what is going on where a Trigger came from.

    Attributes:
        records: the database, for reading.
        executions: tells dead Runs from those that hear what they are told.
    """

    records: AsyncEngine
    executions: Executions

    async def look(self, run: EngineRun, trigger: Trigger) -> CommandContext:
        """Read it once, whatever happens after; a Run that is over is not among the live ones."""

        async def find(_: bool) -> CommandContext:
            await self.executions.settle(trigger.repository.id)
            here = await find_here(self.records, trigger.repository.id, trigger.source)
            parked = [each.id for each in here.live if self.executions.is_parked(each.id)]
            return here.model_copy(update={"parked": tuple(parked)})

        return await run.step(Step.READ_CONTEXT, CommandContext, find)


async def find_here(records: AsyncEngine, repository: int, source: Source) -> CommandContext:
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
        own = next((each for each in found if subject in (each.issue, *each.prs)), None)
        waiting = [run for run in live if run.state is RunState.AWAITING_APPROVAL]
        asked = {}
        for run in waiting:
            approval = await approvals.latest(conn, run.id)
            if approval is not None and approval.state == "pending":
                asked[run.id] = approval.commit
            elif run.watch_head_sha is not None:
                asked[run.id] = run.watch_head_sha
        asked_before = [
            await approvals.was_asked(conn, run.incident_id, run.id)
            for run in attached
            if run.is_live and run.id not in asked and run.incident_id
        ]
    return CommandContext(
        incidents=tuple(chosen),
        runs=(*attached, *reversed(early)),
        elsewhere=tuple(waiting),
        asked_about=asked,
        asked_before=any(asked_before),
        ended=own.kind if own and own.status is IncidentStatus.DECLINED else "",
    )


def _is_meant(run: StoredRun, source: Source) -> bool:
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
