"""What is known before anything is tried: a good end, the range, and results that exist.

They are read once, in recorded steps; nothing here begins a trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.culprit.evidence import FreeResult, TrialOutcome, TrialReport
from bot.culprit.flake_rates import History
from bot.culprit.graph import CommitGraph
from bot.culprit.selection import next_good
from bot.git.history import first_parents
from bot.github.calls.known_checks import AT_ONCE
from bot.github.models import KnownCheck
from bot.playbooks.bisect.commit_range import MOST_COMMITS, CommitRange, read_range
from bot.playbooks.bisect.numeric import alone, of_one_app, reporting
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.bisect.ports import BisectGitHub, BisectMirror, bisects, runs
from bot.playbooks.incident.own_files import own_files
from bot.playbooks.run import Run
from bot.playbooks.steps import Patch, Step
from bot.records.documents.reports import TrialMade
from bot.trials.outcome import counted, green
from bot.triggers import Value

COMMITS_ASKED_ABOUT = 1_000
"""Of longer ranges only the first-parent line is looked up, and at most so many commits of it."""
LOOKED_BACK = 200
"""Commits looked through for a green one where nobody named a good end."""
_SAID = frozenset({"pass", "fail", "untestable"})


async def earlier_trials(run: Run, incident: str) -> tuple[TrialMade, ...]:
    """Read the trials of earlier attempts that said something of a commit.

    Each is named by its attempt too, such as `3@1`: the third trial of the first attempt.
    """

    async def read(conn: AsyncConnection) -> list[TrialMade]:
        found = []
        earlier = [each for each in await runs.of_incident(conn, incident) if each.id != run.id]
        for attempt, each in enumerate(earlier, 1):
            shown = await bisects.progress_of(conn, each.id)
            found += [
                trial.model_copy(update={"name": f"{trial.name}@{attempt}"})
                for trial in (shown.trials if shown else ())
                if trial.outcome in _SAID
            ]
        return found

    return tuple(await run.write(Step.READ_EARLIER_TRIALS, list[TrialMade], read))


def as_evidence(trials: Sequence[TrialMade]) -> tuple[FreeResult, ...]:
    """Turn them into evidence: each was made on a machine of its own."""
    return tuple(
        FreeResult(
            each.sha, TrialReport(TrialOutcome(each.outcome)), environment=f"fresh-{each.name}"
        )
        for each in trials
        if each.outcome in _SAID
    )


class NoGoodEnd(Exception):
    """Nothing lies before the bad end. `str()` is for people."""


class _Known(Value):
    results: tuple[KnownCheck, ...]


class _Line(Value):
    """The commits before the bad end; which are green, and how often those passed and failed."""

    commits: tuple[str, ...]
    green: tuple[str, ...]
    passed: int = 0
    failed: int = 0


class PriorResults:
    """What is known of the commits up to a bad end, without trying any.

    Attributes:
        rejected: good ends that turned out bad; the next one lies before them.
    """

    def __init__(
        self, run: Run, github: BisectGitHub, mirror: BisectMirror, plan: BisectPlan
    ) -> None:
        """Prepare.

        Args:
            run: the Run this is part of.
            github: the repository.
            mirror: its commits.
            plan: what is searched.
        """
        self.rejected: list[str] = []
        self._run = run
        self._github = github
        self._mirror = mirror
        self._plan = plan
        self._line: _Line | None = None

    def equip(self, plan: BisectPlan) -> None:
        """Go on as another configuration has it."""
        self._plan = plan

    @property
    def history(self) -> History:
        """How the check fared before the range, on commits taken for good."""
        line = self._line
        if line is None or self.rejected:
            return History()
        return History(good_passed=line.passed, good_failed=line.failed)

    async def commit_range(self) -> CommitRange:
        """Read the range that ends at the bad end.

        Raises:
            NoGoodEnd: there is no commit before the bad end.
        """
        good = self._plan.good or await self._good_end()
        return await self._run.step(Step.READ_RANGE, CommitRange, partial(self._read, good))

    async def of(self, commits: CommitRange) -> tuple[KnownCheck, ...]:
        """Read what the check says already of these commits, and of the good ends before them."""
        check, graph = self._plan.check, commits.graph
        if check is None:
            return ()
        asked = [*_worth_asking(graph), *graph.goods]
        ours = await self._run.step(Step.READ_APP_ID, int, self._own_id)
        known = await self._run.step(
            Step.READ_KNOWN_RESULTS, _Known, partial(self._known, graph, asked, check, ours)
        )
        return self._telling(known.results, ours)

    async def _read(self, good: str, _: bool) -> CommitRange:
        bot = (await self._github.app()).bot_login
        own = await self._mirror.read(lambda git: own_files(self._plan.config, git))
        return await self._mirror.read(
            lambda git: read_range(git, [good], self._plan.bad, own=own, bot=bot)
        )

    async def _own_id(self, _: bool) -> int:
        return (await self._github.app()).id

    async def _known(
        self, graph: CommitGraph, commits: list[str], check: str, ours: int, _: bool
    ) -> _Known:
        """Read what was tested on these commits, else on the pull requests that brought them."""
        numbers = self._plan.numeric is not None
        results = await self._github.known_checks.of(commits, check, numbers=numbers)
        line = {graph.commits[number] for number in graph.first_parent_line}
        tested = {each.sha for each in self._telling(results, ours)}
        untested = [sha for sha in commits if sha in line and sha not in tested]
        heads = await self._github.known_checks.of_merged_heads(untested, check, numbers=numbers)
        return _Known(
            results=tuple(
                each.model_copy(update={"metrics": alone(each.metrics, self._plan.metric)})
                for each in (*results, *heads)
            )
        )

    def _telling(self, known: Sequence[KnownCheck], ours: int) -> tuple[KnownCheck, ...]:
        """Keep what says something of the commit that it is listed on."""
        if self._plan.metric is not None:
            told = reporting(known, self._plan.metric, ours=ours)
            return of_one_app(told) if self._run.patched(Patch.NUMBERS_SIFTED) else told
        return counted(known, ours=ours)

    async def _good_end(self) -> str:
        """The last commit where the check was green; beyond what is known, ever further back."""
        if self._line is None:
            self._line = await self._run.step(Step.FIND_GOOD_END, _Line, self._look_back)
        line = self._line
        good = next_good(line.commits, line.green, self.rejected)
        if good is None:
            raise NoGoodEnd("No commit before the bad end is left to be the good one.")
        return good

    async def _look_back(self, _: bool) -> _Line:
        line = await self._mirror.read(lambda git: first_parents(git, self._plan.bad, MOST_COMMITS))
        before = line[1:]
        if self._plan.check is None:
            return _Line(commits=tuple(before), green=())
        ours = (await self._github.app()).id
        for start in range(0, min(len(before), LOOKED_BACK), AT_ONCE):
            part = before[start : start + AT_ONCE]
            results = await self._github.known_checks.of(part, self._plan.check)
            known = counted(results, ours=ours)
            if found := green(known):
                newest = min(part.index(sha) for sha in found)
                older = {*part[newest + 1 :]}
                said = [each.conclusion for each in known if each.sha in older]
                return _Line(
                    commits=tuple(before),
                    green=tuple(sorted(found)),
                    passed=said.count("success"),
                    failed=said.count("failure"),
                )
        return _Line(commits=tuple(before), green=())


def _worth_asking(graph: CommitGraph) -> list[str]:
    """The commits whose results are looked up; of long ranges an even sample of the main line."""
    if len(graph) <= COMMITS_ASKED_ABOUT:
        return list(graph.commits)
    line = graph.first_parent_line
    step = max(1, -(-len(line) // COMMITS_ASKED_ABOUT))
    chosen = {*line[::step], line[-1]}
    return [graph.commits[number] for number in sorted(chosen)]
