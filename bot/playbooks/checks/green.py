"""Is the hotfix green? Which checks count and what they say, decided purely.

The rules: docs/decisions/0005.

Facts: GitHub treats `neutral` and `skipped` as passing for a required check
(docs.github.com, "About status checks"). Here they pass too, but never alone: at least one check
that counts must really have succeeded.

Checks are told apart by name, as GitHub does it where a branch requires one. Where the branch pins
a check to an App, only that App's check-runs count. Commit statuses do not say which App wrote
them, and of each context GitHub itself lets the newest count, whoever wrote it; so does this, and
where the App is pinned GitHub has the last word when it is asked to merge.

How long a check takes, by how long it took before: what is awaited, and until when. Pure.

Which red checks of one commit are run again, and how often? Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from bot import config
from bot.github.calls.checks import newest
from bot.github.models import CheckKind, CheckResult
from bot.logs import explained
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


class Counting(Value):
    """The names of the checks that decide, and why just these."""

    smoke: tuple[str, ...]
    smoke_from: Literal["configured", "required", "passed before"]
    evals: tuple[str, ...]
    previews: tuple[str, ...] | None = ()
    """Patterns of the environments to which the hotfix has to be deployed.

    None: whatever was deployed to an environment of its own.
    """
    pins: tuple[tuple[str, int], ...] = ()
    """Checks by name with the id of an App whose check-runs count."""
    took: dict[str, float] = Field(default_factory=dict)
    """Seconds that each took on the base branch before the incident."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that counts, smoke first."""
        return (*self.smoke, *(name for name in self.evals if name not in self.smoke))

    def takes(self, result: CheckResult) -> bool:
        """Tell whether a result is of an App that counts."""
        apps = {app for name, app in self.pins if name == result.name}
        return not apps or result.kind is CheckKind.STATUS or result.app_id in apps

    def reporting(self, names: Collection[str]) -> Counting:
        """The same without what only ever reports on the branch itself, such as a deployment.

        It says nothing about a proposal, and would be waited for in vain. What somebody named, in
        the configuration or in a rule, stays.

        Args:
            names: the checks that were seen to report on pull requests.
        """
        if self.smoke_from != "passed before":
            return self
        return self.model_copy(update={"smoke": tuple(n for n in self.smoke if n in names)})

    def with_required(
        self,
        required: Iterable[str],
        deployments: Iterable[str] = (),
        pins: Iterable[tuple[str, int]] = (),
    ) -> Counting:
        """The same after a look at the branch's rules, which may have changed meanwhile.

        What the branch requires decides as well: GitHub would refuse to merge without it.

        Args:
            required: names of the checks.
            deployments: names of the environments that have to be deployed to.
            pins: checks with the id of the App that has to report them.
        """
        environments = tuple(sorted(deployments))
        wanted = tuple(dict.fromkeys((*(self.previews or ()), *environments)))
        named = tuple(sorted({*required} - {*self.evals}))
        more = tuple(name for name in named if name not in self.smoke)
        smoke = (named or self.smoke) if self.smoke_from == "required" else (*self.smoke, *more)
        return self.model_copy(
            update={
                "smoke": smoke,
                "previews": wanted if environments else self.previews,
                "pins": tuple(pins),
            }
        )


class State(StrEnum):
    """What one check says by now."""

    MISSING = "missing"
    RUNNING = "running"
    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    INFRA = "infra"


class CheckRow(Value):
    """One check that counts, or one environment that the hotfix is deployed to."""

    name: str
    kind: Literal["smoke", "evals", "preview"]
    state: State
    url: str | None = None
    at: datetime | None = None
    """When the last result came in."""
    since: datetime | None = None
    """Since when it has been running."""


