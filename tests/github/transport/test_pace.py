"""GitHub's secondary limits are kept to before it says so, and the urgent find room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.github.transport.rate_limit import (
    CREATED_A_MINUTE,
    CREATED_AN_HOUR,
    OTHERS,
    OUTSIDERS,
    POINTS_A_MINUTE,
    RECOVERY,
    TELLING,
    Paced,
    RequestCost,
    Urgency,
)

READ, WRITE = RequestCost("core", 1, creates=False), RequestCost("core", 5, creates=False)
COMMENT, QUERY = RequestCost("core", 5, creates=True), RequestCost("graphql", 1, creates=False)


def sent(
    paced: Paced, costs: RequestCost, urgency: Urgency, until: float, now: float = 0.0
) -> list[float]:
    """When each of as many such requests as possible is sent, one after the other."""
    times = []
    while now < until:
        wait = paced.wait(costs, now, urgency)
        if wait == 0:
            times.append(now)
        now += wait
    return times


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(at <= each < at + seconds for each in times) for at in times)


def test_writes_stay_within_the_points_of_each_minute() -> None:
    times = sent(Paced(), WRITE, RECOVERY, until=300)
    assert 5 * most_within(times, 60) <= POINTS_A_MINUTE["core"]
    assert len(times) >= 5 * 0.85 * POINTS_A_MINUTE["core"] / 5


def test_content_stays_within_what_may_be_created_in_a_minute_and_in_an_hour() -> None:
    times = sent(Paced(), COMMENT, RECOVERY, until=2 * 3600)
    assert most_within(times, 60) <= CREATED_A_MINUTE
    assert most_within(times, 3600) <= CREATED_AN_HOUR


def test_what_is_urgent_finds_room_where_all_else_has_filled_its_share() -> None:
    paced = Paced()
    assert sent(paced, COMMENT, OTHERS, until=0.1)
    assert paced.wait(COMMENT, 0.1, OTHERS) > 0
    assert paced.wait(COMMENT, 0.1, RECOVERY) == 0


A_REVERT = [*[READ] * 20, *[WRITE] * 20]
"""What a whole `/revert` sends; tests/playbooks/revert/test_economy.py lists it."""


def test_whatever_outsiders_do_four_reverts_in_the_same_minute_wait_for_nothing() -> None:
    paced = Paced()
    assert sent(paced, WRITE, OUTSIDERS, until=0.1)
    assert paced.until_room(WRITE, 0.1, OUTSIDERS) > 0
    assert [paced.wait(each, 0.1, RECOVERY) for each in A_REVERT * 4] == [0] * 4 * len(A_REVERT)


def test_the_more_is_reverted_the_less_is_left_to_all_else() -> None:
    paced = Paced()
    alone = len(sent(Paced(), WRITE, TELLING, until=0.1))
    for each in A_REVERT:
        assert paced.wait(each, 0.0, RECOVERY) == 0
    beside = len(sent(paced, WRITE, TELLING, until=0.1))
    # What the revert took, and as much again.
    assert 5 * (alone - beside) == 2 * sum(each.points for each in A_REVERT)
    assert [paced.wait(each, 0.1, RECOVERY) for each in A_REVERT * 3] == [0] * 3 * len(A_REVERT)


def test_however_long_recoveries_go_on_all_else_is_heard_too() -> None:
    paced, told = Paced(), 0
    for second in range(600):
        while paced.wait(WRITE, float(second), RECOVERY) == 0:
            pass
        told += paced.wait(WRITE, float(second), TELLING) == 0
    assert told >= 10 * 10


def test_whoever_gave_way_goes_on_a_minute_later() -> None:
    paced = Paced()
    for each in A_REVERT * 5:
        assert paced.wait(each, 0.0, RECOVERY) == 0
    some = len(sent(paced, WRITE, OTHERS, until=0.1))
    assert 0 < 5 * some <= POINTS_A_MINUTE["core"] / 5
    assert 0 < paced.wait(WRITE, 10.0, OTHERS) <= 50
    assert paced.wait(WRITE, 60.0, OTHERS) == 0


def test_looking_for_room_takes_none() -> None:
    paced = Paced()
    assert not any(paced.until_room(WRITE, 0.0, OUTSIDERS) for _ in range(1000))
    assert paced.wait(WRITE, 0.0, OUTSIDERS) == 0


def test_the_limits_of_rest_and_graphql_are_apart() -> None:
    paced = Paced()
    sent(paced, WRITE, RECOVERY, until=0.1)
    assert paced.wait(READ, 0.1, RECOVERY) == 0 or paced.wait(QUERY, 0.1, RECOVERY) == 0
    assert paced.wait(QUERY, 0.1, RECOVERY) == 0


@given(st.integers(1, 5), st.lists(st.sampled_from([READ, WRITE, COMMENT]), max_size=300))
def test_replicas_together_stay_within_the_limit(replicas: int, wanted: list[RequestCost]) -> None:
    points = created = 0
    for _ in range(replicas):
        paced = Paced()
        paced.part = 1 / replicas
        for costs in wanted:
            if paced.wait(costs, 0.0, RECOVERY) == 0:
                points, created = points + costs.points, created + costs.creates
    assert points <= POINTS_A_MINUTE["core"]
    assert created <= CREATED_A_MINUTE
