"""The range a local bisect searches, and how long it takes yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.culprit.graph import CommitGraph
from bot.culprit.priors import Change, by_changes
from bot.git.errors import GitError, UnknownRevision
from bot.git.history import describe, is_ancestor, merge_base, resolve_expression
from bot.git.process import Git
from bot.local import messages

_TOLD_BY_A_TRIAL = 0.75
"""Bits a trial tells before any has been seen to: less than one, since signals may lie."""
_TAKEN_FOR_GRANTED = 4
_LEAST_TOLD = 0.25
_CHECKING = 2
"""Rounds at the end, when the culprit and its parents are run again."""


def seconds_left(
    probabilities: Sequence[float],
    trials: int,
    seconds: Sequence[float],
    jobs: int,
    due: int = 0,
) -> float | None:
    """Guess how many seconds a search takes yet; None before a trial has ended.

    Args:
        probabilities: of each commit in question.
        trials: trials that told something.
        seconds: how long each trial took.
        jobs: trials at once. So many split what is open into one part more, at best.
        due: trials that have to be made before any tells something.
    """
    if not seconds:
        return None
    total = sum(probabilities) or 1.0
    shares = [each / total for each in probabilities if each > 0]
    bits = -sum(share * math.log2(share) for share in shares)
    told = max(0.0, math.log2(max(2, len(probabilities))) - bits)
    each = (told + _TOLD_BY_A_TRIAL * _TAKEN_FOR_GRANTED) / (trials + _TAKEN_FOR_GRANTED)
    rounds = bits / (max(_LEAST_TOLD, each) * math.log2(jobs + 1))
    besides = math.ceil(_CHECKING / jobs) + math.ceil(due / jobs)
    return (max(1.0, rounds) + besides) * sum(seconds) / len(seconds)


def in_words(seconds: float) -> str:
    """Say a span of time roughly."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


_COMMITS_LOOKED_INTO = 2000


class RangeError(Exception):
    """The range cannot be searched; the message says why and what to do."""


@dataclass(frozen=True)
class LocalRange:
    """What lies between: the graph, each commit's tree, and how suspicious each commit is."""

    graph: CommitGraph
    trees: dict[str, str]
    weights: tuple[float, ...] | None


async def resolve_end(git: Git, revision: str) -> str:
    """Return the full SHA of an end.

    Raises:
        RangeError: it names no commit; in a shallow clone, perhaps because it was cut off.
    """
    try:
        return await resolve_expression(git, revision)
    except UnknownRevision as error:
        cut = f" {messages.shallow()}" if await _shallow_edge(git) else ""
        raise RangeError(f"{error}.{cut}") from None


async def read_range(git: Git, goods: Sequence[str], bad: str) -> LocalRange:
    """Read the commits reachable from `bad` and from none of `goods` (full SHAs).

    Raises:
        RangeError: a good end is no ancestor of bad, nothing lies between, or the clone is cut
            off inside the range.
    """
    edge = await _shallow_edge(git)
    for good in goods:
        if good == bad:
            raise RangeError(
                messages.nothing_between(good[: messages.SHORT], bad[: messages.SHORT])
            )
        if not await is_ancestor(git, good, bad):
            if edge:
                raise RangeError(messages.shallow())
            base = await merge_base(git, good, bad)
            short_good, short_bad = good[: messages.SHORT], bad[: messages.SHORT]
            raise RangeError(messages.not_an_ancestor(short_good, short_bad, base))
    said = await git.run(
        *("rev-list", "--topo-order", "--no-commit-header", "--format=%H %T %P"),
        *(bad, *(f"^{good}" for good in goods), "--"),
    )
    parents: dict[str, tuple[str, ...]] = {}
    trees: dict[str, str] = {}
    for line in said.text.splitlines():
        sha, tree, *above = line.split(" ")
        parents[sha] = tuple(parent for parent in above if parent)
        trees[sha] = tree
    if edge & parents.keys():
        raise RangeError(messages.shallow())
    for good in goods:
        trees[good] = (await git.run("rev-parse", f"{good}^{{tree}}")).text
    graph = CommitGraph.build(parents, bad, goods)
    return LocalRange(graph, trees, await _suspicion(git, graph))


async def subjects(git: Git, graph: CommitGraph) -> dict[str, str]:
    """Return the first line of each commit's message; of large ranges, none."""
    if len(graph) > _COMMITS_LOOKED_INTO:
        return {}
    return {info.sha: info.subject for info in await describe(git, graph.commits)}


async def submodules(git: Git, commit: str) -> list[str]:
    """List the paths of a commit's submodules."""
    said = await git.run("ls-tree", "-r", "-z", "--full-tree", commit)
    lines = (line.partition(b"\t") for line in said.stdout.split(b"\0"))
    return [path.decode("utf-8", "replace") for meta, _, path in lines if b" commit " in meta]


async def _suspicion(git: Git, graph: CommitGraph) -> tuple[float, ...] | None:
    """Weigh small ranges by what each commit changes; None where reading that takes too long."""
    if len(graph) > _COMMITS_LOOKED_INTO or await _is_partial(git):
        return None
    try:
        said = await git.run(
            *("log", "-z", "--no-walk=unsorted", "--stdin", "--numstat", "--no-renames"),
            *("--diff-merges=first-parent", "--format=tformat:commit %H"),
            stdin="".join(f"{sha}\n" for sha in graph.commits).encode(),
        )
    except GitError:
        # It is only what is believed beforehand: the search finds out without it.
        return None
    changes: dict[str, list[Change]] = {}
    here: list[Change] = []
    for field in said.stdout.decode("utf-8", "replace").split("\0"):
        text = field.lstrip("\n")
        if text.startswith("commit "):
            here = changes.setdefault(text.removeprefix("commit "), [])
        elif text.count("\t") >= 2:
            added, removed, path = text.split("\t", 2)
            here.append((path, sum(int(n) for n in (added, removed) if n.isdigit())))
    return by_changes(graph.commits, changes)


async def _is_partial(git: Git) -> bool:
    """Tell whether old versions of files are fetched when they are needed (`--filter=blob:none`).

    Counting lines would fetch each of them, one after the other.
    """
    said = await git.run("config", "--get-regexp", r"^remote\..*\.promisor$", ok=(0, 1))
    return bool(said.text)


async def _shallow_edge(git: Git) -> frozenset[str]:
    """Return the commits whose parents a shallow clone lacks."""
    said = await git.run("rev-parse", "--path-format=absolute", "--git-path", "shallow")
    return _listed(Path(said.text))


def _listed(file: Path) -> frozenset[str]:
    try:
        return frozenset(file.read_text().split())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise GitError(f"the list of cut-off commits cannot be read: {error}") from error
