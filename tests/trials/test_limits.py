"""Limits, what is kept of output, and what is read from /proc."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.trials.execution import HEAD_BYTES, TAIL_BYTES, StreamEnds
from bot.trials.limits import (
    DiskMeter,
    LimitBroken,
    TrialLimits,
    Usage,
    breached,
    folder_bytes,
    group_of,
    parse_stat,
    remove_folder,
    snapshot,
    usage,
)

LIMITS = TrialLimits(
    wall_seconds=10, cpu_seconds=5, memory_bytes=100, disk_bytes=100, processes=3, output_bytes=100
)
LITTLE = {"seconds": 1.0, "disk_bytes": 1, "output_bytes": 1}


def test_within_its_limits_nothing_is_broken() -> None:
    assert breached(LIMITS, Usage(3, 100, 5.0), **LITTLE) is None


@pytest.mark.parametrize(
    ("used", "more", "breach"),
    [
        (Usage(4, 1, 1), {}, LimitBroken.PROCESSES),
        (Usage(1, 101, 1), {}, LimitBroken.MEMORY),
        (Usage(1, 1, 5.1), {}, LimitBroken.CPU),
        (Usage(1, 1, 1), {"seconds": 10.1}, LimitBroken.TIME),
        (Usage(1, 1, 1), {"disk_bytes": 101}, LimitBroken.DISK),
        (Usage(1, 1, 1), {"output_bytes": 101}, LimitBroken.OUTPUT),
    ],
)
def test_each_limit_is_named_when_broken(used, more, breach) -> None:
    assert breached(LIMITS, used, **{**LITTLE, **more}) is breach


@given(st.lists(st.integers(0, 3 * (HEAD_BYTES + TAIL_BYTES) // 4), max_size=6))
def test_output_keeps_start_and_end_and_counts_all(sizes: list[int]) -> None:
    whole = b"".join(bytes([65 + i % 26]) * size for i, size in enumerate(sizes))
    output, at = StreamEnds(), 0
    for size in sizes:
        output.add(whole[at : at + size])
        at += size
    text = output.text()
    assert output.total_bytes == len(whole)
    assert text.startswith(whole[:HEAD_BYTES].decode())
    assert text.endswith(whole[HEAD_BYTES:][-TAIL_BYTES:].decode())
    assert ("left out" in text) == (len(whole) > HEAD_BYTES + TAIL_BYTES)


def test_a_process_may_be_called_anything() -> None:
    line = "7 (a) R 1 (b) S 3 " + " ".join(["0"] * 9) + " 100 50 10 5" + " 0" * 6 + " 9 0"
    process = parse_stat(line)
    assert (process.pid, process.parent) == (7, 3)
    assert process.cpu_seconds == 165 / os.sysconf("SC_CLK_TCK")


def test_this_process_is_found_with_its_memory() -> None:
    here = group_of(snapshot(), os.getpid())
    assert usage(here).memory_bytes > 1 << 20


def test_a_file_with_two_names_counts_once(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (1 << 20))
    once = folder_bytes([tmp_path])
    os.link(tmp_path / "a", tmp_path / "b")
    assert folder_bytes([tmp_path]) == once


def test_growth_is_noticed_at_the_next_look(tmp_path) -> None:
    now = [0.0]
    meter = DiskMeter([tmp_path], 1 << 40, clock=lambda: now[0])
    assert meter.bytes_now() == 0
    (tmp_path / "big").write_bytes(os.urandom(1 << 20))
    assert meter.bytes_now() == 0
    now[0] = 1.0
    assert meter.bytes_now() >= 1 << 20


def test_what_a_trial_leaves_can_be_deleted_however_deep_and_locked(tmp_path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=descriptor)
        below = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    (folder / "deeper").chmod(0)
    remove_folder(folder)
    assert not folder.exists()


def test_deleting_a_link_leaves_what_it_points_to(tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_folder(tmp_path / "link")
    assert (tmp_path / "kept").is_dir()
