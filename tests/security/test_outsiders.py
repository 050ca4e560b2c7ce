"""What anybody may cause by a pull request from a fork: little, in no cap, and never for others."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.records import pauses
from bot.safety import request_meter
from bot.safety.gate_reporter import KEPT_AGAIN
from bot.triggers import SELF_WORK
from demo.person import Person
from tests.shop import Clock, Shop
from tests.spec_reports.test_in_pull_requests import FILE, SPEC, says

GATE = "self-work gate"


async def gate(shop: Shop, sha: str) -> str | None:
    return (await shop.alice.check_runs(sha)).get(GATE)


async def has_gate(shop: Shop, sha: str) -> None:
    async def said() -> bool:
        return await gate(shop, sha) == "success"

    await shop.eventually(said)


class Cap:
    """How many requests were counted against the repository's cap."""

    def __init__(self, shop: Shop, patched: pytest.MonkeyPatch) -> None:
        self.counted = 0
        meter = shop.bot.meter
        take, give_back = meter.take, meter.give_back

        async def taken(repository_id: int, *, recovery: bool) -> None:
            self.counted += repository_id == shop.repository.id
            await take(repository_id, recovery=recovery)

        def given_back(repository_id: int) -> None:
            self.counted -= repository_id == shop.repository.id
            give_back(repository_id)

        patched.setattr(meter, "take", taken)
        patched.setattr(meter, "give_back", given_back)


@pytest.mark.thorough
async def test_twelve_pushes_to_a_fork_are_in_no_cap(
    shop: Shop, fork: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await shop.mallory.propose_from(fork, "Mine", {"a": "0"}, branch="topic")
    await has_gate(shop, await fork.head("topic"))
    await shop.looked_again()
    cap = Cap(shop, monkeypatch)
    for n in range(10):
        await fork.push("topic", {"a": f"{n}\n"}, f"Push {n}")
        await shop.mallory.patch(f"pulls/{number}", body=f"Words {n}")
    await fork.push("topic", {".github/playbooks.yml": "checks: {smoke: [2001-13-45]}\n"}, "Typo")
    await fork.push("topic", {FILE: SPEC}, "With a report")
    await says(shop, number, "not known yet")
    await has_gate(shop, await fork.head("topic"))
    await shop.looked_again()
    # What the bot looks at every minute anyway may come in between; twelve of each were counted.
    assert cap.counted < 12


@pytest.mark.thorough
async def test_beyond_their_share_outsiders_wait_and_nobody_else_does(
    shop: Shop, fork: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_meter, "OUTSIDERS", 250)  # of 5,000: twenty, and five for each
    await shop.mallory.propose_from(fork, "Mine", {"a": "0"}, branch="topic")
    before = sum(shop.bot.github.requests.by_route(GATE).values())
    for n in range(6):
        sha = await fork.push("topic", {"a": f"{n}\n"}, f"Push {n}")
        await shop.looked_again()
    spent = shop.bot.meter._caused(shop.repository.id)
    assert spent == {"mallory": 5}
    assert await gate(shop, sha) is None
    # It is seen and left, time and again, for next to nothing.
    assert sum(shop.bot.github.requests.by_route(GATE).values()) - before < 30
    await shop.bob.open_pull_request("Bob's", {"b": "0"}, branch="work")
    await has_gate(shop, await shop.bob.head("work"))
    async with shop.bot.read_only.connect() as conn:
        assert await pauses.in_force(conn, shop.repository.id, SELF_WORK) is None
    clock.forward(hours=1)
    await has_gate(shop, sha)


@pytest.mark.thorough
async def test_one_of_them_leaves_something_to_the_others(
    shop: Shop, fork: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_meter, "OUTSIDERS", 125)  # forty, and ten for each
    for n in range(8):
        await shop.mallory.propose_from(fork, "Mine", {f"{n}": "0"}, branch=f"topic-{n}")
    await shop.looked_again()
    assert shop.bot.meter._caused(shop.repository.id)["mallory"] <= 10
    trent = shop.github.world.users.get("trent") or shop.github.create_user("trent")
    async with (
        Person(shop.github.url, trent.token, shop.name) as other,
        await other.fork() as theirs,
    ):
        await other.propose_from(theirs, "Theirs", {"t": "0"}, branch="topic")
        await has_gate(shop, await theirs.head("topic"))


@pytest.mark.thorough
async def test_what_anybody_writes_in_reviews_costs_no_look_at_the_repository(shop: Shop) -> None:
    number = await shop.bob.open_pull_request("Bob's", {FILE: SPEC}, branch="work")
    await says(shop, number, "not known yet")
    await has_gate(shop, await shop.bob.head("work"))
    await shop.looked_again()
    looks = shop.bot.github.requests.total(GATE)
    reads = shop.bot.github.requests.total("spec")
    for n in range(3):
        await shop.mallory.review(number, "COMMENT", f"Words {n}")
        await shop.github.deliveries.settle()
        await asyncio.sleep(KEPT_AGAIN.total_seconds())
    # One look comes every minute anyway.
    assert shop.bot.github.requests.total(GATE) - looks < 3
    assert shop.bot.github.requests.total("spec") == reads


@pytest.mark.thorough
async def test_what_a_fork_claims_of_a_check_is_asked_of_the_check(
    shop: Shop, fork: Person
) -> None:
    """The checks of a fork's commit name no pull request; its report follows them all the same."""
    shop.verdicts = {}
    number = await shop.mallory.propose_from(
        fork, "Mine", {FILE: json.dumps(json.loads(SPEC))}, branch="topic"
    )
    await says(shop, number, "0 met, 0 unmet, 1 not known yet.")
    await shop.ci.create_check_run(await fork.head("topic"), "smoke", "failure")
    await says(shop, number, "0 met, 1 unmet, 0 not known yet.")
