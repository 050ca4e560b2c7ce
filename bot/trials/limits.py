"""How much one trial may use, and which limit it broke. Pure, but for reading the machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bot.trials.processes import Usage

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
    """Share most of this machine's memory, and of the free disk under `folder`, by `workers`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = shutil.disk_usage(folder).free
    return TrialLimits(
        wall_seconds=wall_seconds,
        memory_bytes=int(memory * 0.8) // workers,
        disk_bytes=min(20 * GIB, int(free * 0.8) // workers),
    )
