"""Deliveries that failed or never existed: what people asked for happens all the same."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing

import aiohttp
import pytest

from bot.triggers import BisectRequest, CloseRequest, JudgeRequest, SourceKind, Trigger
from fakegithub.deliveries.delivery_faults import DeliveryRule, Lose
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository, Protection
from tests.chaos.end_state import assert_one_of_everything, end_state
from tests.chaos.lane import Lane, eventually
from tests.chaos.life import Conditions

EVERY_S = 1.0
READ = "GET /repos/{owner}/{repo}/issues"
"""What each look asks about a repository with something under way."""
LOOK = "POST /graphql#activity"
"""What each look asks about all repositories."""


@pytest.fixture
async def lane(github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    """A bot that looks every second, not every minute, for what it missed."""
    conditions = Conditions(look_for_missed=EVERY_S)
    lane = Lane(github, tmp_path_factory.mktemp("missed"), conditions=conditions)
    yield lane
    await lane.close()


def losing(github: DemoGitHub, event: str, *, recorded: bool) -> DeliveryRule:
    """From now on the next such delivery does not arrive."""
    return github.faults.on_delivery(Lose(recorded=recorded), event=rf"^{event}$")


def readings(lane: Lane) -> int:
    """How many repositories the bot has begun to read."""
    with closing(sqlite3.connect(lane.data / "playbooks.db")) as database:
        return int(database.execute("SELECT count(*) FROM readings").fetchone()[0])


async def served(lane: Lane, repositories: int) -> None:
    """Wait until the bot reads this many repositories."""

    async def begun() -> bool:
        return readings(lane) >= repositories

    await eventually(begun, lane.life)


async def looked_again(lane: Lane) -> None:
    """Wait until the bot has looked twice more, to the end, at all it serves."""
    known = (await requests(lane, "playbooks_github_requests_total")).get(LOOK, 0)

    async def again() -> bool:
        # Of the third it is only known that it has begun.
        asked = (await requests(lane, "playbooks_github_requests_total")).get(LOOK, 0)
        return asked >= known + 3

    await eventually(again, lane.life)


def triggers(lane: Lane) -> int:
    """How many Triggers ever came in."""
    with closing(sqlite3.connect(lane.data / "playbooks.db")) as database:
        return int(database.execute("SELECT count(*) FROM inbox").fetchone()[0])


def requests_in(lane: Lane) -> list[Trigger]:
    """The Triggers that came in."""
    with closing(sqlite3.connect(lane.data / "playbooks.db")) as database:
        rows = database.execute("SELECT payload FROM inbox").fetchall()
    return [Trigger.model_validate_json(payload) for (payload,) in rows]


async def reverted(lane: Lane, repository: FakeRepository) -> None:
    """Wait until a hotfix was merged and nothing runs any more."""

    async def done() -> bool:
        merged = [
            i for i in repository.issues.values()
            if i.pull and i.pull.head_ref.startswith("hotfix/") and i.pull.merged_at
        ]  # fmt: skip
        return bool(merged) and not lane.unfinished()

    await eventually(done, lane.life)


async def test_a_comment_that_was_never_delivered_is_read_and_acted_on(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    await lane.start()
    await served(lane, 1)
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        rule = losing(github, "issue_comment.created", recorded=False)
        comment = await lane.ask(alice, number)
        assert rule.fired == 1
        await lane.carried_out(repository, comment)
    assert_one_of_everything(end_state(repository, lane.data))


async def test_a_comment_whose_delivery_failed_is_delivered_again(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    await lane.start()
    await served(lane, 1)
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        losing(github, "issue_comment.created", recorded=True)
        comment = await lane.ask(alice, number)
        await lane.carried_out(repository, comment)

        async def again() -> bool:
            mine = [d for d in github.deliveries.log.values() if d.app is lane.app]
            return any(d.redelivery and d.status == "OK" for d in mine)

        await eventually(again, lane.life)
    assert_one_of_everything(end_state(repository, lane.data))
    assert triggers(lane) == 1


@pytest.mark.thorough
async def test_a_label_and_a_review_comment_that_were_never_delivered_are_acted_on(
    github: DemoGitHub, lane: Lane
) -> None:
    one, other = lane.repository(), lane.repository()
    await lane.start()
    await served(lane, 2)
    async with lane.person(one) as alice:
        number = await lane.broken(alice)
        losing(github, "pull_request.labeled", recorded=False)
        await alice.label(number, "playbook:revert")
        await reverted(lane, one)
    async with lane.person(other) as alice:
        number = await lane.broken(alice)
        losing(github, "pull_request_review_comment.created", recorded=False)
        head = (await alice.pull_request(number))["head"]["sha"]
        await alice.post(
            f"pulls/{number}/comments", body="/revert", path="shop.py", line=2, commit_id=head
        )
        await reverted(lane, other)
    assert triggers(lane) == 2


@pytest.mark.thorough
async def test_a_review_that_was_never_delivered_is_acted_on_unless_it_was_edited(
    github: DemoGitHub, lane: Lane
) -> None:
    one, other = lane.repository(), lane.repository()
    await lane.start()
    await served(lane, 2)
    async with lane.person(one) as alice:
        number = await lane.broken(alice)
        losing(github, "pull_request_review.submitted", recorded=False)
        await alice.review(number, "COMMENT", "Totals are zero.\n\n/revert because of them")
        await reverted(lane, one)
    async with lane.person(other) as alice:
        number = await lane.broken(alice)
        for action in ("submitted", "edited"):
            losing(github, f"pull_request_review.{action}", recorded=False)
        said = await alice.review(number, "COMMENT", "What happened here?")
        await alice.put(f"pulls/{number}/reviews/{said['id']}", body="/revert")
        await looked_again(lane)
    assert triggers(lane) == 1


@pytest.mark.thorough
async def test_the_bisect_label_that_was_never_delivered_is_acted_on_wherever_it_is(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    await lane.start()
    await served(lane, 1)
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        issue = await alice.open_issue("Totals are zero")
        losing(github, "pull_request.labeled", recorded=False)
        losing(github, "issues.labeled", recorded=False)
        await alice.label(number, "playbook:bisect")
        await alice.label(issue, "playbook:bisect")

        async def both() -> bool:
            return {each.source.subject for each in requests_in(lane)} == {number, issue}

        await eventually(both, lane.life)
        by_subject = {each.source.subject: each.request for each in requests_in(lane)}
    on_pull, on_issue = by_subject[number], by_subject[issue]
    assert isinstance(on_pull, BisectRequest)
    assert isinstance(on_issue, BisectRequest)
    assert (on_pull.bad, on_issue.bad) == ("refs/heads/main", None)


@pytest.mark.thorough
async def test_an_incident_that_was_closed_untold_is_answered_once(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    await lane.start()
    await served(lane, 1)
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        github.protect(repository, "main", Protection(reviews=1))
        await lane.ask(alice, number)

        async def opened() -> int | None:
            found = [n for n, i in repository.issues.items() if "incident" in str(i.labels)]
            return min(found, default=None)

        issue = int(await eventually(opened, lane.life) or 0)
        losing(github, "issues.closed", recorded=False)
        await alice.patch(f"issues/{issue}", state="closed")

        async def answered() -> bool:
            said = await alice.comments(issue)
            return any("still at work" in each["body"] for each in said)

        await eventually(answered, lane.life)
        await looked_again(lane)
        losing(github, "issues.reopened", recorded=False)
        await alice.patch(f"issues/{issue}", state="open")
        await looked_again(lane)
    # It stands as its incident does again: there is nothing more to take up.
    asked = [each for each in requests_in(lane) if each.source.kind is SourceKind.ISSUE]
    assert [each.request for each in asked] == [CloseRequest(why="completed")]


@pytest.mark.thorough
async def test_a_check_that_failed_on_main_untold_is_judged_once(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    await lane.start()
    await served(lane, 1)
    async with lane.person(repository) as alice:
        head = await alice.head("main")
        rule = losing(github, "status", recorded=False)
        await alice.set_status(head, "failure", "evals")
        assert rule.fired == 1

        async def judging() -> bool:
            return triggers(lane) > 0

        await eventually(judging, lane.life)
        [asked] = requests_in(lane)
        assert isinstance(asked.request, JudgeRequest)
        assert (asked.request.check, asked.request.sha) == ("evals", head)
        # Told after all, it is the same request.
        await alice.set_status(head, "failure", "evals")
        await looked_again(lane)
        assert triggers(lane) == 1


@pytest.mark.thorough
async def test_what_was_delivered_edited_or_older_than_the_app_does_not_run_again(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        github.faults.on_delivery(Lose(recorded=False), event=r"^issue_comment", times=2)
        await alice.comment(number, "/revert because it was before your time")
        await asyncio.sleep(1.1)  # GitHub's stamps are whole seconds
        await lane.start()
        await served(lane, 1)
        harmless = await alice.comment(number, "What happened here?")
        await github.deliveries.settle()
        losing(github, "issue_comment.edited", recorded=False)
        await asyncio.sleep(1.1)
        await alice.edit_comment(harmless["id"], "/revert")
        told = await alice.comment(number, "/status")
        await lane.carried_out(repository, told["id"])
        await looked_again(lane)
        assert triggers(lane) == 1
        assert not [i for i in repository.issues.values() if "incident" in str(i.labels)]


async def test_while_nothing_happens_nothing_is_asked_about_any_repository(lane: Lane) -> None:
    repositories = [lane.repository() for _ in range(3)]
    await lane.start()
    await served(lane, len(repositories))
    async with lane.person(repositories[0]) as alice:
        comment = await alice.comment(await lane.broken(alice), "/status")
        await lane.carried_out(repositories[0], comment["id"])

    async def quiet() -> bool:
        before = await requests(lane, "playbooks_github_requests_total")
        await looked_again(lane)
        return (await requests(lane, "playbooks_github_requests_total"))[READ] == before[READ]

    await eventually(quiet, lane.life)
    before = await requests(lane, "playbooks_github_requests_total", of=".*")
    await looked_again(lane)
    after = await requests(lane, "playbooks_github_requests_total", of=".*")
    asked = {route: after[route] - before.get(route, 0) for route in after}
    looks = asked.pop(LOOK)
    # A second request looks which of the failed ones got through since.
    assert asked.pop("GET /app/hook/deliveries") <= 2 * (looks + 1)
    # Once a minute it is asked where the App is installed.
    for route in ("GET /app/installations", "GET /installation/repositories"):
        assert asked.pop(route) <= 1
    assert not any(asked.values()), asked


LOOKING = "missed deliveries|missed checks|deliveries"


async def requests(lane: Lane, metric: str, *, of: str = LOOKING) -> dict[str, int]:
    """What the bot says it asked GitHub while looking for missed deliveries, by route."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{lane.port}/metrics") as answer,
    ):
        text = await answer.text()
    pattern = rf'^{metric}\{{playbook="(?:{of})",route="([^"]+)"\}} (\S+)$'
    found: Counter[str] = Counter()
    for route, count in re.findall(pattern, text, re.MULTILINE):
        found[route] += int(float(count))
    return found
