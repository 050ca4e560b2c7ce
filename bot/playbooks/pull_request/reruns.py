"""Asking GitHub to run checks of a commit again, and reading what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.git.errors import GitError
from bot.git.history import first_parents
from bot.github.calls.checks import newest
from bot.github.errors import Forbidden, NotFound, StillRunning, Unprocessable
from bot.github.models import CheckKind, CheckResult
from bot.playbooks.checks.results import WINDOW, by_commit, runs_with_a_verdict
from bot.playbooks.checks.streak import Chance, CommitRuns, chance
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.pull_request.ports import RerunGitHub
from bot.triggers import Value

_MOST_WEIGHED = 10
"""So many failures are weighed; a commit that fails more checks has not failed by chance."""


class RerunAnswer(Value):
    """What came of asking GitHub to run checks again; `later`: other jobs are under way."""

    refused: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    def by(self, now: datetime, deadline: datetime) -> RerunAnswer:
        """The same; from the deadline on, what is not taken yet is refused."""
        if now < deadline:
            return self
        return RerunAnswer(refused=(*self.refused, *self.later))


async def run_again(
    github: RerunGitHub, head: str, names: tuple[str, ...], look_first: bool
) -> RerunAnswer:
    """Ask for what failed or broke off under these names to run again.

    Args:
        github: the repository.
        head: the commit.
        names: of the checks.
        look_first: whether it may have been asked for already.

    Raises:
        GitHubError: the checks could not be read.
    """
    results = newest(await github.checks.results(head))
    refused, later = [], []
    for name in names:
        named = [each for each in results if each.name == name]
        if look_first and not all(each.is_completed for each in named):
            # The attempt before got through.
            continue
        ended = [each for each in named if each.is_completed and not each.is_passed]
        asked = False
        try:
            for each in ended:
                if each.kind is CheckKind.CHECK_RUN:
                    await github.checks.rerun(each)
                    asked = True
        except StillRunning:
            if not asked:
                later.append(name)
        except (Forbidden, NotFound, Unprocessable):
            # Another service's check: only its own page can run it again.
            refused.append(name)
    return RerunAnswer(refused=tuple(refused), later=tuple(later))


def run_by_app(results: Sequence[CheckResult], failed: Sequence[str]) -> tuple[str, ...]:
    """Those of the checks that failed which GitHub may be able to run again."""
    runs = {r.name for r in newest(results) if r.kind is CheckKind.CHECK_RUN and not r.is_passed}
    return tuple(name for name in failed if name in runs)


async def chances(
    github: RerunGitHub,
    mirror: HistoryMirror,
    failed: Sequence[str],
    results: Sequence[CheckResult],
    heads: tuple[str, ...],
    before: str,
) -> tuple[Chance, ...]:
    """How sure each failure is, by what the check did here and on the branch before.

    Args:
        github: the repository.
        mirror: its history.
        failed: names of checks that may be run again.
        results: what was read of the last commit.
        heads: the commits of one proposal whose runs count together.
        before: the last commit of the base branch before the incident.

    Raises:
        GitHubError, GitError: what the checks did before could not be read.
    """
    if not failed:
        return ()
    line = [*heads, *await _line(mirror, before)]
    found = []
    for name in failed[:_MOST_WEIGHED]:
        known = await runs_with_a_verdict(name, line, github, proposed=heads)
        runs = by_commit(line, known)
        tried, past = runs[: len(heads)], runs[len(heads) :]
        here = CommitRuns(
            sha=heads[-1],
            fails=sum(each.fails for each in tried),
            passes=sum(each.passes for each in tried),
        )
        if not here.fails and any(r.name == name and r.conclusion == "failure" for r in results):
            # The failure was read a moment ago; what is asked in another way may lag behind.
            here = here.model_copy(update={"fails": 1})
        found.append(chance(name, here, past))
    return tuple(found)


async def _line(mirror: HistoryMirror, before: str) -> list[str]:
    try:
        return await mirror.read(lambda git: first_parents(git, before, WINDOW))
    except GitError:
        # It was read into the mirror of one machine; another may go on with the Run.
        await mirror.refresh([before])
        return await mirror.read(lambda git: first_parents(git, before, WINDOW))
