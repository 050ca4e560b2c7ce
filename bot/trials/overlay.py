"""Lets a trial write where a person's own files lie: it sees them, and its changes are kept apart.

A trial that finds the person's home read-only fails as no program fails for its developer: caches,
locks and logs are written there. An overlay (overlayfs, in a user namespace since Linux 5.11) shows
one folder over another and writes only to the upper one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.trials.limits import empty_folder, remove_folder

_TRIED_SECONDS = 30.0

# util-linux 2.39 and later cut options of more than 255 characters short unless told so.
_MOUNT = (
    "LIBMOUNT_FORCE_MOUNT2=always; export LIBMOUNT_FORCE_MOUNT2; "
    'while [ "$1" != -- ]; do mount -t overlay -o "$1" overlay "$2" || exit 1; shift 2; done; '
    'unset LIBMOUNT_FORCE_MOUNT2; shift; exec "$@"'
)
_NO_OPTION = frozenset(",:\\\"'\n")
"""What a path may not hold to stand in the options of a mount."""


@dataclass(frozen=True)
class Overlay:
    """One folder of the person, shown with a trial's changes on top.

    Attributes:
        lower: the person's folder; never written.
        upper: where the changes are kept, on a file system that can hold an overlay.
        work: what the kernel needs beside it, emptied before each use.
    """

    lower: Path
    upper: Path
    work: Path

    @property
    def merged(self) -> Path:
        """Where it shows, for the processes that `mounted` starts and nobody else."""
        return self.work / "merged"

    def prepare(self) -> None:
        """Make its folders; what was changed before stays.

        Raises:
            OSError: they cannot be made.
        """
        self.upper.mkdir(parents=True, exist_ok=True)
        empty_folder(self.work)
        for folder in (self.work / "work", self.merged):
            folder.mkdir()


def mounted(overlays: Sequence[Overlay]) -> tuple[str, ...]:
    """Return the words before a command that has these overlays mounted; none where there are none.

    The command then runs as the superuser of a user namespace, who is this user outside of it.
    """
    if not overlays:
        return ()
    script = (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--",
        "/bin/sh",
        "-c",
        _MOUNT,
        "sh",
    )
    mounts = ((_options(each), str(each.merged)) for each in overlays)
    return (*script, *(word for mount in mounts for word in mount), "--")


def can_be_mounted(lower: Path, folder: Path) -> bool:
    """Try whether `lower` can be overlaid with changes kept under `folder`."""
    tried = Overlay(lower, folder / "upper", folder / "mounts")
    if not (fits_in_options(lower) and fits_in_options(folder) and lower.is_dir()):
        return False
    try:
        tried.prepare()
        done = subprocess.run(  # noqa: S603 - our own command line, no shell
            [*mounted([tried]), "touch", str(tried.merged / f".playbooks-{os.getpid()}")],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIED_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        for used in (tried.upper, tried.work):
            remove_folder(used)
    return done.returncode == 0


def fits_in_options(path: Path) -> bool:
    """Tell whether the path can stand in the options of a mount."""
    return not _NO_OPTION & {*str(path)}


def _options(overlay: Overlay) -> str:
    work = overlay.work / "work"
    return f"lowerdir={overlay.lower},upperdir={overlay.upper},workdir={work},userxattr"
