"""The first page: what needs somebody, what is under way; and the page of help.

The page of budgets and caps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import structlog
from aiohttp import web

from bot.cockpit.actions import answer_to_show
from bot.cockpit.audit import ChainCheck, Chains
from bot.cockpit.permissions import Sight, VisibleRepository
from bot.cockpit.ramps import RolloutLane, RolloutLanes
from bot.cockpit.request import OPEN_WORD, AccessRule, PageRoute, Visit, incident_filter
from bot.cockpit.scoped_records import ScopedRecords
from bot.cockpit.text import Next, chain_said, what_next
from bot.config import Config
from bot.errors import Passing
from bot.github.errors import GitHubError
from bot.limits import BudgetLimit
from bot.records.bisects import BisectProgress
from bot.records.budgets import BudgetState, window_end
from bot.records.dashboard import Times
from bot.records.incidents import Incident
from bot.records.pauses import Pause
from bot.records.runs import StoredRun
from bot.records.sensitive_config import ConfigQuestion
from bot.safety.budgets import WORDS, every_budget
from bot.slash_commands import ENTRIES, who_may
from bot.triggers import Repository, Severity

log = structlog.get_logger(__name__)
_PATIENCE = 3.0
"""Seconds to wait for a configuration that is not known yet."""


@dataclass(frozen=True)
class WindowUse:
    """One budget or cap in its present window; `share` is of its limit, more than 1 if over it."""

    seen: VisibleRepository
    name: str
    used: str
    limit: str
    share: float
    state: BudgetState
    window: str
    is_cap: bool
    ends_at: datetime


class Spending:
    """Reads balances; what is configured says which there are."""

    def __init__(self, config_of: Callable[[Repository], Awaitable[Config]]) -> None:
        """`config_of` gives the configuration in force."""
        self._config_of = config_of

    async def read(
        self,
        window: ScopedRecords,
        seen: Sequence[VisibleRepository],
        now: datetime,
        *,
        unused: bool = False,
    ) -> tuple[WindowUse, ...]:
        """Read the configured budgets of these repositories, and their caps, the fullest first.

        Args:
            window: the records.
            seen: the repositories; each costs a question to GitHub, now and then.
            now: the time.
            unused: whether to read the caps as well that nothing was drawn on.
        """
        configs = await asyncio.gather(*(self._config(each.repository) for each in seen))
        found = []
        for each, config in zip(seen, configs, strict=True):
            if config is None:
                continue
            for name, budget in every_budget(config).items():
                balance = await window.balance(each.repository.id, budget, now)
                limit = config.budgets.get(name)
                if limit is None and not balance.used and not unused:
                    continue
                found.append(
                    WindowUse(
                        seen=each,
                        name=WORDS.get(name, name),
                        used=_said(limit, balance.used),
                        limit=_said(limit, budget.limit),
                        share=balance.used / budget.limit if budget.limit else 1.0,
                        state=balance.state,
                        window=budget.window,
                        is_cap=limit is None,
                        ends_at=window_end(budget.window, now),
                    )
                )
        return tuple(sorted(found, key=lambda spent: -spent.share))

    async def _config(self, repository: Repository) -> Config | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._config_of(repository)
        except (TimeoutError, Passing, GitHubError) as fault:
            log.warning("no budgets to show", repository=repository.full_name, why=str(fault))
            return None


def _said(limit: BudgetLimit | None, units: int) -> str:
    return f"{units:,}" if limit is None else f"{limit.said(units)} {limit.unit}"


PER_PAGE = 12
"""Repositories: each is asked for its configuration."""


class BudgetPages:
    """`/ui/budgets`."""

    def __init__(self, spending: Spending) -> None:
        """Show what `spending` reads."""
        self._spending = spending

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/budgets", self.page, AccessRule.SIGNED_IN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Show the budgets of some repositories, by name, from the one that follows `after`."""
        sight, chosen = visit.narrowed()
        after = visit.query.get("after", "").lower()
        named = sight.by_name
        left = [each for each in named if each.repository.full_name.lower() > after]
        shown = left[:PER_PAGE]
        async with visit.window(sight) as window:
            spent = await self._spending.read(window, shown, visit.now, unused=True)
        return visit.page(
            "budgets.html",
            chosen=chosen,
            shown=[(each, [one for one in spent if one.seen is each]) for each in shown],
            more=shown[-1].repository.full_name if len(left) > len(shown) else None,
            total=len(named),
        )


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
        runs = await self._window.leading_runs([each.id for each in incidents])
        asked = await self._window.asked_a_founder()
        found = {}
        for each in incidents:
            run = runs.get(each.id)
            at_work = await self._active(run, each) if run and run.is_live else None
            found[each.id] = Tile(each, run, what_next(each, run, asked), at_work)
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


