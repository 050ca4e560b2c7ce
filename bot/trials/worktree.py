"""The files of each commit that trials run on, and the folder in which they lie.

Host git writes only to fresh folders no trial has seen; files are moved from there by us. After a
trial, whatever it added or changed is found by file status and deleted, so that the next
trial starts from exactly the commit's files while unchanged ones need not be written again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bot.trials.execution import kill_marked
from bot.trials.limits import empty_folder, remove_folder
from bot.trials.sandbox import MARK_VARIABLE

T = TypeVar("T")

_PREFIX = "playbooks-trials-"
_LOCK = "lock"


@dataclass(frozen=True)
class Workplace:
    """A private folder that lives as long as its session; `session` names it uniquely."""

    folder: Path
    session: str

    def mark(self, trial: str) -> str:
        """Return the environment entry that marks the processes of one trial."""
        return f"{_session_mark(self.session)}/{trial}"


@asynccontextmanager
async def workplace(root: Path | None = None) -> AsyncIterator[Workplace]:
    """Make a workplace under `root`, remove it at the end, and clean up after dead sessions.

    A session holds a lock on its folder. The kernel gives the lock back when the process dies,
    however it dies, so a folder whose lock is free belongs to nobody.

    Args:
        root: where; by default the place for large temporary files.

    Raises:
        OSError: no folder can be made there.
    """
    root = root or default_root()
    await remove_dead(root)
    session = f"{os.getuid()}-{secrets.token_hex(6)}"
    folder = root / f"{_PREFIX}{session}"
    folder.mkdir(parents=True, mode=0o700)
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Workplace(folder, session)
    finally:
        remove_folder(folder)
        os.close(lock)


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run a function in a thread, and let it end even where the task is cancelled.

    A thread cannot be stopped: one that outlived its task would write into a folder that is being
    removed.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def default_root() -> Path:
    """Return where large temporary files belong: $TMPDIR if set, else not /tmp if avoidable.

    /tmp is memory on many systems.
    """
    if wanted := os.environ.get("TMPDIR"):
        return Path(wanted).absolute()
    large = Path("/var/tmp")  # noqa: S108 - a private folder is made in it
    return large if os.access(large, os.W_OK) else Path(tempfile.gettempdir())


async def remove_dead(root: Path) -> list[Path]:
    """Kill the processes and remove the folders of this user's dead sessions under `root`."""
    removed = []
    for folder in _folders_of_this_user(root):
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                await kill_session(folder.name.removeprefix(_PREFIX))
                remove_folder(folder)
                removed.append(folder)
            finally:
                os.close(lock)
    return removed


def _folders_of_this_user(root: Path) -> list[Path]:
    named = sorted(root.glob(f"{_PREFIX}{os.getuid()}-*"))
    return [
        folder
        for folder in named
        if not folder.is_symlink() and folder.lstat().st_uid == os.getuid()
    ]


async def kill_session(session: str) -> None:
    """Kill every process that a session's trials left."""
    await kill_marked(_session_mark(session))


def _session_mark(session: str) -> str:
    return f"{MARK_VARIABLE}={session}"


GITLINK_MODE = "160000"
# Longer than the coarsest step of a kernel's file clock (10 ms at 100 Hz).
_CLOCK_STEP_SECONDS = 0.02


Entry = tuple[str, str]
"""A file, link or submodule of a tree: git's mode and object id."""


class TreeSource(Protocol):
    """Where trees come from: one object store, read by host git outside of every trial."""

    async def tree_id(self, commit: str) -> str:
        """Return the id of the commit's tree."""
        ...

    async def entries(self, commit: str) -> Mapping[bytes, Entry]:
        """List every path of the commit."""
        ...

    async def write(self, commit: str, paths: Sequence[bytes], folder: Path) -> None:
        """Write these paths of the commit, as a checkout would, into the empty `folder`."""
        ...

    async def write_git(self, commit: str, folder: Path) -> None:
        """Make `folder` a disposable `.git` with the commit checked out, borrowing objects."""
        ...


_Stamp = tuple[int, int, int, int]


def _stamp(status: os.stat_result) -> _Stamp:
    """Say which file, in which state: nobody but the superuser can set the change time."""
    return (status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode)


class WorkTree:
    """One worker's folder. Only `folder` is shown to trials; `move` makes it pristine."""

    def __init__(self, folder: Path, staging: Path, source: TreeSource) -> None:
        """Use `folder` for trials and `staging`, on the same file system, to write to first."""
        self.folder = folder
        self._staging = staging
        self._source = source
        self._written: dict[bytes, tuple[Entry, _Stamp]] = {}

    async def move(self, commit: str, *, with_git: bool) -> None:
        """Make the folder hold exactly the commit's files, and a disposable `.git` if wanted.

        No process of an earlier trial may still be alive.

        Raises:
            OSError: the disk is full, or what a trial left cannot be deleted.
        """
        wanted = await self._source.entries(commit)
        if self._attributes_differ(wanted):
            self.forget()
        kept = await in_thread(self._scrub, wanted)
        files = [path for path, (mode, _) in wanted.items() if mode != GITLINK_MODE]
        missing = [path for path in files if path not in kept]
        if missing:
            await self._source.write(commit, missing, empty_folder(self._staging))
            await in_thread(self._take, missing, wanted)
        for path, (mode, _) in wanted.items():
            if mode == GITLINK_MODE:
                _inside(self.folder, path).mkdir(parents=True, exist_ok=True)
        if with_git:
            await self._source.write_git(commit, self.folder / ".git")

    def forget(self) -> None:
        """Write everything again at the next move: somebody else filled the folder."""
        self._written = {}

    def _attributes_differ(self, wanted: Mapping[bytes, Entry]) -> bool:
        """Tell whether line ends or filters may differ even in files that do not."""
        now = {p: e for p, e in wanted.items() if p.endswith(b".gitattributes")}
        before = {p: e for p, (e, _) in self._written.items() if p.endswith(b".gitattributes")}
        return bool(self._written) and now != before

    def _scrub(self, wanted: Mapping[bytes, Entry]) -> set[bytes]:
        """Delete all that is not an untouched, wanted file; return the paths that stay."""
        if not self._written or not self.folder.is_dir() or self.folder.is_symlink():
            empty_folder(self.folder)
            self._written = {}
            return set()
        keep = {
            path: stamp for path, (entry, stamp) in self._written.items()
            if wanted.get(path) == entry
        }  # fmt: skip
        folders = {parent for path in keep for parent in _parents(path)}
        kept: set[bytes] = set()
        waiting = [b""]
        while waiting:
            above = waiting.pop()
            here = _inside(self.folder, above)
            here.chmod(0o755)
            for entry in list(os.scandir(os.fsencode(here))):
                path = above + b"/" + entry.name if above else entry.name
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    if path in folders:
                        waiting.append(path)
                    else:
                        remove_folder(_inside(self.folder, path))
                elif keep.get(path) == _stamp(status):
                    kept.add(path)
                else:
                    _inside(self.folder, path).unlink()
        self._written = {path: self._written[path] for path in kept}
        return kept

    def _take(self, paths: Sequence[bytes], wanted: Mapping[bytes, Entry]) -> None:
        made: set[Path] = set()
        for path in paths:
            target = _inside(self.folder, path)
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _inside(self._staging, path).rename(target)
            self._written[path] = (wanted[path], _stamp(target.lstat()))
        # A change within the same step of the file clock would leave no trace.
        time.sleep(_CLOCK_STEP_SECONDS)


def _inside(folder: Path, path: bytes) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + path)) if path else folder


def _parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]
