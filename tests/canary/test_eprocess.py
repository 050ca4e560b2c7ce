from __future__ import annotations

from math import exp, fsum, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bot.canary.eprocess import (
    BETS,
    TICK,
    DesignEffect,
    EProcess,
    EProcessState,
    event_ticks,
    grid,
    rate_ticks,
    score_ticks,
    ticks,
    two_sided,
)

Steps = list[np.ndarray]

# Two alternatives, three copies: small enough to compute by definition.
increments = st.integers(0, 30).flatmap(
    lambda n: arrays(np.int64, (n, 2), elements=st.integers(-(2**41), 2**41))
)
stretches = st.lists(increments, min_size=1, max_size=4)


def process(alpha: float = 0.01) -> EProcess:
    return EProcess(2, copies=3, alpha=alpha)


def in_one_batch(parts: Steps) -> EProcess:
    watched = process()
    for number, part in enumerate(parts):
        if number:
            watched.restart()
        watched.add(part)
    return watched


def one_by_one(parts: Steps) -> EProcess:
    watched = process()
    for number, part in enumerate(parts):
        if number:
            watched.restart()
        for row in part:
            watched.add(row[None, :])
    return watched


def by_definition(parts: Steps) -> list[float]:
    """Log of the average over copies and alternatives, after every row."""
    rows = [(min(number, 2), row) for number, part in enumerate(parts) for row in part]
    path = []
    for end in range(1, len(rows) + 1):
        sums = [
            fsum(int(row[g]) for at, row in rows[:end] if at >= copy) * TICK
            for copy in range(3)
            for g in range(2)
        ]
        path.append(log(fsum(exp(s) for s in sums) / 6))
    return path


@given(stretches)
def test_one_batch_and_one_by_one_give_the_same_digits(parts: Steps) -> None:
    assert in_one_batch(parts).save() == one_by_one(parts).save()


@given(stretches)
def test_evidence_is_the_average_over_copies_and_alternatives(parts: Steps) -> None:
    path = by_definition(parts)
    watched = in_one_batch(parts)
    if path:
        assert watched.log_e == pytest.approx(path[-1], abs=1e-9)
    over = [n for n, value in enumerate(path, start=1) if value >= watched.limit + 1e-9]
    if over:
        assert watched.crossing is not None
        assert watched.crossing.n <= over[0]
    if watched.crossing is not None:
        assert path[watched.crossing.n - 1] >= watched.limit - 1e-9


@given(stretches, st.integers(0, 3))
def test_a_restart_of_the_program_changes_no_digit(parts: Steps, when: int) -> None:
    watched = process()
    for number, part in enumerate(parts):
        if number:
            watched.restart()
        if number == when:
            written = watched.save().model_dump_json()
            watched = process()
            watched.restore(EProcessState.model_validate_json(written))
        watched.add(part)
    assert watched.save() == in_one_batch(parts).save()


@given(increments, st.randoms(use_true_random=False))
def test_the_order_of_observations_does_not_change_the_sums(part: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(part)))
    random.shuffle(order)
    assert in_one_batch([part[order]]).log_e == in_one_batch([part]).log_e


def test_a_crossing_is_never_forgotten() -> None:
    watched = process()
    assert watched.add(ticks(np.full((10, 2), 1.0))) == 5
    watched.add(ticks(np.full((100, 2), -1.0)))
    assert watched.log_e < 0
    assert watched.crossed


def test_copies_not_yet_started_stand_at_one() -> None:
    """(e^1.5 + 1 + 1) / 3 is above 2, the limit; e^1.5 / 3 would not be."""
    watched = EProcess(1, copies=3, alpha=0.5)
    assert watched.add(ticks(np.array([[1.3], [0.2]]))) == 1


def test_a_state_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="another shape"):
        process().restore(EProcess(3, copies=3, alpha=0.01).save())


def test_what_goes_wrong_late_is_found_sooner_by_a_late_copy() -> None:
    good, bad = np.full((2000, 2), -0.02), np.full((400, 2), 0.05)
    alone = EProcess(2, copies=1, alpha=0.01)
    alone.add(ticks(np.concatenate([good, bad])))
    watched = process()
    watched.add(ticks(good))
    watched.restart()
    watched.add(ticks(bad))
    assert watched.crossed
    assert not alone.crossed


