"""A GitHub that lies, breaks off and forgets: the revert ends as if nothing had happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web

from bot.github.transport import retry
from bot.metrics import STEP_RETRIES
from bot.records.tables.intake import notifications
from fakegithub.access.credentials import new_key_pair
from fakegithub.deliveries.delivery_faults import Delay, Duplicate, Lose, Reorder
from fakegithub.faults.faults import FaultRule
from fakegithub.faults.request_faults import (
    Drop,
    ExpireToken,
    Fail,
    FailAfter,
    Fault,
    FaultyRequest,
    PrimaryLimit,
    Revoke,
    SecondaryLimit,
    TooQuickly,
    Truncate,
)
from fakegithub.faults.writes import Write
from tests.shop import GOOD, Shop


async def _ends_well(shop: Shop, broken: int) -> None:
    """Exactly one of everything, and main is safe."""
    await shop.merged_hotfix()
    last = await shop.final_word(broken)
    assert last.startswith("@alice Done: ")
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.hotfixes()) == 1
    assert len(await shop.incidents()) == 1
    said = await shop.from_bot(broken)
    assert len(said) == 2, said
    branches = {each["name"] for each in await shop.alice.get("branches", per_page="100")}
    assert not [name for name in branches if name.startswith("hotfix/")]
    names = await shop.alice.get("contents/docs/decisions")
    assert len(names) == 1


WRITES = [
    ("POST", r"/issues$"),
    ("POST", r"/issues/\d+/comments$"),
    ("POST", r"/git/trees$"),
    ("POST", r"/git/commits$"),
    ("POST", r"/git/refs$"),
    ("POST", r"/pulls$"),
    ("PUT", r"/pulls/\d+/merge$"),
    ("PATCH", r"/issues/\d+$"),
]


@pytest.mark.thorough
async def test_writes_that_were_done_and_then_denied_are_not_done_twice(shop: Shop) -> None:
    broken = await shop.broken()
    add = shop.github.faults.add
    rules = [add(FailAfter(502), method=how, path=f"{shop.name}{path}") for how, path in WRITES]
    await shop.alice.label(broken, "playbook:revert")
    await _ends_well(shop, broken)
    assert [rule.fired for rule in rules] == [1] * len(WRITES)


@pytest.mark.sampled("dropped")
@pytest.mark.parametrize(
    "fault",
    [Fail(500), Drop(), Drop(done=False), Truncate(), ExpireToken()],
    ids=["500", "dropped", "dropped undone", "half a body", "expired token"],
)
async def test_faults_in_the_middle_of_everything_pass(shop: Shop, fault: Fault) -> None:
    broken = await shop.broken()
    rules = [
        shop.github.faults.add(fault, method=method, path=f"{shop.name}{path}")
        for method, path in (("GET", "/pulls/"), ("POST", "/issues$"))
    ]
    await shop.says(broken, "/revert")
    await _ends_well(shop, broken)
    assert all(rule.fired for rule in rules)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "limit",
    [
        SecondaryLimit(403, 1),
        SecondaryLimit(429, 1),
        SecondaryLimit(403, None),
        SecondaryLimit(429, None),
        PrimaryLimit(1),
    ],
    ids=["403", "429", "403 without a time", "429 without a time", "primary"],
)
async def test_a_request_limit_is_waited_out(
    shop: Shop, limit: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LIMITED_SECONDS", 0.3)
    broken = await shop.broken()
    rule = shop.github.faults.add(limit, method="POST", path=f"{shop.name}/git/trees$")
    await shop.says(broken, "/revert")
    await _ends_well(shop, broken)
    assert rule.fired == 1


@pytest.mark.sampled("reordered")
@pytest.mark.parametrize(
    "fault",
    [Duplicate(3), Reorder(0.3), Delay(0.5)],
    ids=["duplicated", "reordered", "late"],
)
async def test_deliveries_may_come_twice_late_or_in_another_order(shop: Shop, fault: Any) -> None:
    broken = await shop.broken()
    shop.github.faults.on_delivery(fault, times=None)
    await shop.says(broken, "/revert")
    await _ends_well(shop, broken)


@pytest.mark.thorough
async def test_without_any_delivery_after_the_command_it_looks_by_itself(shop: Shop) -> None:
    broken = await shop.broken()
    shop.github.faults.on_delivery(Lose(), event="status|check|pull_request|push", times=None)
    await shop.says(broken, "/revert")
    await _ends_well(shop, broken)


@pytest.mark.thorough
async def test_lists_that_lag_make_nothing_twice(shop: Shop) -> None:
    broken = await shop.broken()
    await asyncio.sleep(2.1)  # what happened before the command is to be seen
    shop.github.faults.lag.seconds = 2.0
    shop.github.faults.add(FailAfter(502), method="POST", path=f"{shop.name}/issues$")
    await shop.says(broken, "/revert")
    await shop.merged_hotfix()
    shop.github.faults.lag.seconds = 0
    await _ends_well(shop, broken)


@pytest.mark.thorough
async def test_a_permission_revoked_in_the_middle_is_named_and_retry_goes_on(shop: Shop) -> None:
    broken = await shop.broken()
    installation = shop.installation()
    shop.github.faults.add(Revoke("contents"), method="POST", path=f"{shop.name}/git/trees$")
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "confused"
    [said] = await shop.mentions(broken)
    assert "contents=write" in said
    assert "then comment `/retry`" in said
    installation.permissions["contents"] = "write"
    shop.forget_tokens()
    assert await (await shop.says(broken, "/retry")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.incidents()) == 1
    assert (await shop.merged_hotfix())["head"]["ref"].endswith("-2")


@contextmanager
def _suspended(shop: Shop) -> Iterator[None]:
    installation = shop.installation()
    installation.suspended_at = datetime.now(UTC)
    yield
    installation.suspended_at = None


@contextmanager
def _another_key(shop: Shop) -> Iterator[None]:
    """The App's key is taken away on its page, and put back, which stands for a new one here."""
    app = shop.installation().app
    ours, (_, app.public_key) = app.public_key, new_key_pair()
    yield
    app.public_key = ours


