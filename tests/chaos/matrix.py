"""The kill matrix of a revert: every instant at which the bot's process can die, and what follows.

Instants are not thought up: they are enumerated from a revert that nobody disturbed. Before a
step, after its effect but before its result is recorded, before each GitHub write is carried out,
and after it was carried out but before its answer arrives.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from bot.demo.github.model import Repository
from bot.demo.github.writes import Write
from tests.chaos.end_state import (
    assert_audit_is_intact,
    assert_one_of_everything,
    difference,
    end_state,
)
from tests.chaos.lane import Lane

Kind = Literal["began", "ended", "before", "after"]


@dataclass(frozen=True)
class Point:
    """One instant: the `number`th of its kind."""

    kind: Kind
    number: int
    what: str

    def __str__(self) -> str:
        """In words."""
        return {
            "began": f"as step {self.number} began: {self.what}",
            "ended": f"as step {self.number} ended, not yet recorded: {self.what}",
            "before": f"before write {self.number}: {self.what}",
            "after": f"after write {self.number}, not yet answered: {self.what}",
        }[self.kind]


@dataclass
class Tally:
    """What came of the points."""

    undisturbed: dict[str, Any]
    points: list[Point]
    survived: list[Point] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts."""
        kinds = ("began", "ended", "before", "after")
        each = ", ".join(f"{sum(p.kind == k for p in self.points)} {k}" for k in kinds)
        tried = len(self.survived) + len(self.failures)
        return (
            f"{len(self.points)} kill points enumerated ({each}), {tried} tried, "
            f"{len(self.survived)} ended as if nothing had happened"
        )


async def enumerate_points(lane: Lane) -> Tally:
    """Revert once undisturbed, and list every instant at which the bot could have died."""
    traced, written = len(lane.life.trace()), len(lane.github.faults.writes)
    repository = await _revert(lane)
    state = await _checked(lane, repository)
    moments = lane.life.trace()[traced:]
    writes = [w for w in lane.github.faults.writes[written:] if w.app is lane.app]
    points = [
        *_numbered("began", (step for moment, _, step in moments if moment == "began")),
        *_numbered("ended", (step for moment, _, step in moments if moment == "ended")),
        *_numbered("before", (_without_names(write) for write in writes)),
        *_numbered("after", (_without_names(write) for write in writes)),
    ]
    return Tally(undisturbed=state, points=points)


def sample(points: Sequence[Point], seed: int, of_each_kind: int) -> list[Point]:
    """Some points of each kind; the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    kinds: tuple[Kind, ...] = ("began", "ended", "before", "after")
    return [
        point
        for kind in kinds
        for point in rng.sample([p for p in points if p.kind == kind], of_each_kind)
    ]


async def try_all(tally: Tally, points: Iterable[Point], lanes: Sequence[Lane]) -> None:
    """Die at each point, come back, and compare what is left behind; lanes work side by side."""
    waiting = list(points)[::-1]

    async def work(lane: Lane) -> None:
        while waiting:
            point = waiting.pop()
            try:
                found = await die_and_come_back(lane, point)
                assert found == tally.undisturbed, difference(tally.undisturbed, found)
            except (AssertionError, TimeoutError) as failure:
                tally.failures.append(f"{point}\n{_short(failure)}")
                if not lane.life.alive:
                    await lane.start()
            else:
                tally.survived.append(point)

    await asyncio.gather(*(work(lane) for lane in lanes))


async def die_and_come_back(lane: Lane, point: Point) -> dict[str, Any]:
    """Start a revert, kill the bot at the point, start it again; the end state."""
    repository = lane.repository()
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        await lane.github.deliveries.settle()
        _arm(lane, point)
        comment = await lane.ask(alice, number)
        try:
            await lane.life.died()
        except TimeoutError:
            raise AssertionError("this point was not reached") from None
        finally:
            lane.life.unplan()
        await lane.start()
        assert await lane.done(repository, comment) == "+1"
    return await _checked(lane, repository)


def _arm(lane: Lane, point: Point) -> None:
    match point.kind:
        case "began" | "ended" as moment:
            lane.life.plan(moment, point.number, f"{moment}-{point.number}")
        case "before":

            def instead_of(_: Write) -> None:
                lane.life.send(signal.SIGKILL)
                # Nobody hears this answer; it keeps the work from being done.
                raise web.HTTPServiceUnavailable

            lane.github.faults.before_write(point.number, instead_of, lane.app)
        case "after":
            lane.github.faults.after_write(
                point.number, lambda _: lane.life.send(signal.SIGKILL), lane.app
            )


async def _revert(lane: Lane) -> Repository:
    repository = lane.repository()
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        await lane.github.deliveries.settle()
        assert await lane.done(repository, await lane.ask(alice, number)) == "+1"
    return repository


async def _checked(lane: Lane, repository: Repository) -> dict[str, Any]:
    state = end_state(repository, lane.data)
    assert_one_of_everything(state)
    await assert_audit_is_intact(repository, lane.data)
    return state


def _numbered(kind: Kind, names: Iterable[str]) -> list[Point]:
    return [Point(kind, number, name) for number, name in enumerate(names, start=1)]


def _without_names(write: Write) -> str:
    _, _, path = write.path.removeprefix("/repos/").partition("/")
    return f"{write.method} {path.partition('/')[2]}"


def _short(failure: BaseException) -> str:
    return str(failure)[:3000] or type(failure).__name__
