"""Some of the hour's requests are kept for recovery."""

from __future__ import annotations

import pytest

from bot.github.errors import RateLimited
from bot.github.transport.rate_limit import HourlyLimit

NOW = 1_790_000_000.0


def headers(remaining: int, **more: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit": "5000",
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(int(NOW) + 600),
        **more,
    }


def test_other_work_stops_at_the_reserve_and_recovery_goes_on() -> None:
    budget = HourlyLimit(reserve=0.1)
    budget.admit("GET /x", NOW, recovery=False)
    budget.learn(headers(501))
    budget.admit("GET /x", NOW, recovery=False)
    budget.learn(headers(500))
    with pytest.raises(RateLimited, match="kept for recovery") as refused:
        budget.admit("GET /x", NOW, recovery=False)
    assert refused.value.until.timestamp() == NOW + 600
    budget.admit("GET /x", NOW, recovery=True)
    budget.admit("GET /x", NOW + 601, recovery=False)


def test_the_limits_of_search_and_graphql_are_not_mistaken_for_the_hours() -> None:
    budget = HourlyLimit()
    budget.learn(headers(4000))
    budget.learn(headers(3, **{"x-ratelimit-resource": "search"}))
    budget.learn({"x-ratelimit-limit": "odd"})
    budget.learn({**headers(1), "x-ratelimit-reset": "never"})
    assert budget.remaining == 4000


def test_a_pause_holds_everyone_and_the_longest_one_counts() -> None:
    budget = HourlyLimit()
    budget.pause(NOW + 60)
    budget.pause(NOW + 10)
    assert budget.wait(NOW) == 60
    assert budget.wait(NOW + 61) == 0
    with pytest.raises(RateLimited, match="asked us to wait"):
        budget.refuse_longer_than(30, NOW, "GET /x")
