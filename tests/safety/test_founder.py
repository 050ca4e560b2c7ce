"""What cannot be undone waits for a Founder, who answers for exactly one plan."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.records import approvals, steps
from bot.records.approvals import Approval
from tests.shop import Clock, Shop

CONFIG = "founder: {people: [olivia], paths: [db/migrations/**]}\n"
MIGRATION = "db/migrations/0007_drop.sql"


async def shop_with_a_founder(shop: Shop) -> int:
    """Olivia is the Founder by configuration, which an admin approved; then a bad migration."""
    configured = await shop.merged("Name the Founder", {".github/playbooks.yml": CONFIG})
    answer = await shop.says(configured, "/approve", shop.olivia)
    assert await answer.reaction() == "+1", await shop.from_bot(configured)
    return await shop.merged("Drop a table", {MIGRATION: "DROP TABLE carts;\n"})


async def asked(shop: Shop) -> Approval:
    run = await shop.last_run()
    assert run is not None
    async with shop.bot.read_only.connect() as conn:
        found = await approvals.latest(conn, run.id)
    assert found is not None
    return found


async def test_a_revert_of_a_migration_waits_and_only_the_founder_decides(shop: Shop) -> None:
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert because carts are gone")
    said = await shop.standing(broken, "A Founder decides")
    assert f"`{MIGRATION}`" in said
    assert "merge the pull request: **irreversible**" in said
    assert "publish the hotfix: **reversible** (its branch is deleted)" in said
    approval = await asked(shop)
    assert approval.plan_digest[:12] in said
    assert not (await shop.hotfix())["merged_at"]

    refused = await shop.says(broken, "/approve", shop.bob)
    assert await refused.reaction() == "confused"
    assert "only a Founder decides it (`olivia`)" in (await shop.mentions(broken))[-1]
    assert not (await shop.hotfix())["merged_at"]

    await shop.says(broken, "/approve", shop.olivia)
    await shop.merged_hotfix()
    decided = await asked(shop)
    assert (decided.state, decided.decided_by) == ("approved", "olivia")
    async with shop.bot.read_only.connect() as conn:
        told = {each.name: each for each in await steps.of_run(conn, decided.run_id)}
    assert told["merge-pull-request-irreversibly"].reversibility == "irreversible"
    assert told["open-hotfix-pull-request"].compensation == "it is closed"


@pytest.mark.thorough
async def test_a_push_that_changes_the_plan_voids_the_approval_asked_for(shop: Shop) -> None:
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "A Founder decides")
    before = await asked(shop)
    hotfix = await shop.hotfix()
    shop.verdicts["smoke"] = "pending"
    await shop.bob.push(hotfix["head"]["ref"], {"more.txt": "x\n"}, "One more thing")

    async def voided() -> bool:
        return (await asked(shop)).id != before.id

    await shop.eventually(voided)
    await shop.says(broken, "/approve", shop.olivia)
    shop.verdicts["smoke"] = "success"
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]
    assert (await asked(shop)).commit == await shop.alice.head(hotfix["head"]["ref"])


@pytest.mark.thorough
async def test_a_yes_to_a_question_that_is_not_asked_any_more_is_answered(shop: Shop) -> None:
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "A Founder decides")
    branch = (await shop.hotfix())["head"]["ref"]
    await shop.report("pending", branch=branch)
    await shop.standing(broken, "I am waiting for")
    late = await shop.says(broken, "/approve", shop.olivia)
    assert await late.reaction() == "confused"
    assert "has its answer, or has changed" in (await shop.mentions(broken))[-1]
    await shop.report("success", branch=branch)
    await shop.standing(broken, "A Founder decides")
    await shop.says(broken, "/approve", shop.olivia)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_base_that_moves_under_the_same_lines_asks_again(shop: Shop) -> None:
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "A Founder decides")
    first = await asked(shop)
    await shop.merged("Say more", {MIGRATION: "-- carefully\nDROP TABLE carts;\n"})
    await shop.standing(broken, "esolve 1 conflicting path")
    assert (await asked(shop)).id == first.id
    assert (await asked(shop)).state == "void"


@pytest.mark.thorough
async def test_a_request_that_nobody_answered_expires_and_retry_asks_again(
    shop: Shop, clock: Clock
) -> None:
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "A Founder decides")
    first = await asked(shop)
    clock.forward(hours=73)
    late = await shop.says(broken, "/approve", shop.olivia)
    assert await late.reaction() == "confused"
    assert "has expired" in (await shop.mentions(broken))[-1]
    await shop.says(broken, "/retry")

    async def anew() -> Any:
        now = await asked(shop)
        return now if now.id != first.id else None

    assert (await shop.eventually(anew)).state == "pending"
    await shop.says(broken, "/approve", shop.olivia)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_founder_who_left_decides_nothing(shop: Shop) -> None:
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "A Founder decides")
    shop.github.set_collaborator(shop.repository, "olivia", "read")
    shop.github.set_collaborator(shop.repository, "bob", "admin")
    gone = await shop.says(broken, "/approve", shop.olivia)
    assert await gone.reaction() == "confused"
    await shop.says(broken, "/approve", shop.bob)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_who_asked_does_not_approve_while_there_is_another_founder(shop: Shop) -> None:
    shop.github.set_collaborator(shop.repository, "alice", "admin")
    broken = await shop.merged("Loosen it", {".github/playbooks.yml": "adr: {directory: adr}\n"})
    await shop.says(broken, "/revert", shop.alice)
    await shop.standing(broken, "A Founder decides")
    own = await shop.says(broken, "/approve", shop.alice)
    assert await own.reaction() == "confused"
    await shop.says(broken, "/approve", shop.olivia)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_of_a_yes_and_a_no_at_once_the_first_decides_and_the_other_is_told(
    shop: Shop,
) -> None:
    shop.github.set_collaborator(shop.repository, "bob", "admin")
    broken = await shop.merged("Loosen it", {".github/playbooks.yml": "adr: {directory: adr}\n"})
    await shop.says(broken, "/revert", shop.alice)
    await shop.standing(broken, "A Founder decides")
    yes, no = await asyncio.gather(
        shop.says(broken, "/approve", shop.olivia), shop.says(broken, "/reject", shop.bob)
    )
    assert sorted([await yes.reaction(), await no.reaction()]) == ["+1", "confused"]
    decided = await asked(shop)
    assert decided.state in ("approved", "rejected")
    run = await shop.eventually(lambda: ended(shop))
    merged = bool((await shop.hotfix())["merged_at"])
    assert merged == (decided.state == "approved"), run


async def ended(shop: Shop) -> Any:
    run = await shop.last_run()
    return run if run is not None and not run.is_live else None
