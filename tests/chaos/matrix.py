"""The kill matrix of a playbook: each instant at which the bot can die, and what follows.

Instants are not thought up: they are enumerated from a Run that nobody disturbed. Before a step,
after its effect but before its result is recorded, before each GitHub write is carried out, and
after it was carried out but before its answer arrives.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from aiohttp import web

from bot.playbooks.checks.results import GATE_CHECK
from fakegithub.faults.writes import Write
from tests.chaos.end_state import assert_audit_is_intact, difference, end_state, without_ids
from tests.chaos.journals import assert_as_released
from tests.chaos.lane import Lane
from tests.chaos.plays import Play, Scene
from tests.chaos.survived import Survived

_TELL_EVERY = 10
Kind = Literal["began", "ended", "before", "after"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Point:
    """One instant: the `number`th time that such a step or write comes."""

    kind: Kind
    number: int
    what: str

    def __str__(self) -> str:
        """In words."""
        which = self.what if self.number == 1 else f"{self.what} ({self.number})"
        return {
            "began": f"as a step began: {which}",
            "ended": f"as a step ended, not yet recorded: {which}",
            "before": f"before a write: {which}",
            "after": f"after a write, not yet answered: {which}",
        }[self.kind]


@dataclass
class Tally:
    """What came of the points of one play."""

    play: Play
    undisturbed: dict[str, Any]
    points: list[Point]
    survived: list[Point] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)
    """Looks that this time were not needed: it ended before."""
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts."""
        each = ", ".join(f"{sum(p.kind == k for p in self.points)} {k}" for k in KINDS)
        tried = len(self.survived) + len(self.failures)
        return (
            f"{self.play.name}: {len(self.points)} kill points enumerated ({each}), {tried} tried, "
            f"{len(self.survived)} ended as if nothing had happened"
            + (f", {len(self.missed)} looks not needed again" if self.missed else "")
        )


async def enumerate_points(lane: Lane, play: Play) -> Tally:
    """Play it once undisturbed, and list every instant at which the bot could have died."""
    async with await play.prepare(lane) as scene:
        lane.serve_only(scene.repository)
        await lane.github.deliveries.settle()
        traced, written = len(lane.life.trace()), len(lane.github.faults.writes)
        await play.to_its_end(lane, scene, await scene.ask())
    state = await _checked(lane, play, scene)
    moments = lane.life.trace()[traced:]
    assert_as_released(play.name, moments)
    writes = [w for w in lane.github.faults.writes[written:] if w.app is lane.app]
    points = [
        *_numbered("began", (step for moment, _, step in moments if moment == "began")),
        *_numbered("ended", (step for moment, _, step in moments if moment == "ended")),
        *_numbered("before", map(_without_names, writes)),
        *_numbered("after", map(_without_names, writes)),
    ]
    return Tally(play, undisturbed=state, points=points)


