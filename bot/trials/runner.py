"""Tries commits: several workers, each tree built once, every outcome judged the same way."""

from __future__ import annotations

import asyncio
import signal
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.culprit.evidence import TrialOutcome
from bot.trials.execution import Execution, execute
from bot.trials.limits import LimitBroken, TrialLimits, copy_folder, empty_folder, remove_folder
from bot.trials.outcome import CommandNotFoundError, Judgement, judge, with_result
from bot.trials.sandbox import KernelLimits, Sandbox, WritableFolders
from bot.trials.worktree import TreeSource, Workplace, WorkTree, in_thread

_BUILT_TREES_KEPT = 8
_HEAD_START_BYTES = 2 << 30
_FILE_TOO_LARGE = 128 + signal.SIGXFSZ


@dataclass(frozen=True)
class TrialPlan:
    """What is run on each commit.

    Attributes:
        commands: argument vectors, run in this order until one does not pass.
        build: run once per tree before them; a commit that does not build is untestable.
        with_git: whether the tree gets a disposable `.git` (for versions made from tags).
        start: the folder all of it starts in, from the tree's root; a commit without that folder
            is untestable.
        to_the_end: what follows a command that fails is run all the same, for its numbers.
    """

    commands: tuple[tuple[str, ...], ...]
    build: tuple[str, ...] | None = None
    with_git: bool = False
    start: str = ""
    to_the_end: bool = False


@dataclass(frozen=True)
class TrialResult:
    """What one trial said, how long it took, and the kept part of what it printed."""

    judgement: Judgement
    seconds: float
    output: str


class LocalTrialRunner:
    """Runs trials, as many at once as there are workers."""

    def __init__(
        self,
        plan: TrialPlan,
        source: TreeSource,
        sandbox: Sandbox,
        limits: TrialLimits,
        workplace: Workplace,
        workers: int = 1,
    ) -> None:
        """Prepare `workers` folders in `workplace`; nothing is written before the first trial."""
        self._plan = plan
        self._source = source
        self._sandbox = sandbox
        self._limits = limits
        self._workplace = workplace
        self._builds = _Builds(workplace.folder / "built")
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        for number in range(workers):
            self._idle.put_nowait(_Worker(workplace.folder / f"worker-{number}", source))

    async def run(self, commit: str, trial: str) -> TrialResult:
        """Try `commit` once, as soon as a worker is free.

        Args:
            commit: a full SHA.
            trial: a name unique in this session.

        Raises:
            CommandNotFoundError: the build or a command cannot be run at all.
            SandboxError: the sandbox does not work.
            OSError: the work folder cannot be written.
        """
        worker = await self._idle.get()
        try:
            return await self._try(worker, commit, self._workplace.mark(trial))
        finally:
            self._idle.put_nowait(worker)

    async def _try(self, worker: _Worker, commit: str, mark: str) -> TrialResult:
        seconds = 0.0
        output: list[str] = []
        judgement = Judgement(TrialOutcome.PASS, "there is nothing to run")
        await in_thread(empty_folder, worker.place.changes)
        if self._plan.build is None:
            await worker.tree.move(commit, with_git=self._plan.with_git)
        else:
            built = await self._build(worker, commit, self._plan.build, mark)
            seconds, judgement = built.seconds, built.judgement
            output.append(built.output)
        if (
            judgement.outcome is TrialOutcome.PASS
            and not (worker.place.tree / self._plan.start).is_dir()
        ):
            judgement = _no_folder(self._plan.start)
        for command in self._plan.commands:
            goes_on = self._plan.to_the_end and judgement.outcome is TrialOutcome.FAIL
            if judgement.outcome is not TrialOutcome.PASS and not goes_on:
                break
            done, result = await self._execute(worker, command, mark)
            seconds += done.seconds
            output.append(done.output)
            before, judgement = judgement, with_result(_judged(done, self._limits), result)
            judgement = _with_metrics_of(before, judgement)
        return TrialResult(judgement, seconds, "\n".join(part for part in output if part))

    def _can_start(self, worker: _Worker) -> bool:
        return (worker.place.tree / self._plan.start).is_dir()

    async def _build(
        self, worker: _Worker, commit: str, build: Sequence[str], mark: str
    ) -> TrialResult:
        """Bring the worker's folder to the commit's built tree, building only if nobody has."""
        tree = await self._source.tree_id(commit)
        async with self._builds.lock(tree):
            known = self._builds.judged(tree)
            if known is not None:
                if known.outcome is TrialOutcome.PASS:
                    await in_thread(self._builds.restore, tree, worker.place)
                    worker.tree.forget()
                return TrialResult(known, 0.0, "")
            await worker.tree.move(commit, with_git=self._plan.with_git)
            if not self._can_start(worker):
                return TrialResult(_no_folder(self._plan.start), 0.0, "")
            done, _ = await self._execute(worker, build, mark)
            judgement = _judged(done, self._limits)
            if judgement.outcome is TrialOutcome.FAIL:
                judgement = Judgement(
                    TrialOutcome.UNTESTABLE, f"it does not build: {judgement.reason}"
                )
            if judgement.outcome is not TrialOutcome.INFRA:
                await in_thread(self._builds.keep, tree, judgement, worker.place)
            return TrialResult(judgement, done.seconds, done.output)

    async def _execute(
        self, worker: _Worker, command: Sequence[str], mark: str
    ) -> tuple[Execution, Path]:
        await in_thread(empty_folder, worker.place.scratch)
        (worker.place.scratch / "home").mkdir()
        caps = KernelLimits(
            file_bytes=self._limits.disk_bytes + _HEAD_START_BYTES,
            processes=4 * self._limits.processes,
        )
        launch = await in_thread(
            self._sandbox.launch, worker.place, command, mark, caps, self._plan.start
        )
        folders = (worker.place.tree, worker.place.scratch, worker.place.changes)
        return await execute(launch, self._limits, folders, mark), launch.result


