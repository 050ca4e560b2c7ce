"""A cgroup v2 for one trial, where this process may make one (kernel's cgroup-v2.rst).

The kernel then holds the memory limit itself. Elsewhere (hybrid hierarchies, plain containers,
no delegation) there is none, and the watcher in `execution` holds it alone.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Cgroup:
    """One group of processes that the kernel limits and can kill as one."""

    folder: Path

    @property
    def processes_file(self) -> Path:
        """The file a process writes its id to in order to join, with all its later children."""
        return self.folder / "cgroup.procs"

    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel killed one of its processes for memory."""
        try:
            events = (self.folder / "memory.events").read_text()
        except OSError:
            return False
        counts = dict(line.split() for line in events.splitlines())
        return int(counts.get("oom_kill", "0")) > 0

    def kill(self) -> None:
        """Kill everything in it at once (Linux 5.14 and later; elsewhere nothing happens)."""
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove it; possible once its last process is gone."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def parent_for_trials(mount: Path = MOUNT, own: Path = OWN) -> Path | None:
    """Find the group to make trials' groups in: a writable sibling place that limits memory.

    A group that holds processes cannot limit its children ("no internal processes"), so trials
    become siblings of this process's own group.
    """
    try:
        lines = own.read_text().splitlines()
        path = next(line[3:] for line in lines if line.startswith("0::"))
        parent = (mount / path.lstrip("/")).parent
        if path == "/" or not parent.is_relative_to(mount):
            return None
        limited = "memory" in (parent / "cgroup.subtree_control").read_text().split()
    except (OSError, StopIteration):
        return None
    return parent if limited and os.access(parent, os.W_OK) else None


def create(parent: Path, name: str, memory_bytes: int) -> Cgroup | None:
    """Make the group `name` in `parent`; None where that is not allowed."""
    group = Cgroup(parent / name)
    try:
        group.folder.mkdir()
        (group.folder / "memory.max").write_text(str(memory_bytes))
        with contextlib.suppress(OSError):
            (group.folder / "memory.swap.max").write_text("0")
    except OSError:
        group.remove()
        return None
    return group
