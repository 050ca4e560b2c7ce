"""Trees: what differs between two, and what they hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.git.errors import GitError, GitFailed, PathNotUtf8, ShallowHistory, UnknownRevision
from bot.git.process import Git
from bot.triggers import Value


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


class ChangedPath(Value):
    """One path that differs between two trees, as GitHub's tree API wants it.

    Attributes:
        path: The path from the repository's root.
        mode: The new mode (`100644`, `100755`, `120000` symlink, `160000` submodule); where the
            path is deleted, the mode it had.
        sha: The new blob (or a submodule's commit); None deletes the path.
        previous: The blob (or commit) there before; None where the path is new.
    """

    path: str
    mode: str
    sha: str | None
    previous: str | None = None

    @property
    def is_submodule(self) -> bool:
        """Whether the entry is a submodule's commit, not a blob."""
        return self.mode == "160000"


class RawChange(Value):
    """One differing path with its bytes, as git has it; `mode`s and ids of both sides."""

    path: bytes
    old_mode: str
    new_mode: str
    old: str | None
    new: str | None


async def raw_changes(
    git: Git, base_tree: str, tree: str, pathspecs: Sequence[str] = ()
) -> list[RawChange]:
    """List the paths in which two trees (or commits) differ; a rename is a delete and an add.

    Args:
        git: The repository.
        base_tree: The tree differed from.
        tree: The tree differing.
        pathspecs: Git pathspecs to limit the list to; all paths when empty.
    """
    said = await git.run(
        *("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-commit-id", "--full-index"),
        *("--no-abbrev", "--ignore-submodules=none", base_tree, tree, "--", *pathspecs),
    )
    fields = said.stdout.split(b"\0")
    changes = []
    for meta, path in zip(fields[0::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _status = meta.decode("ascii").lstrip(":").split(" ")
        changes.append(
            RawChange(
                path=path,
                old_mode=old_mode,
                new_mode=new_mode,
                old=None if old_mode == "000000" else old,
                new=None if new_mode == "000000" else new,
            )
        )
    return changes


async def tree_changes(git: Git, base_tree: str, tree: str) -> tuple[ChangedPath, ...]:
    """List what must be set on `base_tree` to get `tree`, for `POST …/git/trees`.

    Args:
        git: the repository that holds both.
        base_tree: the tree (or commit) that GitHub has.
        tree: the tree (or commit) that GitHub is to have.

    Raises:
        PathNotUtf8: a differing path cannot be said in JSON.
    """
    changes = []
    for change in await raw_changes(git, base_tree, tree):
        try:
            path = change.path.decode("utf-8")
        except UnicodeDecodeError:
            raise PathNotUtf8(change.path) from None
        mode = change.old_mode if change.new is None else change.new_mode
        changes.append(ChangedPath(path=path, mode=mode, sha=change.new, previous=change.old))
    return tuple(changes)


def record_pathspecs(globs: Iterable[str]) -> tuple[str, ...]:
    """Turn record paths (`docs/decisions/**`, `self/`) into git pathspecs.

    `*` stays inside one directory, `**` crosses them, a directory stands for all it holds. An
    empty glob would stand for everything, so it is left out.
    """
    cleaned = (glob.strip().lstrip("/") for glob in globs)
    return tuple(f":(top,glob){glob}" for glob in cleaned if glob)


async def with_entries(git: Git, base_tree: str, entries: Iterable[RawChange]) -> str:
    """Write the tree that is `base_tree` with the new side of `entries`, and return its id.

    Args:
        git: the repository that the tree is written to; no ref is moved.
        base_tree: full id of the tree (or commit) to begin with; it stays as it is.
        entries: what becomes of each path; those without a new side are deleted.
    """
    with tempfile.TemporaryDirectory(prefix="playbooks-index-") as scratch:
        environment = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        await git.run("read-tree", base_tree, environment=environment)
        deleted, written = [], []
        for entry in entries:
            if entry.new is None:
                deleted.append(b"0 " + b"0" * len(base_tree) + b"\t" + entry.path)
            else:
                written.append(f"{entry.new_mode} {entry.new}\t".encode() + entry.path)
        # Deletions first: a file may give way to a directory of the same name.
        lines = b"".join(line + b"\0" for line in [*deleted, *written])
        await git.run("update-index", "-z", "--index-info", stdin=lines, environment=environment)
        said = await git.run("write-tree", "--missing-ok", environment=environment)
    return said.text


async def read_blob(git: Git, sha: str, *, limit: int = 100 * 1024 * 1024) -> bytes:
    """Return a blob's bytes, fetching it where the mirror does not have it yet.

    Args:
        git: The repository.
        sha: The blob's full id.
        limit: Bytes beyond which it is refused (GitHub takes blobs up to 100 MB).

    Raises:
        OutputTooLarge: The blob is larger than `limit`.
    """
    return (await git.run("cat-file", "blob", sha, network=True, limit=limit)).stdout


async def has_tree(git: Git, treeish: str) -> bool:
    """Tell whether a tree, or a commit and its tree, is here."""
    found = await git.run("cat-file", "-e", f"{treeish}^{{tree}}", ok=(0, 1, 128))
    return found.code == 0


async def empty_tree(git: Git) -> str:
    """Write the tree that holds nothing, and return its id."""
    return (await git.run("mktree", stdin=b"")).text


async def tree_of(git: Git, revision: str) -> str:
    """Return the id of a commit's tree.

    Raises:
        GitError: `revision` names nothing that has a tree.
    """
    said = await git.run("rev-parse", "--verify", "--end-of-options", f"{revision}^{{tree}}")
    if not said.text:
        raise GitError(f"{revision} has no tree")
    return said.text
