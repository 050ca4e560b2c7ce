"""`self-work gate`: required of everyone, red only for self-work while it is paused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from bot.records import incidents, pauses
from bot.records.incidents import Opening
from bot.records.lifecycle import IncidentStatus
from bot.records.pauses import PauseKind, Pausing
from bot.safety import gate_reporter
from bot.triggers import SELF_WORK, Repository, Severity
from fakegithub.deliveries.delivery_faults import Lose
from fakegithub.faults.request_faults import Slow
from tests.shop import API_TOKEN, Clock, Shop

GATE = "self-work gate"


async def gate_on(shop: Shop, sha: str, conclusion: str) -> Any:
    """Wait until the gate says this on a commit; the check-run."""

    async def says() -> Any:
        found = await shop.alice.get(f"commits/{sha}/check-runs", check_name=GATE)
        runs = [run for run in found["check_runs"] if run["conclusion"] == conclusion]
        return runs[0] if runs else None

    return await shop.eventually(says)


async def opened(shop: Shop, branch: str, *, self_work: bool = False) -> tuple[int, str]:
    """Bob opens a pull request; its number and head."""
    number = await shop.bob.open_pull_request(
        f"Work on {branch}", {f"{branch}.txt": "x\n"}, branch=branch
    )
    if self_work:
        await shop.bob.label(number, "self-work")
    return number, await shop.bob.head(branch)


async def test_a_pause_turns_self_work_red_and_nothing_else(shop: Shop) -> None:
    _, agents = await opened(shop, "agent-1", self_work=True)
    second, agents_too = await opened(shop, "agent-2", self_work=True)
    _, persons = await opened(shop, "by-hand")
    for sha in (agents, agents_too, persons):
        await gate_on(shop, sha, "success")
    answer = await shop.says(second, "/pause because the evals look odd")
    assert await answer.reaction() == "+1"
    for sha in (agents, agents_too):
        run = await gate_on(shop, sha, "failure")
        summary = run["output"]["summary"]
        assert "the evals look odd" in summary
        assert "`alice` since" in summary
        assert "/unpause self-work" in summary
    await gate_on(shop, persons, "success")
    assert len((await shop.alice.get(f"commits/{agents}/check-runs"))["check_runs"]) == 1

    _, late = await opened(shop, "agent-3", self_work=True)
    await gate_on(shop, late, "failure")

    await shop.says(second, "/unpause because a false alarm")
    for sha in (agents, agents_too, late):
        await gate_on(shop, sha, "success")


async def test_a_pause_that_comes_while_all_turn_green_leaves_the_rest_red(shop: Shop) -> None:
    heads = [(await opened(shop, f"agent-{each}", self_work=True))[1] for each in range(5)]
    await _pause(shop, "one")
    for sha in heads:
        await gate_on(shop, sha, "failure")
    # A thousand take minutes, at the pace that GitHub allows.
    slow = shop.github.faults.add(Slow(0.4), method="PATCH", path="check-runs", times=None)
    async with shop.bot.records.begin() as conn:
        held = await pauses.in_force(conn, shop.repository.id, SELF_WORK)
        assert held is not None
        await pauses.unpause(
            conn, held, by="alice", person=True, at=held.since, because="a false alarm"
        )
    await gate_on(shop, heads[0], "success")
    await _pause(shop, "two")
    greens = 0
    while green := [sha for sha in heads if await _says(shop, sha) == "success"]:
        greens = max(greens, len(green))
    shop.github.faults.remove(slow)
    # One, and what was on its way; on a busy machine one more.
    assert greens < len(heads)


@pytest.mark.thorough
async def test_a_new_pull_request_does_not_wait_until_a_thousand_others_have_their_word(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_reporter, "AT_LEAST", 1)
    heads = [(await opened(shop, f"agent-{each}", self_work=True))[1] for each in range(6)]
    for sha in heads:
        await gate_on(shop, sha, "success")
    slow = shop.github.faults.add(Slow(1), method="PATCH", path="check-runs", times=None)
    await _pause(shop, "one")
    await gate_on(shop, heads[0], "failure")
    _, persons = await opened(shop, "by-hand")
    await gate_on(shop, persons, "success")
    assert await _says(shop, heads[-1]) == "success"
    await gate_on(shop, heads[-1], "failure")
    shop.github.faults.remove(slow)


async def _pause(shop: Shop, why: str) -> None:
    async with shop.bot.records.begin() as conn:
        await pauses.pause(
            conn,
            Pausing(
                key=why, repository_id=shop.repository.id, scope=SELF_WORK, kind=PauseKind.SAFETY,
                reason=why, by="bot", at=datetime.now(UTC),
            ),
        )  # fmt: skip


async def _says(shop: Shop, sha: str) -> str:
    found = await shop.alice.get(f"commits/{sha}/check-runs", check_name=GATE)
    return str(found["check_runs"][0]["conclusion"])


async def test_taking_the_label_off_lifts_nothing(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    await gate_on(shop, head, "success")
    await shop.says(number, "/pause because we look")
    await gate_on(shop, head, "failure")
    await shop.bob.unlabel(number, "self-work")
    head = await shop.bob.push("agent", {"more.txt": "y\n"}, "More")
    await gate_on(shop, head, "failure")


@pytest.mark.thorough
async def test_a_hotfix_passes_while_everything_is_held(shop: Shop) -> None:
    broken = await shop.broken()
    await shop.says(broken, "/pause because main is broken")
    await shop.says(broken, "/revert")
    hotfix = await shop.merged_hotfix()
    await gate_on(shop, hotfix["head"]["sha"], "success")


@pytest.mark.thorough
async def test_a_maintainer_lets_one_commit_through_and_no_other(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    _, other = await opened(shop, "agent-2", self_work=True)
    await gate_on(shop, head, "success")
    await shop.says(number, "/pause because we look")
    await gate_on(shop, head, "failure")
    assert await (await shop.says(number, "/approve", shop.bob)).reaction() == "confused"
    assert await (await shop.says(number, "/approve", shop.alice)).reaction() == "+1"
    run = await gate_on(shop, head, "success")
    assert "alice" in run["output"]["summary"]
    await gate_on(shop, other, "failure")
    head = await shop.bob.push("agent", {"more.txt": "y\n"}, "More")
    await gate_on(shop, head, "failure")


async def test_only_who_may_write_pauses_and_unpauses(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    answer = await shop.says(number, "/pause because I say so", shop.mallory)
    assert await answer.reaction() == "confused"
    await shop.says(number, "/pause because we look")
    await gate_on(shop, head, "failure")
    await shop.says(number, "/unpause", shop.mallory)
    await shop.looked_again()
    await gate_on(shop, head, "failure")


async def test_an_agent_does_not_lift_its_own_pause(shop: Shop) -> None:
    config = "self_work: {authors: [bob]}\n"
    configured = await shop.merged("Configure", {".github/playbooks.yml": config})
    await (await shop.says(configured, "/approve", shop.olivia)).reaction()
    number, head = await opened(shop, "agent")
    await shop.says(number, "/pause because we look")
    await gate_on(shop, head, "failure")
    assert await (await shop.says(number, "/unpause", shop.bob)).reaction() == "confused"


async def test_pausing_what_does_not_exist_says_what_does(shop: Shop) -> None:
    number, _ = await opened(shop, "by-hand")
    answer = await shop.says(number, "/pause lmm.summarize because odd")
    assert await answer.reaction() == "confused"
    said = (await shop.from_bot(number))[-1]
    assert "There is no capability `lmm.summarize` here." in said
    assert "`self-work`" in said
    assert await (await shop.says(number, "/unpause")).reaction() == "confused"


async def test_agents_can_ask_before_they_spend(shop: Shop, clock: Clock) -> None:
    number, _ = await opened(shop, "by-hand")

    here = f"http://127.0.0.1:{shop.bot.port}"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}

    async def asked() -> Any:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{here}/self-work", params={"repository": shop.name}) as response,
        ):
            return await response.json() if response.status == 200 else None

    async def flag() -> Any:
        path = f"/r/{shop.name}/ofrep/v1/evaluate/flags/self-work"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(here + path, json={"context": {}}) as response,
        ):
            return await response.json()

    clock.forward(minutes=2)  # a repository made a moment ago is not listed yet
    running = await shop.eventually(asked)
    assert (running["paused"], running["state"], running["until"]) == (False, "running", None)
    assert (await flag())["value"] is True
    await (await shop.says(number, "/pause because tokens run out")).reaction()
    told = await asked()
    assert (told["paused"], told["reason"]) == (True, "tokens run out")
    assert told["ends"] == "A person lifts it (/unpause self-work because …): alice set it."
    held = await flag()
    assert (held["key"], held["value"], held["variant"]) == ("self-work", False, "paused")
    assert held["metadata"]["reason"] == "tokens run out"


async def queued(shop: Shop, number: int) -> str:
    """The pull request goes into a merge queue that wants the gate; its group's commit."""
    queue = {
        "check_response_timeout_minutes": 60, "grouping_strategy": "ALLGREEN",
        "max_entries_to_build": 5, "max_entries_to_merge": 5, "merge_method": "SQUASH",
        "min_entries_to_merge": 1, "min_entries_to_merge_wait_minutes": 0,
    }  # fmt: skip
    required = {
        "required_status_checks": [{"context": GATE}, {"context": "smoke"}],
        "strict_required_status_checks_policy": False,
    }
    shop.github.add_ruleset(
        shop.repository,
        "queue",
        [
            {"type": "merge_queue", "parameters": queue},
            {"type": "required_status_checks", "parameters": required},
        ],
    )
    shop.verdicts["smoke"] = "pending"
    pull = await shop.alice.pull_request(number)
    await shop.alice.graphql(
        "mutation($id: ID!) { enqueuePullRequest(input: {pullRequestId: $id}) "
        "{ mergeQueueEntry { id } } }",
        id=pull["node_id"],
    )
    [entry] = shop.repository.queue
    return str(entry.head_sha)


