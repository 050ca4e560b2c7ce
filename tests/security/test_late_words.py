"""A word that is heard long after it was said means nothing that came in between."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from bot.command_arguments import CommentPlace
from bot.intake.event_payloads import CommentPosted
from bot.intake.event_triggers import ON_TIME, triggers
from bot.triggers import (
    LATE,
    Actor,
    ActorKind,
    CancelRequest,
    Repository,
    Source,
    SourceKind,
    Trigger,
)
from fakegithub.deliveries.deliveries import FakeDelivery
from fakegithub.deliveries.delivery_faults import Lose
from fakegithub.server import DemoGitHub
from tests.shop import Answer, Shop

Meanwhile = Callable[[], Awaitable[object]]
LONG_AGO = 10 * LATE
NOON, SECOND = datetime(2026, 12, 1, 12, tzinfo=UTC), timedelta(seconds=1)
OURS = NOON + timedelta(hours=3)
"""The same moment by our clock, which is wrong."""


async def is_served(shop: Shop) -> bool:
    return any(each.id == shop.repository.id for each in await shop.bot.served.served())


async def said_long_ago(
    github: DemoGitHub,
    shop: Shop,
    number: int,
    words: str,
    meanwhile: Meanwhile,
    *,
    ago: timedelta = LONG_AGO,
) -> Answer:
    """Alice's comment is delivered when something else has happened: ten times `LATE` later."""
    # Once a minute the bot reads what it missed: not in between.
    await shop.eventually(lambda: is_served(shop))
    await shop.looked_again()
    rule = github.faults.on_delivery(Lose(recorded=True), event=r"^issue_comment\.created$")
    comment = await shop.alice.comment(number, words)

    async def failed() -> FakeDelivery | None:
        told = (d for d in github.deliveries.log.values() if d.event == "issue_comment")
        about = (d for d in told if json.loads(d.payload)["comment"]["id"] == comment["id"])
        return next(about, None) if rule.fired else None

    delivery: FakeDelivery = await shop.eventually(failed)
    # At once: the bot may ask for it by itself before the rest is done.
    said = datetime.fromisoformat(comment["created_at"])
    at = (said - ago).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    delivery.payload = delivery.payload.replace(comment["created_at"].encode(), at)
    await meanwhile()
    github.deliveries.redeliver(delivery)
    return Answer(shop, number, comment["id"])


@pytest.mark.sampled("seconds after")
@pytest.mark.parametrize("ago", [LONG_AGO, timedelta()], ids=["long after", "seconds after"])
async def test_a_pause_that_came_later_is_not_lifted(
    ago: timedelta, github: DemoGitHub, shop: Shop
) -> None:
    number = await shop.broken()

    async def paused() -> None:
        assert await (await shop.says(number, "/pause because evals fell")).reaction() == "+1"

    word = "/unpause because all is well"
    answer = await said_long_ago(github, shop, number, word, paused, ago=ago)
    assert await answer.reaction() == "confused"
    [said] = await shop.told(number, "was paused after you wrote this", times=1)
    assert "`/unpause self-work because …`" in said
    assert await (await shop.says(number, "/unpause because we looked")).reaction() == "+1"


@pytest.mark.sampled("long after")
@pytest.mark.parametrize("ago", [LONG_AGO, timedelta()], ids=["long after", "seconds after"])
async def test_a_revert_that_was_asked_for_later_is_not_cancelled(
    ago: timedelta, github: DemoGitHub, shop: Shop
) -> None:
    shop.verdicts.clear()
    number = await shop.broken()

    async def reverting() -> None:
        await shop.says(number, "/revert because totals are zero")
        await shop.hotfix()

    answer = await said_long_ago(github, shop, number, "/cancel", reverting, ago=ago)
    assert await answer.reaction() == "confused"
    assert (await shop.hotfix())["state"] == "open"
    assert await (await shop.says(number, "/cancel")).reaction() == "+1"


@pytest.mark.sampled("/approve")
@pytest.mark.parametrize("word", ["/approve", "/reject"])
async def test_a_question_that_was_asked_later_is_not_answered(
    word: str, github: DemoGitHub, shop: Shop
) -> None:
    shop.verdicts.clear()
    await shop.merged("A commit no check has seen", {"other.py": "1\n"})
    number = await shop.broken()

    async def asked() -> None:
        await shop.says(number, "/revert because totals are zero")
        await shop.standing(number, "no check says whether it is good")

    answer = await said_long_ago(github, shop, number, word, asked)
    assert await answer.reaction() == "confused"
    hotfix = await shop.hotfix()
    assert (hotfix["state"], hotfix["merged_at"]) == ("open", None)
    await shop.says(number, "/cancel")


@pytest.mark.thorough
async def test_what_nothing_contradicts_is_carried_out_however_late(
    github: DemoGitHub, shop: Shop
) -> None:
    number = await shop.broken()

    async def nothing() -> None:
        """Nothing happens."""

    await said_long_ago(github, shop, number, "/revert because totals are zero", nothing)
    assert await shop.merged_hotfix()


FIRST = Source(kind=SourceKind.ISSUE_COMMENT, object_id="99")


@pytest.mark.parametrize(
    ("kind", "object_id", "index", "is_later"),
    [
        (SourceKind.ISSUE_COMMENT, "100", 0, True),
        (SourceKind.ISSUE_COMMENT, "98", 9, False),
        (SourceKind.ISSUE_COMMENT, "99", 1, True),
        (SourceKind.ISSUE_COMMENT, "99", 0, False),
        # Numbers of two kinds tell nothing of each other, nor does what is no comment.
        (SourceKind.REVIEW_COMMENT, "98", 0, True),
        (SourceKind.API, "key-98", 0, True),
    ],
)
def test_of_two_comments_githubs_numbers_tell_which_was_written_later(
    kind: SourceKind, object_id: str, index: int, *, is_later: bool
) -> None:
    first = asked(FIRST, NOON)
    delivered_later = asked(Source(kind=kind, object_id=object_id, index=index), NOON + SECOND)
    assert delivered_later.came_after(first) is is_later


def asked(source: Source, received_at: datetime) -> Trigger:
    return Trigger(
        source=source,
        repository=Repository(owner="acme", name="shop", id=7, installation_id=3),
        actor=Actor(kind=ActorKind.PERSON, login="alice"),
        received_at=received_at,
        request=CancelRequest(),
    )


@pytest.mark.parametrize(
    ("age", "at_github", "counts_as_received"),
    [
        (ON_TIME, NOON, OURS),
        (ON_TIME + SECOND, NOON, OURS - ON_TIME - SECOND),
        (LATE, NOON, OURS - LATE),
        # Of a comment as old as the world no id can be made.
        (timedelta(days=20_000), NOON, OURS - timedelta(days=30)),
        # Before GitHub has answered anything nobody knows how late it is.
        (LONG_AGO, None, OURS),
    ],
)
def test_how_late_it_is_githubs_clock_says_whatever_ours_does(
    age: timedelta, at_github: datetime | None, counts_as_received: datetime
) -> None:
    said = CommentPosted(
        repository=Repository(owner="acme", name="shop", id=7, installation_id=3),
        here=CommentPlace("acme/shop", ""),
        login="alice",
        kind=SourceKind.ISSUE_COMMENT,
        object_id=1,
        subject=4,
        is_pull_request=True,
        body="/cancel",
        url=None,
        said_at=NOON - age,
    )
    [trigger] = triggers(said, OURS, at_github=at_github)
    assert trigger.received_at == counts_as_received
