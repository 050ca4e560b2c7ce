"""Bisect, as people meet it: a check is red, somebody asks since when."""

from __future__ import annotations

import json

from bot.demo.world import Event
from bot.playbooks.bisect_finding import replay
from tests.playbooks.bisecting import (
    FLAKY_TRIAL,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
)
from tests.playbooks.conftest import Shop


async def test_results_that_exist_name_the_culprit_with_no_trial_in_under_20_requests(
    shop: Shop,
) -> None:
    past = await history(shop, 200, 120, trial=None)
    await past.says_ci(120, twice=True)
    sent = shop.bot.github.requests.total
    before, named = sent(), []

    def hear(event: Event) -> None:
        comment = event.payload.get("comment") or {}
        if "the culprit is found" in str(comment.get("body")):
            named.append(sent() - before)

    shop.github.world.listen(hear)
    issue, _ = await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert named[0] < 20
    assert fix["title"] == f'Revert {past.commits[120][:9]} "Change 120"'
    assert dispatched(shop) == []
    assert f"Incident: #{issue + 1}" in fix["body"]


async def test_the_report_replays_from_its_log_to_the_same_bytes(shop: Shop) -> None:
    past = await history(shop, 30, 12, trial=None)
    await past.says_ci(12, twice=True)
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    text = await committed(shop, fix, "bisect")
    report = json.loads(text)
    assert report["finding"]["culprit"] == past.commits[12]
    assert report["known_results"] == 62
    assert replay(text.encode()) == text.encode()
    # Another log leads to another finding: the bytes come from it, not from what was written.
    report["log"] = report["log"][:20]
    canonical = json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert replay(canonical.encode()) != canonical.encode()


async def test_trials_find_the_culprit_though_the_check_flakes(shop: Shop) -> None:
    past = await history(shop, 40, 23, trial=FLAKY_TRIAL)
    shop.verdicts = {"smoke": "success"}
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[23][:9]} "Change 23"'
    assert len(dispatched(shop)) < 60
    assert hidden_refs(shop) == []

    async def asked() -> bool:
        return any("Merge fix" in said for said in await shop.from_bot(issue))

    await shop.eventually(asked)
    await shop.alice.merge(fix["number"])
    assert await answer.reaction() == "+1"
    [incident] = await shop.incidents()
    assert incident["state"] == "closed"
