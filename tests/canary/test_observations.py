from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.canary.observations import (
    Alignment,
    Columns,
    Expected,
    Observation,
    columns_of,
    read_lines,
)
from bot.canary.units import FirstEvents, RampUnits, UnitsState

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
EXPECTED = {
    "llm.summarize": Expected("ramp", "request", {7: 5, 8: 25, 9: 100}, DAY),
    "llm.sticky": Expected("ramp", "key", {7: 5}, DAY),
    "llm.shadowed": Expected("shadow", "request", {3: 0}, DAY),
}


def line(**fields: Any) -> bytes:
    seen = {
        "event_id": "e1",
        "capability": "llm.summarize",
        "arm": "candidate",
        "generation": 7,
        "time": "2026-01-02T11:59:00Z",
        "latency": 0.2,
    }
    whole = seen | fields
    return json.dumps({k: v for k, v in whole.items() if v is not ...}).encode()


def read(*lines: bytes, known: frozenset[str] = frozenset()):  # type: ignore[no-untyped-def]
    return read_lines(lines, EXPECTED, now=NOW, known=known.__contains__)


def test_a_good_line_is_accepted() -> None:
    reading = read(line(), b"", line(event_id="e2", error=True, cost=0.1))
    assert [seen.event_id for seen in reading.accepted] == ["e1", "e2"]
    assert not reading.rejected


WRONG: dict[str, tuple[bytes, str | None, str]] = {
    "not JSON": (b"latency=3", None, "must be one JSON object"),
    "a list": (b"[]", None, "must be one JSON object"),
    "a line without end": (line(key="x" * 5000), None, "longer than 4096 bytes"),
    "an unknown field": (line(latncy=1), "latncy", "is not known; allowed: event_id"),
    "NaN": (line(latency=float("nan")), "latency", "a finite number from 0"),
    "infinity": (line(cost=float("inf")), "cost", "a finite number from 0"),
    "a negative cost": (line(cost=-1), "cost", "from 0 to 1000000000"),
    "a latency as text": (line(latency="0.2"), "latency", "seconds"),
    "an error that is a number": (line(error=1), "error", "true, false"),
    "an unknown arm": (line(arm="control"), "arm", "'baseline' or 'candidate'"),
    "a time without offset": (line(time="2026-01-02T11:59:00"), "time", "with its offset"),
    "a time as a number": (line(time=1767355140), "time", "an RFC 3339 time"),
    "a generation beyond all numbers": (line(generation=10**30), "generation", "is not of this"),
    "no event id": (line(event_id=...), "event_id", "1 to 200 characters"),
    "an unknown capability": (line(capability="llm.chat"), "capability", "no shadow or ramp now"),
    "an unknown generation": (line(generation=6), "generation", "its generations: 7, 8, 9"),
    "an arm that gets nothing": (
        line(generation=9, arm="baseline"),
        "arm",
        "generation 9 sends it nothing",
    ),
    "a late one": (line(time="2026-01-02T10:00:00Z"), "time", "too long ago"),
    "one from the future": (line(time="2026-01-02T12:06:00Z"), "time", "set the client's clock"),
    "nothing measured": (line(latency=...), None, "measures nothing"),
    "revenue without spend": (line(revenue=1), "spend", "judged together"),
    "revenue that is not complete": (
        line(revenue=1, spend=1),
        "revenue",
        "report it 24 hours after the request",
    ),
    "a sticky one without key": (line(capability="llm.sticky"), "key", "split by key"),
    "a shadow's without pair": (
        line(capability="llm.shadowed", generation=3),
        "pair_id",
        "needed in a shadow",
    ),
}


@pytest.mark.parametrize(("wrong", "field", "said"), WRONG.values(), ids=WRONG)
def test_it_says_what_is_wrong_with(wrong: bytes, field: str | None, said: str) -> None:
    reading = read(line(event_id="good"), wrong)
    assert [seen.event_id for seen in reading.accepted] == ["good"]
    (rejection,) = reading.rejected
    assert rejection.line == 2
    assert rejection.field == field
    assert said in rejection.problem


def test_a_duplicate_is_told_and_counts_once() -> None:
    reading = read(line(), line(), line(event_id="old"), known=frozenset({"old"}))
    assert len(reading.accepted) == 1
    assert [(r.line, r.duplicate) for r in reading.rejected] == [(2, True), (3, True)]


def test_revenue_is_taken_once_its_window_is_over() -> None:
    reading = read(line(latency=..., revenue=2, spend=1, time="2026-01-01T11:00:00Z"))
    assert reading.accepted[0].only_revenue


@given(st.binary(max_size=200))
def test_no_bytes_break_it(wild: bytes) -> None:
    assert not read(wild).accepted


def test_requests_in_flight_keep_the_split_that_decided_them() -> None:
    seen = read(line(generation=8), line(event_id="e2", generation=7)).accepted
    columns = columns_of(seen, {7: 5, 8: 25}, RampUnits("request"))
    assert columns.pi.tolist() == [0.25, 0.05]
    assert np.isnan(columns.measured.cost).all()


