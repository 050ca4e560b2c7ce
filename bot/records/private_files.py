"""Files that are written whole, and that only their owner reads: databases, keys, credentials."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

OWNER_ONLY = 0o600


def keep_private(file: Path) -> None:
    """Have a database file that only its owner reads; what SQLite puts beside it inherits that.

    What is there already is tightened. Somebody else's file stays as it is.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never opened where it exists: closing it would end this process's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY))
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError, PermissionError):
            Path(f"{file}{suffix}").chmod(OWNER_ONLY)


def put_whole(file: Path, content: bytes, mode: int = OWNER_ONLY) -> None:
    """Put a file in place, never half of it, also where the power fails.

    Args:
        file: its folder is made where it is missing; one that says the same is left alone.
        content: all of it.
        mode: who may read it.

    Raises:
        OSError: it cannot be written; what was there is as it was, and nothing is left beside it.
    """
    if file.exists() and file.read_bytes() == content:
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
