"""What was reported on a commit, and whether two failures are the same.

GitHub lists the latest run of each name in each *suite*, and a commit may have many suites of one
App: one for each workflow run of Actions, so also for a push beside a pull request.
https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference

Names of checks: as somebody typed them, and those no commit ever had.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from bot.github.models import CheckResult, KnownCheck
from bot.names import unwrapped
from bot.playbooks.checks.streak import CommitRuns
from bot.triggers import Value

if TYPE_CHECKING:
    from bot.playbooks.ports import (
        CheckedCommitGitHub,
        CheckNamesGitHub,
        KnownRunsGitHub,
        ReportingGitHub,
    )

WINDOW = 50
"""Commits of the branch that are looked at."""
_TRIALS = ("workflow_dispatch", "repository_dispatch")
"""Runs on these events may try another commit than the one they are listed on."""
_OF_PULL_REQUESTS = "pull_request"
"""Begins the events of runs that try what merging a commit into some branch would give.

Of a commit on a branch they say nothing: anybody with a fork may propose it for another branch.
"""


async def runs_with_a_verdict(
    check: str, line: Sequence[str], github: KnownRunsGitHub, *, proposed: Collection[str] = ()
) -> tuple[KnownCheck, ...]:
    """Read the runs of a check on these commits that passed or failed, ours and trials left out.

    Args:
        check: what the check is called on GitHub.
        line: full SHAs of the commits.
        github: where the runs are read; it also tells which checks are ours.
        proposed: those of the commits that are a pull request's, and are judged as such.
    """
    ours = (await github.app()).id
    return tuple(
        each
        for each in await github.known_checks.of(line, check)
        if each.conclusion in ("success", "failure")
        and each.event not in _TRIALS
        and (each.sha in proposed or not (each.event or "").startswith(_OF_PULL_REQUESTS))
        and each.app_id != ours
    )


def by_commit(line: Sequence[str], known: Sequence[KnownCheck]) -> list[CommitRuns]:
    """Count the runs on each commit, in the order of the line."""
    return [_runs(sha, known) for sha in line]


def _runs(sha: str, known: Sequence[KnownCheck]) -> CommitRuns:
    counted = Counter(each.conclusion for each in known if each.sha == sha)
    return CommitRuns(sha=sha, fails=counted["failure"], passes=counted["success"])


T = TypeVar("T")

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class CodePlace(Value):
    """A spot in the code that a check complained about; its line number may move, so it is left."""

    path: str
    said: str


class Failure(Value):
    """How a check failed, as far as its report tells.

    Attributes:
        headlines: of its reports; normalized, as `headline` does it.
        places: what it complained about, where.
    """

    headlines: frozenset[str] = frozenset()
    places: frozenset[CodePlace] = frozenset()


Failures = Mapping[str, Failure]
"""By the name of the check; one that is missing did not fail."""


def headline(text: str) -> str:
    """Normalize words: counts, times and addresses differ from run to run."""
    return " ".join(_NUMBERS.sub("0", text.lower()).split())


def is_same(one: Failure, other: Failure) -> bool:
    """Tell whether two runs of one check failed alike; where nothing speaks against it, they did.

    One common complaint is enough: a change may cure some failures and leave others.
    """
    if one.places and other.places:
        return bool(one.places & other.places)
    if one.headlines and other.headlines:
        return bool(one.headlines & other.headlines)
    return True


def alike(there: Failures, here: Failures) -> tuple[str, ...]:
    """Name the checks that failed there, except those that fail here in another way."""
    return tuple(sorted(n for n in there if n not in here or is_same(there[n], here[n])))


def otherwise(there: Failures, here: Failures) -> tuple[str, ...]:
    """Name the checks that fail here and failed there, but in another way."""
    both = there.keys() & here.keys()
    return tuple(sorted(name for name in both if not is_same(there[name], here[name])))


def joined(reports: Iterable[Failure]) -> Failure:
    """Take several reports of one name as one; one that tells nothing leaves all in doubt."""
    reports = tuple(reports)
    return Failure(
        headlines=_union([each.headlines for each in reports]),
        places=_union([each.places for each in reports]),
    )


def _union(parts: Collection[frozenset[T]]) -> frozenset[T]:
    return frozenset().union(*parts) if all(parts) else frozenset()


SKIPS_CHECKS = "[skip ci]"
"""In a commit's message: nothing is run on it."""
_PASSED = 20
"""How many such commits are looked behind."""


_HEADS = 5
"""How many heads of pull requests are looked at for the names of checks."""


class CheckedCommit(Value):
    """A commit, and what others than ourselves reported on it."""

    sha: str
    results: tuple[CheckResult, ...]


async def checked(github: CheckedCommitGitHub, sha: str) -> CheckedCommit:
    """Look behind commits on which no check runs because they asked for none.

    Args:
        github: the repository.
        sha: the commit whose state is in question.

    Returns:
        That commit; where it has no result and its message says that none will come, the nearest
        one before it, along first parents, of which this is not so.
    """
    us = (await github.app()).id
    found = sha
    for _ in range(_PASSED):
        all_of = await github.checks.results(found)
        results = tuple(r for r in all_of if r.app_id != us and r.name not in OUR_CHECKS)
        if results:
            return CheckedCommit(sha=found, results=results)
        commit = await github.git.commit(found)
        if commit is None or SKIPS_CHECKS not in commit.message or not commit.parents:
            break
        found = commit.parents[0]
    return CheckedCommit(sha=found, results=())


