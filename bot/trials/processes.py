"""What the processes of one trial use, read from `/proc` (proc(5)); empty where there is none."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process. `cpu_seconds` includes its children that were waited for."""

    pid: int
    parent: int
    session: int
    memory_bytes: int
    cpu_seconds: float


@dataclass(frozen=True)
class Usage:
    """What a group of processes uses together."""

    processes: int
    memory_bytes: int
    cpu_seconds: float


def parse_stat(line: str) -> Process:
    """Read a line of `/proc/PID/stat`, from its end: a name may hold spaces and brackets.

    Raises:
        ValueError: the line is not of proc(5)'s form.
        IndexError: the line is cut short.
    """
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    return Process(
        pid=int(pid),
        parent=int(fields[1]),
        session=int(fields[3]),
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_seconds=sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_SECOND,
    )


def snapshot() -> dict[int, Process]:
    """List every process visible now; those that end meanwhile are left out."""
    found: dict[int, Process] = {}
    if not PROC.is_dir():
        return found
    for name in os.listdir(PROC):  # noqa: PTH208 - names only, ten times a second
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", errors="replace") as file:  # noqa: PTH123 - as above
                process = parse_stat(file.read())
        except (OSError, ValueError, IndexError):
            continue
        found[process.pid] = process
    return found


def threads_on_machine() -> int:
    """Count all threads of the machine, at once and cheaply: proc_loadavg(5); 0 if not known."""
    try:
        with open("/proc/loadavg") as file:  # noqa: PTH123 - fifty times a second
            return int(file.read().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def group_of(processes: dict[int, Process], root: int) -> list[Process]:
    """Return `root`, all below it, and all of its session.

    In a PID namespace orphans stay below its first process; without one, most stay in the session.
    """
    children: dict[int, list[Process]] = defaultdict(list)
    for process in processes.values():
        children[process.parent].append(process)
    group = {pid: process for pid, process in processes.items() if root in (pid, process.session)}
    waiting = list(group.values())
    while waiting:
        for child in children[waiting.pop().pid]:
            if child.pid not in group:
                group[child.pid] = child
                waiting.append(child)
    return list(group.values())


def usage(group: list[Process]) -> Usage:
    """Add up what the processes of a group use. Shared pages count once per process."""
    return Usage(
        processes=len(group),
        memory_bytes=sum(process.memory_bytes for process in group),
        cpu_seconds=sum(process.cpu_seconds for process in group),
    )


def unlinked_bytes(group: list[Process]) -> int:
    """Count the disk held by files that were deleted while a process still has them open."""
    held: dict[tuple[int, int], int] = {}
    for process in group:
        folder = f"/proc/{process.pid}/fd"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names only, ten times a second
        except OSError:
            continue
        for name in names:
            try:
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - as above
            except OSError:
                continue
            if status.st_nlink == 0:
                held[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(held.values())


def marked(mark: str) -> list[int]:
    """Find processes, except this one, with `mark` (`NAME=value`) in their environment.

    A mark names one trial (`NAME=session/trial`) or, by its start, all trials of a session.
    """
    wanted = mark.encode()
    found = []
    for pid in snapshot():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if pid != os.getpid() and any(
            entry == wanted or entry.startswith(wanted + b"/") for entry in environment
        ):
            found.append(pid)
    return found
