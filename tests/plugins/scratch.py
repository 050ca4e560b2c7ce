"""Where tests keep their files: in memory if there is room, so that no test waits for a disk.

Each conversation ends hundreds of transactions, and each of those waits until the disk has it.
What tests kill are processes, never the machine, so where the files are makes no difference.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  only if a person named no other place
ROOM = 4 << 30
"""Bytes that must be free there; a whole run needs a few hundred million."""


def memory() -> Path | None:
    """Linux's file system in memory, if it has room and programs in it can be run."""
    if not MEMORY.is_mount() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    free = shutil.disk_usage(MEMORY).free
    return MEMORY if os.access(MEMORY, os.W_OK) and free >= ROOM else None


def pytest_configure() -> None:
    """Keep them there, unless `TMPDIR` says where; workers and programs inherit it."""
    if "TMPDIR" not in os.environ and (found := memory()) is not None:
        os.environ["TMPDIR"] = str(found)
        tempfile.tempdir = None  # asked before, it would be remembered
