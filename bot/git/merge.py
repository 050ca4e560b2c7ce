"""One three-way merge without a work tree, and what git says about it, read from `-z` output.

The format is git-merge-tree(1), "OUTPUT": the tree's id; one record per unmerged index entry; an
empty record; then messages as count, paths, kind, text. All records end with a NUL.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from bot.git.errors import GitFailed
from bot.git.process import Git
from bot.git.trees import read_objects

_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ENTRY = re.compile(rb"\d+ [0-9a-f]+ (?P<stage>[123])\t(?P<path>.+)", re.DOTALL)
_KIND = re.compile(r"CONFLICT \((?P<kind>[^)]*)\)")
# Only these attributes steer ll-merge; a macro that sets one has to name it.
_MERGE_ATTRIBUTES = re.compile(rb"\b(?:merge|binary|conflict-marker-size|text|crlf|eol|ident)\b")


@dataclass(frozen=True, slots=True)
class Unmerged:
    """One path git could not merge.

    Attributes:
        path: The path's bytes.
        kinds: Git's words, such as `contents`, `modify/delete`, `rename/rename`, `binary`.
        stages: Which sides hold the path: 1 the base, 2 ours, 3 theirs.
    """

    path: bytes
    kinds: tuple[str, ...]
    stages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MergedTree:
    """A merge's outcome: the tree (with conflict markers where `unmerged` is not empty)."""

    tree: str
    unmerged: tuple[Unmerged, ...]
    content_merged: tuple[bytes, ...]
    clean: bool


def parse_merge(stdout: bytes, clean: bool, sides: Sequence[str] = ()) -> MergedTree:
    """Read what `git merge-tree --write-tree -z --messages` printed.

    Args:
        stdout: Its standard output.
        clean: Whether its exit code was 0.
        sides: The names given for the two sides. Where a file and a directory claim one path,
            git moves the file to `path~SIDE`; such a name is given back as the path.

    Raises:
        ValueError: The bytes are not of that format.
    """
    aside = re.compile("~(?:{})(?:_\\d+)?$".format("|".join(sides) or "(?!)").encode())
    fields = iter(stdout.split(b"\0"))
    tree = next(fields).decode("ascii", "replace")
    if not _OBJECT_ID.fullmatch(tree):
        raise ValueError("merge-tree did not begin with a tree's id")
    stages: dict[bytes, list[int]] = {}
    for field in fields:
        if not field:
            break
        entry = _ENTRY.fullmatch(field)
        if entry is None:
            raise ValueError("merge-tree printed an index entry of another form")
        stages.setdefault(aside.sub(b"", entry["path"]), []).append(int(entry["stage"]))
    kinds: dict[bytes, list[str]] = {}
    merged: list[bytes] = []
    for paths, kind in _messages(fields):
        if kind.startswith("CONFLICT"):
            found = _KIND.match(kind)
            for path in paths:
                kinds.setdefault(aside.sub(b"", path), []).append(found["kind"] if found else kind)
        else:
            merged.extend(paths)
    # A conflict's message may name the path it had before a rename; git's index has the last say
    # on which paths are unmerged, unless it names none at all (a directory rename split).
    unmerged = tuple(
        Unmerged(path, tuple(dict.fromkeys(kinds.get(path, ()))), tuple(stages.get(path, ())))
        for path in (stages or kinds)
    )
    merged.extend(stages)
    return MergedTree(tree, () if clean else unmerged, tuple(dict.fromkeys(merged)), clean)


def _messages(fields: Iterator[bytes]) -> Iterator[tuple[list[bytes], str]]:
    for count in fields:
        # For submodules git ends with free advice in no format at all.
        if not count.isdigit():
            return
        record = list(islice(fields, int(count) + 2))
        if len(record) < int(count) + 2:
            raise ValueError("merge-tree's messages end early")
        yield record[:-2], record[-2].decode("utf-8", "replace")


async def merge(git: Git, ours: str, theirs: str) -> MergedTree:
    """Merge two commits as `git revert` and `git merge` do, `.gitattributes` of ours in force.

    A bare repository has no work tree to read attributes from. Where a path's content had to be
    merged and the tree of `ours` has attributes that steer merging, they are laid out in a
    temporary, otherwise empty work tree and the merge is made once more.

    Args:
        git: the repository; blobs it lacks are fetched as needed.
        ours: the commit that is merged into.
        theirs: the commit whose changes are brought in.

    Returns:
        What came of it; a conflict is a result, too. No commit is made, and no ref is moved.

    Raises:
        GitFailed: git could not merge them, or printed something of another format.
    """
    first = await _merge_tree(git, ours, theirs)
    if not first.content_merged:
        return first
    attributes = await _attributes(git, ours, first.content_merged)
    if not any(_MERGE_ATTRIBUTES.search(text) for text in attributes.values()):
        return first
    with tempfile.TemporaryDirectory(prefix="playbooks-attributes-") as scratch:
        _lay_out(Path(scratch), attributes)
        return await _merge_tree(git, ours, theirs, work_tree=scratch)


def _lay_out(work_tree: Path, attributes: dict[str, bytes]) -> None:
    for directory, text in attributes.items():
        folder = work_tree / directory
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitattributes").write_bytes(text)


async def _merge_tree(git: Git, ours: str, theirs: str, work_tree: str | None = None) -> MergedTree:
    environment = {"GIT_WORK_TREE": work_tree} if work_tree else None
    command = ("merge-tree", "--write-tree", "-z", "--messages", ours, theirs)
    said = await git.run(*command, network=True, ok=(0, 1), environment=environment)
    try:
        return parse_merge(said.stdout, said.code == 0, (ours, theirs))
    except ValueError:
        raise GitFailed("merge-tree", said.code, said.stderr) from None


async def _attributes(git: Git, commit: str, paths: Iterable[bytes]) -> dict[str, bytes]:
    """Read the `.gitattributes` files of `commit` in every directory above `paths`."""
    directories = {
        parent.as_posix()
        for path in paths
        if b"\n" not in path
        for parent in PurePosixPath(path.decode("utf-8", "surrogateescape")).parents
    }
    ordered = sorted(directories)
    names = [f"{commit}:{_file_in(directory)}" for directory in ordered]
    files = await read_objects(git, names, network=True)
    return {
        directory: file.content
        for directory, file in zip(ordered, files, strict=True)
        if file is not None and file.kind == "blob"
    }


def _file_in(directory: str) -> str:
    return ".gitattributes" if directory == "." else f"{directory}/.gitattributes"
