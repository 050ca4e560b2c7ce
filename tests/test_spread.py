"""How a parallel run is spread over workers."""

from __future__ import annotations

from pathlib import Path

from tests.plugins.spread import is_small, spread, workers


def test_there_are_more_workers_than_cores_as_long_as_memory_lasts() -> None:
    gigabyte = 1 << 30
    assert [workers(cores, 64 * gigabyte) for cores in (1, 2, 4, 8)] == [2, 4, 8, 16]
    assert workers(16, 7 * gigabyte) == 7
    assert workers(2, 1 * gigabyte) == 2


def test_every_test_runs_and_the_last_ones_are_short() -> None:
    long, others = [f"long {n}" for n in range(10)], [f"short {n}" for n in range(90)]
    placed = spread(long, others, until=0.7)
    assert [each for each in placed if each in long] == long
    assert [each for each in placed if each in others] == others
    assert placed[0] == "long 0"
    assert not set(placed[-30:]) & set(long)
    assert spread([], others, until=0.7) == others
    assert spread(long, [], until=0.7) == long


def test_a_few_files_of_pure_tests_need_no_workers(tmp_path: Path) -> None:
    pure = [tmp_path / f"test_{n}.py" for n in range(9)]
    for each in pure:
        each.write_text("\ndef test_it() -> None: ...\n")
    assert is_small(pure[:8])
    assert not is_small([tmp_path])
    pure[0].write_text("\nasync def test_it() -> None: ...\n")
    assert not is_small(pure[:1])
