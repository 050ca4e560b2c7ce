"""What follows from a small history of loose commits, without a process.

Each answer is git's, or None where git itself must be asked: more than a few commits, packed ones,
or an order that is not settled by parents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fakegithub.git.objects import StoredCommit

_FEW = 300


class LooseHistory:
    """Knows which commits a commit leads to; that never changes."""

    def __init__(self, loose: Callable[[str], StoredCommit | None]) -> None:
        """`loose` reads a commit that is stored as a loose object."""
        self._loose = loose
        self._known: dict[str, frozenset[str]] = {}

    def of(self, sha: str) -> frozenset[str] | None:
        """A commit and all its ancestors."""
        if sha not in self._known:
            seen, waiting = set[str](), [sha]
            while waiting:
                if (each := waiting.pop()) in seen:
                    continue
                if len(seen) == _FEW or (commit := self._loose(each)) is None:
                    return None
                seen.add(each)
                waiting += commit.parents
            self._known[sha] = frozenset(seen)
        return self._known[sha]

    def is_ancestor(self, ancestor: str, descendant: str) -> bool | None:
        """As `git merge-base --is-ancestor`."""
        above = self.of(descendant)
        return None if above is None or self.of(ancestor) is None else ancestor in above

    def merge_base(self, one: str, other: str) -> str | None:
        """As `git merge-base` where one commit is an ancestor of the other."""
        for ancestor, descendant in ((one, other), (other, one)):
            if self.is_ancestor(ancestor, descendant):
                return ancestor
        return None

    def new_ones(self, args: Sequence[str]) -> list[str] | None:
        """As `git rev-list` with these arguments: a commit, and others (`^SHA`) to leave out."""
        backwards = "--reverse" in args
        named = [each for each in args if each not in ("--reverse", "--topo-order")]
        heads = [each for each in named if not each.startswith(("^", "-"))]
        if len(heads) != 1 or any(each.startswith("-") for each in named):
            return None
        new = self.of(heads[0])
        for each in named:
            if new is not None and each.startswith("^"):
                known = self.of(each[1:])
                new = None if known is None else new - known
        return None if new is None else self._in_a_row(heads[0], new, backwards=backwards)

    def _in_a_row(self, head: str, new: frozenset[str], *, backwards: bool) -> list[str] | None:
        row: list[str] = []
        nexts = [head] if head in new else []
        while nexts:
            [each] = nexts
            row.append(each)
            commit = self._loose(each)
            nexts = [parent for parent in (commit.parents if commit else ()) if parent in new]
            if len(nexts) > 1:
                return None
        return row[::-1] if backwards else row
