"""What is offered under the bot's title is the bot's: what others push to that branch is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakegithub.deliveries.delivery_faults import Lose
from fakegithub.world.model import Protection
from tests.security.test_records import entries, forged, path_of
from tests.shop import Shop

BRANCH = "playbooks/outcomes"


async def recovered(shop: Shop) -> tuple[Any, int, int]:
    """A revert where main takes pull requests only: its report, the issue, the outcomes' number."""
    broken = await shop.broken()
    shop.github.protect(shop.repository, "main", Protection(reviews=1))
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "needs 1 more approval")
    hotfix = await shop.hotfix()
    await shop.bob.review(hotfix["number"])
    assert await answer.reaction() == "+1"
    [issue] = await shop.incidents()
    report = await shop.report_of(await shop.merged_hotfix(), "playbooks/records")
    [outcomes] = [p for p in await shop.alice.get("pulls") if p["head"]["ref"] == BRANCH]
    return report, int(issue["number"]), int(outcomes["number"])


async def brought(shop: Shop, number: int) -> dict[str, str]:
    files = await shop.alice.get(f"pulls/{number}/files", per_page="100")
    return {
        each["filename"]: await shop.alice.file(each["filename"], BRANCH) or "" for each in files
    }


async def told(shop: Shop, number: int) -> list[str]:
    return [each for each in await shop.from_bot(number) if "Somebody else pushed" in each]


@pytest.mark.thorough
async def test_what_a_writer_pushes_there_is_not_offered_and_said_once(shop: Shop) -> None:
    report, _, number = await recovered(shop)
    before = await brought(shop, number)
    assert path_of(report) in before
    files: dict[str, str | None] = {path_of(report): forged(report), "src/mine.py": "evil = 1\n"}
    change = await shop.bob.push(BRANCH, files, "Mine")

    async def mended() -> bool:
        return await brought(shop, number) == before

    await shop.eventually(mended)

    async def said() -> list[str]:
        return await told(shop, number)

    [words] = await shop.eventually(said)
    assert change[:12] in words
    assert "`src/mine.py`" in words
    [entry] = await entries(shop)
    assert entry.refs == {"branch": BRANCH, "commit": change}
    assert "src/mine.py" in entry.data["paths"]
    commits = await shop.alice.get(f"pulls/{number}/commits")
    assert commits[-1]["author"]["login"] == "playbooks[bot]"
    assert (await shop.alice.pull_request(number))["state"] == "open"
    await shop.looked_again()
    assert len(await told(shop, number)) == len(await entries(shop)) == 1


@pytest.mark.thorough
async def test_unheard_of_it_is_found_before_anything_is_built_upon_it(shop: Shop) -> None:
    report, issue, first = await recovered(shop)
    await shop.alice.review(first)
    await shop.alice.merge(first)
    shop.github.faults.on_delivery(Lose(recorded=False), event="^push$", times=None)
    await shop.bob.patch(f"issues/{issue}", state="open")

    async def offered() -> Any:
        found = [p for p in await shop.alice.get("pulls") if p["head"]["ref"] == BRANCH]
        return found[0]["number"] if found else None

    number = await shop.eventually(offered)
    path = path_of(report)
    await shop.bob.push(BRANCH, {path: forged(report), "src/mine.py": "evil = 1\n"}, "Mine")
    await shop.bob.patch(f"issues/{issue}", state="closed")

    async def said() -> list[str]:
        return await told(shop, number)

    await shop.eventually(said)

    async def resolved() -> Any:
        found = json.loads(await shop.alice.file(path, BRANCH) or "{}")
        return found if found.get("status") == "resolved" else None

    assert "title" not in await shop.eventually(resolved)
    assert "src/mine.py" not in await brought(shop, number)
    commits = await shop.alice.get(f"pulls/{number}/commits")
    assert commits[-1]["author"]["login"] == "playbooks[bot]"


@pytest.mark.thorough
async def test_it_is_looked_at_now_and_then_without_a_delivery(shop: Shop) -> None:
    _, _, number = await recovered(shop)
    before = await brought(shop, number)
    shop.github.faults.on_delivery(Lose(recorded=False), event="^push$", times=None)
    await shop.bob.push(BRANCH, {"src/mine.py": "evil = 1\n"}, "Mine")
    repository = shop.bot.gate_reporter._repositories[shop.repository.id]
    await shop.bot.records_keeper.keep(repository)
    assert await brought(shop, number) == before
    head = await shop.alice.head(BRANCH)
    await shop.bot.records_keeper.keep(repository)
    assert await shop.alice.head(BRANCH) == head
    await shop.bob.push(BRANCH, {"src/mine.py": "evil = 2\n"}, "Again")
    await shop.bot.records_keeper.keep(repository)
    assert await brought(shop, number) == before
    assert len(await told(shop, number)) == 2