class HelpPage:
    """`/ui/help`."""

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/help", self.page, AccessRule.OPEN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """List the commands."""
        return visit.page(
            "help.html",
            commands=ENTRIES,
            who_may=who_may,
        )


MOST_TILES = 15
MOST_WAITING = 12
"""What more there is stands on the list of incidents."""
MOST_RESOLVED = 8
MOST_ACTIVE = 12
MOST_LANES = 12
MOST_HEADS = 12
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

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to look, now."""
        return self.checked is not None and chain_said(self.checked.verdict).is_bad


State = Literal["quiet", "working", "needs you", "critical"]


@dataclass(frozen=True)
class HouseState:
    """Everything on the page.

    Attributes:
        needs_you: what waits for a person, the gravest first; `hidden_count` more are cut.
        config_questions: versions of the configuration that do not count, and those only named;
            `needs_you_count` has all that waits.
        listed_count: how many incidents of the severity that is asked for are open.
        others: those of them that need nobody; `is_cut` where there are more than are shown.
        elsewhere: Runs at work on what no tile is about; `elsewhere_count` with what is cut.
        active_count: how many Runs are at work, shown or not.
        lanes: shadows and ramps under way; `lanes_count` with what is cut.
        heads: the ends of audit chains, those first that are not whole; `heads_count` of all.
    """

    state: State
    open: dict[Severity, int]
    needs_you: tuple[Tile, ...]
    needs_you_count: int
    hidden_count: int
    config_questions: tuple[ConfigQuestion, ...]
    further_questions: tuple[ConfigQuestion, ...]
    listed_count: int
    others: tuple[Tile, ...]
    is_cut: bool
    elsewhere: tuple[Active, ...]
    elsewhere_count: int
    active_count: int
    heads: tuple[ChainHead, ...]
    heads_count: int
    resolved: tuple[Incident, ...]
    times: Times
    pauses: tuple[Pause, ...]
    lanes: tuple[RolloutLane, ...]
    lanes_count: int
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
        # The figures above the list are about all that is open.
        severity = visit.query.get("severity", "")
        wanted = incident_filter({"status": OPEN_WORD, "severity": severity})
        async with visit.window(sight) as window:
            counts = await window.count_open()
            listed = sum(n for each, n in counts.items() if wanted.severity in (None, each))
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
            lanes_count = await window.count_ledgers()
            heads = _chain_heads(await window.heads(), sight, self._chains)
            shown = await answer_to_show(visit, window)
            spenders = await _spenders(window, sight, visit.now)
            spent = await self._spending.read(window, spenders, visit.now)
            house = HouseState(
                state=_state(counts, waiting, active_count),
                open=counts,
                needs_you=tuple(tiles[each] for each in needing[:MOST_WAITING] if each in tiles),
                needs_you_count=waiting,
                hidden_count=len(needing[MOST_WAITING:]),
                config_questions=tuple(config_questions[:MOST_WAITING]),
                further_questions=tuple(config_questions[MOST_WAITING:]),
                others=tuple(
                    tiles[each.id] for each in gravest if not tiles[each.id].next.is_yours
                ),
                listed_count=listed,
                is_cut=listed > len(gravest),
                elsewhere=await shelf.at_work(live, known),
                elsewhere_count=await window.count_live(besides=list(known)),
                active_count=active_count,
                heads=heads[:MOST_HEADS],
                heads_count=len(heads),
                resolved=tuple(await window.lately_resolved(limit=MOST_RESOLVED)),
                times=await window.times(since=visit.now - MEASURED),
                pauses=tuple(await window.pauses()),
                lanes=tuple(
                    [
                        await self._lanes.look(each, await window.served_by(each), visit.now)
                        for each in await window.ledgers(limit=min(MOST_LANES, lanes_count))
                    ]
                ),
                lanes_count=lanes_count,
                spent=spent[:MOST_BUDGETS],
            )
        only = next(iter(sight.seen.values())) if len(sight.seen) == 1 else None
        return visit.page("now.html", house=house, chosen=chosen, only=only, request_answer=shown)


def _chain_heads(
    heads: Mapping[int, tuple[int, str]], sight: Sight, chains: Chains
) -> tuple[ChainHead, ...]:
    checks = chains.known([sight.seen[key].repository for key in heads])
    found = [
        ChainHead(sight.seen[key], entries, head, checks.get(key))
        for key, (entries, head) in sorted(heads.items())
    ]
    return tuple(sorted(found, key=lambda each: not each.is_bad))


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
