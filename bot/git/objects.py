"""Reading several objects in one go, by `git cat-file --batch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.git.errors import GitFailed, ShallowHistory, UnknownRevision
from bot.git.process import Git


@dataclass(frozen=True, slots=True)
class Object:
    """One object as the store has it; `kind` is `commit`, `tree`, `blob` or `tag`."""

    sha: str
    kind: str
    content: bytes


async def read_objects(
    git: Git, names: Sequence[str], *, network: bool = False
) -> list[Object | None]:
    """Return the object each name stands for, None where there is none.

    Args:
        git: The repository.
        names: Object names (`SHA`, `SHA^1`, `SHA:path`) without line ends.
        network: Whether objects lacking here may be fetched.

    Raises:
        GitFailed: The answer is not of `cat-file`'s format.
    """
    stdin = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
    said = (await git.run("cat-file", "--batch", stdin=stdin, network=network)).stdout
    found: list[Object | None] = []
    offset = 0
    for _ in names:
        end = said.find(b"\n", offset)
        words = said[offset:end].rsplit(b" ", 2)
        offset = end + 1
        if words[-1] in (b"missing", b"ambiguous"):
            found.append(None)
            continue
        if end < 0 or len(words) != 3 or not words[2].isdigit():
            raise GitFailed("cat-file", 0, "its answer broke off")
        size = int(words[2])
        content = said[offset : offset + size]
        found.append(Object(words[0].decode("ascii"), words[1].decode("ascii"), content))
        offset += size + 1
    return found


@dataclass(frozen=True, slots=True)
class CommitTrees:
    """A commit's tree, its parents' ids, and the tree of the parent asked for.

    `before` is None for a first commit, which has no parent.
    """

    tree: str
    parents: tuple[str, ...]
    before: str | None


async def commit_trees(git: Git, commit: str, mainline: int = 1) -> CommitTrees:
    """Read a commit's tree and its parent's; a commit with one parent has no other mainline.

    Raises:
        UnknownRevision: There is no such commit.
        ShallowHistory: The parent is cut off.
    """
    names = (commit, f"{commit}^1", f"{commit}^{mainline}")
    itself, only, asked = await read_objects(git, names)
    if itself is None or itself.kind != "commit":
        raise UnknownRevision(commit)
    parents = tuple(_header(itself, b"parent"))
    parent = asked if len(parents) > 1 else only
    if parents and only is None:
        raise ShallowHistory(commit)
    return CommitTrees(
        tree=_header(itself, b"tree")[0],
        parents=parents,
        before=_header(parent, b"tree")[0] if parents and parent else None,
    )


def _header(commit: Object, name: bytes) -> list[str]:
    head, _, _ = commit.content.partition(b"\n\n")
    lines = (line.partition(b" ") for line in head.split(b"\n"))
    return [value.decode("ascii") for key, _, value in lines if key == name]
