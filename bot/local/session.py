"""A bisect of one's own clone, from the first trial to the verdict."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bot.culprit.evidence import (
    Granularity,
    Ruling,
    Says,
    SearchSettings,
    Trial,
    TrialOutcome,
    TrialReport,
)
from bot.culprit.fresh_runs import VerificationResult
from bot.culprit.graph import CommitGraph
from bot.culprit.metric import MISSES, MetricSearch, is_comparable
from bot.culprit.search import Search
from bot.culprit.selection import next_good
from bot.culprit.verdict import SearchStatus
from bot.git.errors import DiskFull, GitError
from bot.git.export import TreeExport
from bot.git.history import parents_of
from bot.git.process import Git
from bot.git.revert import open_clone
from bot.local import messages
from bot.local.checkout import OBJECTS, layout_for
from bot.local.history import read_range, subjects, submodules
from bot.local.journal import (
    EndingNote,
    Journal,
    LocalRequest,
    Measured,
    Probe,
    Writer,
    take_value,
)
from bot.local.verification import CheckEnded, CheckPlanned, FreshRun, plan_checks
from bot.names import split_numeric
from bot.trials.limits import for_this_machine, remove_folder
from bot.trials.outcome import CommandNotFoundError, Judgement
from bot.trials.runner import LocalTrialRunner, TrialPlan, TrialResult
from bot.trials.sandbox import (
    TREE_INSIDE,
    Bubblewrap,
    Sandbox,
    SandboxError,
    Unconfined,
    WritableFolders,
    can_overlay,
    require,
    terminal_view,
    unpassed,
)
from bot.trials.worktree import Workplace, in_thread, workplace


async def history_before(git: Git, bad: str) -> list[str]:
    """List the commits before `bad` along first parents, newest first."""
    said = await git.run("rev-list", "--first-parent", "--skip=1", bad, "--")
    return said.text.split()


async def releases(git: Git, bad: str, history: Sequence[str]) -> list[str]:
    """List the tagged commits of `history` worth trying: what was released was probably tested."""
    said = await git.run(
        *("for-each-ref", "--merged", bad, "--format=%(objectname) %(*objectname)", "refs/tags")
    )
    tagged = {names.split(" ")[-1] or names.split(" ")[0] for names in said.text.splitlines()}
    return thinned(history, tagged)


def thinned(history: Sequence[str], tagged: Collection[str]) -> list[str]:
    """Keep the 1st, 2nd, 4th, 8th … tagged commit, so that old regressions are reached soon."""
    found = [commit for commit in history if commit in tagged]
    return [found[2**step - 1] for step in range(len(found).bit_length())]


_LONGEST_WAIT_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 30.0
STORMS = 0.05
"""How likely an outage is on one's own machine; that the good end is no good is likelier."""
_LONGEST_PAUSE_SECONDS = 600.0
_MARGIN = 0.9
"""How much of the limit of a trial is proposed to a command that stops itself."""


_SHOULD = {
    "good": (TrialOutcome.PASS,),
    "bad": (TrialOutcome.FAIL,),
    None: (TrialOutcome.PASS, TrialOutcome.FAIL),
}
"""How trials should end: of each end of the range, and of any other commit."""


class Watcher(Protocol):
    """Who watches: a terminal, or plain lines."""

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def named(self, subjects: Mapping[str, str]) -> None:
        """Take the subjects of the range's commits, where they are known."""
        ...

    def probed(self, commit: str, result: TrialResult) -> None:
        """Show how a probe for a good end ended."""
        ...

    def checked(self, commit: str, result: TrialResult) -> None:
        """Show how a fresh run of the culprit or a parent ended."""
        ...

    def started(self, search: Search, trial: Trial) -> None:
        """Show that a trial runs."""
        ...

    def finished(self, search: Search, trial: Trial, result: TrialResult) -> None:
        """Show how a trial ended, and what that changes."""
        ...

    def measured(
        self, number: int, search: MetricSearch, said: Measured, result: TrialResult
    ) -> None:
        """Show what run `number` measured, from 1, and what that changes."""
        ...


class InfraError(Exception):
    """Too many trials could not run at all."""


