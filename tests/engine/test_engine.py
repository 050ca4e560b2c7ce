"""The engine: what a Run did stays done, whatever happens to the process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.engine.lives import World, live

KILLED = -signal.SIGKILL


def said(folder: Path) -> list[str]:
    return [line for line in World(folder).lines() if not line.startswith("died at")]


async def test_after_a_kill_only_the_interrupted_step_runs_again_and_only_it_looks_first(
    tmp_path: Path,
) -> None:
    assert await live(tmp_path, ("start", "three_steps", "one")) == KILLED
    assert await live(tmp_path, ("resume", "one")) == 0
    assert said(tmp_path) == [
        "a at once", "b at once", "b looking first", "c at once", "abc", "one ended",
    ]  # fmt: skip


async def test_starting_the_same_run_again_does_nothing_in_this_life_or_the_next(
    tmp_path: Path,
) -> None:
    start = ("start", "three_steps", "one")
    assert await live(tmp_path, start, start, start) == KILLED
    # The inbox hands over again what the dead process had begun: still nothing is done twice,
    # and the interrupted step must look first although this life was asked to start the Run.
    assert await live(tmp_path, start, start) == 0
    assert await live(tmp_path, start) == 0
    assert said(tmp_path)[:5] == ["a at once", "b at once", "b looking first", "c at once", "abc"]


async def test_a_change_of_the_records_happens_exactly_once_and_a_refused_one_not_at_all(
    tmp_path: Path,
) -> None:
    assert await live(tmp_path, ("start", "records_once", "one")) == KILLED
    assert await live(tmp_path, ("resume", "one")) == 0
    assert said(tmp_path) == ["counted 1", "refused: not that", "counted 2", "one ended"]


async def test_a_failed_step_is_recorded_and_not_tried_again_after_a_kill(tmp_path: Path) -> None:
    assert await live(tmp_path, ("start", "fails", "one")) == KILLED
    assert await live(tmp_path, ("resume", "one")) == 0
    assert said(tmp_path) == ["tried", "try: it does not work", "one ended"]


async def test_results_are_stored_as_json_that_other_languages_can_read(tmp_path: Path) -> None:
    await live(tmp_path, ("start", "fails", "one"))
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'engine.db'}")
    with engine.connect() as connection:
        stored = connection.execute(
            sa.text(
                "SELECT output FROM operation_outputs WHERE function_name = 'request-playbook:try'"
            )
        ).scalar_one()
    engine.dispose()
    assert '"failed"' in stored
    assert "it does not work" in stored


async def test_a_step_waits_out_an_outage_and_holds_up_nobody(tmp_path: Path) -> None:
    orders = (("start", "outage", "slow"), ("until", "try 1 at once"), ("start", "fails", "quick"))
    World(tmp_path).note("died at failure")  # nobody dies in this test
    assert await live(tmp_path, *orders) == 0
    lines = said(tmp_path)
    assert lines.index("try: it does not work") < lines.index("back after 3")
    assert [line for line in lines if line.startswith("try ")] == [
        "try 1 at once", "try 2 looking first", "try 3 looking first",
    ]  # fmt: skip


async def test_an_outage_that_lasts_too_long_fails_the_step_with_its_reason(
    tmp_path: Path,
) -> None:
    assert await live(tmp_path, ("start", "never_back", "one")) == 0
    assert said(tmp_path) == ["gave up: away", "one ended"]


async def test_a_bug_in_a_playbook_is_told_and_not_met_with_silence(tmp_path: Path) -> None:
    assert await live(tmp_path, ("start", "has_a_bug", "one")) == 0
    at_fault = "this bot itself is at fault (KeyError); its log says more"
    assert said(tmp_path) == [f"told: {at_fault}", "one ended"]


async def test_a_signal_with_a_key_is_heard_once_however_often_it_is_sent(tmp_path: Path) -> None:
    retry = ("wake", "one", "retry", "the same key")
    await live(
        tmp_path,
        ("start", "listens", "one"), retry, ("until", "heard retry"), ("sleep", "0.3"),
        retry, retry, ("sleep", "0.7"), ("wake", "one", "cancel", "enough"),
    )  # fmt: skip
    assert said(tmp_path) == ["heard retry", "heard cancel", "one ended"]


@pytest.mark.thorough
async def test_five_hundred_hints_in_a_burst_are_at_most_a_few_looks(tmp_path: Path) -> None:
    burst = [("wake", "one", "hint")] * 500
    await live(
        tmp_path,
        ("start", "listens", "one"), ("sleep", "0.5"), *burst,
        ("sleep", "2.5"), ("wake", "one", "cancel", "enough"),
    )  # fmt: skip
    lines = said(tmp_path)
    assert lines[-2:] == ["heard cancel", "one ended"]
    # The first of the burst at once, what is left of it a second later.
    assert lines.count("heard hint") in (1, 2)


async def test_hints_that_come_while_a_step_is_under_way_are_heard_as_one(tmp_path: Path) -> None:
    hint = ("wake", "one", "hint")
    await live(
        tmp_path,
        ("start", "busy_then_listens", "one"), ("until", "busy"), hint, ("sleep", "1.1"), hint,
        ("until", "heard hint"), ("sleep", "1"), ("wake", "one", "cancel", "enough"),
    )  # fmt: skip
    assert said(tmp_path) == ["busy", "heard hint", "heard cancel", "one ended"]


@pytest.mark.thorough
async def test_a_clean_stop_leaves_a_waiting_run_for_the_next_life(tmp_path: Path) -> None:
    assert await live(
        tmp_path, ("start", "listens", "one"), ("wake", "one", "retry", "key"),
        ("until", "heard retry"), ("stop",),
    ) == 0  # fmt: skip
    assert await live(tmp_path, ("resume", "one"), ("wake", "one", "cancel", "enough")) == 0
    # The body runs again from its top, and reads from the record what it heard before.
    assert said(tmp_path) == [
        "heard retry", "stopped", "heard retry", "heard cancel", "one ended",
    ]  # fmt: skip


async def test_a_step_has_a_span_where_it_is_taken_and_none_where_it_is_read_back(
    tmp_path: Path,
) -> None:
    assert await live(tmp_path, ("trace",), ("start", "three_steps", "one")) == KILLED
    assert await live(tmp_path, ("trace",), ("resume", "one")) == 0
    lines = [line.split("\t") for line in (tmp_path / "spans").read_text().splitlines()]
    # `a` of the first life, `b` and `c` of the second; the kill took the first `b` with it.
    names = [name.removeprefix("step request-playbook:") for name, *_ in lines]
    assert names == ["a", "b", "c", "run three_steps"]
    assert len({trace for _, trace, *_ in lines}) == 1
    [run] = [own for name, _, own, _ in lines if name.startswith("run ")]
    assert {parent for name, *_, parent in lines if name.startswith("step ")} == {run}


async def test_a_run_that_begins_again_knows_what_it_has_said_already(tmp_path: Path) -> None:
    assert await live(tmp_path, ("start", "knows_what_it_passed", "one")) == KILLED
    assert await live(tmp_path, ("resume", "one")) == 0
    # What follows the last recorded step may not have been said: the kill came somewhere there.
    assert said(tmp_path) == ["a: new", "b: new", "a: again", "b: new", "last: new", "one ended"]
