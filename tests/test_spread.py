"""How a parallel run is spread over workers."""

from __future__ import annotations

from tests.plugins.spread import spread, workers


def test_there_are_more_workers_than_cores_as_long_as_memory_lasts() -> None:
    gigabyte = 1 << 30
    assert [workers(cores, 64 * gigabyte) for cores in (1, 2, 4, 8)] == [2, 3, 6, 12]
    assert workers(16, 7 * gigabyte) == 7
    assert workers(2, 1 * gigabyte) == 2


def test_every_test_runs_and_the_last_ones_are_short() -> None:
    long, others = [f"long {n}" for n in range(10)], [f"short {n}" for n in range(90)]
    placed = spread(long, others)
    assert [each for each in placed if each in long] == long
    assert [each for each in placed if each in others] == others
    assert placed[0] == "long 0"
    assert not set(placed[-30:]) & set(long)
    assert spread([], others) == others
    assert spread(long, []) == long
