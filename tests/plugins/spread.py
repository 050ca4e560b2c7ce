"""How a parallel run is spread over workers: more of them than cores, long tests between others.

A conversation with the bot mostly waits, so with one worker for each core the cores would idle.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest

WORKERS_PER_CORE = 2
BYTES_PER_WORKER = 1 << 30
"""What a worker that has played hundreds of conversations needs, with what it starts."""

LONG = ("chaos", "cli", "playbooks/bisect", "cockpit/test_browser.py")
"""Tests below `tests` that start programs, let many trials run, or look at many pages."""

LONG_UNTIL = 0.7
"""The part of a run in which the long tests begin: none is to go on alone at the end."""

WAITING = (
    "chaos/test_missed.py", "deploy", "engine", "safety", "security", "spec_reports", "trials",
)  # fmt: skip
"""Tests below `tests` that wait for clocks and limits: one after another they leave cores idle."""

WAITING_UNTIL = 0.9

FIRST = ("demo", "local", "test_retention.py", "test_transfer.py")
"""Tests below `tests` that no bot of this process may join in: none runs before they are over."""

PURE = ("canary", "culprit", "house", "intake/comments", "records/documents")
"""Tests below `tests` that only count: they fill the cores while the first ones wait."""

FEW = 8
"""So many files of pure tests need no workers: those would take longer to begin."""

_CONVERSATION = "\nasync def test_"
"""What talks with somebody waits, so that several at once are sooner done."""

_TESTS = "test_*.py"
T = TypeVar("T")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """What `-n auto` means, unless the environment says it as xdist's documentation describes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if named and is_small(Path(arg.partition("::")[0]) for arg in config.args):
        return 0
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # A container may be given fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return workers(cores or 1, memory)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the long tests between the others, in every worker alike."""
    if not hasattr(config, "workerinput"):
        return
    rest, kinds = list(items), list[list[pytest.Item]]()
    for places in (FIRST, PURE, WAITING, LONG):
        kinds.append([each for each in rest if _is_below(each, places)])
        rest = [each for each in rest if not _is_below(each, places)]
    first, pure, waiting, long = kinds
    random.Random(20).shuffle(long)  # noqa: S311  so that those of one kind do not come together
    spread_once = spread(waiting, rest, until=WAITING_UNTIL)
    items[:] = [*spread(first, pure, until=1), *spread(long, spread_once, until=LONG_UNTIL)]


def _is_below(item: pytest.Item, places: tuple[str, ...]) -> bool:
    return item.nodeid.startswith(tuple(f"tests/{place}" for place in places))


def workers(cores: int, memory: int) -> int:
    """How many workers suit a machine of so many cores and bytes of memory; at least two."""
    return max(2, min(cores * WORKERS_PER_CORE, memory // BYTES_PER_WORKER))


def is_small(named: Iterable[Path]) -> bool:
    """Whether one process has played these files and folders before workers would have begun."""
    each_file = (
        each for path in named for each in ([path] if path.is_file() else path.rglob(_TESTS))
    )
    found = list(islice(each_file, FEW + 1))
    return len(found) <= FEW and not any(_CONVERSATION in each.read_text() for each in found)


def spread(some: list[T], others: list[T], *, until: float) -> list[T]:
    """Both in their order, some at equal distances within the first part (0 to 1) of all."""
    placed = [(until * number / len(some), each) for number, each in enumerate(some)]
    placed += [(number / len(others), each) for number, each in enumerate(others)]
    return [each for _, each in sorted(placed, key=lambda one: one[0])]
