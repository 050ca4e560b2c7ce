"""Several pull requests may have one head: what holds that commit holds it for all of them.

GitHub keeps checks by commit, and anybody may open a pull request upon a commit that is there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from bot.records.pauses import Pause, PauseKind
from bot.safety.gate import GatedHead, strictest
from bot.triggers import SELF_WORK
from demo.person import Person
from tests.safety.test_gate import GATE, gate_on, opened
from tests.shop import Shop

SHA = "a" * 40
OURS = GatedHead(number=1, sha=SHA, ours=True)
HELD = GatedHead(number=2, sha=SHA, self_work="label self-work")
THROUGH = HELD.model_copy(update={"exempted_by": "alice"})
PERSONS = GatedHead(number=3, sha=SHA)
PAUSE = Pause(
    id="p", repository_id=1, scope=SELF_WORK, kind=PauseKind.MANUAL, state="paused",
    reason="we look", set_by="alice", since=datetime(2026, 5, 1, tzinfo=UTC), incident_id=None,
    green_since=None, canary=None, canary_merged=None, lifted_by=None, lifted_at=None,
    lifted_because=None, version=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("heads", "wanted"),
    [
        ((HELD,), "failure"),
        ((HELD, PERSONS), "failure"),
        ((HELD, THROUGH), "failure"),
        ((THROUGH, PERSONS), "success"),
        ((OURS, HELD, PERSONS), "success"),
        ((OURS, PERSONS), "success"),
    ],
    ids=lambda given: given if isinstance(given, str) else "+".join(str(h.number) for h in given),
)
def test_of_one_commit_the_strictest_word_counts_and_ours_is_never_held(
    heads: tuple[GatedHead, ...], wanted: str
) -> None:
    for order in permutations(heads):
        [(_, verdict)] = strictest(order, PAUSE)
        assert verdict.conclusion == wanted


def test_each_commit_has_one_word() -> None:
    other = PERSONS.model_copy(update={"sha": "b" * 40})
    said = {head.sha: verdict.conclusion for head, verdict in strictest((HELD, other), PAUSE)}
    assert said == {SHA: "failure", "b" * 40: "success"}


async def twin(shop: Shop, branch: str) -> int:
    """Mallory, who may only read here, opens a pull request of her own upon a branch's head."""
    async with await shop.mallory.fork() as fork:
        head = f"{fork.repository.partition('/')[0]}:{branch}"
        pull = await shop.mallory.post("pulls", title="Mine", head=head, base="main")
    assert pull["head"]["sha"] == await shop.bob.head(branch)
    return int(pull["number"])


async def stays(shop: Shop, sha: str, conclusion: str) -> None:
    """The gate says this on a commit, whenever it is looked at, and says it once."""
    await shop.looked_again()
    found = await gate_on(shop, sha, conclusion)
    for _ in range(2):
        await shop.looked_again()
        runs = await shop.alice.get(f"commits/{sha}/check-runs", check_name=GATE)
        assert [run["conclusion"] for run in runs["check_runs"]] == [conclusion]
        assert runs["check_runs"][0]["completed_at"] == found["completed_at"]


async def test_a_forks_twin_of_held_self_work_opens_no_gate(shop: Shop) -> None:
    number, head = await opened(shop, "agent", self_work=True)
    assert await (await shop.says(number, "/pause because we look")).reaction() == "+1"
    await gate_on(shop, head, "failure")
    mine = await twin(shop, "agent")
    await stays(shop, head, "failure")
    # Nor is it let through by her, nor kept from being let through.
    await shop.says(mine, "/approve", shop.mallory)
    await stays(shop, head, "failure")
    assert await (await shop.says(number, "/approve", shop.alice)).reaction() == "+1"
    await stays(shop, head, "success")


@pytest.mark.thorough
async def test_who_holds_what_does_not_hang_on_which_twin_came_first(shop: Shop) -> None:
    head = await shop.bob.push("agent", {"agent.txt": "x\n"}, "Work")
    await twin(shop, "agent")
    await gate_on(shop, head, "success")
    number = await shop.bob.open_pull_request("Work", None, branch="agent")
    await shop.bob.label(number, "self-work")
    assert await (await shop.says(number, "/pause because we look")).reaction() == "+1"
    await stays(shop, head, "failure")
    assert await (await shop.says(number, "/approve", shop.alice)).reaction() == "+1"
    await stays(shop, head, "success")


@pytest.mark.thorough
async def test_self_work_upon_a_hotfix_does_not_hold_the_hotfix(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    assert await (await shop.says(broken, "/pause because main is broken")).reaction() == "+1"
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = (await shop.hotfix())["head"]
    await shop.bob.post("git/refs", ref="refs/heads/agent", sha=hotfix["sha"])
    await shop.bob.post("git/refs", ref="refs/heads/old", sha=await shop.bob.head("main"))
    person: Person = shop.bob
    number = await person.open_pull_request("Twin", None, branch="agent", base="old")
    await person.label(number, "self-work")
    await stays(shop, hotfix["sha"], "success")
