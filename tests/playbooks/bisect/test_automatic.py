"""Bisects nobody asked for: how they begin, and how far they go by themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.triggers import OURSELVES, BisectRequest, Source, SourceKind, Trigger
from tests.playbooks.autorevert.judging import flags_committed
from tests.playbooks.bisect.bisecting import GOOD_TRIAL, TRIAL, approved, dispatched, fixes
from tests.shop import Shop

CONFIG = """checks:
  smoke: [smoke]
  evals: [evals]
bisect:
  workflow: playbooks-trial.yml
"""


async def broken_by_the_second(
    shop: Shop, *, label: str | None = None, more: str = ""
) -> tuple[int, int]:
    """Two merged pull requests, of which only the second broke main; their numbers."""
    shop.verdicts = {"smoke": "success", "evals": "success"}
    workflow = TRIAL.replace("COMMAND", GOOD_TRIAL)
    setup: dict[str, str | None] = {
        ".github/workflows/playbooks-trial.yml": workflow,
        ".github/playbooks.yml": CONFIG + more,
    }
    if more:  # what binds automatic action counts once a Founder approved it
        number = await shop.merged("Configure", setup)
        assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"
    else:
        await approved(shop, CONFIG)
        await shop.alice.push("main", setup, "Configure")
    first = await shop.merged("Innocent", {"innocent.txt": "x\n"})
    shop.verdicts["smoke"] = "failure"
    branch = f"guilty-{shop.repository.name}"
    second = await shop.bob.open_pull_request("Guilty", {"bug": "x\n"}, branch=branch)
    if label is not None:
        await shop.alice.label(second, label)
    await shop.bob.merge(second, "squash")
    await settled(shop)
    return first, second


async def settled(shop: Shop) -> None:
    """Wait until CI has spoken on main's head."""
    head = await shop.alice.head("main")

    async def spoken() -> bool:
        found = await shop.alice.get(f"commits/{head}/status")
        return any(each["context"] == "evals" for each in found["statuses"])

    await shop.eventually(spoken)


async def asked_by_nobody(shop: Shop) -> None:
    """Have the bot look for the culprit by itself."""
    [repository] = [
        each for each in await all_served(shop) if each.full_name == shop.repository.full_name
    ]
    main = await shop.alice.head("main")
    trigger = Trigger(
        source=Source(kind=SourceKind.CHECK_RUN, object_id=f"bisect:smoke:{main}"),
        repository=repository,
        actor=OURSELVES,
        received_at=shop.bot.clock(),
        request=BisectRequest(bad=main, check="smoke", reason="it failed twice"),
    )
    await shop.bot.inbox.put(trigger)


async def all_served(shop: Shop) -> list[Any]:
    github = shop.bot.github
    return [
        repository
        async for installation in github.installations.list()
        async for repository in github.installations.repositories(installation.id)
    ]


async def the_only_fix(shop: Shop) -> Any:
    [fix] = await shop.eventually(lambda: fixes(shop))
    return fix


async def merged(shop: Shop, number: int) -> bool:
    return bool((await shop.alice.pull_request(number))["merged"])


@pytest.mark.thorough
async def test_a_hotfix_that_did_not_cure_has_the_real_cause_looked_for(shop: Shop) -> None:
    innocent, guilty = await broken_by_the_second(shop)
    await shop.says(innocent, "/revert")
    status = await shop.standing(innocent, "did not fix it")
    assert "I asked for a bisect, an incident of its own" in status
    fix = await the_only_fix(shop)
    assert fix["title"] == f'Revert #{guilty} "Guilty"'
    assert len(await shop.incidents()) == 2
    shop.verdicts["smoke"] = "success"
    await shop.report("success", "smoke", branch=fix["head"]["ref"])
    await shop.alice.merge(fix["number"])
    assert await shop.alice.file("bug") is None
    await shop.standing(innocent, "`/cancel`")
    await shop.says(innocent, "/cancel")

    async def over() -> bool:
        return all(each["state"] == "closed" for each in await shop.incidents())

    await shop.eventually(over)


@pytest.mark.thorough
async def test_off_it_only_suggests_a_bisect(shop: Shop) -> None:
    innocent, _ = await broken_by_the_second(shop, more="triggers: {autonomy: off}\n")
    await shop.says(innocent, "/revert")
    status = await shop.standing(innocent, "did not fix it")
    assert "To find it: `/bisect " in status
    await shop.looked_again()
    assert len(await shop.incidents()) == 1
    assert dispatched(shop) == []


async def test_self_work_that_broke_main_is_taken_back_without_a_person(shop: Shop) -> None:
    _, guilty = await broken_by_the_second(shop, label="self-work")
    shop.verdicts["smoke"] = "success"
    await asked_by_nobody(shop)
    fix = await the_only_fix(shop)
    assert fix["title"] == f'Revert #{guilty} "Guilty"'
    await shop.eventually(lambda: merged(shop, fix["number"]))
    assert await shop.alice.file("bug") is None


@pytest.mark.thorough
async def test_a_persons_change_is_taken_back_by_a_person_only(shop: Shop) -> None:
    await broken_by_the_second(shop)
    shop.verdicts["smoke"] = "success"
    await asked_by_nobody(shop)
    fix = await the_only_fix(shop)
    [incident] = await shop.incidents()

    async def asked() -> bool:
        return any("Merge fix" in said for said in await shop.from_bot(incident["number"]))

    await shop.eventually(asked)
    await asyncio.sleep(0.5)
    assert not await merged(shop, fix["number"])


@pytest.mark.thorough
async def test_opted_out_changes_are_named_and_nothing_is_opened(shop: Shop) -> None:
    _, guilty = await broken_by_the_second(shop, label="playbook:off")
    await asked_by_nobody(shop)

    async def named() -> Any:
        found = await shop.incidents()
        return found[0] if found and "if you agree" in found[0]["body"] else None

    incident = await shop.eventually(named)
    assert "Comment `/revert " in incident["body"].splitlines()[0]
    assert await fixes(shop) == []
    assert guilty


@pytest.mark.thorough
async def test_what_is_only_named_is_reverted_by_the_command_it_says(shop: Shop) -> None:
    await broken_by_the_second(shop, label="playbook:off")
    await asked_by_nobody(shop)

    async def named() -> Any:
        found = await shop.incidents()
        return found[0] if found and "if you agree" in found[0]["body"] else None

    incident = await shop.eventually(named)
    [command] = [p for p in incident["body"].split("`") if p.startswith("/revert ")][:1]
    shop.verdicts["smoke"] = "success"
    await shop.says(incident["number"], command)
    await shop.merged_hotfix()
    assert await shop.alice.file("bug") is None

    async def closed() -> bool:
        return bool((await shop.alice.get(f"issues/{incident['number']}"))["state"] == "closed")

    await shop.eventually(closed)


@pytest.mark.thorough
async def test_our_own_commits_are_never_suspects(shop: Shop) -> None:
    # Nothing can be tried, and nobody checked what lies between: all of it is suspected.
    good = await shop.alice.head("main")
    shop.verdicts = {}
    guilty = await shop.merged("Guilty", {"bug": "x\n"})
    await flags_committed(shop)
    flags = await shop.alice.head("main")
    last = await shop.merged("Later", {"later.txt": "x\n"})
    await shop.report("failure", branch="main")
    issue = await shop.alice.open_issue("main is red")
    await shop.says(issue, f"/bisect {good}..main check smoke")
    said = await shop.standing(issue, "I cannot try commits here")
    for number in (guilty, last):
        assert (await shop.alice.pull_request(number))["merge_commit_sha"][:7] in said
    assert flags[:7] not in said
