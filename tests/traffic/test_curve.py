"""A curve keeps what tells: few points, evenly spread, the same whoever adds them up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bot.canary.report import CurvePoint
from bot.traffic.evaluation import MOST, Curve, CurveState

START = datetime(2026, 1, 1, tzinfo=UTC)


def point(number: int, every: timedelta) -> CurvePoint:
    return CurvePoint(at=START + number * every, log_e={"error": float(number)})


def curve_of(count: int, every: timedelta) -> Curve:
    curve = Curve()
    for number in range(count):
        curve.add(point(number, every))
    return curve


def test_the_first_points_are_all_kept_however_close_they_are() -> None:
    assert len(curve_of(MOST, timedelta(milliseconds=1)).points) == MOST


@pytest.mark.parametrize("every", [timedelta(milliseconds=1), timedelta(minutes=3)])
def test_of_many_a_few_stay_spread_over_the_whole_time(every: timedelta) -> None:
    count = 20_000
    points = curve_of(count, every).points
    assert MOST / 3 < len(points) <= MOST
    assert points[0].at == START
    gaps = [(after.at - before.at) / every for before, after in pairwise(points)]
    assert max(gaps) <= count / (MOST / 4)
    assert (START + count * every - points[-1].at) / every <= max(gaps)


def test_many_at_one_instant_are_few_in_the_end() -> None:
    assert len(curve_of(5_000, timedelta(0)).points) <= MOST


def test_a_breach_is_always_on_it() -> None:
    curve = curve_of(5_000, timedelta(seconds=1))
    last = point(5_000, timedelta(seconds=1))
    curve.add(last, always=True)
    assert curve.points[-1] == last


def test_saved_and_resumed_it_goes_on_the_same() -> None:
    every = timedelta(milliseconds=7)
    at_once, resumed = Curve(), Curve()
    for number in range(3_000):
        at_once.add(point(number, every))
        resumed.add(point(number, every))
        if number % 97 == 0:
            text = resumed.save().model_dump_json()
            resumed = Curve.restored(CurveState.model_validate_json(text))
    assert resumed.points == at_once.points