@contextmanager
def _clock_wrong(shop: Shop) -> Iterator[None]:
    world = shop.github.world
    right, world.clock = world.clock, lambda: datetime.now(UTC) + timedelta(minutes=20)
    yield
    world.clock = right


@pytest.mark.sampled("_another_key")
@pytest.mark.parametrize("closed", [_another_key, _clock_wrong, _suspended])
async def test_a_github_that_lets_us_do_nothing_at_all_is_waited_for(
    shop: Shop, closed: Callable[[Shop], AbstractContextManager[None]]
) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    retried = sum(_retried())
    with closed(shop):
        shop.forget_tokens()
        await shop.report("success", branch=(await shop.hotfix())["head"]["ref"])

        async def waits() -> bool:
            return sum(_retried()) > retried

        await shop.eventually(waits)
        said = (await shop.bot.readiness.parts())["GitHub"]
        assert closed is _suspended or "does not accept the App's credentials" in str(said)
    assert await answer.reaction() == "+1"
    assert (await shop.bot.readiness.parts())["GitHub"] is None
    assert await shop.alice.file("shop.py") == GOOD


def _retried() -> Iterator[float]:
    return (each.value for metric in STEP_RETRIES.collect() for each in metric.samples)


@pytest.mark.thorough
async def test_a_repository_renamed_in_the_middle_is_followed(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    name = f"{shop.repository.name}-renamed"
    await shop.olivia.patch("", name=name)
    for person in (shop.alice, shop.bob, shop.mallory, shop.olivia):
        person.repository = f"acme/{name}"
    await shop.report("success", branch=hotfix["head"]["ref"])
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["pulls", "git/trees", "git/commits", "issues"])
async def test_what_was_made_too_quickly_for_github_is_made_a_moment_later(
    shop: Shop, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LIMITED_SECONDS", 0.3)
    broken = await shop.broken()
    rule = shop.github.faults.add(TooQuickly(), method="POST", path=f"{shop.name}/{what}$")
    await shop.says(broken, "/revert")
    await _ends_well(shop, broken)
    assert rule.fired == 1


@dataclass(frozen=True)
class Unseen:
    """The server that answers does not know yet what another one took a moment ago."""

    status: int

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        del incident
        said = "Not Found" if self.status == 404 else "No commit found for SHA"
        return web.json_response({"message": said}, status=self.status)


@pytest.mark.thorough
async def test_what_github_does_not_see_yet_ends_nothing(shop: Shop) -> None:
    broken = await shop.broken()
    refuse, add = shop.repository.refusals.refuse, shop.github.faults.add
    writes = [
        refuse("commit", 422, message="Tree SHA does not exist", times=1),
        refuse("branch", 422, message="Object does not exist", times=1, about="hotfix/*"),
        refuse("pull_request", 422, message="No commits between main and hotfix", times=1),
    ]
    reads: list[FaultRule] = []

    def opened(_: Write) -> None:
        for status, path in ((404, rf"{shop.name}/pulls/\d+$"), (422, "/check-runs$")):
            reads.append(add(Unseen(status), method="GET", path=path))

    app = shop.installation().app
    shop.github.faults.after_write(1, opened, app, lambda each: each.path.endswith("/pulls"))
    await shop.says(broken, "/revert")
    await _ends_well(shop, broken)
    assert [each.refused for each in writes] == [1, 1, 1]
    assert [each.fired for each in reads] == [1, 1]


@pytest.mark.thorough
async def test_a_repository_taken_from_the_app_ends_with_a_word_to_the_founder(shop: Shop) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    served = shop.installation().repositories
    assert served is not None
    served.discard(shop.repository.id)
    shop.forget_tokens()
    query = sa.select(notifications.c.title, notifications.c.body).where(
        notifications.c.repository_id == shop.repository.id,
        notifications.c.id.endswith(":untold"),
    )

    async def told() -> Any:
        async with shop.bot.read_only.connect() as conn:
            return (await conn.execute(query)).all()

    [(title, body)] = await shop.eventually(told)
    assert title == f"Broke off in {shop.name}"
    assert "It does not exist, or the App may not see it" in body
    # It is given back: what it says is the way on.
    served.add(shop.repository.id)
    shop.forget_tokens()
    shop.verdicts["smoke"] = "success"
    assert await (await shop.says(broken, "/retry")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
