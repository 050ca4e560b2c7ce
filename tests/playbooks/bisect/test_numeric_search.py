"""A number got worse: trials report it, and the commit that changed it is named and reverted."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import pytest

from bot.playbooks.bisect.finding import replay
from fakegithub.changes import checks
from tests.playbooks.bisect.bisecting import (
    LATENCY,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
    running,
)
from tests.shop import Shop


async def test_a_number_that_trials_report_is_followed_to_the_commit_that_changed_it(
    shop: Shop,
) -> None:
    past = await history(shop, 12, 7, trial=LATENCY)
    shop.verdicts = {"smoke": "success"}
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency:higher"
    issue, answer = await past.bisected(ask)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    assert "`latency` changed by +" in fix["body"]
    assert re.search(r"The suspect had the worse number in (\d+) of \1 fresh runs", fix["body"])
    assert hidden_refs(shop) == []
    text = await committed(shop, fix, "bisect")
    report = json.loads(text)
    assert report["searched"]["numeric"] == "latency:higher"
    assert 50 < report["finding"]["effect"]["effect"] < 70
    assert report["verification"]["boundary"] == report["verification"]["revert"] == "confirmed"
    assert replay(text.encode()) == text.encode()
    told = [each for each in report["trials"] if each["outcome"] != "infra"]
    assert all(each["metrics"]["latency"] >= 100 for each in told)
    # None of its checks is known to count, and a number is no check.
    await shop.told(issue, "then `/approve` it", times=1)
    await shop.alice.merge(fix["number"])
    assert await answer.reaction() == "+1"


@pytest.mark.thorough
async def test_where_the_number_is_the_same_at_both_ends_nobody_is_blamed(shop: Shop) -> None:
    past = await history(shop, 12, 0, trial=LATENCY)
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency"
    issue, _ = await past.bisected(ask)
    assert "no single commit is to blame for `latency`" in await shop.final_word(issue)
    assert await fixes(shop) == []


@pytest.mark.thorough
async def test_a_change_for_the_better_is_not_reverted(shop: Shop) -> None:
    past = await history(shop, 12, 7, trial=LATENCY)
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency:lower"
    issue, _ = await past.bisected(ask)
    assert "but for the better" in await shop.final_word(issue)
    assert await fixes(shop) == []


@pytest.mark.thorough
async def test_two_commits_that_each_did_a_part_are_named_and_none_is_reverted(shop: Shop) -> None:
    worse = "if test -e bug; then level=160; fi"
    trial = LATENCY.replace(worse, f"{worse}\n          test -e more && level=220")
    past = await history(shop, 12, 7, trial=trial, more={8: {"more": "slower"}})
    issue, _ = await past.bisected(f"/bisect {past.commits[0][:12]}..main numeric latency")
    said = await shop.final_word(issue)
    assert "changed at two commits, at each by a part" in said
    assert all(past.commits[number][:7] in said for number in (7, 8))
    assert await fixes(shop) == []


@pytest.mark.thorough
async def test_trials_that_report_no_number_are_said_so_and_cost_few_runs(shop: Shop) -> None:
    past = await history(shop, 12, 7)
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency"
    issue, _ = await past.bisected(ask)
    said = await shop.standing(issue, "Comment `/retry`")
    assert "gives no number" in said
    assert "::notice title=playbooks-metrics::" in said
    assert "95% probability" not in said
    assert (before := len(dispatched(shop))) <= 12
    # Whoever asks to go on has mended the workflow, or thinks so.
    await shop.says(issue, "/retry")
    await shop.told(issue, "gives no number", times=2)
    assert before < len(dispatched(shop)) <= 24


@pytest.mark.thorough
async def test_trials_that_an_outage_stops_are_tried_again_and_cost_nothing(shop: Shop) -> None:
    past = await history(shop, 12, 7, trial=f"{LATENCY}          sleep 0.5\n")
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency"
    issue, _ = await past.bisected(ask)
    stopped: set[int] = set()

    async def five_are_stopped() -> bool:
        for run in await running(shop):
            if len(stopped) < 5 and run.id not in stopped:
                stopped.add(run.id)
                shop.github.runner.cancel(run)
        return len(stopped) == 5

    await shop.eventually(five_are_stopped)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    assert "number" not in "".join(await shop.from_bot(issue))


@pytest.mark.thorough
async def test_an_outage_that_stops_every_trial_is_said_and_can_be_waited_out(shop: Shop) -> None:
    past = await history(shop, 12, 7, trial=f"{LATENCY}          sleep 0.5\n")
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency"
    issue, _ = await past.bisected(ask)
    over = False

    async def everything_is_stopped() -> None:
        while not over:
            for run in await running(shop):
                shop.github.runner.cancel(run)
            await asyncio.sleep(0.02)

    outage = asyncio.create_task(everything_is_stopped())
    said = await shop.standing(issue, "Comment `/retry`")
    over = True
    await outage
    assert "runs in a row were stopped before they gave a number." in said
    assert "playbooks-metrics" not in said
    await shop.says(issue, "/retry")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'


@pytest.mark.thorough
async def test_numbers_of_two_apps_are_not_mixed(shop: Shop) -> None:
    past = await history(shop, 40, 23, trial=None)
    world, runner = shop.github.world, shop.github.runner.app
    other = replace(runner, id=runner.id + 1, slug="other-bench", name="Other bench")
    world.apps[other.id] = other
    for number, sha in enumerate(past.commits):
        score = (0.6 if number >= 23 else 0.9) + (number * 7 % 11) / 500
        for app, its in ((runner, score), (other, score - 0.5)):
            if app is runner or number >= 31:
                output = {"title": "Evals", "summary": json.dumps({"metrics": {"score": its}})}
                done = {"conclusion": "success", "output": output}
                checks.create(world, shop.repository, app, "evals", sha, done)
    await past.bisected(f"/bisect {past.commits[0][:12]}..main numeric score:lower check evals")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[23][:7]} "Change 23"'


ODD = """|
          latency=100
          if test -e bug; then latency=160; fi
          if test "$((GITHUB_RUN_ID % 7))" = 0; then latency=1e200; fi
          echo "::notice title=playbooks-metrics::{\\"latency\\": $latency}"
