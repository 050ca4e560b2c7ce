"""Where no commit can be tried, a bisect says so, and what leads on; it ends with the failure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.playbooks.bisect.bisecting import (
    CONFIG,
    GOOD_TRIAL,
    TRIAL,
    approved,
    dispatched,
    fixes,
    history,
)
from tests.shop import Clock, Shop

CANNOT = "I cannot try commits here: set"


async def closed(shop: Shop) -> Any:
    found = await shop.incidents()
    return found[0] if found and found[0]["state"] == "closed" else None


@pytest.mark.thorough
async def test_it_says_what_to_set_and_whom_it_suspects(shop: Shop) -> None:
    past = await history(shop, 3, 2, trial=None)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, CANNOT)
    first = said.splitlines()[0]
    assert "set `bisect.workflow` or `bisect.runner: sandbox`, then comment `/retry`" in first
    assert "bisect:\n  workflow: trial.yml" in said
    assert "  runner: sandbox\n" in said
    assert "budget" not in said
    for commit in past.commits[1:]:
        assert commit[:7] in said
    assert dispatched(shop) == []


@pytest.mark.thorough
async def test_it_resolves_when_the_check_is_green_again(shop: Shop) -> None:
    past = await history(shop, 3, 2, trial=None)
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()
    await shop.standing(issue, CANNOT)
    shop.verdicts = {"smoke": "success"}
    await shop.alice.push("main", {"bug": None}, "Mend it")
    incident = await shop.eventually(lambda: closed(shop))
    assert incident["state_reason"] == "completed"
    assert "passes on `main` again" in incident["body"].splitlines()[0]
    assert await answer.reaction() == "+1"
    assert "passes on `main` again" in await shop.final_word(issue)


@pytest.mark.thorough
async def test_once_a_workflow_is_there_a_retry_finds_the_culprit(shop: Shop) -> None:
    past = await history(shop, 6, 4, trial=None)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.standing(issue, CANNOT)
    # As long as nothing is set up, the same is said again.
    await shop.says(issue, "/retry")
    await shop.told(issue, CANNOT, times=2)
    await approved(shop, CONFIG)
    files: dict[str, str | None] = {
        ".github/workflows/playbooks-trial.yml": TRIAL.replace("COMMAND", GOOD_TRIAL),
        ".github/playbooks.yml": CONFIG,
    }
    shop.verdicts = {"smoke": "failure"}
    await shop.alice.push("main", files, "Try commits")
    assert await (await shop.says(issue, "/retry")).reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'


@pytest.mark.thorough
async def test_where_the_servers_sandbox_is_off_only_a_workflow_is_named(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.bot.pool, "is_off", True)
    config = "bisect:\n  runner: sandbox\n  commands:\n    smoke: [test, '!', -e, bug]\n"
    await approved(shop, config)
    past = await history(shop, 3, 2, trial=None, more={1: {".github/playbooks.yml": config}})
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, CANNOT)
    assert "set `bisect.workflow`, then comment `/retry`" in said.splitlines()[0]
    assert "runner: sandbox" not in said
    assert "switched off" in said


@pytest.mark.thorough
async def test_a_paused_search_too_ends_when_the_check_is_green_again(shop: Shop) -> None:
    past = await history(shop, 12, 7, more={1: {".github/playbooks.yml": f"{CONFIG}  trials: 1\n"}})
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "Comment `/retry`")
    assert "is green on `main` again" in said
    shop.verdicts = {"smoke": "success"}
    await shop.alice.push("main", {"bug": None}, "Mend it")
    await shop.eventually(lambda: closed(shop))


@pytest.mark.thorough
async def test_a_search_in_the_past_of_a_green_branch_is_not_over_at_once(shop: Shop) -> None:
    past = await history(shop, 6, 2, trial=None)
    await past.says_ci_on_the_end("success")
    await shop.alice.set_status(past.commits[4], "failure", "smoke")
    words = f"/bisect {past.commits[0]}..{past.commits[4]} check smoke"
    issue, _ = await past.bisected(words)
    await shop.standing(issue, CANNOT)
    await shop.looked_again()
    assert await closed(shop) is None
    assert await (await shop.says(issue, "/cancel")).reaction() == "+1"
    await shop.eventually(lambda: closed(shop))


@pytest.mark.thorough
@pytest.mark.parametrize("ends", ["cancelled", "given up"])
async def test_what_ended_early_starts_anew_by_the_command_it_says(
    shop: Shop, clock: Clock, ends: str
) -> None:
    past = await history(shop, 3, 2, trial=None)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.standing(issue, CANNOT)
    if ends == "cancelled":
        await shop.says(issue, "/cancel")
    else:
        await shop.looked_again()
        clock.forward(days=15)
    last = await shop.final_word(issue)
    [command] = [part for part in last.split("`") if part.startswith("/bisect ")]
    again = await shop.alice.open_issue("main is still red")
    await shop.says(again, command)
    await shop.standing(again, CANNOT)
    # What is known was not forgotten: another word on it decides.
    words = f"/good {past.commits[1]}\n/bad {past.commits[2]}"
    await shop.says(again, words)
    await shop.says(again, words, shop.bob)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[2][:7]} "Change 2"'
