"""Where automatic action only proposes, what nobody asked for waits for a yes before it begins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from bot.records import approvals
from bot.records.approvals import Approval
from bot.records.lifecycle import RunState
from fakegithub.changes import checks
from fakegithub.world.model import FakeCheckRun
from tests.playbooks.alerts.alerting import Sender
from tests.shop import GOOD, Clock, Shop

PROPOSES = "triggers: {autonomy: propose}\n"


@pytest.fixture
async def sender(shop: Shop) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(shop, session)


async def asked_to_begin(shop: Shop, sender: Sender) -> tuple[int, Approval]:
    """An alert names a change; the issue of its revert, and the approval that it waits for."""
    configured = await shop.merged("Propose only", {".github/playbooks.yml": PROPOSES})
    assert await (await shop.says(configured, "/approve", shop.olivia)).reaction() == "+1"
    broken = await shop.broken()
    await sender.cloudevent("eval.drop", pull_request=broken)
    incident = await sender.incident("active", "revert")
    approval = await waiting(shop, incident.id)
    assert not await shop.hotfixes()
    return incident.issue or 0, approval


async def waiting(shop: Shop, incident: str, but: str = "") -> Approval:
    async def look() -> Approval | None:
        run = await shop.last_run()
        if run is None or run.incident_id != incident:
            return None
        async with shop.bot.read_only.connect() as conn:
            found = await approvals.latest(conn, run.id)
        return found if found and found.state == "pending" and found.id != but else None

    found: Approval = await shop.eventually(look)
    return found


async def test_a_yes_has_it_begin_and_merge_and_the_plan_was_shown(
    shop: Shop, sender: Sender
) -> None:
    issue, approval = await asked_to_begin(shop, sender)

    async def asked() -> str | None:
        body = (await shop.alice.issue(issue))["body"]
        return body if "Decide whether this revert begins" in body else None

    said = str(await shop.eventually(asked))
    assert "merge the pull request: **compensatable**" in said
    assert approval.plan_digest[:12] in said
    assert (approval.of, approval.requested_by) == ("person", "incident-playbooks")
    refused = await shop.says(issue, "/approve", shop.mallory)
    assert await refused.reaction() == "confused"
    assert not await shop.hotfixes()
    assert await (await shop.says(issue, "/approve", shop.bob)).reaction() == "+1"
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_the_button_on_the_commit_says_no(shop: Shop, sender: Sender) -> None:
    _, approval = await asked_to_begin(shop, sender)
    repository = shop.repository

    async def offered() -> FakeCheckRun | None:
        ours = [r for r in repository.check_runs.values() if r.name == "hotfix"]
        return next((r for r in ours if r.head_sha == approval.commit), None)

    check = await shop.eventually(offered)
    assert check.conclusion == "action_required"
    bob = shop.github.world.users["bob"]
    checks.press(shop.github.world, repository, check, "reject", bob)

    async def ended() -> bool:
        run = await shop.last_run()
        return run is not None and run.state is RunState.CANCELLED

    await shop.eventually(ended)
    assert check.conclusion == "neutral"
    assert not await shop.hotfixes()


@pytest.mark.thorough
async def test_a_yes_to_a_plan_that_is_another_by_now_begins_nothing(
    shop: Shop, sender: Sender
) -> None:
    issue, approval = await asked_to_begin(shop, sender)
    # The same lines are changed again: what was a clean revert conflicts now.
    await shop.merged("Round totals", {"shop.py": "def total(prices):\n    return 1\n"})
    await shop.says(issue, "/approve", shop.bob)
    run = await shop.last_run()
    assert run is not None
    anew = await waiting(shop, run.incident_id or "", but=approval.id)
    assert anew.plan_digest != approval.plan_digest
    assert not await shop.hotfixes()


@pytest.mark.thorough
async def test_a_branch_that_is_renamed_meanwhile_is_asked_about_and_is_the_one_that_is_mended(
    shop: Shop, sender: Sender
) -> None:
    issue, approval = await asked_to_begin(shop, sender)
    await shop.olivia.post("branches/main/rename", new_name="trunk")
    await shop.says(issue, "/approve", shop.bob)
    run = await shop.last_run()
    assert run is not None
    await waiting(shop, run.incident_id or "", but=approval.id)
    await shop.says(issue, "/approve", shop.bob)
    hotfix = await shop.merged_hotfix()
    assert hotfix["base"]["ref"] == "trunk"
    assert await shop.alice.file("shop.py", "trunk") == GOOD


@pytest.mark.thorough
async def test_a_question_that_nobody_answers_ends_and_nothing_was_done(
    shop: Shop, sender: Sender, clock: Clock
) -> None:
    issue, _ = await asked_to_begin(shop, sender)
    clock.forward(hours=73)

    async def ended() -> bool:
        return bool((await shop.alice.issue(issue))["state"] == "closed")

    await shop.eventually(ended)
    said = (await shop.alice.issue(issue))["body"]
    assert "nobody approved this revert in time" in said
    assert not await shop.hotfixes()