def test_a_keys_first_event_counts_and_again_when_the_split_may_move_it() -> None:
    first = FirstEvents()
    assert first.draw("a", 5, candidate=False) == 0.05
    assert first.draw("a", 5, candidate=False) is None
    assert first.draw("a", 25, candidate=True) == pytest.approx(20 / 95)
    assert first.draw("a", 50, candidate=True) is None
    assert first.draw("b", 50, candidate=False) == 0.5
    assert first.draw("b", 25, candidate=False) is None


def test_redrawn_keys_move_as_often_as_said() -> None:
    rng = np.random.default_rng(3)
    first, moved, expected = FirstEvents(), 0, 0.0
    places = rng.random(4000) * 100
    for percent in (5, 25, 50):
        for key, place in enumerate(places.tolist()):
            chance = first.draw(str(key), percent, candidate=place < percent)
            if chance is not None:
                moved += place < percent
                expected += chance
    assert moved == pytest.approx(expected, rel=0.05)


def test_keys_survive_a_restart_and_revenue_has_its_own() -> None:
    units = RampUnits("key")
    assert units.draw("a", 5, candidate=False, only_revenue=False) == 0.05
    units = RampUnits.restored(UnitsState.model_validate_json(units.save().model_dump_json()))
    assert units.draw("a", 5, candidate=False, only_revenue=False) is None
    assert units.draw("a", 5, candidate=False, only_revenue=True) == 0.05


SPLIT = {1: 50}


def reported(arm: str, at: float, **more: Any) -> Observation:
    return Observation.model_validate(
        {
            "event_id": f"{arm}{at}",
            "capability": "c",
            "arm": arm,
            "generation": 1,
            "time": NOW + timedelta(seconds=at),
            "error": False,
            **more,
        }
    )


@given(st.floats(0, 50), st.lists(st.tuples(st.booleans(), st.floats(0, 300)), max_size=60))
def test_whichever_arm_reports_late_observations_count_in_the_order_of_their_times(
    lag: float, served: list[tuple[bool, float]]
) -> None:
    lines = [reported("candidate" if ours else "baseline", at) for ours, at in served]

    def arrival(seen: Observation) -> datetime:
        return seen.time + timedelta(seconds=lag if seen.arm == "candidate" else 0)

    aligned, counted = Alignment(), []
    for seen in sorted(lines, key=arrival):
        counted += aligned.add([seen], SPLIT, arrival(seen))
    counted += aligned.release(NOW + timedelta(hours=1))
    assert [seen.time for seen in counted] == sorted(seen.time for seen in lines)


@pytest.mark.parametrize("wrong", [-1800, -120, -20, 20, 120, 290])
def test_an_arms_wrong_clock_does_not_change_the_order(wrong: float) -> None:
    aligned, counted = Alignment(), []
    for second in range(300):
        at = NOW + timedelta(seconds=second)
        arm = "candidate" if second % 4 == 0 else "baseline"
        said = reported(arm, second + (wrong if arm == "candidate" else 0))
        counted += aligned.add([said], SPLIT, at, (SPLIT[1], NOW))
    counted += aligned.release(NOW + timedelta(hours=1))
    assert len(counted) == 300
    lead = [4 * sum(one.arm == "candidate" for one in counted[:n]) - n for n in range(300)]
    assert max(map(abs, lead)) <= 8


def test_an_arm_that_says_nothing_is_waited_for_one_minute() -> None:
    aligned = Alignment()
    assert aligned.add([reported("baseline", 0)], SPLIT, NOW) == []
    assert aligned.add([reported("baseline", 59)], SPLIT, NOW + timedelta(seconds=59)) == []
    [due] = aligned.add([reported("baseline", 61)], SPLIT, NOW + timedelta(seconds=61))
    assert due.time == NOW


def test_where_one_arm_has_everything_nothing_waits() -> None:
    assert len(Alignment().add([reported("candidate", 0)], {1: 100}, NOW)) == 1


def units_of(lines: list[Observation], percent: int = 50) -> tuple[Columns, RampUnits]:
    units = RampUnits("request")
    return columns_of(lines, {1: percent}, units), units


def test_the_tries_of_one_call_are_one_observation() -> None:
    lines = [reported("candidate", at, pair_id=f"call {at // 3}") for at in range(30)]
    columns, units = units_of(lines)
    assert len(columns) == 10
    assert not units.sticky


def test_a_key_that_stays_with_its_arm_counts_once_and_is_noticed() -> None:
    lines = [reported("candidate", at, key="the heaviest customer") for at in range(100)]
    columns, units = units_of(lines)
    assert len(columns) == 1
    assert units.sticky
    again = RampUnits.restored(UnitsState.model_validate_json(units.save().model_dump_json()))
    assert again.sticky


def test_a_key_whose_requests_are_drawn_one_by_one_counts_every_time() -> None:
    rng = np.random.default_rng(0)
    arms = ["candidate" if rng.random() < 0.5 else "baseline" for _ in range(400)]
    columns, units = units_of([reported(arm, at, key="k") for at, arm in enumerate(arms)])
    assert len(columns) > 350
    assert not units.sticky
