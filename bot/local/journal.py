"""The log of one bisect: written as it happens, read to resume or to replay.

Each line is one JSON object: first what was asked for, then the search's own lines
(`bot.culprit.log`), with probes for a good end and notes for people between them. A new search
header, when an older good end had to be found, starts a new section.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.culprit import log
from bot.culprit.evidence import FreeResult, Trial, TrialOutcome, TrialReport
from bot.culprit.metric import MISSES, STOPS, MetricSearch, as_verdict
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus, Verdict
from bot.local.verification import CheckEnded, CheckPlanned, Fingerprint, FreshRun, LocalChecks
from bot.names import NUMERIC, split_numeric
from bot.trials.runner import TrialResult

FORMAT: Literal["playbooks-bisect/1"] = "playbooks-bisect/1"


_PATIENCE_SECONDS = 2.0
METRIC_RUNS = 200
"""Runs of a search for a metric's change, where nobody set a budget."""


class JournalError(Exception):
    """The log cannot be read or written; the message says why."""


class LocalRequest(BaseModel):
    """What was asked for: all that is needed to go on later, or elsewhere to reach the verdict.

    `start` is the folder trials start in, `shared` what of the `checkout` they see, `unseen` and
    `changed` what differs there from what they see: all paths from its root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["playbooks-bisect/1"] = FORMAT
    log: str
    repository: str
    goods: tuple[str, ...]
    bad: str
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    build: tuple[str, ...] | None = None
    readable: tuple[str, ...] = ()
    jobs: Annotated[int, Field(ge=1)] = 1
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    budget: Annotated[int, Field(ge=1)] | None = None
    first_parent: bool = False
    seed: int = 0
    seconds: Annotated[float, Field(gt=0)] = 1800.0
    network: bool = False
    skips: tuple[str, ...] = ()
    verify: bool = True
    numeric: Annotated[str, Field(pattern=NUMERIC)] | None = None
    rivals: bool = False
    checkout: str | None = None
    start: str = ""
    shared: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Probe(BaseModel):
    """One trial made while looking for a good end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probe: str
    outcome: TrialOutcome
    fingerprint: Fingerprint = None

    def evidence(self, number: int) -> FreeResult:
        """Give the search what the probe saw."""
        report = TrialReport(self.outcome, self.fingerprint)
        return FreeResult(self.probe, report, environment=f"probe-{number}")


class Measured(BaseModel):
    """One run of a search for a metric's change; without a `value` it says nothing.

    `untestable`: its commit cannot be measured. `infra`: it was stopped or killed, and counts for
    nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    measured: str
    value: float | None = None
    untestable: bool = False
    infra: bool = False


class BudgetRaised(BaseModel):
    """From here on there may be so many trials in all: somebody asked to go on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: Annotated[int, Field(ge=1)]


_CHECK_LINES: Mapping[str, type[CheckPlanned | FreshRun | CheckEnded]] = {
    "checking": CheckPlanned,
    "check": FreshRun,
    "checked": CheckEnded,
}


class EndingNote(BaseModel):
    """A note: how a trial ended that a person will ask about, and the last lines it printed."""

    model_config = ConfigDict(frozen=True)

    commit: str
    outcome: TrialOutcome
    reason: str
    output: str = ""