class _Worker:
    def __init__(self, folder: Path, source: TreeSource) -> None:
        self.place = WritableFolders.under(folder)
        self.tree = WorkTree(self.place.tree, folder / "staging", source)


class _Builds:
    """Built trees by tree id, each with what its build changed of the person's files.

    The longest unused are dropped.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._judged: dict[str, Judgement] = {}
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def lock(self, tree: str) -> asyncio.Lock:
        return self._locks[tree]

    def judged(self, tree: str) -> Judgement | None:
        judgement = self._judged.get(tree)
        if (
            judgement is not None
            and judgement.outcome is TrialOutcome.PASS
            and tree not in self._kept
        ):
            return None
        return judgement

    def restore(self, tree: str, place: WritableFolders) -> None:
        self._kept.move_to_end(tree)
        kept = self._kept[tree]
        copy_folder(kept / "tree", place.tree)
        copy_folder(kept / "changes", place.changes)

    def keep(self, tree: str, judgement: Judgement, place: WritableFolders) -> None:
        self._judged[tree] = judgement
        if judgement.outcome is not TrialOutcome.PASS:
            return
        copy_folder(place.tree, self._folder / tree / "tree")
        copy_folder(place.changes, self._folder / tree / "changes")
        self._kept[tree] = self._folder / tree
        while len(self._kept) > _BUILT_TREES_KEPT:
            unused = next((old for old in self._kept if not self._locks[old].locked()), None)
            if unused is None:
                return
            remove_folder(self._kept.pop(unused))


def _judged(done: Execution, limits: TrialLimits) -> Judgement:
    if done.breach is LimitBroken.TIME:
        return Judgement(TrialOutcome.INFRA, f"no end after {limits.wall_seconds:g} s")
    breach = LimitBroken.DISK if done.exit_status == _FILE_TOO_LARGE else done.breach
    if breach is not None:
        return Judgement(TrialOutcome.INFRA, f"it went over its limit of {breach}")
    try:
        return judge(done.exit_status)
    except CommandNotFoundError as error:
        said = done.output.strip().splitlines()
        said_last = f" It said: {said[-1][:300]}" if said else ""
        raise CommandNotFoundError(f"{error}{said_last}") from error


def _no_folder(start: str) -> Judgement:
    return Judgement(TrialOutcome.UNTESTABLE, f"the folder {start} is not in this commit")


def _with_metrics_of(before: Judgement, now: Judgement) -> Judgement:
    metrics = {**before.metrics, **now.metrics}
    return replace(now, metrics=metrics)
