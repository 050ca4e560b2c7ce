"""Where the files that no trial may read can be seen on this machine: by every path, not only one.

The same folder shows at several paths where it is mounted more than once (mount(8), `--bind`), so a
mask over the path that somebody wrote into a setting would leave the others open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    for line in text.splitlines():
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
