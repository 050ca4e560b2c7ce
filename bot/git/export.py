"""Writes the trees of commits for trials, into fresh folders that no trial has seen.

Nothing here ever reads what a trial could have written: the index is a temporary one, the work
tree git is told of is an empty folder, and the repository is always named explicitly.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.git.process import Git, Readable
from bot.git.trees import tree_of

_COMMITS_REMEMBERED = 64


class TreeExport:
    """The trees of one repository's commits, as files: a `bot.trials.worktree.TreeSource`."""

    def __init__(self, repository: Readable, objects_at: Mapping[Path, Path] | None = None) -> None:
        """Read from a repository; nothing is written to it.

        Args:
            repository: the repository.
            objects_at: folders with objects that show elsewhere where a disposable `.git` is used.
        """
        self._repository = repository
        self._objects_at = dict(objects_at or {})
        self._trees: dict[str, str] = {}
        self._entries: dict[str, dict[bytes, tuple[str, str]]] = {}
        self._refs: bytes | None = None
        self._found: tuple[Path, Path, str] | None = None

    async def tree_id(self, commit: str) -> str:
        """Return the id of the commit's tree."""
        if commit not in self._trees:
            self._trees[commit] = await self._repository.read(lambda git: tree_of(git, commit))
        return self._trees[commit]

    async def entries(self, commit: str) -> Mapping[bytes, tuple[str, str]]:
        """List every path of the commit with its mode and object id."""
        tree = await self.tree_id(commit)
        if tree not in self._entries:
            said = await self._repository.read(
                lambda git: git.run("ls-tree", "-r", "-z", "--full-tree", tree)
            )
            found: dict[bytes, tuple[str, str]] = {}
            for line in filter(None, said.stdout.split(b"\0")):
                meta, _, path = line.partition(b"\t")
                mode, _kind, object_id = meta.decode("ascii").split(" ")
                found[path] = (mode, object_id)
            while len(self._entries) >= _COMMITS_REMEMBERED:
                del self._entries[next(iter(self._entries))]
            self._entries[tree] = found
        return self._entries[tree]

    async def write(self, commit: str, paths: Sequence[bytes], folder: Path) -> None:
        """Write these paths of the commit into the empty `folder`, as a checkout would.

        Line ends and filters follow the commit's own attributes. Blobs a partial clone lacks are
        fetched. Symbolic links are written as links, never followed.

        Raises:
            GitFailed: git refuses the tree (a path named `.git`, say) or an object is missing.
        """
        # Beside the folder, so that whoever clears up after a killed trial finds it too.
        with tempfile.TemporaryDirectory(prefix="export-", dir=folder.parent) as scratch:
            empty = Path(scratch) / "empty"
            empty.mkdir()
            environment = _environment(Path(scratch) / "index", empty)

            async def check_out(git: Git) -> None:
                await git.run("read-tree", commit, environment=environment)
                # Forced: an attempt before may have broken off.
                await git.run(
                    *("checkout-index", "-f", "-z", "--stdin", f"--prefix={folder}{os.sep}"),
                    stdin=b"".join(path + b"\0" for path in paths),
                    environment=environment,
                    network=True,
                )

            await self._repository.read(check_out)

    async def write_git(self, commit: str, folder: Path) -> None:
        """Make `folder` a disposable `.git` at this commit that borrows the objects.

        It has the branches and tags, but no remote, configuration, hook or credential. The
        repository's objects (`readable`) must be readable where it is used.
        """
        for name in ("objects/info", "refs"):
            (folder / name).mkdir(parents=True)
        environment = _environment(folder / "index", folder / "refs")
        await self._repository.read(
            lambda git: git.run("read-tree", commit, environment=environment)
        )
        common, objects, object_format = await self._layout()
        (folder / "HEAD").write_text(f"{commit}\n")
        borrowed = [objects] if not self._objects_at else await self.readable()
        lines = (_as_alternate(self._objects_at.get(each, each)) + b"\n" for each in borrowed)
        (folder / "objects/info/alternates").write_bytes(b"".join(lines))
        (folder / "packed-refs").write_bytes(await self._packed_refs())
        (folder / "config").write_text(
            "[core]\n\trepositoryformatversion = 1\n\tbare = false\n"
            f"[extensions]\n\tobjectFormat = {object_format}\n"
        )
        if (common / "shallow").is_file():
            shutil.copyfile(common / "shallow", folder / "shallow")

    async def readable(self) -> tuple[Path, ...]:
        """Return the folders a disposable `.git` borrows from: the objects and their alternates."""
        _, objects, _ = await self._layout()
        return await asyncio.to_thread(_with_alternates, objects)

    async def _layout(self) -> tuple[Path, Path, str]:
        """Return the common git directory, the objects' folder and the object format."""
        if self._found is None:
            said = await self._repository.read(
                lambda git: git.run(
                    *("rev-parse", "--path-format=absolute"),
                    *("--show-object-format", "--git-common-dir"),
                )
            )
            # The path is last: it may hold any character, a line end too.
            object_format, _, common = said.text.partition("\n")
            self._found = Path(common), Path(common) / "objects", object_format
        return self._found

    async def _packed_refs(self) -> bytes:
        if self._refs is None:
            said = await self._repository.read(
                lambda git: git.run(
                    "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"
                )
            )
            self._refs = said.stdout
        return self._refs


def _environment(index: Path, empty: Path) -> dict[str, str]:
    """Name an index of its own, and an empty work tree so that attributes come from that index."""
    return {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(empty)}


def _with_alternates(objects: Path) -> tuple[Path, ...]:
    found = [objects.resolve()]
    for folder in found:
        listed = folder / "info" / "alternates"
        for line in os.fsdecode(listed.read_bytes()).split("\n") if listed.is_file() else []:
            other = (folder / line).resolve()
            if line and not line.startswith("#") and other not in found:
                found.append(other)
    return tuple(found)


def _as_alternate(objects: Path) -> bytes:
    """Write a path as a line of `info/alternates`: quoted as in C where it would not be one."""
    path = os.fsencode(objects)
    if b"\n" not in path:
        return path
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
