"""The folder one session tries commits in, and the removal of what dead sessions left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.trials.disk import remove_folder
from bot.trials.execution import kill_marked
from bot.trials.sandbox import MARK_VARIABLE

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


def default_root() -> Path:
    """Return where large temporary files belong: $TMPDIR if set, else not /tmp if avoidable.

    /tmp is memory on many systems.
    """
    if wanted := os.environ.get("TMPDIR"):
        return Path(wanted)
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
