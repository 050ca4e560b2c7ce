"""How much disk a trial's folders hold, measured often without reading them all often."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

_LOOK_AGAIN_SECONDS = 0.5
_MOST_OF_THE_TIME = 20.0


def folder_bytes(folders: Sequence[Path]) -> int:
    """Add up the blocks of everything under `folders`; a file with two names counts once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
            except OSError:
                continue
            if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


class DiskMeter:
    """Watches folders of one file system; walks them when its free space falls, or now and then.

    A walk of a large tree takes long, so it may use a twentieth of the time at most. Asking the
    file system for its free space is instant: when that falls by much, a walk is due at once.
    """

    def __init__(
        self, folders: Sequence[Path], limit_bytes: int, clock: Callable[[], float]
    ) -> None:
        """Start measuring `folders` (at least one), to notice growth over `limit_bytes`."""
        self._folders = folders
        self._step = limit_bytes // 8
        self._clock = clock
        self._free = self._free_bytes()
        self._bytes = 0
        self._next_look = clock() + _LOOK_AGAIN_SECONDS

    def bytes_now(self) -> int:
        """Return what the folders hold, as of the last walk that was due."""
        now, free = self._clock(), self._free_bytes()
        if self._free - free > self._step or now >= self._next_look:
            self._bytes = folder_bytes(self._folders)
            self._free = free
            taken = self._clock() - now
            self._next_look = now + max(_LOOK_AGAIN_SECONDS, taken * _MOST_OF_THE_TIME)
        # Other programs free space too: only a fall since the fullest moment counts.
        self._free = max(self._free, free)
        return self._bytes

    def _free_bytes(self) -> int:
        status = os.statvfs(self._folders[0])
        return status.f_bavail * status.f_frsize


def remove_folder(folder: Path) -> None:
    """Delete a folder whatever a trial left in it: no link is followed, no depth too deep.

    Raises:
        OSError: it is still there afterwards.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_symlink() and folder.is_dir():
        # rm and chmod walk by descriptors; Python's rmtree recurses and gives up at depth 1000.
        remove = ["rm", "-rf", "--", str(folder)]
        for argv in (remove, ["chmod", "-R", "u+rwX", "--", str(folder)], remove):
            subprocess.run(argv, check=False, capture_output=True)  # noqa: S603 - a fixed command, absolute path
            if not os.path.lexists(folder):
                return
        raise OSError(f"{folder} cannot be deleted")
    folder.unlink()


def empty_folder(folder: Path) -> Path:
    """Make `folder` anew, private to this user, deleting what was there."""
    remove_folder(folder)
    folder.mkdir(parents=True, mode=0o700)
    return folder


def copy_folder(source: Path, target: Path) -> None:
    """Copy a tree with links, modes and times as they are, sharing blocks where possible.

    Raises:
        OSError: not everything could be copied.
    """
    remove_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = shutil.which("cp")
    if copy is None:
        raise OSError("cp is missing")
    for argv in ([copy, "-a", "--reflink=auto"], [copy, "-a"]):
        done = subprocess.run(  # noqa: S603 - a fixed command with absolute paths
            [*argv, "--", str(source), str(target)], check=False, capture_output=True, text=True
        )
        if done.returncode == 0:
            return
        remove_folder(target)
    raise OSError(f"copying a built tree failed: {done.stderr.strip()[-300:]}")