async def names_on_pull_requests(
    github: ReportingGitHub, first: Sequence[int], base: str, wanted: Collection[str]
) -> frozenset[str] | None:
    """Name the checks that report on heads of pull requests, others' than ours.

    Args:
        github: the repository.
        first: pull requests to look at before the newest ones.
        base: the branch they go to.
        wanted: names in question; once all of them are seen, no further head is looked at.

    Returns:
        The names seen, on at most five heads; None where there is no pull request.

    Raises:
        GitHubError: GitHub could not be read.
    """
    us = (await github.app()).id
    seen: set[str] = set()
    looked: set[str] = set()
    async for head in _heads(github, first, base):
        if head in looked:
            continue
        looked.add(head)
        results = await github.checks.results(head)
        seen |= {each.name for each in results if each.app_id != us}
        if seen >= {*wanted} or len(looked) >= _HEADS:
            break
    return frozenset(seen - OUR_CHECKS) if looked else None


async def _heads(github: ReportingGitHub, first: Sequence[int], base: str) -> AsyncIterator[str]:
    for number in first:
        if (pull := await github.pulls.find(number)) is not None:
            yield pull.head.sha
    async for pull in github.pulls.list(state="all", base=base):
        yield pull.head.sha


HOTFIX_CHECK = "hotfix"
GATE_CHECK = "self-work gate"
BISECT_CHECK = "bisect"
CONFIG_CHECK = "playbooks config"
OUR_CHECKS = frozenset({HOTFIX_CHECK, GATE_CHECK, BISECT_CHECK, CONFIG_CHECK})
"""What we report ourselves: it follows from the other checks, so it never counts among them."""


_EVENT = re.compile(r" \([a-z_]+\)$")


def meant(typed: str, reported: Iterable[str]) -> list[str]:
    """Return the reported names that `typed` stands for: one, or several that read alike.

    The name itself comes first. Else white space, letter case and what cannot be seen do not count;
    nor does what GitHub's pages write around a check's name, `Workflow / NAME (push)`.

    Args:
        typed: the words.
        reported: the names of checks, as they were reported.
    """
    names = sorted(set(reported))
    if typed in names:
        return [typed]
    for reading in _READINGS:
        wanted = reading(_plain(typed))
        if found := [name for name in names if not wanted.isdisjoint(_as_typed(name))]:
            return found
    return []


def _as_typed(name: str) -> set[str]:
    """How a name reads in a command, where quotes and brackets around all of it are taken off."""
    return {_plain(name), unwrapped(_plain(name))}


def _plain(name: str) -> str:
    seen = unicodedata.normalize("NFKC", name)
    kept = (c for c in seen if c.isspace() or not _is_unseen(c))
    return " ".join("".join(kept).casefold().split())


def _is_unseen(character: str) -> bool:
    # Variation selectors choose how the sign before them is drawn.
    return unicodedata.category(character) in ("Cc", "Cf") or "\ufe00" <= character <= "\ufe0f"


def _as_it_is(plain: str) -> set[str]:
    return {plain}


def _without_stop(plain: str) -> set[str]:
    return {plain.rstrip(".,;:")}


def _as_on_a_page(plain: str) -> set[str]:
    named = {plain, _EVENT.sub("", plain)}
    return named | {each.partition(" / ")[2] for each in named if " / " in each}


_READINGS: tuple[Callable[[str], set[str]], ...] = (_as_it_is, _without_stop, _as_on_a_page)


_ALIKE = 0.5
"""From here on one name may be meant by another (difflib's ratio)."""
MOST = 20
"""Names that are looked for."""


class Unheard(Value):
    """A name that nothing reported, and what it may be meant for."""

    name: str
    nearest: str | None = None


def unheard(configured: Iterable[str], seen: Collection[str]) -> tuple[Unheard, ...]:
    """Name what was configured and never reported, each with the nearest that was.

    Args:
        configured: names of checks.
        seen: names that were reported; none at all: nothing can be told.
    """
    if not seen:
        return ()
    lower = {name.lower(): name for name in sorted(seen, reverse=True)}
    found = []
    for name in dict.fromkeys(configured):
        if name not in seen:
            alike = get_close_matches(name.lower(), lower, n=1, cutoff=_ALIKE)
            found.append(Unheard(name=name, nearest=lower[alike[0]] if alike else None))
    return tuple(found)


async def names_seen(
    github: CheckNamesGitHub, head: str, base: str, wanted: Collection[str]
) -> frozenset[str]:
    """Name the checks that commits had: on this one, on a branch's last 100 and on pull requests.

    Args:
        github: the repository.
        head: the commit where the names are configured.
        base: the branch.
        wanted: names in question; once they are seen, no further commit is looked at.

    Raises:
        GitHubError: GitHub could not be read.
    """
    us = (await github.app()).id
    seen = {each.name for each in (await checked(github, await github.git.head(base))).results}
    if not seen >= {*wanted}:
        seen |= {r.name for r in await github.checks.results(head) if r.app_id != us}
    if not seen >= {*wanted}:
        seen |= await names_on_pull_requests(github, (), base, {*wanted} - seen) or frozenset()
    left = sorted({*wanted} - seen)[:MOST]
    line = await github.git.newest(base) if left else ()
    for name in left:
        if await github.known_checks.of(line, name):
            seen.add(name)
    return frozenset(seen)
