"""Revert, as people meet it: they comment on the pull request that broke things."""

from __future__ import annotations

import json

from tests.shop import GOOD, Shop


async def test_revert_on_the_merged_pull_request_makes_main_safe_again(shop: Shop) -> None:
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert because totals are zero")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    [hotfix] = await shop.hotfixes()
    assert (await shop.alice.pull_request(hotfix["number"]))["merged"]
    [incident] = await shop.incidents()
    assert incident["state"] == "closed"
    status, last = await shop.from_bot(broken)
    assert status.startswith("**Done: ")
    assert last.startswith("@alice Done: ")


async def test_the_report_on_main_is_confirmed_and_canonical(shop: Shop) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/revert because totals are zero")).reaction()
    [hotfix] = await shop.hotfixes()
    identity = await shop.incident_of(hotfix)
    path = f"apps/orchestrator/orchestrator/incidents/revert-{identity}.json"
    text = await shop.alice.file(path)
    assert text is not None
    report = json.loads(text)
    assert text == json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert report["outcome"] == "confirmed"
    assert report["status"] == "resolved"
    assert report["reason"] == "totals are zero"
    assert report["targets"][0]["number"] == broken


async def test_a_reader_is_refused_with_one_comment(shop: Shop) -> None:
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert", shop.mallory)
    assert await answer.reaction() == "confused"
    [refusal] = await shop.from_bot(broken)
    assert "needs write access" in refusal
    assert not await shop.hotfixes()
