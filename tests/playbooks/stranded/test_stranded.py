"""A Run that an update of the bot ended is never silent: people are told, `/retry` goes on."""

from __future__ import annotations

import pytest

from bot.playbooks.steps import Step
from bot.records import incidents, runs
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.runs import StoredRun
from tests.playbooks.autorevert.judging import audited
from tests.playbooks.stranded.updating import end_by_update
from tests.playbooks.undo.test_undoing import waiting_hotfix
from tests.shop import Shop


async def stranded(shop: Shop) -> tuple[int, StoredRun]:
    """A revert whose hotfix waits for CI when an update ends it."""
    broken, _, _ = await waiting_hotfix(shop)
    run = await shop.last_run()
    assert run is not None
    await end_by_update(shop, run, at=Step.READ_PULL_REQUEST)
    await shop.asked(broken, times=1)
    return broken, run


async def test_a_run_that_cannot_be_replayed_is_told_of_and_retry_brings_main_back(
    shop: Shop,
) -> None:
    broken, run = await stranded(shop)
    status = await shop.standing(broken, "Comment `/retry`: this bot was updated")
    assert status.splitlines()[0].startswith("**Comment `/retry`")
    said = await shop.asked(broken, times=1)
    assert "I was updated while this was under way" in said[0]
    assert "`/retry`" in said[0]
    async with shop.bot.read_only.connect() as conn:
        ended = await runs.find(conn, run.id)
    assert ended is not None
    assert ended.state is RunState.FAILED
    shop.verdicts["smoke"] = "success"
    answer = await shop.says(broken, "/retry")
    assert await answer.reaction() == "+1"
    assert "def total" in (await shop.alice.file("shop.py", "main") or "")
    merged = [pull for pull in await shop.hotfixes() if pull["merged_at"]]
    assert len(merged) == 1
    assert len(await shop.incidents()) == 1


@pytest.mark.sampled("/approve")
@pytest.mark.parametrize("command", ["/cancel", "/approve", "/reject", "/status"])
async def test_no_command_is_answered_with_a_thumb_for_a_run_that_is_dead(
    shop: Shop, command: str
) -> None:
    broken, _ = await stranded(shop)
    answer = await shop.says(broken, command)
    reaction = await answer.reaction()
    said = "\n".join(await shop.from_bot(broken))
    assert "/retry" in said
    if command == "/cancel":
        # That it does: nothing waits any more, and what the Run left is named.
        assert reaction == "+1"
        [hotfix] = await shop.hotfixes()
        assert f"Close `#{hotfix['number']}` yourself" in said
    else:
        assert command == "/status" or reaction == "confused"


@pytest.mark.thorough
async def test_a_new_revert_takes_the_place_of_one_that_is_dead(shop: Shop) -> None:
    broken, _ = await stranded(shop)
    shop.verdicts["smoke"] = "success"
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1"
    assert len([pull for pull in await shop.hotfixes() if pull["merged_at"]]) == 1


@pytest.mark.thorough
async def test_a_person_closes_the_issue_and_whoever_asks_later_is_served(shop: Shop) -> None:
    broken, run = await stranded(shop)
    [issue] = await shop.incidents()
    said = await shop.from_bot(issue["number"])
    await shop.bob.patch(f"issues/{issue['number']}", state="closed", state_reason="completed")

    async def resolved() -> Incident | None:
        async with shop.bot.read_only.connect() as conn:
            [found] = await incidents.list_recent(conn, shop.repository.id)
        return None if found.is_open else found

    incident = await shop.eventually(resolved)
    assert (incident.id, incident.status) == (run.incident_id, IncidentStatus.RESOLVED)
    entry = await audited(shop, "incident.resolved")
    assert (entry.actor, entry.data["reason"]) == ("bob", "its issue was closed as completed")
    await shop.alone()
    assert (await shop.alice.issue(issue["number"]))["state"] == "closed"
    assert await shop.from_bot(issue["number"]) == said
    shop.verdicts["smoke"] = "success"
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1", await shop.from_bot(broken)
    assert len([pull for pull in await shop.hotfixes() if pull["merged_at"]]) == 1
