"""The log of a search, as JSON lines: enough to replay it elsewhere, byte for byte.

The first line is the header: settings, prior, commits. Each further line is one event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

from bot.culprit.evidence import (
    FreeResult,
    Granularity,
    Purpose,
    Ruling,
    Says,
    SearchSettings,
    Trial,
    TrialOutcome,
    TrialReport,
)
from bot.culprit.flake_rates import EVENLY, Beta, FurtherChanges, Mixture, RatePriors
from bot.culprit.graph import CommitGraph

FORMAT = "culprit-search/1"


class LogError(ValueError):
    """The text is not the log of a search; the message says where."""


@dataclass(frozen=True, slots=True)
class TrialsAsked:
    """Trials were asked for."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A trial answered."""

    trial: int
    report: TrialReport


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A trial will never answer."""

    trial: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No trial would have told more at this point."""


Event = TrialsAsked | Reported | Abandoned | Exhausted | FreeResult | Ruling


@dataclass(frozen=True, slots=True)
class SearchLog:
    """A log, read."""

    graph: CommitGraph
    settings: SearchSettings
    weights: tuple[float, ...] | None
    trees: dict[str, str]
    costs: tuple[float, ...] | None
    events: tuple[Event, ...]


class Logged(Protocol):
    """What of a search goes into the header."""

    graph: CommitGraph
    settings: SearchSettings
    weights: tuple[float, ...] | None
    trees: dict[str, str]
    costs: tuple[float, ...] | None


def write(search: Logged, events: Iterable[Mapping[str, Any]]) -> str:
    """Write a search: the same one always gives the same bytes."""
    return "".join(line(e) for e in [header(search), *events])


def line(entry: Mapping[str, Any]) -> str:
    """Write one entry as a line of JSON with sorted keys."""
    return json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n"


def header(search: Logged) -> dict[str, Any]:
    """Make the first line's entry."""
    settings = asdict(search.settings)
    settings["seed"] = str(search.settings.seed)
    settings["fingerprint"] = _names(search.settings.fingerprint)
    return {
        "format": FORMAT,
        "settings": settings,
        **range_entries(search.graph),
        "weights": search.weights,
        "trees": search.trees,
        "costs": search.costs,
    }


def range_entries(graph: CommitGraph) -> dict[str, Any]:
    """Make the entries of a header that say which commits are searched."""
    return {
        "commits": [
            [sha, list(parents), first]
            for sha, parents, first in zip(
                graph.commits, graph.parents, graph.first_parents, strict=True
            )
        ],
        "goods": list(graph.goods),
    }


def asked(trials: Sequence[Trial]) -> dict[str, Any]:
    """Make the entry of trials asked for."""
    return {"event": "asked", "trials": [asdict(t) for t in trials]}


def reported(trial: Trial, report: TrialReport) -> dict[str, Any]:
    """Make the entry of a trial's answer."""
    return {"event": "reported", "trial": trial.id, "commit": trial.commit, **_report(report)}


def abandoned(trial: Trial) -> dict[str, Any]:
    """Make the entry of a trial given up."""
    return {"event": "abandoned", "trial": trial.id}


def exhausted() -> dict[str, Any]:
    """Make the entry of there being nothing worth trying."""
    return {"event": "exhausted"}


def observed(evidence: FreeResult | Ruling) -> dict[str, Any]:
    """Make the entry of evidence from elsewhere."""
    if isinstance(evidence, Ruling):
        return {"event": "ruling", **asdict(evidence)}
    return {
        "event": "observed",
        "commit": evidence.commit,
        "where": evidence.environment,
        "tree": evidence.tree,
        "selected": evidence.selected,
        **_report(evidence.report),
    }


def read(text: str) -> SearchLog:
    """Read a log. A last line without its newline was cut off and is ignored.

    Raises:
        LogError: a line is not what it should be.
    """
    head, events = parse(text, FORMAT, _head, _event)
    return replace(head, events=events)


Head = TypeVar("Head")
Entry = TypeVar("Entry")


def parse(
    text: str,
    expected: str,
    read_head: Callable[[dict[str, Any]], Head],
    read_event: Callable[[dict[str, Any]], Entry],
) -> tuple[Head, tuple[Entry, ...]]:
    """Read the lines of a log. A last line without its newline was cut off and is ignored.

    Args:
        text: the log.
        expected: its format.
        read_head: reads the first line's entry.
        read_event: reads that of any other.

    Raises:
        LogError: a line is not what it should be.
    """
    lines = text.split("\n")[:-1]
    if format_of(text) != expected:
        raise LogError(f"This is not a {expected} log.")
    number = 1
    try:
        head = read_head(json.loads(lines[0]))
        events = []
        for number, text_line in enumerate(lines[1:], 2):  # noqa: B007 (for the message)
            events.append(read_event(json.loads(text_line)))
    except _UNREADABLE as error:
        raise LogError(f"Line {number} of the log cannot be read: {error}") from error
    return head, tuple(events)


