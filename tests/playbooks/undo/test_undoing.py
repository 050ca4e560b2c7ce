"""A Run that fails after it did something takes it back, newest first, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from bot.records import steps
from bot.records.lifecycle import RunState
from bot.records.tables.intake import notifications
from bot.records.tables.safety import audit_entries
from tests.shop import GOOD, Answer, Shop


async def waiting_hotfix(shop: Shop) -> tuple[int, Answer, Any]:
    """A broken pull request, the answer to `/revert` on it, and the hotfix that waits for CI."""
    shop.verdicts.clear()
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert because totals are zero")
    await shop.standing(broken, "I am waiting for")
    return broken, answer, await shop.hotfix()


@asynccontextmanager
async def without(shop: Shop, permission: str) -> AsyncIterator[Callable[[], None]]:
    """Somebody takes a permission from the App; what is given brings it back."""
    permissions = shop.installation().permissions
    had = permissions.pop(permission)
    shop.forget_tokens()

    def give() -> None:
        permissions[permission] = had
        shop.forget_tokens()

    try:
        yield give
    finally:
        if permission not in permissions:
            give()


async def branch_is_gone(shop: Shop, hotfix: Any) -> bool:
    status, _, _ = await shop.alice.request("GET", f"git/ref/heads/{hotfix['head']['ref']}")
    return bool(status == 404)


async def last_audited(shop: Shop, action: str) -> Any:
    query = (
        sa.select(audit_entries.c.refs)
        .where(
            audit_entries.c.repository_id == shop.repository.id, audit_entries.c.action == action
        )
        .order_by(audit_entries.c.seq.desc())
        .limit(1)
    )
    async with shop.bot.read_only.connect() as conn:
        return (await conn.execute(query)).scalar()


async def test_a_revert_that_breaks_off_closes_its_hotfix_and_deletes_its_branch(
    shop: Shop,
) -> None:
    broken, answer, hotfix = await waiting_hotfix(shop)
    async with without(shop, "statuses") as give_back:
        assert await answer.reaction() == "confused"
        status = await shop.standing(broken, "Fix the cause, then comment `/retry`")
        assert "1. open the hotfix pull request: it is closed" in status
        assert "2. publish the hotfix: its branch is deleted" in status
        [issue] = await shop.incidents()
        assert "What it did is undone, newest first" in issue["body"]
        assert "publish the hotfix: its branch is deleted" in (await shop.mentions(broken))[-1]
        assert (await shop.hotfix())["state"] == "closed"
        assert await branch_is_gone(shop, hotfix)
        run = await shop.last_run()
        assert run is not None
        assert run.state is RunState.ROLLED_BACK
        async with shop.bot.read_only.connect() as conn:
            names = [each.name for each in await steps.of_run(conn, run.id)]
        assert names.index("publish-hotfix") < names.index("open-hotfix-pull-request")
        told = await last_audited(shop, "run.failed")
        assert '"undone":["open-hotfix-pull-request","publish-hotfix"]' in told
        give_back()
        shop.verdicts["smoke"] = "success"
        again = await shop.says(issue["number"], "/retry")
        assert await again.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.incidents()) == 1


@pytest.mark.thorough
async def test_an_undo_that_fails_says_what_is_left_and_how_to_do_it_by_hand(shop: Shop) -> None:
    broken, answer, hotfix = await waiting_hotfix(shop)
    async with without(shop, "contents"):
        # Neither can the base be read any more, nor the branch be deleted.
        await shop.alice.push("main", {"more.txt": "x\n"}, "One more thing")
        assert await answer.reaction() == "confused"
        status = await shop.standing(broken, "Fix the cause, then comment `/retry`")
        assert "1. open the hotfix pull request: it is closed" in status
        assert "**Could not be undone. Do it by hand:**" in status
        assert f"- publish the hotfix: delete the branch `{hotfix['head']['ref']}`" in status
        assert "it lacks contents=" in status
        run = await shop.last_run()
        assert run is not None
        assert run.state is RunState.ROLLBACK_FAILED
        assert '"left":["publish-hotfix"]' in await last_audited(shop, "run.failed")
        async with shop.bot.read_only.connect() as conn:
            query = sa.select(notifications).where(notifications.c.id == f"{run.id}:left")
            told = (await conn.execute(query)).one()
        assert told.audience == "founder"
        # Nobody's address is configured here; what its severity says does not hold it back.
        assert "severity" not in (told.reason or "")
    assert (await shop.hotfix())["state"] == "closed"
    assert not await branch_is_gone(shop, hotfix)


@pytest.mark.thorough
async def test_what_a_cancel_could_not_undo_is_undone_by_hand_as_it_says(shop: Shop) -> None:
    broken, _, hotfix = await waiting_hotfix(shop)
    shop.repository.refusals.refuse("branch_deletion")
    await shop.says(broken, "/cancel")
    said = await shop.final_word(broken)
    number, branch = hotfix["number"], hotfix["head"]["ref"]
    assert f"Undo the rest of hotfix #{number} by hand: I could not." in said
    assert f"delete the branch `{branch}`" in said
    await shop.alice.delete(f"git/refs/heads/{branch}")
    # Nothing stands in the way of the next one.
    shop.verdicts["smoke"] = "success"
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