"""


@pytest.mark.thorough
async def test_endless_numbers_are_none_and_numbers_without_noise_are_said_so(shop: Shop) -> None:
    past = await history(shop, 12, 7, trial=ODD)
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency"
    issue, _ = await past.bisected(ask)
    await shop.standing(issue, "In progress")
    await shop.says(issue, f"/skip {past.commits[0][:12]}")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    assert "changed by +60 (95%: +60 to +60); single runs do not differ." in fix["body"]


@pytest.mark.thorough
async def test_numbers_that_checks_have_reported_are_enough_without_a_runner(shop: Shop) -> None:
    past = await history(shop, 40, 23, trial=None)
    world, runner = shop.github.world, shop.github.runner.app
    for number, sha in enumerate(past.commits):
        score = (0.6 if number >= 23 else 0.9) + (number * 7 % 11) / 500
        output = {"title": "Evals", "summary": json.dumps({"metrics": {"score": score}})}
        checks.create(
            world,
            shop.repository,
            runner,
            "evals",
            sha,
            {"conclusion": "success", "output": output},
        )
    ask = f"/bisect {past.commits[0][:12]}..main numeric score:lower check evals"
    await past.bisected(ask)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[23][:7]} "Change 23"'
    assert dispatched(shop) == []


@pytest.mark.thorough
async def test_only_skip_counts_of_what_people_say_of_a_number(shop: Shop) -> None:
    past = await history(shop, 12, 7, trial=f"{LATENCY}          sleep 0.3\n")
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency"
    issue, _ = await past.bisected(ask)
    await shop.standing(issue, "In progress")
    await shop.says(issue, f"/good {past.commits[5][:12]}")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
