"""Who may take over from a silent process, where the database is a file on this machine.

Any number of processes may open a SQLite file, yet most often there is one. It cannot know that by
looking: another may start while it hangs. So on SQLite the right to take over is a lock on a file
beside the database. The operating system gives it to one living process at a time and takes it
back when that one dies, however it dies. Whoever holds it is taken over by nobody and need not end
itself when the machine is too busy for its heartbeat; whoever does not must, as on PostgreSQL.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from sqlalchemy.ext.asyncio import AsyncEngine


class TakeoverLock:
    """The right to take over, held until `release` or the end of this process."""

    def __init__(self, path: Path) -> None:
        """Prepare; nothing is opened before `take`."""
        self._path = path
        self._file: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def take(self) -> bool:
        """Take it if nobody else has it; never waits. Tells whether this process has it now."""
        if self._file is None:
            self._path.touch(mode=0o600)
            file = self._path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                self._file = file
        return self.held

    def release(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            self._file.close()
            self._file = None


def takeover_lock(records: AsyncEngine) -> TakeoverLock | None:
    """The lock beside a SQLite database; None elsewhere: siblings may live on other machines."""
    file = records.url.database
    if records.dialect.name != "sqlite" or not file or file == ":memory:":
        return None
    return TakeoverLock(Path(f"{file}-takeover"))
