"""The commits between two ends, read from the mirror, and how suspicious each is beforehand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bot.culprit.graph import CommitGraph
from bot.culprit.priors import by_changes, is_documentation
from bot.git.process import Git
from bot.playbooks.incident.own_files import OwnFiles, is_by
from bot.triggers import Value

MOST_COMMITS = 20_000
"""A longer range is refused: its log alone would be megabytes."""
COMMITS_LOOKED_INTO = 2_000
"""Of longer ranges nobody reads what each commit changes."""

_NO_SUSPECT = 1e-9
"""What is left of the weight of our own bookkeeping: no list of suspects shows it."""


class CommitRange(Value):
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
    git: Git, goods: Sequence[str], bad: str, *, own: OwnFiles, bot: str
) -> CommitRange:
    """Read the commits reachable from `bad` and from none of `goods` (full SHAs).

    Args:
        git: The mirror; commits and trees are enough.
        goods: The good ends, ancestors of `bad`.
        bad: The bad end.
        own: Tells our own files; a commit of ours that changes only those is no suspect.
        bot: The login we commit under.
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
        weights = suspicion(
            graph,
            await _changed(git, graph.commits),
            is_ours=own.named,
            made=await _made_by(git, goods, bad, bot),
        )
    return CommitRange(goods=tuple(goods), bad=bad, parents=parents, trees=trees, weights=weights)


def suspicion(
    graph: CommitGraph,
    changed: Mapping[str, Sequence[str]],
    *,
    is_ours: Callable[[str], bool] = lambda _: False,
    made: Collection[str] = (),
) -> tuple[float, ...]:
    """Weigh each commit by the paths it changes: documentation and records rarely break a check.

    Args:
        graph: The range.
        changed: The paths each commit changes.
        is_ours: Whether a path is named like a file that we write.
        made: The commits we made; those that only write such files are not suspected at all.
    """
    weights = by_changes(
        graph.commits,
        {sha: [(path, 0) for path in paths] for sha, paths in changed.items()},
        lambda path: is_documentation(path) or is_ours(path),
    )
    bookkeeping = {
        sha for sha in made if (paths := changed.get(sha)) and all(is_ours(path) for path in paths)
    }
    if bookkeeping >= {*graph.commits}:
        return weights
    return tuple(
        _NO_SUSPECT * weight if sha in bookkeeping else weight
        for sha, weight in zip(graph.commits, weights, strict=True)
    )


async def _made_by(git: Git, goods: Sequence[str], bad: str, bot: str) -> frozenset[str]:
    """The commits that GitHub made for us, by the author it gives them."""
    author = f"{bot} <"
    said = await git.run(
        *("log", "--fixed-strings", f"--author={author}", "--format=tformat:%H%x00%an%x00%ae"),
        *(bad, *(f"^{good}" for good in goods), "--"),
    )
    lines = (line.split("\0") for line in said.stdout.decode("utf-8", "replace").split("\n"))
    found = (line for line in lines if len(line) == 3)
    return frozenset(sha for sha, name, email in found if is_by(name, email, bot))


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