def sample(points: Sequence[Point], seed: int, of_each_kind: int) -> list[Point]:
    """Some points of each kind; the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    return [
        point
        for kind in KINDS
        for point in rng.sample([p for p in points if p.kind == kind], of_each_kind)
    ]


async def try_all(
    tally: Tally,
    points: Sequence[Point],
    lanes: Sequence[Lane],
    survived: Survived | None = None,
) -> None:
    """Die at each point, come back, and compare what is left behind; lanes work side by side.

    Args:
        tally: what came of it is added there.
        points: those to die at.
        lanes: as many at once.
        survived: has those that need not be tried again; how far it is is printed now and then.
    """
    known = survived.points if survived else set[str]()
    tally.survived += [point for point in points if str(point) in known]
    waiting = [point for point in points if str(point) not in known][::-1]
    once_more, of_all = set[Point](), len(waiting) + len(tally.survived)

    async def work(lane: Lane) -> None:
        while waiting:
            point = waiting.pop()
            try:
                found = await die_and_come_back(lane, tally.play, point)
                assert found == tally.undisturbed, difference(tally.undisturbed, found)
            except NotReached:
                if _is_a_look(point) or (tally.play.side_by_side and _is_a_commit(point)):
                    tally.missed.append(point)
                elif point not in once_more:
                    # Of two lives side by side the one that was to die may have come second.
                    once_more.add(point)
                    waiting.insert(0, point)
                else:
                    tally.failures.append(f"{point}\nthis point was not reached")
            except (AssertionError, TimeoutError) as failure:
                tally.failures.append(f"{point}\n{_short(failure)}")
                if not lane.life.alive:
                    await lane.start()
            else:
                tally.survived.append(point)
                if survived is not None:
                    survived.note(str(point))
            if survived is not None and (ended := of_all - len(waiting)) % _TELL_EVERY == 0:
                print(f"{tally.play.name}: {ended} of {of_all}", flush=True)  # noqa: T201 - progress

    await asyncio.gather(*(work(lane) for lane in lanes))


class NotReached(Exception):
    """It ended before the instant came at which it was to die."""


async def die_and_come_back(lane: Lane, play: Play, point: Point) -> dict[str, Any]:
    """Play it, kill the bot at the point, start it again; the end state.

    Raises:
        NotReached: it lived to its end.
    """
    async with await play.prepare(lane) as scene:
        lane.serve_only(scene.repository)
        await lane.github.deliveries.settle()
        _arm(lane, point)
        comment = await scene.ask()
        ending = asyncio.ensure_future(play.to_its_end(lane, scene, comment))
        death = asyncio.ensure_future(lane.life.died(within=120))
        try:
            await asyncio.wait((ending, death), return_when=asyncio.FIRST_COMPLETED)
            if not death.done():
                await ending
                raise NotReached
            await death
            await lane.start()
            await ending
        finally:
            lane.life.unplan()
            lane.github.faults.never_mind(lane.app)
            for task in (ending, death):
                task.cancel()
    return await _checked(lane, play, scene)


def _arm(lane: Lane, point: Point) -> None:
    def like(write: Write) -> bool:
        return _without_names(write) == point.what

    match point.kind:
        case "began" | "ended" as moment:
            lane.life.plan(moment, point.number, point.what, str(point))
        case "before":

            def instead_of(_: Write) -> None:
                lane.life.send(signal.SIGKILL)
                # Nobody hears this answer; it keeps the work from being done.
                raise web.HTTPServiceUnavailable

            lane.github.faults.before_write(point.number, instead_of, lane.app, like)
        case "after":
            lane.github.faults.after_write(
                point.number, lambda _: lane.life.send(signal.SIGKILL), lane.app, like
            )


async def _checked(lane: Lane, play: Play, scene: Scene) -> dict[str, Any]:
    state = end_state(scene.repository, lane.data)
    play.assert_one_of_everything(state, scene)
    await assert_audit_is_intact(scene.repository, lane.data)
    return state


def _numbered(kind: Kind, names: Iterable[str]) -> list[Point]:
    """Count each name by itself, so that a point means the same however often one had to look."""
    seen = Counter[str]()
    points = []
    for name in names:
        seen[name] += 1
        points.append(Point(kind, seen[name], name))
    return points


_LOOKS = (
    "read-",
    "choose-checks",
    "explain-",
    "find-watched-issue",
    "list-hidden-refs",
    "store-",
    "publish-status",
    "comment-on-",
    "PATCH ",
)
_ONLY_IF_IT_WAITS = "read-policy-change"
"""Comes with the words that say what a ramp waits for: evidence that is there needs none."""


def _is_a_look(point: Point) -> bool:
    """Whether how often it comes depends on how quickly others were, and changes nothing.

    The gate is reported beside every Run, on whatever is open while the bot looks.
    """
    if point.what in (f"POST check-runs ({GATE_CHECK})", _ONLY_IF_IT_WAITS):
        return True
    return point.number > 1 and point.what.startswith(_LOOKS)


def _is_a_commit(point: Point) -> bool:
    """Whether it puts a file on a branch: of two Runs that do, one may have to do it again."""
    return point.number > 1 and point.what.startswith(("POST git/", "PATCH git/refs/"))


def _without_names(write: Write) -> str:
    """Such as `PATCH check-runs/<n>`: what is the same in every repository."""
    _, _, path = write.path.removeprefix("/repos/").partition("/")
    path = without_ids(path.partition("/")[2])
    made_for = f" ({write.what})" if write.what else ""
    return f"{write.method} {re.sub(r'[0-9]{3,}', '<n>', path)}{made_for}"


def _short(failure: BaseException) -> str:
    return str(failure)[:3000] or type(failure).__name__
