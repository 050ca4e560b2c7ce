"""Incidents and Runs at work as the first page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bot.cockpit.visit import Visit
from bot.cockpit.window import ScopedRecords
from bot.cockpit.words import Next, leading, what_next
from bot.records.bisect_progress import BisectProgress
from bot.records.incidents import Incident
from bot.records.runs import StoredRun


@dataclass(frozen=True)
class Active:
    """A Run at work; `usual` is how long such Runs take here."""

    run: StoredRun
    repository: str
    incident: Incident | None
    progress: BisectProgress | None
    usual: timedelta | None
    age: timedelta

    @property
    def left(self) -> timedelta | None:
        """How much longer, if it takes as long as the others did; None: it took longer already."""
        if self.usual is None or self.age >= self.usual:
            return None
        return self.usual - self.age


@dataclass(frozen=True)
class Tile:
    """One incident, what is to be done about it, and the Run that says so."""

    incident: Incident
    run: StoredRun | None
    next: Next
    at_work: Active | None


class Tiles:
    """Makes them for one visit; what several of them need is read once."""

    def __init__(self, visit: Visit, window: ScopedRecords) -> None:
        """Read through `window`."""
        self._visit = visit
        self._window = window
        self._usual: dict[str, timedelta | None] = {}

    async def of(self, incidents: Sequence[Incident]) -> dict[str, Tile]:
        """Make the tiles of these incidents, by id."""
        runs = await self._window.runs_of([each.id for each in incidents])
        asked = await self._window.asked_a_founder()
        found = {}
        for each in incidents:
            run = leading(runs[each.id])
            at_work = await self._active(run, each) if run and run.is_live else None
            found[each.id] = Tile(each, run, what_next(each, runs[each.id], asked), at_work)
        return found

    async def at_work(
        self, runs: Sequence[StoredRun], known: Mapping[str, Incident]
    ) -> tuple[Active, ...]:
        """Show these Runs; `known` are incidents that were read already."""
        missing = {run.incident_id for run in runs if run.incident_id} - known.keys()
        incidents = {**known, **await self._window.these(missing)}
        return tuple(
            [await self._active(run, incidents.get(run.incident_id or "")) for run in runs]
        )

    async def _active(self, run: StoredRun, incident: Incident | None) -> Active:
        if run.playbook not in self._usual:
            self._usual[run.playbook] = await self._window.usual_duration(run.playbook)
        is_bisect = run.playbook == "bisect"
        return Active(
            run=run,
            repository=self._visit.sight.seen[run.repository_id].repository.full_name,
            incident=incident,
            progress=await self._window.progress_of(run) if is_bisect else None,
            usual=self._usual[run.playbook],
            age=max(self._visit.now - run.created_at, timedelta(0)),
        )
