"""Shows a bisect on standard error: a live picture in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bot.culprit.evidence import Trial, TrialOutcome
from bot.culprit.metric import END_RUNS, MetricSearch
from bot.culprit.search import Search
from bot.local.history import in_words, seconds_left
from bot.local.journal import Measured
from bot.local.messages import SHORT, printable
from bot.trials.runner import TrialResult

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 64
_LIKELIEST = 5
_STYLES = {
    TrialOutcome.PASS: "green",
    TrialOutcome.FAIL: "red",
    TrialOutcome.UNTESTABLE: "yellow",
    TrialOutcome.INFRA: "magenta",
}


class Lines:
    """One line for each thing that happens."""

    def __init__(self, stream: IO[str], jobs: int) -> None:
        """Write to `stream`; so many trials run at once."""
        self._stream = stream
        self._jobs = jobs
        self._seconds: list[float] = []

    def say(self, text: str) -> None:
        """Show one line."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def named(self, subjects: Mapping[str, str]) -> None:
        """Take no notice: lines name commits by their SHA."""

    def probed(self, commit: str, result: TrialResult) -> None:
        """Show how a probe for a good end ended."""
        self.say(f"probe {commit[:SHORT]}: {_ending(result)}")

    def checked(self, commit: str, result: TrialResult) -> None:
        """Show how a fresh run of the culprit or a parent ended."""
        self.say(f"check {commit[:SHORT]}: {_ending(result)}")

    def started(self, search: Search, trial: Trial) -> None:
        """Say nothing: the end of the trial is what counts."""

    def finished(self, search: Search, trial: Trial, result: TrialResult) -> None:
        """Show how a trial ended, who is likeliest now, and how long it takes yet."""
        self._seconds.append(result.seconds)
        self.say(
            f"trial {trial.id} {trial.commit[:SHORT]}: {_ending(result)}; {_likeliest(search)}; "
            f"{_time_left(search, self._seconds, self._jobs)}"
        )

    def measured(
        self, number: int, search: MetricSearch, said: Measured, result: TrialResult
    ) -> None:
        """Show what a run measured, who is likeliest, and how long it takes yet."""
        self._seconds.append(result.seconds)
        ended = result.judgement.reason if said.value is None else f"{search.metric} {said.value:g}"
        likeliest = f"{_likeliest(search)}; " if search.is_judged else ""
        self.say(
            f"trial {number} {said.measured[:SHORT]}: {printable(ended)} in "
            f"{result.seconds:.1f} s; {likeliest}{_time_left(search, self._seconds, self._jobs)}"
        )


class Picture(Lines):
    """A live picture: the range with its posterior, trials, rounds and how long it may take."""

    def __init__(self, live: Live, jobs: int) -> None:
        """Draw on `live`; so many trials run at once."""
        super().__init__(live.console.file, jobs)
        self._live = live
        self._subjects: Mapping[str, str] = {}
        self._running: dict[int, Trial] = {}
        self._last: list[Text] = []

    def say(self, text: str) -> None:
        """Show one line above the picture."""
        self._live.console.print(Text(text))

    def named(self, subjects: Mapping[str, str]) -> None:
        """Show commits with these subjects."""
        self._subjects = subjects

    def started(self, search: Search, trial: Trial) -> None:
        """Show that a trial runs."""
        self._running[trial.id] = trial
        self._draw(search)

    def finished(self, search: Search, trial: Trial, result: TrialResult) -> None:
        """Show how a trial ended, and what that changes."""
        self._running.pop(trial.id, None)
        self._seconds.append(result.seconds)
        style = _STYLES[result.judgement.outcome]
        line = Text(f"trial {trial.id:>3}  {trial.commit[:SHORT]}  ")
        self._last = [*self._last[-4:], line.append(_ending(result), style)]
        self._draw(search)

    def _draw(self, search: Search) -> None:
        verdict = search.verdict()
        chances = [candidate.probability for candidate in search.probabilities()]
        table = Table.grid(padding=(0, 2))
        likeliest = sorted(search.probabilities(), key=lambda c: -c.probability)[:_LIKELIEST]
        for candidate in likeliest:
            subject = printable(self._subjects.get(candidate.sha, ""), 70)
            share = Text(f"{candidate.probability:6.1%}")
            table.add_row(share, Text(candidate.sha[:SHORT]), Text(subject))
        running = ", ".join(trial.commit[:SHORT] for trial in self._running.values())
        head = Text(
            f"{len(chances)} commits · {verdict.trials} trials · {verdict.rounds} rounds · "
            f"{_time_left(search, self._seconds, self._jobs)}"
        )
        picture = Text("old ").append(spark(chances, _WIDTH), "red").append(" new")
        tail = Text(f"running: {running}" if running else "")
        self._live.update(Group(head, picture, table, *self._last, tail), refresh=True)


@contextlib.contextmanager
def watching(stream: TextIO, jobs: int) -> Iterator[Lines | Picture]:
    """Give a live picture of `jobs` trials at once where `stream` is a terminal, else lines."""
    if not stream.isatty():
        yield Lines(stream, jobs)
        return
    console = Console(file=stream, highlight=False)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield Picture(live, jobs)


def spark(chances: list[float], width: int) -> str:
    """Draw probabilities along the range as a row of bars, at most `width` wide."""
    count = len(chances)
    width = min(width, count)
    sums = [0.0] * width
    for number, chance in enumerate(chances):
        sums[number * width // count] += chance
    top = max(sums, default=0.0) or 1.0
    return "".join(_BARS[round(share / top * (len(_BARS) - 1))] for share in sums)


def _likeliest(search: Search | MetricSearch) -> str:
    likeliest = max(search.probabilities(), key=lambda candidate: candidate.probability)
    return f"likeliest {likeliest.sha[:SHORT]} {likeliest.probability:.1%}"


def _time_left(search: Search | MetricSearch, seconds: Sequence[float], jobs: int) -> str:
    if search.verdict().final:
        return "decided"
    chances = [candidate.probability for candidate in search.probabilities()]
    trials, due = search.trials, 0
    if isinstance(search, MetricSearch):
        trials, due = max(0, trials - 2 * END_RUNS), search.due
    left = seconds_left(chances, trials, seconds, jobs, due)
    return "no estimate yet" if left is None else f"about {in_words(left)} left"


def _ending(result: TrialResult) -> str:
    judgement = result.judgement
    return f"{judgement.outcome} in {result.seconds:.1f} s ({printable(judgement.reason)})"
