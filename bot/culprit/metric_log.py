"""The log of a search for a metric's change, as JSON lines: enough to replay it elsewhere.

It is written as the log of any search (`bot.culprit.log`): the first line is the header, each
further line is one event. Its header has a format of its own, by which the two are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Protocol

from bot.culprit import log
from bot.culprit.graph import CommitGraph
from bot.culprit.metric_sides import Worse

FORMAT = "culprit-metric/1"


@dataclass(frozen=True, slots=True)
class RunsAsked:
    """Runs were asked for, together."""

    commits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunRecorded:
    """A run ended; its value is in the metric's own unit, None where it gave no number."""

    commit: str
    value: float | None


@dataclass(frozen=True, slots=True)
class RunAbandoned:
    """A run will never answer."""

    commit: str


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A run was stopped or killed before it could give a number."""

    commit: str


@dataclass(frozen=True, slots=True)
class CommitSkipped:
    """A commit is never asked for again, because somebody said so."""

    commit: str


MetricEvent = RunsAsked | RunRecorded | RunAbandoned | RunStopped | CommitSkipped


@dataclass(frozen=True, slots=True)
class MetricLog:
    """A log, read. Its settings are those of `MetricSearch`."""

    graph: CommitGraph
    metric: str
    confidence: float
    budget: int
    weights: tuple[float, ...] | None
    worse: Worse | None
    misses: int | None
    shares_runs: bool
    rivals: bool
    stops: int | None
    balanced: bool
    steps: bool
    events: tuple[MetricEvent, ...] = ()


class LoggedMetric(Protocol):
    """What of a search goes into the header."""

    graph: CommitGraph
    metric: str
    confidence: float
    budget: int
    weights: tuple[float, ...] | None
    worse: Worse | None
    misses: int | None
    shares_runs: bool
    rivals: bool
    stops: int | None
    balanced: bool
    steps: bool


def is_metric_log(text: str) -> bool:
    """Tell the log of a search for a metric's change from that of any other search.

    Raises:
        LogError: it is the log of none.
    """
    return log.format_of(text) == FORMAT


def write(search: LoggedMetric, events: Iterable[Mapping[str, Any]]) -> str:
    """Write a search: the same one always gives the same bytes."""
    return "".join(log.line(each) for each in [header(search), *events])


def header(search: LoggedMetric) -> dict[str, Any]:
    """Make the first line's entry."""
    return {
        "format": FORMAT,
        "metric": search.metric,
        "confidence": search.confidence,
        "budget": search.budget,
        "weights": search.weights,
        "worse": search.worse,
        "misses": search.misses,
        # Logs of before say nothing of it.
        **({"shares_runs": True} if search.shares_runs else {}),
        **({"rivals": True} if search.rivals else {}),
        **({"balanced": True} if search.balanced else {}),
        **({"steps": True} if search.steps else {}),
        **({"stops": search.stops} if search.stops is not None else {}),
        **log.range_entries(search.graph),
    }


def asked(commits: Sequence[str]) -> dict[str, Any]:
    """Make the entry of runs asked for."""
    return {"event": "asked", "commits": list(commits)}


def recorded(commit: str, value: float | None) -> dict[str, Any]:
    """Make the entry of a run that ended."""
    return {"event": "recorded", "commit": commit, "value": value}


def abandoned(commit: str) -> dict[str, Any]:
    """Make the entry of a run given up."""
    return {"event": "abandoned", "commit": commit}


def stopped(commit: str) -> dict[str, Any]:
    """Make the entry of a run that was stopped."""
    return {"event": "stopped", "commit": commit}


def skipped(commit: str) -> dict[str, Any]:
    """Make the entry of a commit that is never asked for again."""
    return {"event": "skipped", "commit": commit}


def read(text: str) -> MetricLog:
    """Read a log. A last line without its newline was cut off and is ignored.

    Raises:
        LogError: a line is not what it should be.
    """
    head, events = log.parse(text, FORMAT, _head, _event)
    return replace(head, events=events)


def _head(entry: dict[str, Any]) -> MetricLog:
    graph, weights = log.read_range(entry), entry["weights"]
    if weights is not None and len(weights) != len(graph):
        raise ValueError("there is not one weight for each commit")
    return MetricLog(
        graph=graph,
        metric=_text(entry["metric"]),
        confidence=_number(entry["confidence"]),
        budget=_whole(entry["budget"]),
        weights=None if weights is None else tuple(map(_number, weights)),
        worse=_worse(entry["worse"]),
        misses=_whole_or_none(entry["misses"]),
        shares_runs=entry.get("shares_runs") is True,
        rivals=entry.get("rivals") is True,
        stops=_whole_or_none(entry.get("stops")),
        balanced=entry.get("balanced") is True,
        steps=entry.get("steps") is True,
    )


def _event(entry: dict[str, Any]) -> MetricEvent:
    kind = entry["event"]
    if kind == "asked":
        return RunsAsked(tuple(map(_text, entry["commits"])))
    commit = _text(entry["commit"])
    if kind == "recorded":
        value = entry["value"]
        return RunRecorded(commit, None if value is None else _number(value))
    if kind == "abandoned":
        return RunAbandoned(commit)
    if kind == "stopped":
        return RunStopped(commit)
    if kind == "skipped":
        return CommitSkipped(commit)
    raise ValueError(f"unknown event {kind!r}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _worse(value: Any) -> Worse | None:
    if value not in (None, "lower", "higher"):
        raise ValueError(f"{value!r} is no direction")
    worse: Worse | None = value
    return worse
