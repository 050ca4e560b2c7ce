"""When a mirror is to be packed, and what packing it is.

Each refresh and each blob fetched leaves a pack, each revert loose objects. All is packed into one
pack of what the remote has and one of what was computed here ("cruft", git 2.37); of the latter,
what nobody made or used for two weeks is dropped. `git gc` and `git maintenance` are not used:
on a partial clone the geometric repack fails before git 2.53, and the incremental one forgets
that what is missing can be fetched, after which nothing can be packed any more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path

from bot.git.integrity import loose_objects
from bot.triggers import Value

MOST_PACKS = 50
MOST_LOOSE = 2_000
"""Computed reverts leave about ten each."""
EVERY = timedelta(days=1)
KEPT = "2.weeks.ago"
"""Of what was computed here and nobody made again; a Run that waits longer computes it again."""
MOST_GROWTH = 4
GROWTH_ALLOWED_BYTES = 512 * 1024 * 1024
"""Fetched blobs, and what forced pushes left behind, are never dropped: beyond four times the size
it had when cloned and this, it is cloned again."""

PACK = (
    *("repack", "--cruft", "-d", "-q", "-n", "--threads=1"),
    f"--cruft-expiration={KEPT}",
)
PRUNE = ("prune", f"--expire={KEPT}", "--exclude-promisor-objects")

_MARK = "playbooks-packed"
_SIZE = "playbooks-cloned-bytes"
_LEFT_SECONDS = 2 * 3600.0
"""Longer than any fetch may take: a temporary file that old belongs to nobody."""


class MirrorCondition(Value):
    """What a mirror looks like from outside; `packed_at` is None where nobody knows."""

    packs: int
    loose: int
    packed_at: datetime | None


def reason_to_pack(found: MirrorCondition, now: datetime) -> str | None:
    """Say why the mirror is to be packed now; None: it is not."""
    if found.packs > MOST_PACKS:
        return f"{found.packs} packs"
    if found.loose > MOST_LOOSE:
        return f"{found.loose:,} loose objects"
    if found.packed_at is None or now - found.packed_at >= EVERY:
        return "daily"
    return None


def has_grown(size: int, path: Path) -> bool:
    """Tell whether a mirror of `size` bytes has outgrown what it was when it was cloned."""
    try:
        cloned = int((path / _SIZE).read_text())
    except (OSError, ValueError):
        return False
    return size > MOST_GROWTH * cloned + GROWTH_ALLOWED_BYTES


def look(path: Path, now: datetime) -> MirrorCondition:
    """Look at the mirror in this folder."""
    packed_at = None
    with contextlib.suppress(OSError):
        packed_at = datetime.fromtimestamp((path / _MARK).stat().st_mtime, now.tzinfo)
    return MirrorCondition(
        packs=sum(1 for _ in path.glob("objects/pack/pack-*.pack")),
        loose=sum(1 for _ in loose_objects(path)),
        packed_at=packed_at,
    )


def mark_packed(path: Path) -> None:
    """Remember that it was packed just now."""
    (path / _MARK).write_bytes(b"")


def mark_size(path: Path, size: int) -> None:
    """Remember how large it was when cloned, in bytes, unless that is known already."""
    if not (path / _SIZE).exists():
        (path / _SIZE).write_text(str(size))


def clear_temporary(path: Path) -> None:
    """Delete what killed packing and fetching left; only where nobody else packs this mirror."""
    packs = path / "objects" / "pack"
    for lock in (path / "objects" / "info", packs):
        for stale in lock.glob("*.lock"):
            stale.unlink(missing_ok=True)
    (path / "gc.pid").unlink(missing_ok=True)
    for dead in packs.glob(".tmp-*"):
        dead.unlink(missing_ok=True)
    oldest = time.time() - _LEFT_SECONDS
    left = [*packs.glob("tmp_*"), *path.glob("objects/tmp_*"), *path.glob("objects/??/tmp_*")]
    left += packs.glob("pack-*.keep")
    left += (each for each in packs.glob("pack-*.*") if not each.with_suffix(".idx").exists())
    for file in left:
        with contextlib.suppress(FileNotFoundError):
            if file.lstat().st_mtime < oldest:
                if file.is_dir():
                    shutil.rmtree(file, ignore_errors=True)
                else:
                    file.unlink()


def carry_over(old: Path, fresh: Path, sound: list[Path]) -> None:
    """Link these object files of the old mirror into the fresh one: Runs may still need them."""
    for file in sound:
        target = fresh / file.relative_to(old)
        with contextlib.suppress(OSError):
            target.parent.mkdir(exist_ok=True)
            os.link(file, target)