@pytest.mark.thorough
async def test_a_merge_group_is_held_too(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    await gate_on(shop, head, "success")
    group = await queued(shop, number)
    assert group != head
    await gate_on(shop, group, "success")
    await shop.says(number, "/pause because we look")
    await gate_on(shop, group, "failure")


@pytest.mark.thorough
async def test_a_merge_group_that_was_merged_stays_as_it_was(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    held, _ = await opened(shop, "agent-2", self_work=True)
    await gate_on(shop, head, "success")
    group = await queued(shop, number)
    await gate_on(shop, group, "success")
    await shop.alice.set_status(group, "success", "smoke")

    async def landed() -> bool:
        return await shop.alice.head("main") == group

    await shop.eventually(landed)
    await shop.says(held, "/pause because we look")
    await gate_on(shop, await shop.bob.head("agent-2"), "failure")
    await shop.looked_again()
    await gate_on(shop, group, "success")


@pytest.mark.thorough
async def test_a_merge_group_that_no_delivery_told_of_is_seen_all_the_same(
    shop: Shop, clock: Clock
) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    await gate_on(shop, head, "success")
    for event in ("merge_group", "push"):
        shop.github.faults.on_delivery(Lose(recorded=False), event=f"^{event}$")
    group = await queued(shop, number)
    await shop.looked_again()
    clock.forward(minutes=2)
    await gate_on(shop, group, "success")


async def _mutate(shop: Shop, number: int, mutation: str) -> None:
    pull = await shop.bob.pull_request(number)
    asked = f"{mutation}(input: {{pullRequestId: $id}}) {{ clientMutationId }}"
    await shop.bob.graphql(f"mutation($id: ID!) {{ {asked} }}", id=pull["node_id"])


@pytest.mark.thorough
async def test_the_canary_is_one_that_can_be_merged_into_the_default_branch(
    shop: Shop, clock: Clock
) -> None:
    await opened(shop, "side")
    stacked = await shop.bob.open_pull_request(
        "On top", {"top.txt": "x\n"}, branch="top", base="side"
    )
    await shop.bob.label(stacked, "self-work")
    first, _ = await opened(shop, "agent-1", self_work=True)
    second, head = await opened(shop, "agent-2", self_work=True)
    await gate_on(shop, head, "success")
    wanted = Pausing(
        key="test", repository_id=shop.repository.id, scope=SELF_WORK, kind=PauseKind.THRESHOLD,
        reason="we look", by="bot", at=shop.bot.clock(),
    )  # fmt: skip
    async with shop.bot.records.begin() as conn:
        await pauses.pause(conn, wanted)

    async def canary() -> tuple[str, int | None]:
        async with shop.bot.read_only.connect() as conn:
            pause = await pauses.in_force(conn, shop.repository.id, SELF_WORK)
        return ("running", None) if pause is None else (pause.state, pause.canary)

    async def becomes(number: int | None, state: str = "half open") -> None:
        async def look() -> bool:
            clock.forward(minutes=2)
            return await canary() == (state, number)

        await shop.eventually(look)

    await becomes(first)
    await _mutate(shop, first, "convertPullRequestToDraft")
    await becomes(second)
    await shop.bob.patch(f"pulls/{second}", base="side")
    await shop.bob.merge(second)
    await becomes(None)
    await _mutate(shop, first, "markPullRequestReadyForReview")
    await becomes(first)
    await shop.bob.merge(first)
    await becomes(None, "running")


async def _go_wrong(shop: Shop, *numbers: int, asked: bool = False) -> None:
    """Incidents of alerts; or of comments, each taken back."""
    async with shop.bot.records.begin() as conn:
        for n in numbers:
            opening = Opening(
                id=f"many-{shop.repository.id}-{n}",
                repository=Repository(
                    id=shop.repository.id, owner="acme", name="shop", installation_id=1
                ),
                kind="alert", subject=f"alert {n}", title="odd", severity=Severity.MEDIUM,
                source="issue_comment" if asked else "alert", opened_by="bot",
                detected_at=shop.bot.clock(),
            )  # fmt: skip
            await incidents.open_or_join(conn, opening)
            if asked:
                status = IncidentStatus.DECLINED
                await incidents.move(conn, opening.id, status, at=opening.detected_at)


async def test_too_many_incidents_within_a_day_pause_self_work(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    await gate_on(shop, head, "success")
    await _go_wrong(shop, 3, 4, asked=True)
    await _go_wrong(shop, 0, 1, 2)
    await shop.bob.label(number, "look-again")
    run = await gate_on(shop, head, "failure")
    assert "3 incidents within 24 hours" in run["output"]["summary"]


@pytest.mark.thorough
async def test_what_was_known_when_a_person_unpaused_does_not_pause_again(
    shop: Shop, clock: Clock
) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    await _go_wrong(shop, 0, 1, 2)
    await shop.bob.label(number, "look-again")
    await gate_on(shop, head, "failure")
    await _go_wrong(shop, 3)
    assert await (await shop.says(number, "/unpause because we looked")).reaction() == "+1"
    await gate_on(shop, head, "success")
    clock.forward(minutes=2)
    await shop.looked_again()
    await _go_wrong(shop, 4, 5)
    await shop.bob.label(number, "and-again")
    await shop.looked_again()
    await gate_on(shop, head, "success")
    await _go_wrong(shop, 6)
    await shop.bob.label(number, "once-more")
    run = await gate_on(shop, head, "failure")
    assert "3 incidents within 24 hours" in run["output"]["summary"]
