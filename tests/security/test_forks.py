"""The attacks on trust, by somebody who may not write here, from a fork of their own."""

from __future__ import annotations

import asyncio

import pytest

from bot.records import sensitive_config
from bot.records.database import reading
from demo.person import Person
from tests.playbooks.autorevert.judging import (
    CONFIG,
    WORKFLOW,
    breaks,
    judged,
    self_work_pause,
)
from tests.safety.test_config_check import PATH, config_check, known
from tests.safety.test_gate import gate_on, opened
from tests.security.test_outsiders import has_gate
from tests.security.test_stalls import MOST_SECONDS, ROWS, watched
from tests.shop import A_WHILE, Shop
from tests.spec_reports.test_in_pull_requests import FILE, says

DATE = "checks: {smoke: [2001-13-45]}\n"


@pytest.mark.thorough
async def test_a_configuration_nobody_can_read_costs_its_own_check_and_no_gate(
    shop: Shop,
    fork: Person,
) -> None:
    """S1."""
    await known(shop)
    await shop.mallory.propose_from(fork, "Configure", {PATH: DATE}, branch="config")
    sha = await fork.head("config")
    _, agents = await opened(shop, "agent", self_work=True)
    number = await shop.merged("Else", {"else.txt": "x\n"})
    await has_gate(shop, sha)
    await gate_on(shop, agents, "success")
    assert await (await shop.says(number, "/pause because of the evals")).reaction() == "+1"
    await gate_on(shop, agents, "failure")
    run = await config_check(shop, sha, "failure")
    assert "line 1: '2001-13-45' reads as a date" in run["output"]["summary"]
    await has_gate(shop, sha)


@pytest.mark.thorough
async def test_the_gate_is_said_before_the_configuration_is_even_looked_at(
    shop: Shop,
    fork: Person,
) -> None:
    """S1."""
    await known(shop)
    with shop.holding_back(rf"/{shop.name}/pulls/\d+/files", method="GET") as is_looked_at:
        with shop.holding_back(f"/{shop.name}/check-runs", method="POST"):
            await shop.mallory.propose_from(fork, "Configure", {PATH: DATE}, branch="config")
            sha = await fork.head("config")
            await has_gate(shop, sha)
            await asyncio.sleep(A_WHILE)
            assert not await is_looked_at()
        await shop.eventually(is_looked_at)
        assert "playbooks config" not in await shop.alice.check_runs(sha)
    await config_check(shop, sha, "failure")


async def test_a_founders_section_from_a_fork_calls_no_founder(
    shop: Shop,
    fork: Person,
) -> None:
    """S3, by who may not even push a branch here."""
    await known(shop)
    text = "founder: {people: [mallory]}\n"
    number = await shop.mallory.propose_from(fork, "Configure", {PATH: text}, branch="config")
    await config_check(shop, await fork.head("config"), "neutral")
    await shop.looked_again()  # what it asks for is noted after it is said
    async with reading(shop.bot.records).connect() as conn:
        asked = await sensitive_config.waiting(conn, [shop.repository.id])
    assert [each for each in asked if each.number == number] == []
    answer = await shop.says(number, "/approve", shop.mallory)
    await shop.looked_again()
    assert "+1" not in await shop.alice.reactions(answer.comment)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (FILE, ROWS, "it is not a spec report"),
        (PATH, "".join(f"k{n}: 1\n" for n in range(14_000)), ""),
    ],
    ids=["a report of 240 KB", "120 KB of unknown keys"],
)
async def test_what_a_fork_brings_holds_up_nothing(
    shop: Shop,
    fork: Person,
    path: str,
    text: str,
    said: str,
) -> None:
    """S2."""
    async with watched() as busy:
        number = await shop.mallory.propose_from(fork, "Mine", {path: text}, branch="topic")
        await has_gate(shop, await fork.head("topic"))
        if said:
            await says(shop, number, said)
        else:
            await config_check(shop, await fork.head("topic"), "failure")
    assert busy.seconds < MOST_SECONDS


@pytest.mark.thorough
async def test_self_work_from_a_fork_is_held_and_lifts_nothing(
    shop: Shop,
    fork: Person,
) -> None:
    """S5: an agent without rights here, whose pull request is held."""
    number = await shop.mallory.propose_from(fork, "By an agent", {"a": "1\n"}, branch="agent")
    await shop.alice.label(number, "self-work")
    assert await (await shop.says(number, "/pause because of the evals")).reaction() == "+1"
    await gate_on(shop, await fork.head("agent"), "failure")
    sha = await fork.push("agent", {"a": "2\n"}, "More")
    await gate_on(shop, sha, "failure")
    await shop.says(number, "/unpause because fine", shop.mallory)
    await shop.says(number, "/approve", shop.mallory)
    await shop.looked_again()
    await gate_on(shop, sha, "failure")
    assert await (await shop.says(number, "/approve", shop.alice)).reaction() == "+1"
    await gate_on(shop, sha, "success")
    await gate_on(shop, await fork.push("agent", {"a": "3\n"}, "Later"), "failure")


_RED_FOR_ONE_HEAD = WORKFLOW.replace("[push]", "[pull_request]").replace(
    "COMMAND", 'test "${{ github.head_ref }}" != main'
)


@pytest.mark.thorough
async def test_what_a_forks_proposal_of_our_own_commit_comes_to_breaks_nothing(
    shop: Shop,
    fork: Person,
) -> None:
    """A commit of the default branch, proposed for a branch where it does not fit."""
    files = {".github/workflows/evals.yml": _RED_FOR_ONE_HEAD, PATH: CONFIG}
    await shop.alice.push("main", files, "Evaluate")
    await shop.report("success", "evals", branch="main")
    old = await shop.alice.head("main")
    await shop.bob.post("git/refs", ref="refs/heads/old", sha=old)
    innocent = await breaks(shop, "self-work", file="fine")
    sha = await shop.alice.head("main")
    await fork.post("git/refs", ref="refs/heads/theirs", sha=sha)
    await fork.patch("git/refs/heads/main", sha=sha)
    owner = fork.repository.partition("/")[0]
    await shop.mallory.post("pulls", title="Mine", head=f"{owner}:main", base="old")

    async def failed() -> bool:
        return (await shop.alice.check_runs(sha)).get("evals") == "failure"

    await shop.eventually(failed)
    said = await judged(shop)
    assert said.data["decision"] == "nothing"
    await shop.alone()
    assert await shop.hotfixes() == []
    assert await shop.from_bot(innocent) == []
    assert await self_work_pause(shop) is None


async def test_a_branch_of_a_fork_that_is_named_like_a_hotfix_is_not_ours(
    shop: Shop,
    fork: Person,
) -> None:
    """S4: whoever forks may name a branch as they like."""
    name = "hotfix/revert-01aryz6s410000000000000000"
    number = await shop.mallory.propose_from(fork, "A hotfix", {"a": "1\n"}, branch=name)
    await shop.alice.label(number, "self-work")
    assert await (await shop.says(number, "/pause because of the evals")).reaction() == "+1"
    await gate_on(shop, await fork.head(name), "failure")