@given(st.floats(0.01, 0.99), st.floats(0.3, 3.0))
def test_an_event_cannot_raise_the_expected_evidence_under_the_null(
    pi: float, ratio: float
) -> None:
    for alternatives in (log(ratio) + grid(), log(ratio) - grid(), log(ratio) + two_sided()):
        gains = event_ticks(np.array([pi, pi]), np.array([False, True]), log(ratio), alternatives)
        ours = pi * ratio / (1 - pi + pi * ratio)
        expected = (1 - ours) * np.exp(gains[0] * TICK) + ours * np.exp(gains[1] * TICK)
        assert (expected <= 1 + 1e-12).all()
        assert (expected >= 1 - 1e-9).all()


@given(st.floats(-10, 10))
def test_rounding_never_adds_evidence(value: float) -> None:
    assert value - TICK <= ticks(np.array([value]))[0] * TICK <= value


@given(st.floats(0.01, 0.99), st.floats(-1, 1))
def test_a_score_cannot_raise_the_expected_evidence_under_the_null(pi: float, score: float) -> None:
    gains = np.exp(score_ticks(np.array([score * -pi, score * (1 - pi)])) * TICK)
    expected = (1 - pi) * gains[0] + pi * gains[1]
    assert (expected <= 1 + 1e-12).all()


@given(st.floats(0.001, 0.5), st.floats(0, 1))
def test_a_rate_below_its_limit_cannot_raise_the_expected_evidence(
    highest: float, part: float
) -> None:
    rate = highest * part
    gains = np.exp(rate_ticks(np.array([False, True]), highest) * TICK)
    assert ((1 - rate) * gains[0] + rate * gains[1] <= 1 + 1e-12).all()


def test_false_alarms_stay_below_alpha_when_looked_at_after_every_observation() -> None:
    rng = np.random.default_rng(7)
    alarms = {"events": 0, "scores": 0}
    runs, alpha = 400, 0.05
    for _ in range(runs):
        candidate = rng.random(1000) < 0.3
        pi = np.full(1000, 0.3)
        events = EProcess(len(grid()), alpha=alpha)
        alarms["events"] += events.add(event_ticks(pi, candidate, 0.0, grid())) is not None
        scores = EProcess(len(BETS), alpha=alpha)
        drift = np.sin(np.arange(1000) / 50) + rng.pareto(1.5, 1000)
        gains = score_ticks(np.clip(drift, -1, 1) * (candidate - pi))
        alarms["scores"] += scores.add(gains) is not None
    assert max(alarms.values()) / runs <= alpha


def test_days_of_counts_at_once_are_summed_without_a_wrapped_digit() -> None:
    """Twenty million equal events: the ticks need more than 64 bits."""
    one = ticks(np.array([[3.0, -0.5]]))
    watched = EProcess(2, alpha=0.01)
    assert watched.add(one, np.array([20_000_000])) == 0
    assert watched.save().sums == (tuple(20_000_000 * tick for tick in one[0].tolist()),)
    assert watched.n == 20_000_000
    assert watched.crossing is not None
    assert watched.add(-one, np.array([20_000_000])) is None
    assert watched.log_e == 0
    assert watched.crossed


def test_events_are_taken_for_repeats_until_they_show_that_they_are_none() -> None:
    effect = DesignEffect(events=True)
    assert effect.now == 2
    happened = (np.arange(64 * 40) % 32 == 0).astype(float)
    known = effect.add(happened, happened * np.where(np.arange(64 * 40) % 64 == 0, 0.5, -0.5))
    assert (np.diff(known) <= 0).all()
    assert 1 < effect.now < 1.2


def test_clusters_of_frequent_events_are_seen_too() -> None:
    # A call in three fails, and each failed one is reported three times by its arm.
    rng = np.random.default_rng(7)
    failed = rng.random(40_000) < 1 / 3
    times = np.where(failed, 3, 1)
    happened = np.repeat(failed, times).astype(float)
    lean = np.repeat(np.where(rng.random(40_000) < 0.25, 0.75, -0.25), times) * happened
    effect = DesignEffect(events=True)
    effect.add(happened, lean)
    assert 2.5 < effect.now < 4


def test_frequent_events_that_come_alone_are_no_clusters() -> None:
    rng = np.random.default_rng(8)
    happened = (rng.random(64 * 1_500) < 0.45).astype(float)
    effect = DesignEffect(events=True)
    effect.add(happened, happened * np.where(rng.random(len(happened)) < 0.25, 0.75, -0.25))
    assert effect.now < 1.1


def test_events_in_every_row_are_no_clusters() -> None:
    effect = DesignEffect(events=True)
    effect.add(np.ones(64 * 50), np.tile([0.5, -0.5], 32 * 50))
    assert 1 <= effect.now < 1.1
