"""What lies where for a trial: hidden paths, and folders it may change without changing them.

The same folder shows at several paths where it is mounted more than once (mount(8), `--bind`), so a
mask over the path that somebody wrote into a setting would leave the others open.

A trial that finds the person's home read-only fails as no program fails for its developer: caches,
locks and logs are written there. An overlay (overlayfs, in a user namespace since Linux 5.11) shows
one folder over another and writes only to the upper one.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.trials.limits import empty_folder, remove_folder

MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line of proc_pid_mountinfo(5): `root` of file system `device` shows at `point`."""

    device: str
    root: Path
    point: Path


def read_mounts(text: str | None = None) -> tuple[Mount, ...]:
    """Read the mounts of this process, the latest last; none where the system does not tell."""
    if text is None:
        try:
            text = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ()
    found = []
    for line in text.split("\n"):
        fields = line.split(" ")
        if len(fields) > 4:
            found.append(Mount(fields[2], _path(fields[3]), _path(fields[4])))
    return tuple(found)


def places_of(path: Path, mounts: Sequence[Mount]) -> frozenset[Path]:
    """Name every path at which a file or folder, or what is below it, can be seen.

    Args:
        path: the file or folder; links in it are followed.
        mounts: those of this process.
    """
    here = path.resolve()
    seen = {here}
    around = [mount for mount in mounts if here.is_relative_to(mount.point)]
    if not around:
        return frozenset(seen)
    of = max(enumerate(around), key=lambda each: (len(each[1].point.parts), each[0]))[1]
    inside = of.root / here.relative_to(of.point)
    for mount in mounts:
        if mount.device != of.device:
            continue
        if inside.is_relative_to(mount.root):
            seen.add(mount.point / inside.relative_to(mount.root))
        elif mount.root.is_relative_to(inside):
            seen.add(mount.point)
    return frozenset(seen)


def masks(places: Iterable[Path]) -> list[str]:
    """Give bwrap arguments that put an empty folder, or nothing to read, over each place."""
    arguments: list[str] = []
    covered: list[Path] = []
    for place in sorted(set(places)):
        if any(place.is_relative_to(each) for each in covered):
            continue
        if place.is_dir():
            arguments += ["--tmpfs", str(place), "--remount-ro", str(place)]
        elif place.exists():
            # A device in a mount without devices cannot be opened: bwrap(1), --ro-bind.
            arguments += ["--ro-bind", "/dev/null", str(place)]
        covered.append(place)
    return arguments


def _path(field: str) -> Path:
    return Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), field))


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
