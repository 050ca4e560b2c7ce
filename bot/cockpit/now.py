"""The first page: how things stand, what needs somebody, and what is being done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from aiohttp import web

from bot.cockpit.actions import answer_to_show
from bot.cockpit.chains import Chains, Checked
from bot.cockpit.filters import OPEN_WORD, incident_filter
from bot.cockpit.lanes import Lane, Lanes
from bot.cockpit.rights import Seen, Sight
from bot.cockpit.routes import Route, Rule
from bot.cockpit.spending import Spending, Spent
from bot.cockpit.visit import Visit
from bot.cockpit.window import Window
from bot.cockpit.words import Next, what_next
from bot.records.cockpit.board import Times
from bot.records.recovery.incidents import Incident
from bot.records.recovery.progress import BisectProgress
from bot.records.recovery.runs import Run
from bot.records.safety.pauses import Pause
from bot.triggers import Severity

MOST_TILES = 15
MOST_WAITING = 12
"""What more there is stands on the list of incidents."""
MOST_RESOLVED = 8
MOST_ACTIVE = 12
MOST_LANES = 12
MOST_SPENDERS = 12
MOST_BUDGETS = 8
MEASURED = timedelta(days=30)


@dataclass(frozen=True)
class Tile:
    """One incident on the page."""

    incident: Incident
    runs: tuple[Run, ...]
    next: Next

    @property
    def last_run(self) -> Run | None:
        """The newest Run."""
        return self.runs[-1] if self.runs else None


@dataclass(frozen=True)
class Active:
    """A Run at work. `left` is what is left of the time such Runs usually take."""

    run: Run
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
class ChainHead:
    """The end of one repository's audit chain, and what was found about the chain last."""

    seen: Seen
    entries: int
    head: str
    checked: Checked | None


State = Literal["quiet", "working", "needs you", "critical"]


@dataclass(frozen=True)
class House:
    """Everything on the page."""

    state: State
    open: dict[Severity, int]
    needs_you: tuple[Tile, ...]
    needs_you_count: int
    tiles: tuple[Tile, ...]
    active: tuple[Active, ...]
    active_count: int
    heads: tuple[ChainHead, ...]
    resolved: tuple[Incident, ...]
    times: Times
    pauses: tuple[Pause, ...]
    lanes: tuple[Lane, ...]
    spent: tuple[Spent, ...]

    @property
    def open_count(self) -> int:
        """How many incidents are open, shown or not."""
        return sum(self.open.values())


class NowPage:
    """`/ui/`."""

    def __init__(self, chains: Chains, lanes: Lanes, spending: Spending) -> None:
        """Show the state of these."""
        self._chains = chains
        self._lanes = lanes
        self._spending = spending

    def routes(self) -> tuple[Route, ...]:
        """Its address."""
        return (Route("GET", "/", self.page, Rule.SIGNED_IN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Show how things stand."""
        sight, chosen = visit.narrowed()
        wanted = incident_filter(visit.query, status=OPEN_WORD)
        async with visit.window(sight) as window:
            counts = await window.count_open(wanted)
            found = await window.gravest(wanted, limit=MOST_TILES)
            live = await window.live_runs(limit=MOST_ACTIVE)
            tiles = await _tiles(window, found)
            needing = await window.needing_somebody()
            needs_you = await _those_first(window, needing[:MOST_WAITING], tiles)
            active = await _active(visit, window, live, tiles)
            heads = await window.heads()
            shown = await answer_to_show(visit, window)
            spenders = await _spenders(window, sight, visit.now)
            spent = await self._spending.read(window, spenders, visit.now)
            house = House(
                state=_state(counts, needing, active),
                open=counts,
                needs_you=needs_you,
                needs_you_count=len(needing),
                tiles=tiles,
                active=active,
                active_count=await window.count_live(),
                heads=tuple(
                    ChainHead(
                        seen=sight.seen[key],
                        entries=entries,
                        head=head,
                        checked=self._chains.last(sight.seen[key].repository),
                    )
                    for key, (entries, head) in sorted(heads.items())
                ),
                resolved=tuple(await window.lately_resolved(limit=MOST_RESOLVED)),
                times=await window.times(since=visit.now - MEASURED),
                pauses=tuple(await window.pauses()),
                lanes=tuple(
                    [
                        await self._lanes.look(each, await window.served_by(each), visit.now)
                        for each in await window.ledgers(limit=MOST_LANES)
                        if each.closed_at is None
                    ]
                ),
                spent=spent[:MOST_BUDGETS],
            )
        only = next(iter(sight.seen.values())) if len(sight.seen) == 1 else None
        return visit.page("now.html", house=house, chosen=chosen, only=only, request_answer=shown)


async def _spenders(window: Window, sight: Sight, now: datetime) -> list[Seen]:
    """The repositories whose budgets are shown: those first that spent something lately."""
    spent = await window.spent_lately(now)
    first = sorted(sight.seen.values(), key=lambda each: each.repository.id not in spent)
    return first[:MOST_SPENDERS]


def _state(counts: dict[Severity, int], needing: Sequence[str], active: Sequence[Active]) -> State:
    if counts.get(Severity.CRITICAL):
        return "critical"
    if needing:
        return "needs you"
    return "working" if active or counts else "quiet"


async def _tiles(window: Window, found: Sequence[Incident]) -> tuple[Tile, ...]:
    runs = await window.runs_of([each.id for each in found])
    asked = await window.asked_a_founder()
    return tuple(
        Tile(each, tuple(runs[each.id]), what_next(each, runs[each.id], asked)) for each in found
    )


async def _those_first(
    window: Window, needing: Sequence[str], tiles: Sequence[Tile]
) -> tuple[Tile, ...]:
    """What needs a person, in this order: on the page already, or hidden behind its limits."""
    shown = {tile.incident.id: tile for tile in tiles}
    hidden = await window.these([each for each in needing if each not in shown])
    shown |= {tile.incident.id: tile for tile in await _tiles(window, list(hidden.values()))}
    return tuple(shown[each] for each in needing if each in shown)


async def _active(
    visit: Visit, window: Window, live: Sequence[Run], tiles: Sequence[Tile]
) -> tuple[Active, ...]:
    known = {tile.incident.id: tile.incident for tile in tiles}
    missing = {run.incident_id for run in live if run.incident_id} - known.keys()
    known |= await window.these(missing)
    usual: dict[str, timedelta | None] = {}
    found = []
    for run in live:
        if run.playbook not in usual:
            usual[run.playbook] = await window.usual_duration(run.playbook)
        progress = await window.progress_of(run) if run.playbook == "bisect" else None
        seen = visit.sight.seen[run.repository_id]
        found.append(
            Active(
                run=run,
                repository=seen.repository.full_name,
                incident=known.get(run.incident_id or ""),
                progress=progress,
                usual=usual[run.playbook],
                age=_age(run, visit.now),
            )
        )
    return tuple(found)


def _age(run: Run, now: datetime) -> timedelta:
    return max(now - run.created_at, timedelta(0))
