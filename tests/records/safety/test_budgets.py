"""Budgets: never exceeded by reservations, true about what was spent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records import budgets
from bot.records.budgets import LARGEST, Budget, BudgetState, window_end, window_start
from bot.records.database import open_database
from bot.records.lifecycle import IllegalMove, UnknownRecord
from bot.safety.admission import AdmissionFacts, Initiative
from bot.safety.budgets import HOTFIXES, REVERTS, book, draw
from tests.plugins.postgres import fresh_database
from tests.records.examples import NOON, trigger

TRIALS = Budget(name="trials", limit=10, window="day")


async def test_what_does_not_fit_is_refused_and_changes_nothing(conn: AsyncConnection) -> None:
    assert await budgets.reserve(conn, 1, TRIALS, "a", 8, NOON)
    assert await budgets.reserve(conn, 1, TRIALS, "b", 3, NOON) is None
    assert (await budgets.balance_of(conn, 1, TRIALS, NOON)).used == 8
    assert await budgets.reserve(conn, 1, TRIALS, "b", 2, NOON)


async def test_what_does_not_begin_has_used_no_cap(conn: AsyncConnection) -> None:
    hotfixes = Budget(name=HOTFIXES, limit=1, window="day")
    reverts = Budget(name=REVERTS, limit=1, window="day")
    asked = trigger()
    here = asked.repository.id
    await budgets.spend(conn, here, hotfixes, "an earlier one", 1, NOON)
    facts = AdmissionFacts(
        command="revert", initiative=Initiative.AUTOMATIC, draws_on=(reverts, hotfixes)
    )
    assert await draw(conn, asked, facts, NOON) == "1 hotfix PRs a day"
    assert (await budgets.balance_of(conn, here, reverts, NOON)).used == 0


async def test_the_same_reservation_twice_is_one(conn: AsyncConnection) -> None:
    await budgets.reserve(conn, 1, TRIALS, "a", 8, NOON)
    again = await budgets.reserve(conn, 1, TRIALS, "a", 8, NOON)
    assert again is not None
    assert (again.booked, again.balance.used) == (False, 8)


async def test_settling_gives_back_what_was_not_needed(conn: AsyncConnection) -> None:
    await budgets.reserve(conn, 1, TRIALS, "a", 8, NOON)
    for _ in range(2):
        change = await budgets.settle(conn, 1, TRIALS, "a", 3)
        assert (change.balance.reserved, change.balance.spent) == (0, 3)


async def test_a_reservation_is_settled_in_its_own_window(conn: AsyncConnection) -> None:
    await budgets.reserve(conn, 1, TRIALS, "a", 8, NOON)
    await budgets.settle(conn, 1, TRIALS, "a", 12)
    assert (await budgets.balance_of(conn, 1, TRIALS, NOON)).state is BudgetState.EXHAUSTED
    tomorrow = await budgets.balance_of(conn, 1, TRIALS, NOON + timedelta(days=1))
    assert tomorrow.state is BudgetState.OK


async def test_what_is_given_back_was_never_used_in_any_budget(conn: AsyncConnection) -> None:
    other = TRIALS.model_copy(update={"name": "other"})
    await budgets.spend(conn, 1, TRIALS, "stays", 2, NOON)
    await budgets.spend(conn, 1, TRIALS, "a", 3, NOON)
    await budgets.reserve(conn, 1, other, "a", 4, NOON)
    await budgets.reserve(conn, 1, other, "settled", 4, NOON)
    await budgets.settle(conn, 1, other, "settled", 1)
    for key in ("a", "a", "settled", "never"):
        await budgets.give_back(conn, 1, key)
    assert (await budgets.balance_of(conn, 1, TRIALS, NOON)).used == 2
    assert (await budgets.balance_of(conn, 1, other, NOON)).used == 0
    assert await budgets.reserve(conn, 1, other, "a", 10, NOON)


async def test_nothing_reserved_cannot_be_settled(conn: AsyncConnection) -> None:
    with pytest.raises(UnknownRecord):
        await budgets.settle(conn, 1, TRIALS, "never", 1)


async def test_spending_crosses_each_line_once(conn: AsyncConnection) -> None:
    crossed = [(await budgets.spend(conn, 1, TRIALS, str(n), 2, NOON)).crossed for n in range(7)]
    warned, used_up = BudgetState.WARNING, BudgetState.EXHAUSTED
    assert crossed == [None, None, None, warned, used_up, None, None]


async def test_spending_is_booked_once_and_never_rewritten(conn: AsyncConnection) -> None:
    await budgets.spend(conn, 1, TRIALS, "a", 2, NOON, attributed_to="pull_request:7")
    again = await budgets.spend(conn, 1, TRIALS, "a", 2, NOON, attributed_to="pull_request:7")
    assert (again.booked, again.balance.spent) == (False, 2)
    with pytest.raises(IllegalMove):
        await budgets.spend(conn, 1, TRIALS, "a", 3, NOON, attributed_to="pull_request:7")


async def test_a_report_of_one_key_is_booked_in_one_budget_of_one_repository(
    conn: AsyncConnection,
) -> None:
    here, there = trigger().repository, trigger().repository.model_copy(update={"id": 99})
    tokens = Budget(name="tokens", limit=10, window="day")
    booked = partial(book, conn, key="key-1", amount=1, by="agent", at=NOON)
    assert (await booked(here, TRIALS)).booked
    assert not (await booked(here, TRIALS)).booked
    for repository, budget in ((here, tokens), (there, TRIALS)):
        with pytest.raises(IllegalMove):
            await booked(repository, budget)
        assert (await budgets.balance_of(conn, repository.id, budget, NOON)).used == 0


@pytest.mark.parametrize("amount", [-1, LARGEST + 1, True, 1.5])
async def test_an_amount_is_a_whole_number_within_bounds(
    conn: AsyncConnection, amount: int
) -> None:
    with pytest.raises(ValueError, match="whole number"):
        await budgets.reserve(conn, 1, TRIALS, "a", amount, NOON)
    with pytest.raises(ValueError, match="whole number"):
        await budgets.spend(conn, 1, TRIALS, "a", amount, NOON)


async def test_parallel_reservations_never_exceed_the_limit(engine: AsyncEngine) -> None:
    async def one(n: int) -> bool:
        async with engine.begin() as conn:
            return await budgets.reserve(conn, 1, TRIALS, str(n), 1, NOON) is not None

    assert sum(await asyncio.gather(*(one(n) for n in range(40)))) == 10


@pytest.mark.thorough
async def test_two_replicas_share_one_budget_of_100_among_1000(
    postgres_server: str, migrated_postgresql: str
) -> None:
    budget = Budget(name="trials", limit=100, window="day")
    with fresh_database(postgres_server, migrated_postgresql) as url:
        replicas = [open_database(url), open_database(url)]
        # As many as their pools have connections: on a busy machine the others wait here for ever,
        # and not there for half a minute.
        turns = asyncio.Semaphore(30)

        async def one(n: int) -> bool:
            async with turns, replicas[n % 2].begin() as conn:
                return await budgets.reserve(conn, 1, budget, str(n), 1, NOON) is not None

        try:
            done = await asyncio.gather(*(one(n) for n in range(1000)))
            async with replicas[0].begin() as conn:
                balance = await budgets.balance_of(conn, 1, budget, NOON)
        finally:
            for each in replicas:
                await each.dispose()
    assert sum(done) == 100
    assert balance.used == 100


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(["hour", "day", "week", "month"]),
)
def test_every_moment_is_in_exactly_one_window(at: datetime, window: budgets.Window) -> None:
    start, end = window_start(window, at), window_end(window, at)
    assert start <= at < end
    assert window_start(window, end) == end
    assert window_end(window, end - timedelta(microseconds=1)) == end
