"""What people without rights, and words meant for other bots, cost: one answer, and no cap."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
import structlog

from bot.app import Bot
from bot.github.transport.rate_limit import CREATED_AN_HOUR, RECOVERY, Paced, RequestCost
from bot.playbooks.run import Patience
from bot.safety.admission import NEEDS
from demo.person import Person
from fakegithub.server import DemoGitHub
from tests.shop import Clock, Shop

TEN = "\n".join(
    [
        "/revert",
        "/cancel",
        "/approve",
        "/pause because I say so",
        "/status",
        "/help",
        "/revert #1 because of me",
        "/severity critical",
        "/rollback nothing",
        "/revrt",
    ]
)
BOUND = 8
"""Requests that thirty commands of an outsider may cost; each cost four."""


async def settled(shop: Shop) -> None:
    """Let the bot hear of everything, and be done with it."""
    await shop.github.deliveries.settle()
    await shop.alone()


async def reactions(shop: Shop, comment: int) -> Sequence[str]:
    await settled(shop)
    return await shop.alice.reactions(comment)


async def test_ten_commands_of_an_outsider_get_one_answer_and_are_in_no_cap(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    await settled(shop)
    metered: list[object] = []
    take = shop.bot.meter.take

    async def noted(repository_id: int, *, recovery: bool) -> None:
        # The keepers' requests go on meanwhile; those of Runs know which one they are for.
        metered.append(structlog.contextvars.get_contextvars().get("run"))
        await take(repository_id, recovery=recovery)

    monkeypatch.setattr(shop.bot.meter, "take", noted)
    before = cost(shop)
    for _ in range(3):
        await shop.says(number, TEN, shop.mallory)
    await settled(shop)
    [said] = await shop.from_bot(number)
    assert said.startswith("@mallory")
    assert cost(shop) - before <= BOUND
    assert sum(run is not None for run in metered) <= 1  # the configuration, once a minute


def cost(shop: Shop) -> int:
    return sum(shop.bot.github.requests.total(playbook) for playbook in NEEDS)


async def test_after_an_hour_they_are_answered_once_more(shop: Shop, clock: Clock) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    for _ in range(2):
        assert await (await shop.says(number, "/revert", shop.mallory)).reaction() == "confused"
        await shop.says(number, "/revert", shop.mallory)
        await settled(shop)
        clock.forward(minutes=61)
    assert len(await shop.from_bot(number)) == 2


async def test_several_commands_of_somebody_with_rights_get_one_comment(shop: Shop) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    await shop.says(number, "/severity high\n/playbooks status\n/bad 1234567\n/revrt\n/help")
    await settled(shop)
    [said] = await shop.from_bot(number)
    assert said.count("\n---\n") == 4
    for words in (
        "no open incident here",
        "Nothing is running",
        "No bisect is under way",
        "Did you mean",
    ):
        assert words in said


EVERYDAY = ["/approve", "/cancel", "/retry", "/reject", "/skip 1234567", "/approve no-issue"]


@pytest.mark.thorough
@pytest.mark.parametrize("who", ["alice", "mallory"])
async def test_words_for_another_bot_get_no_sign_where_nothing_of_ours_waits(
    shop: Shop, who: str
) -> None:
    number = await shop.bob.open_pull_request("Work", {"a.py": "a = 1\n"}, branch="work")
    person = shop.alice if who == "alice" else shop.mallory
    comments = [(await shop.says(number, each, person)).comment for each in EVERYDAY]
    comments.append((await shop.says(number, "\n".join(EVERYDAY), person)).comment)
    await settled(shop)
    assert [await shop.alice.reactions(each) for each in comments] == [[]] * len(comments)
    assert await shop.from_bot(number) == []


@pytest.mark.thorough
async def test_with_our_name_they_are_always_answered(shop: Shop) -> None:
    number = await shop.bob.open_pull_request("Work", {"a.py": "a = 1\n"}, branch="work")
    for command in ("approve", "cancel", "retry", "reject"):
        assert await (await shop.says(number, f"/playbooks {command}")).reaction() == "confused"
    assert len(await shop.from_bot(number)) == 4


async def test_questions_get_one_comment_an_hour_that_is_kept_up_to_date(shop: Shop) -> None:
    number = await shop.bob.open_pull_request("Work", {"a.py": "a = 1\n"}, branch="work")
    assert await (await shop.says(number, "/help")).reaction() == "+1"
    assert await (await shop.says(number, "/status", shop.bob)).reaction() == "+1"
    [said] = await shop.from_bot(number)
    assert said.startswith("Nothing is running here")
    assert await (await shop.says(number, "/playbooks help")).reaction() == "+1"
    assert len(await shop.from_bot(number)) == 2


@pytest.mark.thorough
async def test_a_question_that_another_bot_answers_is_left_to_it(
    shop: Shop, github: DemoGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.bot.talk, "_other_bots", timedelta(seconds=2))
    robot = github.create_user("prow-robot")
    github.set_collaborator(shop.repository, "prow-robot", "write")
    number = await shop.bob.open_pull_request("Work", {"a.py": "a = 1\n"}, branch="work")
    asked = await shop.says(number, "/help")
    async with Person(github.url, robot.token, shop.name) as prow:
        await prow.comment(number, "Available commands: …")
    await settled(shop)
    assert await shop.alice.reactions(asked.comment) == []
    assert await shop.from_bot(number) == []


def test_another_bot_has_ten_seconds_to_answer_first(bot: Bot) -> None:
    assert Patience().other_bots == timedelta(seconds=10)
    assert bot.talk._other_bots == bot.patience.other_bots


@pytest.mark.thorough
async def test_a_repository_may_ask_for_our_name_before_every_command(shop: Shop) -> None:
    config = "commands: {prefix_only: true}\n"
    configured = await shop.merged("Configure", {".github/playbooks.yml": config})
    assert await (await shop.says(configured, "/approve", shop.olivia)).reaction() == "+1"
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    for words in ("/status", "/help", "/revert", "/pause because x", "/revrt"):
        assert await reactions(shop, (await shop.says(number, words)).comment) == []
    assert await shop.from_bot(number) == []
    assert await (await shop.says(number, "/playbooks status")).reaction() == "+1"


@pytest.mark.sampled("/help")
@pytest.mark.parametrize("words", ["/help", "/status", "/revert"])
async def test_what_may_be_written_in_an_hour_is_not_used_up_by_answers_to_outsiders(
    shop: Shop, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = [await shop.merged(f"Change {n}", {f"{n}.py": "a = 1\n"}) for n in (1, 2)]
    await settled(shop)
    [lane] = shop.bot.github._lanes.values()
    monkeypatch.setattr(lane, "paced", Paced())
    # A demo keeps to no limit.
    monkeypatch.setattr(shop.bot.github._around, "paces", True)
    comment, begin = RequestCost("core", 5, creates=True), time.time() - 1800
    for second in range(CREATED_AN_HOUR * 2 // 5):
        assert lane.paced.wait(comment, begin + second, RECOVERY) == 0
    await shop.says(one, words, shop.mallory)
    await settled(shop)
    assert await shop.from_bot(one) == []
    assert await (await shop.says(other, "/help")).reaction() == "+1"
    assert len(await shop.from_bot(other)) == 1


@pytest.mark.thorough
async def test_forty_comments_of_an_outsider_cost_a_handful_of_requests(shop: Shop) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    await settled(shop)
    permission = "GET /repos/{owner}/{repo}/collaborators/{login}/permission"
    before = shop.bot.github.requests.by_route("revert").get(permission, 0)
    for _ in range(40):
        await shop.mallory.comment(number, "/revert")
    answer = await shop.says(await shop.broken(), "/revert")
    assert await answer.reaction() == "+1"
    await settled(shop)
    assert shop.bot.github.requests.by_route("revert")[permission] - before < 10
    assert len(await shop.hotfixes()) == 1
