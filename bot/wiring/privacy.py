"""The data folder is nobody else's: keys, records, what repositories hold, what trials leave."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FOLDERS = ("mirrors", "trials")


def keep_folder_private(data: Path) -> None:
    """Make the data folder and what lies in it readable by its owner alone: 0700 and 0600.

    What an earlier version left more open is tightened. Deeper down the folders keep others out.

    Raises:
        OSError: the folder cannot be made.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in FOLDERS:
        (data / name).mkdir(mode=0o700, exist_ok=True)
    try:
        data.chmod(0o700)
        for each in data.iterdir():
            if not each.is_symlink():
                # SQLite may take its own files away at any moment.
                with suppress(FileNotFoundError):
                    each.chmod(0o700 if each.is_dir() else 0o600)
    except PermissionError as why:
        log.warning("the data folder is not ours to close to others", why=str(why))
