"""A yes is to the plan that was asked about when it was given, and to none that came after."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.commands.approve import _to_another_plan
from bot.records import approvals
from bot.records.approvals import Approval
from bot.triggers import ApproveRequest
from tests.records.examples import NOON, trigger

X, Y = "1" * 40, "2" * 40
SECOND = timedelta(seconds=1)


async def ask(conn: AsyncConnection, commit: str, plan: str, after: timedelta) -> Approval:
    return await approvals.ask(
        conn, "run-1", 1, commit=commit, plan_digest=plan, requested_by="bob", at=NOON + after,
        expires_at=NOON + timedelta(hours=1),
    )  # fmt: skip


async def test_what_was_asked_before_by_another_plan_is_known(conn: AsyncConnection) -> None:
    first = await ask(conn, X, "a", timedelta())
    assert await approvals.asked_otherwise(conn, first) == frozenset()
    # The same plan, asked anew because nobody answered in time, is no other.
    again = await ask(conn, X, "a", SECOND)
    assert await approvals.asked_otherwise(conn, again) == frozenset()
    other = await ask(conn, Y, "b", 2 * SECOND)
    assert await approvals.asked_otherwise(conn, other) == {X}


@pytest.mark.parametrize(
    ("before", "said_after", "named", "counts"),
    [
        # Nothing else was asked before: whatever comes is to this.
        ((), -5, None, True),
        # But not what was said long before.
        ((), -200, None, False),
        # It was on its way when the plan changed.
        ((X,), -1, None, False),
        ((X,), 0, None, True),
        ((X,), 5, None, True),
        # Who names the new commit has seen it.
        ((X,), -1, Y[:12], True),
        ((X,), -1, X[:12], False),
        # Where both plans are about one commit, its name tells nothing.
        ((X, Y), -1, Y[:12], False),
    ],
)
async def test_a_yes_that_was_on_its_way_is_to_the_plan_before(
    conn: AsyncConnection, before: tuple[str, ...], said_after: int, named: str | None, counts: bool
) -> None:
    asked = await ask(conn, Y, "b", timedelta())
    said = trigger().model_copy(
        update={
            "request": ApproveRequest(approval=named),
            "received_at": NOON + said_after * SECOND,
        }
    )
    refused = _to_another_plan(said, asked, frozenset(before))
    assert (refused is None) is counts
