"""The commits between two ends, read from the mirror, and how suspicious each is beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath

from bot.culprit.graph import CommitGraph
from bot.culprit.priors import Features, weigh
from bot.git.process import Git
from bot.triggers import Value

MOST_COMMITS = 20_000
"""A longer range is refused: its log alone would be megabytes."""
COMMITS_LOOKED_INTO = 2_000
"""Of longer ranges nobody reads what each commit changes."""

_DOCUMENTATION = (".md", ".rst", ".adoc")
_DOCUMENTATION_NAMES = ("LICENSE", "COPYING", "AUTHORS", "CHANGES", "CHANGELOG", "NEWS")


class Range(Value):
    """What lies between: each commit with its parents, newest first; trees; prior weights."""

    goods: tuple[str, ...]
    bad: str
    parents: dict[str, tuple[str, ...]]
    trees: dict[str, str]
    weights: tuple[float, ...] | None

    @property
    def graph(self) -> CommitGraph:
        """The commits as the culprit room numbers them."""
        return CommitGraph.build(self.parents, self.bad, self.goods)


async def count_between(git: Git, goods: Sequence[str], bad: str) -> int:
    """Count the commits reachable from `bad` and from none of `goods`."""
    said = await git.run("rev-list", "--count", bad, *(f"^{good}" for good in goods), "--")
    return int(said.text)


async def read_range(
    git: Git, goods: Sequence[str], bad: str, *, records: Sequence[str] = ()
) -> Range:
    """Read the commits reachable from `bad` and from none of `goods` (full SHAs).

    Args:
        git: The mirror; commits and trees are enough.
        goods: The good ends, ancestors of `bad`.
        bad: The bad end.
        records: Folders of record files; a commit that changes only those broke nothing.
    """
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
    for good in goods:
        trees[good] = (await git.run("rev-parse", f"{good}^{{tree}}")).text
    graph = CommitGraph.build(parents, bad, goods)
    weights = None
    if len(graph) <= COMMITS_LOOKED_INTO:
        weights = suspicion(graph, await _changed(git, graph.commits), records)
    return Range(goods=tuple(goods), bad=bad, parents=parents, trees=trees, weights=weights)


def suspicion(
    graph: CommitGraph, changed: Mapping[str, Sequence[str]], records: Sequence[str] = ()
) -> tuple[float, ...]:
    """Weigh each commit by the paths it changes: documentation and records rarely break a check."""
    count = max(1, len(graph) - 1)
    return weigh(
        [
            Features(
                documentation_only=bool(paths) and all(_is_idle(path, records) for path in paths),
                age=1.0 - number / count,
            )
            for number, sha in enumerate(graph.commits)
            for paths in [changed.get(sha, ())]
        ]
    )


async def _changed(git: Git, commits: Sequence[str]) -> dict[str, list[str]]:
    # Names come from trees; line counts would fetch every blob of a blobless mirror.
    said = await git.run(
        *("log", "-z", "--no-walk=unsorted", "--stdin", "--name-only", "--no-renames"),
        *("--diff-merges=first-parent", "--format=tformat:commit %H"),
        stdin="".join(f"{sha}\n" for sha in commits).encode(),
    )
    known = set(commits)
    found: dict[str, list[str]] = {}
    here: list[str] = []
    for field in said.stdout.decode("utf-8", "replace").split("\0"):
        text = field.lstrip("\n")
        sha = text.removeprefix("commit ")
        if sha != text and sha in known:
            here = found.setdefault(sha, [])
        elif text:
            here.append(text)
    return found


def _is_idle(path: str, records: Sequence[str]) -> bool:
    place = PurePosixPath(path)
    if any(fnmatch(path, f"{folder}/*") for folder in records):
        return True
    return path.endswith(_DOCUMENTATION) or place.stem in _DOCUMENTATION_NAMES
