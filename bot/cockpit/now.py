"""The first page: how things stand, what needs somebody, and what is being done about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from aiohttp import web

from bot.cockpit.actions import answer_to_show
from bot.cockpit.chains import ChainCheck, Chains
from bot.cockpit.filters import OPEN_WORD, incident_filter
from bot.cockpit.lanes import RolloutLane, RolloutLanes
from bot.cockpit.rights import Sight, VisibleRepository
from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.spending import Spending, WindowUse
from bot.cockpit.tiles import Active, Tile, Tiles
from bot.cockpit.visit import Visit
from bot.cockpit.window import ScopedRecords
from bot.records.config_questions import ConfigQuestion
from bot.records.dashboard import Times
from bot.records.incidents import Incident
from bot.records.pauses import Pause
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
class ChainHead:
    """The end of one repository's audit chain, and what was found about the chain last."""

    seen: VisibleRepository
    entries: int
    head: str
    checked: ChainCheck | None


State = Literal["quiet", "working", "needs you", "critical"]


@dataclass(frozen=True)
class HouseState:
    """Everything on the page.

    Attributes:
        needs_you: what waits for a person, the gravest first; `needs_you_count` with what is cut.
        config_questions: versions of the configuration that do not count; counted with them.
        others: open incidents that need nobody; `is_cut` where there are more than are shown.
        elsewhere: Runs at work on what no tile is about.
        active_count: how many Runs are at work, shown or not.
    """

    state: State
    open: dict[Severity, int]
    needs_you: tuple[Tile, ...]
    needs_you_count: int
    config_questions: tuple[ConfigQuestion, ...]
    others: tuple[Tile, ...]
    is_cut: bool
    elsewhere: tuple[Active, ...]
    active_count: int
    heads: tuple[ChainHead, ...]
    resolved: tuple[Incident, ...]
    times: Times
    pauses: tuple[Pause, ...]
    lanes: tuple[RolloutLane, ...]
    spent: tuple[WindowUse, ...]

    @property
    def open_count(self) -> int:
        """How many incidents are open, shown or not."""
        return sum(self.open.values())


class HomePage:
    """`/ui/`."""

    def __init__(self, chains: Chains, lanes: RolloutLanes, spending: Spending) -> None:
        """Show the state of these."""
        self._chains = chains
        self._lanes = lanes
        self._spending = spending

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/", self.page, AccessRule.SIGNED_IN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Show how things stand."""
        sight, chosen = visit.narrowed()
        wanted = incident_filter(visit.query, status=OPEN_WORD)
        async with visit.window(sight) as window:
            counts = await window.count_open(wanted)
            gravest = await window.gravest(wanted, limit=MOST_TILES)
            needing = await window.needing_somebody()
            config_questions = await window.config_questions()
            waiting = len(needing) + len(config_questions)
            known = {each.id: each for each in gravest}
            hidden = [each for each in needing[:MOST_WAITING] if each not in known]
            known |= await window.these(hidden)
            shelf = Tiles(visit, window)
            tiles = await shelf.of(list(known.values()))
            live = await window.live_runs(limit=MOST_ACTIVE, besides=list(known))
            active_count = await window.count_live()
            heads = await window.heads()
            shown = await answer_to_show(visit, window)
            spenders = await _spenders(window, sight, visit.now)
            spent = await self._spending.read(window, spenders, visit.now)
            house = HouseState(
                state=_state(counts, waiting, active_count),
                open=counts,
                needs_you=tuple(tiles[each] for each in needing[:MOST_WAITING] if each in tiles),
                needs_you_count=waiting,
                config_questions=tuple(config_questions[:MOST_WAITING]),
                others=tuple(
                    tiles[each.id] for each in gravest if not tiles[each.id].next.is_yours
                ),
                is_cut=sum(counts.values()) > len(gravest),
                elsewhere=await shelf.at_work(live, known),
                active_count=active_count,
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


async def _spenders(window: ScopedRecords, sight: Sight, now: datetime) -> list[VisibleRepository]:
    """The repositories whose budgets are shown: those first that spent something lately."""
    spent = await window.spent_lately(now)
    first = sorted(sight.seen.values(), key=lambda each: each.repository.id not in spent)
    return first[:MOST_SPENDERS]


def _state(counts: dict[Severity, int], waiting: int, active: int) -> State:
    if counts.get(Severity.CRITICAL):
        return "critical"
    if waiting:
        return "needs you"
    return "working" if active or counts else "quiet"