@dataclass
class Journal:
    """A log as read: the request, the probes, and one search for each good end, in order.

    What people want to know besides is in notes: what differs in trials from running the command by
    hand, and how commits ended that said nothing, or not what was expected of an end.
    """

    request: LocalRequest
    raised: int | None = None
    probes: list[Probe] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    checks: LocalChecks = field(default_factory=LocalChecks)
    differences: tuple[str, ...] = ()
    endings: dict[str, EndingNote] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)

    def metric(self) -> MetricSearch:
        """Return the search for a metric's change with all that was measured.

        Raises:
            ValueError: nothing is searched yet, or no metric.
        """
        if not self.searches or self.request.numeric is None:
            raise ValueError("No search for a metric's change has begun.")
        header, request = self.searches[-1], self.request
        name, worse = split_numeric(self.request.numeric)
        found = MetricSearch(
            header.graph,
            confidence=request.confidence,
            budget=self.budget or METRIC_RUNS,
            weights=header.weights,
            worse=worse,
            metric=name,
            misses=MISSES,
            stops=STOPS,
            rivals=request.rivals,
            balanced=request.rivals,
            steps=request.rivals,
        )
        for skipped in request.skips:
            if header.graph.number.get(skipped, len(header.graph)) < header.graph.bad:
                found.skip(skipped)
        for each in self.measured:
            take_value(found, each)
        return found

    @property
    def budget(self) -> int | None:
        """At most so many trials in all; None: as many as it takes, or as is usual of a number."""
        return self.raised or self.request.budget

    @property
    def is_spent(self) -> bool:
        """Whether no trial is left of the budget."""
        usual = None if self.request.numeric is None else METRIC_RUNS
        budget = self.budget or usual
        return budget is not None and self.trials() >= budget

    def verdict(self) -> Verdict | None:
        """Return what the last search concludes; None where it is not finished.

        A good end that nobody named and that fails is no conclusion: an older one is looked for.
        """
        if not self.searches:
            return None
        if self.request.numeric is not None:
            found = self.metric().verdict()
            return (
                as_verdict(found, self.request.confidence, self.rounds()) if found.final else None
            )
        verdict = self.searches[-1].verdict()
        if not verdict.final:
            # That no trial would tell more is only found by asking, which changes a search.
            asked = Search.from_log(self.searches[-1].to_log())
            verdict = asked.verdict() if not asked.next_trials(1) else verdict
        named = self.request.goods or not self.searches[-1].graph.goods
        if verdict.status is SearchStatus.BEFORE_RANGE and not named:
            return None
        if verdict.status is SearchStatus.CULPRIT and not self.checked:
            return None
        return verdict if verdict.final else None

    def take_note(self, note: Mapping[str, Any]) -> None:
        """Remember what people will ask for: of each commit, how it ended first."""
        if "differences" in note:
            self.differences = tuple(map(str, note["differences"]))
        elif "output" in note:
            ending = EndingNote.model_validate(note)
            self.endings.setdefault(ending.commit, ending)

    @property
    def checked(self) -> bool:
        """Whether the culprit has been checked, or needs no check."""
        return not self.request.verify or self.checks.ending not in (None, "refuted")

    def trials(self) -> int:
        """Count the trials that ended in pass, fail or untestable."""
        if self.request.numeric is not None:
            return sum(not each.infra for each in self.measured)
        probed = sum(probe.outcome is not TrialOutcome.INFRA for probe in self.probes)
        return probed + self.checks.trials + sum(search.trials for search in self.searches)

    def rounds(self) -> int:
        """Count how often trials were asked for; each probe is a round, and each check."""
        if self.request.numeric is not None:
            return -(-len(self.measured) // self.request.jobs)
        asked = sum(search.verdict().rounds for search in self.searches)
        return len(self.probes) + self.checks.rounds + asked


def read(path: Path) -> Journal:
    """Read a log; a last line cut off by a killed process is ignored.

    Raises:
        JournalError: there is no such log, or it is not one.
    """
    try:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        lines = whole.decode("utf-8").split("\n") if whole else []
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    try:
        journal = Journal(LocalRequest.model_validate_json(lines[0] if lines else ""))
        sections: list[list[str]] = []
        for line in lines[1:]:
            entry = json.loads(line)
            if "note" in entry:
                journal.take_note(entry["note"])
                continue
            if "probe" in entry:
                journal.probes.append(Probe.model_validate(entry))
            elif "measured" in entry:
                journal.measured.append(Measured.model_validate(entry))
            elif kind := next((kind for kind in _CHECK_LINES if kind in entry), None):
                journal.checks.take(_CHECK_LINES[kind].model_validate(entry))
            elif "format" in entry:
                sections.append([line])
            elif "budget" in entry:
                journal.raised = BudgetRaised.model_validate(entry).budget
            else:
                sections[-1].append(line)
        journal.searches = [Search.from_log("\n".join([*text, ""])) for text in sections]
        if journal.raised and journal.searches and journal.request.numeric is None:
            before = journal.trials() - journal.searches[-1].trials
            sections[-1][0] = _with_budget(sections[-1][0], max(1, journal.raised - before))
            journal.searches[-1] = Search.from_log("\n".join([*sections[-1], ""]))
        if journal.searches and journal.request.numeric is not None:
            journal.metric()
    except (
        ValidationError, log.LogError, ValueError, KeyError, IndexError, TypeError, RecursionError,
    ) as error:  # fmt: skip
        raise JournalError(f"{path} is not the log of a bisect: {_in_a_line(error)}") from error
    return journal


def _with_budget(header: str, budget: int) -> str:
    """The header of a search that may make so many trials."""
    entry = json.loads(header)
    entry["settings"]["budget"] = budget
    return log.line(entry).rstrip("\n")


def _in_a_line(error: Exception) -> str:
    """The first fault of a line, by the field that has it."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def take_value(search: MetricSearch, each: Measured) -> None:
    """Let a search learn one run."""
    if not each.infra:
        search.record(each.measured, nan if each.value is None else each.value)
    else:
        search.stop(each.measured)
    if each.untestable:
        search.skip(each.measured)


class Writer:
    """Appends to a log, each line whole and on disk before the next thing happens."""

    def __init__(self, descriptor: int) -> None:
        """Write to an open, locked file."""
        self._descriptor = descriptor

    def request(self, request: LocalRequest) -> None:
        """Write the first line."""
        self._line(request.model_dump_json() + "\n")

    def search(self, search: Search) -> None:
        """Start a section: the search's header and all it knows so far."""
        self._line(search.to_log())

    def asked(self, trials: tuple[Trial, ...]) -> None:
        """Write that trials were asked for."""
        self._line(log.line(log.asked(trials)))

    def note(self, note: Mapping[str, Any]) -> None:
        """Write something for people."""
        self._line(log.line({"note": note}))

    def reported(
        self, trial: Trial, report: TrialReport, result: TrialResult, ending: EndingNote | None
    ) -> None:
        """Write how a trial ended, and a note for people; with `ending`, what it printed last."""
        judgement = result.judgement
        note = {
            "trial": trial.id,
            "reason": judgement.reason,
            "seconds": round(result.seconds, 3),
            "metrics": dict(judgement.metrics),
            **(ending.model_dump(mode="json") if ending else {}),
        }
        self._line(log.line(log.reported(trial, report)) + log.line({"note": note}))

    def abandoned(self, trial: Trial) -> None:
        """Write that a trial will never answer."""
        self._line(log.line(log.abandoned(trial)))

    def observed(self, evidence: FreeResult) -> None:
        """Write that the search was told of a result from outside it."""
        self._line(log.line(log.observed(evidence)))

    def entry(
        self, entry: Probe | Measured | BudgetRaised | CheckPlanned | FreshRun | CheckEnded
    ) -> None:
        """Write a probe for a good end, a value, another budget, or a line about a check."""
        self._line(log.line(entry.model_dump(mode="json")))

    def _line(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)


@contextlib.contextmanager
def opened(path: Path, *, new: bool) -> Iterator[Writer]:
    """Open a log for one session: a new one, or one to go on with.

    Raises:
        JournalError: it exists already, is in use, or cannot be written.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise JournalError(f"{path} exists already: continue it with --resume") from None
    except OSError as error:
        raise JournalError(f"{path} cannot be written: {error.strerror}") from error
    try:
        _lock(descriptor)
        _drop_cut_line(descriptor)
        yield Writer(descriptor)
    except BlockingIOError:
        raise JournalError(f"{path} is in use: another bisect is writing it") from None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait a little: what a killed search had just begun to start holds its lock for a moment.

    Raises:
        BlockingIOError: another search has it.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(_PATIENCE_SECONDS / 20)


def _drop_cut_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, size, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)
