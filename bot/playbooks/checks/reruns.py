"""Which red checks are run again, how often; and how long checks take. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from bot.github.models import CheckResult
from bot.playbooks.checks.green import CheckRow, CheckTally, State
from bot.playbooks.checks.streak import Chance
from bot.triggers import Value

_TELLING = ("success", "failure")
"""Conclusions of runs that went to their end: what broke off says nothing of how long it takes."""


class Awaited(Value):
    """A check that has not ended; `since` is when it began, None where it has not."""

    name: str
    since: datetime | None


class TimeLeft(Value):
    """About how long one check takes yet.

    Attributes:
        name: the check.
        how: running or about to begin in time, running longer than before, or nobody knows.
        since: when it began; None where it has not.
        took: how long it took before; None where it was not seen.
    """

    name: str
    how: Literal["in time", "longer", "unknown"]
    since: datetime | None
    took: timedelta | None = None

    @property
    def end(self) -> datetime | None:
        """When it is expected to end; None where it has not begun, or nobody knows."""
        return self.since + self.took if self.since is not None and self.took is not None else None


def durations(results: Iterable[CheckResult]) -> dict[str, float]:
    """Seconds that each check took, by its longest run among these that went to its end."""
    found: dict[str, float] = {}
    for each in results:
        if each.conclusion not in _TELLING or not each.started_at or not each.completed_at:
            continue
        seconds = (each.completed_at - each.started_at).total_seconds()
        if seconds >= 0:
            found[each.name] = max(seconds, found.get(each.name, 0.0))
    return found


def slowest(
    awaited: Sequence[Awaited], took: Mapping[str, float], now: datetime
) -> TimeLeft | None:
    """Say about how long it takes until all have ended: by the one that ends last.

    Args:
        awaited: the checks that have not ended.
        took: seconds that they took before, by name.
        now: the time.

    Returns:
        None where nothing is awaited. One of which nothing is known comes first: it may be the
        last to end.
    """
    found = [_one(each, took.get(each.name), now) for each in awaited]
    for how in ("unknown", "longer"):
        if those := [each for each in found if each.how == how]:
            return min(those, key=lambda each: (each.since or now, each.name))
    return max(found, key=lambda each: (_left(each, now), each.name), default=None)


def _one(each: Awaited, took: float | None, now: datetime) -> TimeLeft:
    if took is None:
        return TimeLeft(name=each.name, how="unknown", since=each.since)
    length = timedelta(seconds=took)
    is_late = each.since is not None and each.since + length < now
    how: Literal["in time", "longer"] = "longer" if is_late else "in time"
    return TimeLeft(name=each.name, how=how, since=each.since, took=length)


def _left(each: TimeLeft, now: datetime) -> timedelta:
    took = each.took or timedelta()
    return took if each.since is None else each.since + took - now


class Reran(Value):
    """Checks of one commit that were asked to run again."""

    head: str
    old: tuple[CheckRow, ...]
    """What they said then: as long as they say just this, the new run has not ended."""
    agreed: bool
    """Whether GitHub took the request; not every check can be run again from outside."""
    refused: tuple[str, ...] = ()
    """Checks that GitHub did not run again when asked."""
    rounds: dict[str, int] = Field(default_factory=dict)
    """How often each check was asked to run again."""
    begins_by: datetime | None = None
    """Until then a new run has begun, or none will."""

    def again(
        self,
        names: tuple[str, ...],
        rows: tuple[CheckRow, ...],
        refused: tuple[str, ...],
        by: datetime,
    ) -> Reran:
        """The same after one more request."""
        asked = [row for row in rows if row.name in names]
        others = [row for row in self.old if row.name not in names]
        rounds = {**self.rounds, **{name: self.rounds.get(name, 0) + 1 for name in names}}
        return Reran(
            head=self.head,
            old=(*others, *asked),
            agreed={*names} > {*refused},
            refused=tuple(sorted({*self.refused, *refused})),
            rounds=rounds,
            begins_by=by,
        )


class Reruns(Value):
    """What another run may still change of a commit's red checks.

    Attributes:
        wanted: checks that may be red by chance, or broke off, and can be run again.
        begins: checks that were asked to run again and are about to begin.
        stuck: checks that were asked to run again and never began, or are refused.
        is_certain: whether another check failed for sure.
        rounds: how often each check was asked to run again.
    """

    wanted: tuple[str, ...]
    begins: frozenset[str]
    stuck: frozenset[str]
    is_certain: bool
    rounds: dict[str, int]

    @property
    def are_worth_it(self) -> bool:
        """Whether to run again what is wanted.

        A check that failed for sure wakes a person in any case: others are run again once
        meanwhile.
        """
        once_each = all(self.rounds.get(name) for name in self.wanted)
        return bool(self.wanted) and not (self.is_certain and once_each)

    @property
    def are_awaited(self) -> bool:
        """Whether nothing is known before those have begun that were asked for."""
        return bool(self.begins) and not self.is_certain


def reruns(
    tally: CheckTally, chances: Sequence[Chance], reran: Reran | None, now: datetime
) -> Reruns:
    """Decide what of the red checks of a commit to run again.

    Args:
        tally: what the checks say there.
        chances: how sure the failures are that GitHub may be able to run again.
        reran: what was run again on this commit.
        now: the time.
    """
    rounds = reran.rounds if reran else {}
    rows = {row.name: row for row in tally.rows}
    still = {name for name in rounds if reran and rows.get(name) in reran.old}
    # What was asked to run again and still says the same is about to begin, or never will.
    waits = reran is not None and reran.begins_by is not None and now < reran.begins_by
    refused = {*reran.refused} if reran else set()
    begins = {name for name in still - refused if waits}
    possible = [
        each.name for each in chances if each.is_worth_another_run(rounds.get(each.name, 0))
    ]
    broken_off = tally.named(State.INFRA)
    possible += [name for name in broken_off if not rounds.get(name)]
    wanted = tuple(name for name in possible if name not in still | refused)
    red = (*tally.named(State.FAILED), *broken_off)
    return Reruns(
        wanted=wanted,
        begins=frozenset(begins),
        stuck=frozenset((still - begins) | refused),
        is_certain=any(name not in {*wanted} | begins for name in red),
        rounds=rounds,
    )
