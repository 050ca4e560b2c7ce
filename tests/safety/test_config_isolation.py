"""What a pull request brings as configuration costs its own check, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from fakegithub.faults.request_faults import Fail, Slow
from tests.safety.test_config_check import PATH, config_check, known, proposed
from tests.safety.test_gate import gate_on, opened
from tests.shop import A_WHILE, Shop

DATE = "checks: {smoke: [2001-13-45]}\n"


@pytest.mark.thorough
async def test_a_file_nobody_can_read_hides_no_gate_and_breaks_no_pause(shop: Shop) -> None:
    worst = {
        "date": DATE,
        "digits": "caps: {reverts_a_day: " + "9" * 20_000 + "}\n",
        "large": "".join(f"k{n}: 1\n" for n in range(14_000)),
        "nested": "[" * 5000,
    }
    heads = {name: (await proposed(shop, name, text))[1] for name, text in worst.items()}
    number, agents = await opened(shop, "agent", self_work=True)
    for sha in (*heads.values(), agents):
        await gate_on(shop, sha, "success")
    assert await (await shop.says(number, "/pause because of the evals")).reaction() == "+1"
    await gate_on(shop, agents, "failure")
    for name, said in {
        "date": "line 1: '2001-13-45' reads as a date",
        "digits": "line 1: '9999",
        "large": "larger than 32 KiB",
        "nested": "nested too deeply",
    }.items():
        run = await config_check(shop, heads[name], "failure")
        assert said in run["output"]["summary"]
    await gate_on(shop, heads["date"], "success")


async def test_a_fault_on_one_head_stops_no_other(shop: Shop) -> None:
    await known(shop)
    first, _ = await proposed(shop, "first", DATE)
    path = f"/repos/{shop.name}/pulls/{first}/files"
    shop.github.faults.add(Fail(404), method="GET", path=path, times=None)
    # The same text in the same second would be the same commit.
    _, second = await proposed(shop, "second", f"# The second.\n{DATE}")
    _, agents = await opened(shop, "agent", self_work=True)
    await gate_on(shop, agents, "success")
    await config_check(shop, second, "failure")
    shop.github.faults.clear()


async def test_the_same_typo_on_the_default_branch_leaves_the_last_good_version_in_force(
    shop: Shop,
) -> None:
    number = await shop.merged("Configure", {PATH: "checks: {smoke: [unit]}\n"})
    await shop.merged("Break it", {PATH: DATE})
    assert await (await shop.says(number, "/help")).reaction() == "+1"
    await known(shop)
    repository = shop.bot.gate_reporter._repositories[shop.repository.id]
    shop.bot.config.forget(repository.id)
    found = await shop.bot.config.of(repository)
    assert found.config.checks.smoke == ("unit",)
    assert "reads as a date" in (found.fault or "")


@pytest.mark.thorough
async def test_a_check_whose_name_a_comma_cut_in_two_is_told_how_to_be_written(shop: Shop) -> None:
    text = "checks:\n  smoke: [test (ubuntu-latest, py311)]\n"
    _, head = await proposed(shop, "split", text)
    run = await config_check(shop, head, "neutral")
    assert run["output"]["title"] == "It can be used. Was this meant?"
    assert "line 2: 'test (ubuntu-latest', 'py311)'" in run["output"]["summary"]
    assert 'write it in quotes: "test (ubuntu-latest, py311)"' in run["output"]["summary"]


@pytest.mark.thorough
async def test_a_head_that_was_judged_is_not_judged_again(shop: Shop) -> None:
    await known(shop)
    number, head = await proposed(shop, "broken", DATE)
    await config_check(shop, head, "failure")
    path = f"/repos/{shop.name}/pulls/{number}/files"
    asked = shop.github.faults.add(Slow(0), method="GET", path=path, times=None)
    _, later = await opened(shop, "another")
    await gate_on(shop, later, "success")
    await asyncio.sleep(A_WHILE)
    assert asked.fired == 0
    shop.github.faults.clear()
