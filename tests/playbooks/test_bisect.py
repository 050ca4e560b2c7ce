"""Bisect, as people meet it: a check is red, somebody asks since when."""

from __future__ import annotations

import json

from bot.playbooks.bisect_finding import replay
from tests.playbooks.bisecting import dispatched, fixes, history
from tests.playbooks.conftest import Shop


async def test_results_that_exist_name_the_culprit_with_no_trial_in_under_20_requests(
    shop: Shop,
) -> None:
    past = await history(shop, 200, 120, trial=None)
    await past.says_ci(120, twice=True)
    before = shop.bot.github.requests.total()
    issue, _ = await past.bisected()

    async def found() -> object:
        return await fixes(shop)

    [fix] = await shop.eventually(found)
    print("requests", shop.bot.github.requests.total() - before)
    assert fix["title"] == f'Revert {past.commits[120][:9]} "Change 120"'
    assert dispatched(shop) == []
    identity = fix["head"]["ref"].removeprefix("fix/bisect-")
    path = f"apps/orchestrator/orchestrator/incidents/bisect-{identity}.json"
    report = json.loads(await shop.alice.file(path, fix["head"]["ref"]) or "")
    assert report["finding"]["culprit"] == past.commits[120]
    assert report["known_results"] == 402
    text = (await shop.alice.file(path, fix["head"]["ref"]) or "").encode()
    assert replay(text) == text
    print(issue, fix["body"])
