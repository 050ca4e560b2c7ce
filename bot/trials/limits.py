"""What one trial may use, and how that is measured and kept: disk, memory, processes.

The kernel then holds the memory limit itself. Elsewhere (hybrid hierarchies, plain containers,
no delegation) there is none, and the watcher in `execution` holds it alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
        # The folder above: a command without a sandbox may delete its own.
        status = os.statvfs(self._folders[0].parent)
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
    """Make an empty `folder`, private to this user, deleting what was there."""
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


def create_cgroup(parent: Path, name: str, memory_bytes: int) -> Cgroup | None:
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


@dataclass(frozen=True)
class MachineMemory:
    """The memory of the whole machine: proc_meminfo(5); all 0 where that is not known.

    Attributes:
        shared_bytes: what lies in shared memory, also where no process has it mapped any more.
        is_scarce: whether less than a tenth is left.
    """

    shared_bytes: int = 0
    is_scarce: bool = False


def memory_on_machine() -> MachineMemory:
    """Read how much memory is left, and how much lies in shared memory."""
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123 - ten times a second
            rows = (line.split() for line in file)
            kibibytes = {row[0]: int(row[1]) for row in rows}
        scarce = kibibytes["MemAvailable:"] * 10 < kibibytes["MemTotal:"]
        return MachineMemory(kibibytes["Shmem:"] << 10, scarce)
    except (OSError, ValueError, IndexError, KeyError):
        return MachineMemory()


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


GIB = 1 << 30


class LimitBroken(StrEnum):
    """The limit a trial broke, in words that follow "it went over its limit of"."""

    TIME = "time"
    CPU = "CPU time"
    MEMORY = "memory"
    DISK = "disk space"
    PROCESSES = "processes"
    OUTPUT = "output"


@dataclass(frozen=True)
class TrialLimits:
    """What one trial may use. A trial over a limit is killed, and is no evidence.

    Attributes:
        wall_seconds: from start to end.
        cpu_seconds: of all its processes together; None for as much as it gets.
        memory_bytes: resident memory of all its processes together.
        disk_bytes: of its folders, the checked-out tree included.
        processes: alive at once.
        output_bytes: printed; far more than is kept of it.
    """

    wall_seconds: float = 1800.0
    cpu_seconds: float | None = None
    memory_bytes: int = 4 * GIB
    disk_bytes: int = 10 * GIB
    processes: int = 2048
    output_bytes: int = 4 * GIB


def breached(
    limits: TrialLimits, usage: Usage, *, seconds: float, disk_bytes: int, output_bytes: int
) -> LimitBroken | None:
    """Tell which limit is broken, if any."""
    broken = {
        LimitBroken.MEMORY: usage.memory_bytes > limits.memory_bytes,
        LimitBroken.PROCESSES: usage.processes > limits.processes,
        LimitBroken.DISK: disk_bytes > limits.disk_bytes,
        LimitBroken.OUTPUT: output_bytes > limits.output_bytes,
        LimitBroken.CPU: limits.cpu_seconds is not None and usage.cpu_seconds > limits.cpu_seconds,
        LimitBroken.TIME: seconds > limits.wall_seconds,
    }
    return next((breach for breach, is_broken in broken.items() if is_broken), None)


def for_this_machine(folder: Path, workers: int, wall_seconds: float) -> TrialLimits:
    """Share most of this machine's memory and free disk among trials: what one of them may use.

    Args:
        folder: where trials are made; the disk that it is on counts.
        workers: how many trials run at once.
        wall_seconds: how long a trial may take from start to end.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = shutil.disk_usage(folder).free
    return TrialLimits(
        wall_seconds=wall_seconds,
        memory_bytes=int(memory * 0.8) // workers,
        disk_bytes=min(20 * GIB, int(free * 0.8) // workers),
    )