def format_of(text: str) -> str:
    """Say of which kind of search this is the log, by its first line: such as `FORMAT`.

    Raises:
        LogError: it is the log of none.
    """
    first, newline, _ = text.partition("\n")
    if not newline:
        raise LogError("The log is empty.")
    try:
        head = json.loads(first)
    except _UNREADABLE as error:
        raise LogError(f"Line 1 of the log cannot be read: {error}") from error
    found = head.get("format") if isinstance(head, dict) else None
    if not isinstance(found, str):
        raise LogError("Line 1 of the log does not say which kind of search it is of.")
    return found


_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def read_range(head: Mapping[str, Any]) -> CommitGraph:
    """Read the commits that are searched from a header.

    Raises:
        ValueError: there is none, or one stands before one of its parents.
    """
    if not head["commits"]:
        raise ValueError("there is no commit to search")
    for number, (_, parents, first) in enumerate(head["commits"]):
        if not all(0 <= parent < number for parent in parents) or not -1 <= first < number:
            raise ValueError(f"commit {number} stands before one of its parents")
    return CommitGraph(
        commits=tuple(c[0] for c in head["commits"]),
        parents=tuple(tuple(c[1]) for c in head["commits"]),
        first_parents=tuple(c[2] for c in head["commits"]),
        goods=tuple(head["goods"]),
    )


def _head(entry: dict[str, Any]) -> SearchLog:
    return SearchLog(
        read_range(entry),
        _settings(entry["settings"]),
        None if entry["weights"] is None else tuple(entry["weights"]),
        dict(entry["trees"]),
        None if entry["costs"] is None else tuple(entry["costs"]),
        (),
    )


def _event(entry: dict[str, Any]) -> Event:
    kind = entry["event"]
    if kind == "asked":
        return TrialsAsked(
            tuple(
                Trial(
                    t["id"],
                    t["commit"],
                    t["environment"],
                    Purpose(t["purpose"]),
                    t["attempt"],
                    t.get("pause", 0),
                )
                for t in entry["trials"]
            )
        )
    if kind == "reported":
        return Reported(entry["trial"], _read_report(entry))
    if kind == "abandoned":
        return Abandoned(entry["trial"])
    if kind == "exhausted":
        return Exhausted()
    if kind == "ruling":
        return Ruling(entry["commit"], Says(entry["says"]), entry["by"])
    if kind == "observed":
        return FreeResult(
            entry["commit"],
            _read_report(entry),
            entry["where"],
            entry["tree"],
            entry["selected"],
        )
    raise ValueError(f"unknown event {kind!r}")


def _report(report: TrialReport) -> dict[str, Any]:
    return {
        "outcome": report.outcome,
        "fingerprint": _names(report.fingerprint),
        "environment": report.environment,
    }


def _read_report(entry: Mapping[str, Any]) -> TrialReport:
    return TrialReport(
        TrialOutcome(entry["outcome"]), _set(entry["fingerprint"]), entry["environment"]
    )


def _settings(entry: dict[str, Any]) -> SearchSettings:
    rates = entry["rates"]
    changes = entry.get("changes")
    return SearchSettings(
        **{
            # A log of before there were any.
            "rivals": False,
            **entry,
            "seed": int(entry["seed"]),
            "environments": tuple(entry["environments"]),
            "granularity": Granularity(entry["granularity"]),
            "fingerprint": _set(entry["fingerprint"]),
            "changes": _changes(changes) if changes else FurtherChanges.at_first(),
            "rates": RatePriors(_mixture(rates["false_fail"]), _mixture(rates["false_pass"])),
        }
    )


def _changes(entry: dict[str, Any]) -> FurtherChanges:
    good, bad = (entry.get(name, EVENLY) for name in ("good_becomes", "bad_becomes"))
    return FurtherChanges(**{**entry, "good_becomes": tuple(good), "bad_becomes": tuple(bad)})


def _mixture(entry: dict[str, Any]) -> Mixture:
    parts = tuple(Beta(p["weight"], p["a"], p["b"]) for p in entry["parts"])
    return Mixture(parts, entry["limit"], entry["hits"], entry["misses"])


def _names(fingerprint: frozenset[str] | None) -> list[str] | None:
    return None if fingerprint is None else sorted(fingerprint)


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