class CheckTally(Value):
    """What the checks that count say, and the previews, together."""

    verdict: Literal["green", "red", "waiting", "nothing counts"]
    rows: tuple[CheckRow, ...]
    previews: tuple[CheckRow, ...] = ()

    def named(self, *states: State) -> tuple[str, ...]:
        """The names of the checks in one of these states."""
        return tuple(row.name for row in self.rows if row.state in states)

    @property
    def awaited(self) -> tuple[str, ...]:
        """The names of the checks and previews that have not ended."""
        states = (State.MISSING, State.RUNNING)
        return tuple(row.name for row in self.shown if row.state in states)

    @property
    def shown(self) -> tuple[CheckRow, ...]:
        """Every row people see."""
        return (*self.rows, *self.previews)

    def with_previews(self, previews: tuple[CheckRow, ...]) -> CheckTally:
        """The same with the previews. They can hold the hotfix up; checks alone make it green."""
        states = {row.state for row in previews}
        verdict = self.verdict
        if verdict != "waiting" and states & {State.MISSING, State.RUNNING}:
            verdict = "waiting"
        elif verdict != "waiting" and State.FAILED in states:
            verdict = "red"
        return CheckTally(verdict=verdict, rows=self.rows, previews=previews)


@explained
def which_count(
    configured: config.ChecksConfig,
    required: Iterable[str],
    before: Iterable[CheckResult],
) -> Counting:
    """Choose the checks that decide.

    Args:
        configured: the repository's own choice.
        required: names of the checks the base branch requires.
        before: results on the base branch's last commit before the incident.
    """
    seen = newest(tuple(before))
    smoke, why = _smoke(configured, required, seen)
    return Counting(
        smoke=smoke,
        smoke_from=why,
        evals=configured.evals,
        previews=configured.preview,
        took=durations(seen),
    )


def _smoke(
    configured: config.ChecksConfig, required: Iterable[str], before: Sequence[CheckResult]
) -> tuple[tuple[str, ...], Literal["configured", "required", "passed before"]]:
    evals = set(configured.evals)
    if configured.smoke:
        return configured.smoke, "configured"
    if required := tuple(sorted(set(required) - evals)):
        return required, "required"
    passed = {name for name, found in _by_name(before).items() if _state(found) is State.PASSED}
    return tuple(sorted(passed - evals)), "passed before"


def failing(results: Iterable[CheckResult]) -> tuple[str, ...]:
    """The names of the checks that failed on a commit, whichever they are."""
    found = _by_name(results)
    return tuple(sorted(name for name in found if _state(found[name]) is State.FAILED))


def tally(counting: Counting, results: Sequence[CheckResult]) -> CheckTally:
    """Say what the checks that count report; a check that is absent is never a pass."""
    rows = tuple(
        CheckRow(
            name=name,
            kind="smoke" if name in counting.smoke else "evals",
            state=_state(found),
            url=next((result.url for result in found if result.url), None),
            at=max((each.completed_at for each in found if each.completed_at), default=None),
            since=min(
                (each.started_at for each in found if each.started_at and not each.is_completed),
                default=None,
            ),
        )
        for name in counting.names
        for found in [
            newest([each for each in results if each.name == name and counting.takes(each)])
        ]
    )
    return CheckTally(verdict=_verdict(rows), rows=rows)


def _by_name(results: Iterable[CheckResult]) -> dict[str, list[CheckResult]]:
    found: dict[str, list[CheckResult]] = {}
    for result in newest(tuple(results)):
        found.setdefault(result.name, []).append(result)
    return found


def _verdict(rows: Sequence[CheckRow]) -> Literal["green", "red", "waiting", "nothing counts"]:
    states = {row.state for row in rows}
    if not states:
        return "nothing counts"
    if State.MISSING in states or State.RUNNING in states:
        # One failure already decides, but the other results make the report worth reading.
        return "waiting"
    if State.FAILED in states or State.INFRA in states:
        return "red"
    return "green" if State.PASSED in states else "nothing counts"


_STATES = {
    "success": State.PASSED,
    "neutral": State.SKIPPED,
    "skipped": State.SKIPPED,
    "failure": State.FAILED,
    "error": State.INFRA,
    "action_required": State.FAILED,
    "cancelled": State.INFRA,
    "timed_out": State.INFRA,
    "startup_failure": State.INFRA,
    "stale": State.INFRA,
}
_WORST_FIRST = (State.FAILED, State.INFRA, State.RUNNING, State.PASSED, State.SKIPPED)


def _state(results: Sequence[CheckResult]) -> State:
    """The worst of the results that speak for one name: several reporters, or side by side."""
    states = {
        _STATES.get(result.conclusion or "", State.FAILED)
        if result.status == "completed"
        else State.RUNNING
        for result in results
    }
    return next((state for state in _WORST_FIRST if state in states), State.MISSING)


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