async def run(request: LocalRequest, journal: Journal, writer: Writer, view: Watcher) -> None:
    """Search until there is a verdict; the log then says it (`journal.read`).

    Args:
        request: what was asked for.
        journal: what an earlier session of the same log already knows; no trial of it is repeated.
        writer: the log.
        view: who watches.

    Raises:
        RangeError: the ends are wrong.
        InfraError: trials cannot run.
        CommandNotFoundError: the command cannot be run at all.
        SandboxError: the sandbox broke.
        GitError: git cannot read the clone.
        OSError: the work folder cannot be written.
    """
    _end_when_told()
    git = await open_clone(Path(request.repository))
    if request.goods:
        # Before anything is made or run: wrong ends are the commonest mistake.
        await read_range(git, request.goods, request.bad)
    empty = [path for path in await submodules(git, request.bad) if path not in request.shared]
    if empty:
        view.say(messages.SUBMODULES.format(paths=messages.printable(", ".join(empty))))
    async with workplace() as place:
        session = _Session(request, journal, writer, view, git)
        await session.prepare(place, empty)
        try:
            await session.conclude()
        except CommandNotFoundError as error:
            told = messages.told_differences(journal.differences)
            raise CommandNotFoundError(f"{error}\n{told}") from error


def _end_when_told() -> None:
    """Let the signals that end a process cancel this task, as Ctrl-C does: no trial outlives us."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup the second is ignored, and stays so.
        if task is not None and signal.getsignal(each) is signal.SIG_DFL:
            loop.add_signal_handler(each, task.cancel)


class _Session:
    def __init__(
        self, request: LocalRequest, journal: Journal, writer: Writer, view: Watcher, git: Git
    ) -> None:
        self._request = request
        self._journal = journal
        self._writer = writer
        self._view = view
        self._git = git
        self._seconds: list[float] = []
        self._said: set[str] = set()
        self._last_probe: tuple[str, TrialResult] | None = None

    async def prepare(self, place: Workplace, empty: Sequence[str]) -> None:
        objects = await TreeExport(self._git).readable()
        sandbox = await in_thread(self._sandbox, place, objects)
        moved = dict(sandbox.placed) if isinstance(sandbox, Bubblewrap) else {}
        if self._request.shared:
            self._view.say(messages.sharing(self._request.shared))
        checkout = self._request.checkout
        found = messages.differences(
            self._request,
            confined=isinstance(sandbox, Bubblewrap),
            at_checkout=checkout is None or str(sandbox.layout.inside) == checkout,
            variables=unpassed(os.environ),
            empty=empty,
        )
        if found != self._journal.differences:
            self._journal.differences = found
            self._writer.note({"differences": found})
        source = TreeExport(self._git, moved)
        limits = for_this_machine(place.folder, self._request.jobs, self._request.seconds)
        plan = TrialPlan(
            (self._request.command,), self._request.build, with_git=True, start=self._request.start
        )
        self._runner = LocalTrialRunner(plan, source, sandbox, limits, place, self._request.jobs)

    async def conclude(self) -> None:
        """Search; where the good end we found turns out bad, find an older one and go on."""
        searches = self._journal.searches
        rejected = {good for search in searches[:-1] for good in search.graph.goods}
        search = searches[-1] if searches else None
        while True:
            if search is None:
                goods = self._request.goods or await self._good_ends(rejected)
                search = await self._start(goods)
            self._view.named(await subjects(self._git, search.graph))
            if self._request.numeric is not None:
                await self._measure()
                return
            await self._drive(search)
            while search.verdict().status is SearchStatus.CULPRIT and not self._journal.checked:
                await self._check(search)
                await self._drive(search)
            found_by_us = not self._request.goods and search.graph.goods
            if search.verdict().status is not SearchStatus.BEFORE_RANGE or not found_by_us:
                return
            rejected |= set(search.graph.goods)
            search = None

    async def _start(self, goods: tuple[str, ...]) -> Search:
        between = await read_range(self._git, goods, self._request.bad)
        budget = self._journal.budget
        settings = SearchSettings(
            signal=" ".join(self._request.command),
            seed=self._request.seed,
            confidence=self._request.confidence,
            report=min(0.95, self._request.confidence),
            budget=None if budget is None else max(1, budget - self._journal.trials()),
            granularity=(
                Granularity.FIRST_PARENT if self._request.first_parent else Granularity.STAGED
            ),
            storms=STORMS,
            pauses=True,
        )
        search = Search(between.graph, settings, weights=between.weights, trees=between.trees)
        for number, probe in enumerate(self._journal.probes, 1):
            search.observe(probe.evidence(number))
        for skipped in self._request.skips:
            search.observe(Ruling(skipped, Says.SKIP, by="--skip"))
        self._writer.search(search)
        self._journal.searches.append(search)
        return search

    async def _measure(self) -> None:
        """Run what the search for a metric's change asks for, until it has a verdict."""
        search = self._journal.metric()
        while commits := search.next_runs(self._request.jobs):
            number = len(self._journal.measured)
            runs = [
                asyncio.create_task(self._made(commit, f"measure-{number}-{place}"))
                for place, commit in enumerate(commits)
            ]
            try:
                await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                await _cancelled(runs)
                # What stopped one of them takes nothing from those that ended.
                for commit, run in zip(commits, runs, strict=True):
                    if not run.cancelled() and run.exception() is None:
                        self._keep(search, commit, run.result())
            for run in runs:
                run.result()

    def _keep(self, search: MetricSearch, commit: str, result: TrialResult) -> None:
        """Write what a run measured, unless it shows that nothing can be measured at all."""
        name, _ = split_numeric(self._request.numeric or "")
        reason = result.judgement.reason
        said = _as_measured(commit, result.judgement, name)
        take_value(search, said)
        end = _end_of(search.graph, commit)
        # What ends the search is not written: it may be another time when somebody goes on.
        if end and search.stopped(commit) >= MISSES:
            raise InfraError(messages.end_never_ran(end, commit, MISSES, reason))
        if search.verdict().status is SearchStatus.INFRA:
            output = messages.last_lines(result.output)
            raise InfraError(
                messages.infra(reason)
                if said.infra
                else messages.no_number(name, commit, reason, output)
            )
        self._writer.entry(said)
        self._journal.measured.append(said)
        self._view.measured(len(self._journal.measured), search, said, result)

    async def _made(self, commit: str, name: str) -> TrialResult:
        """Try a commit; one that git cannot write, as where a filter fails, is not all of them."""
        try:
            return await self._runner.run(commit, name)
        except DiskFull:
            raise
        except GitError as error:
            judgement = Judgement(TrialOutcome.INFRA, messages.not_written(str(error)))
            return TrialResult(judgement, 0.0, "")

    async def _at_once(self, commits: Sequence[str], name: str) -> list[TrialResult]:
        """Run these at once; where one breaks, the others are given up."""
        tasks = [
            asyncio.create_task(self._made(commit, f"{name}-{place}"))
            for place, commit in enumerate(commits)
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _cancelled(tasks)

    async def _good_ends(self, rejected: set[str]) -> tuple[str, ...]:
        """Find a commit that passes, ever further back; none where even the first one fails."""
        history = await history_before(self._git, self._request.bad)
        released = await releases(self._git, self._request.bad, history)
        probes = self._journal.probes
        known = {each.probe: each for each in probes if each.outcome is not TrialOutcome.INFRA}
        tried = list(rejected)
        while commit := next_good(history, released, tried):
            tried.append(commit)
            if commit in self._request.skips:
                continue
            probe = known.get(commit) or await self._probe(commit)
            if probe.outcome is TrialOutcome.PASS:
                self._view.say(messages.FOUND_GOOD.format(commit=commit[: messages.SHORT]))
                return (commit,)
        if self._last_probe:
            commit, result = self._last_probe
            if all(each.outcome is TrialOutcome.INFRA for each in probes):
                raise InfraError(messages.infra(result.judgement.reason))
            said = messages.last_lines(result.output)
            self._view.say(messages.unexpected("oldest", commit, result.judgement.reason, said))
            self._once(messages.told_differences(self._journal.differences))
        self._view.say(messages.NO_GOOD)
        return ()

    async def _probe(self, commit: str) -> Probe:
        number = len(self._journal.probes) + 1
        result = await self._made(commit, f"probe-{number}")
        judgement = result.judgement
        probe = Probe(probe=commit, outcome=judgement.outcome, fingerprint=judgement.fingerprint)
        self._writer.entry(probe)
        self._journal.probes.append(probe)
        self._last_probe = commit, result
        self._view.probed(commit, result)
        return probe

    async def _check(self, search: Search) -> None:
        """Run the culprit and its parents again; what refutes the verdict becomes evidence."""
        checks = self._journal.checks
        if checks.planned is None or checks.ending is not None:
            culprit = search.verdict().culprit or ""
            parents, _ = await parents_of(self._git, culprit)
            shown = parents[:1] if self._request.first_parent else parents
            self._note(plan_checks(search, culprit, shown))
        budget = self._journal.budget
        if budget is not None and self._journal.trials() + len(checks.left()) > budget:
            self._note(CheckEnded(checked="no budget"))
            return
        await self._fresh_runs(checks.left())
        check = VerificationResult.UNDECIDED if checks.hopeless() else checks.judged(search)
        if check is VerificationResult.UNDECIDED and (again := checks.again(search)):
            self._note(again)
            return
        if check is VerificationResult.REFUTED:
            for evidence in checks.evidence():
                search.observe(evidence)
                self._writer.observed(evidence)
        self._note(CheckEnded(checked=check.value))

    async def _fresh_runs(self, commits: Sequence[str]) -> None:
        """Run these commits in order, as many at once as there are jobs."""
        for start in range(0, len(commits), self._request.jobs):
            turn = commits[start : start + self._request.jobs]
            results = await self._at_once(turn, f"check-{self._journal.trials() + 1}")
            for commit, result in zip(turn, results, strict=True):
                judged = result.judgement
                self._note(
                    FreshRun(check=commit, outcome=judged.outcome, fingerprint=judged.fingerprint)
                )
                self._view.checked(commit, result)

    def _note(self, line: CheckPlanned | FreshRun | CheckEnded) -> None:
        self._writer.entry(line)
        self._journal.checks.take(line)

    async def _drive(self, search: Search) -> None:
        """Run what the search asks for, until it has a verdict; then give up what still runs."""
        running = {self._launch(search, trial): trial for trial in search.pending}
        try:
            while True:
                free = self._request.jobs - len(running)
                asked = search.next_trials(free) if free > 0 else ()
                if asked:
                    self._writer.asked(asked)
                running |= {self._launch(search, trial): trial for trial in asked}
                if not running or search.verdict().final:
                    break
                for task in await _ended(set(running)):
                    trial = running.pop(task)
                    self._learn(search, trial, task.result())
        finally:
            await _cancelled(running)
        for trial in running.values():
            search.abandon(trial)
            self._writer.abandoned(trial)

    def _launch(self, search: Search, trial: Trial) -> asyncio.Task[TrialResult]:
        self._view.started(search, trial)
        return asyncio.create_task(self._try(trial))

    async def _try(self, trial: Trial) -> TrialResult:
        if trial.attempt > 1:
            await asyncio.sleep(min(2.0 ** (trial.attempt - 2), _LONGEST_BACKOFF_SECONDS))
        if trial.pause:
            # An outage may be over after as long as some trials take.
            usual = sum(self._seconds) / max(1, len(self._seconds))
            await asyncio.sleep(min(trial.pause * usual, _LONGEST_PAUSE_SECONDS))
        return await self._made(trial.commit, f"{len(self._journal.searches)}-{trial.id}")

    def _learn(self, search: Search, trial: Trial, result: TrialResult) -> None:
        judgement = result.judgement
        self._seconds.append(result.seconds)
        report = TrialReport(judgement.outcome, judgement.fingerprint)
        search.record(trial, report)
        end, wanted = _expected(search, trial.commit)
        ending = None
        if judgement.outcome not in wanted and trial.commit not in self._journal.endings:
            ending = EndingNote(
                commit=trial.commit, outcome=judgement.outcome, reason=judgement.reason,
                output=messages.last_lines(result.output) if end else "",
            )  # fmt: skip
            self._journal.endings[trial.commit] = ending
        hopeless = self._hopeless(search, trial, judgement)
        if hopeless is None:
            self._writer.reported(trial, report, result, ending)
        self._view.finished(search, trial, result)
        if ending and end:
            self._view.say(messages.unexpected(end, ending.commit, ending.reason, ending.output))
            self._once(messages.told_differences(self._journal.differences))
        if judgement.outcome is TrialOutcome.INFRA:
            self._explain(judgement.reason)
        if hopeless:
            raise InfraError(hopeless)

    def _hopeless(self, search: Search, trial: Trial, judgement: Judgement) -> str | None:
        """Say why a trial that could not run ends the search, where it does.

        It is not written: it is made again when somebody has mended what failed, and goes on.
        """
        if judgement.outcome is not TrialOutcome.INFRA:
            return None
        end = _end_of(search.graph, trial.commit)
        if end and trial.attempt >= search.settings.infra_attempts:
            return messages.end_never_ran(end, trial.commit, trial.attempt, judgement.reason)
        is_over = search.verdict().status is SearchStatus.INFRA
        return messages.infra(judgement.reason) if is_over else None

    def _explain(self, reason: str) -> None:
        """Say once for each kind what to do about trials that were stopped or killed."""
        command = self._request.command
        if reason.startswith("no end"):
            seconds = self._request.seconds
            fewer = max(1, int(seconds * _MARGIN)) if seconds >= 1 else seconds * _MARGIN
            self._once(
                messages.STOPPED.format(seconds=seconds, fewer=fewer, command=shlex.join(command))
            )
        elif reason.startswith("killed"):
            caught = shlex.quote(f"{shlex.join(command)} || exit 1")
            self._once(messages.KILLED.format(reason=reason, command=caught))

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._view.say(text)

    def _sandbox(self, place: Workplace, objects: tuple[Path, ...]) -> Sandbox:
        view = terminal_view(os.environ, Path.home())
        layout = layout_for(self._request, Path.home())
        hidden = [each for each in objects if each.is_relative_to(layout.inside)]
        sandbox = Bubblewrap(
            view,
            network=self._request.network,
            readable=(*map(Path, self._request.readable), *objects),
            placed=tuple((each, OBJECTS / str(number)) for number, each in enumerate(hidden)),
            layout=layout,
        )
        probe = WritableFolders.under(place.folder / "probe")
        for folder in (probe.tree, probe.scratch, probe.changes):
            folder.mkdir(parents=True, exist_ok=True)
        sandbox = replace(sandbox, overlays=can_overlay(view, probe))
        try:
            require(sandbox, probe)
        except SandboxError as error:
            self._view.say(messages.NO_SANDBOX.format(reason=error))
            return Unconfined(os.environ, replace(layout, inside=TREE_INSIDE))
        finally:
            remove_folder(place.folder / "probe")
        return sandbox


def _as_measured(commit: str, judgement: Judgement, name: str) -> Measured:
    """Say what a run measured."""
    value = judgement.metrics.get(name)
    if value is not None and is_comparable(value):
        return Measured(measured=commit, value=value)
    untestable = judgement.outcome is TrialOutcome.UNTESTABLE and not judgement.unread
    infra = judgement.outcome is TrialOutcome.INFRA
    return Measured(measured=commit, untestable=untestable, infra=infra)


def _end_of(graph: CommitGraph, commit: str) -> str | None:
    """Return which end of the range a commit is, if any."""
    if commit in graph.goods:
        return "good"
    return "bad" if commit == graph.commits[graph.bad] else None


def _expected(search: Search, commit: str) -> tuple[str | None, tuple[TrialOutcome, ...]]:
    """Return which end of the range a commit is, if any, and how its trials should end."""
    end = _end_of(search.graph, commit)
    return end, _SHOULD[end]


async def _cancelled(tasks: Collection[asyncio.Task[TrialResult]]) -> None:
    """Give up those that still run, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _ended(
    running: set[asyncio.Task[TrialResult]], clock: Callable[[], float] | None = None
) -> set[asyncio.Task[TrialResult]]:
    """Wait for a trial to end, and a little longer for others that are about to.

    The next trials are chosen together: asking for several at once tells more than one by one.
    """
    clock = clock or asyncio.get_running_loop().time
    started = clock()
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    if left:
        wait = min((clock() - started) / 4, _LONGEST_WAIT_SECONDS)
        done |= (await asyncio.wait(left, timeout=wait))[0]
    return done
