"""Issues, comments, labels and reactions are made exactly once, whatever GitHub answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from bot.github.calls.issues import Emotion, ReactionSubject
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import NotFound, Uncertain, Unprocessable
from bot.github.markers import BODY_LIMIT, marker
from bot.github.models import Comment, Issue
from fakegithub.faults.request_faults import Drop, Fail, FailAfter, Truncate
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeRepository, FakeUser
from tests.github.conftest import Person, Time

LOST = [FailAfter(502), Drop(), Truncate(), Fail(500), Drop(done=False)]
"""What can become of a write whose answer is lost: done or not, nobody knows."""


@dataclass
class Bot:
    """The steps the tests repeat, as a playbook would run them."""

    client: RepositoryClient
    time: Time

    async def open_issue(self, *, again: bool = False) -> Issue:
        return await self.client.issues.ensure_issue(
            key="incident:1",
            title="main is broken",
            body="Bring it back.",
            labels=["incident"],
            since=self.time.moment().replace(year=2026, day=1),
            look_first=again,
        )

    async def comment(self, number: int, *, again: bool = False) -> Comment:
        return await self.client.comments.ensure_comment(
            number,
            key="done:1",
            body="Done.",
            since=self.time.moment().replace(year=2026, day=1),
            look_first=again,
        )

    async def status(self, number: int, body: str, **more: int) -> Comment:
        since = self.time.moment().replace(year=2026, day=1)
        return await self.client.comments.sticky_comment(
            number, key="status:1", body=body, since=since, **more
        )


@pytest.fixture
def steps(client: RepositoryClient, time: Time) -> Bot:
    return Bot(client, time)


async def test_the_first_time_an_issue_costs_one_request(steps: Bot, bot: GitHub) -> None:
    issue = await steps.open_issue()
    assert (issue.title, issue.labels) == ("main is broken", ("incident",))
    assert issue.body is not None
    assert issue.body.endswith(marker("incident:1"))
    assert bot.requests.total("revert") == 1


async def test_a_step_that_runs_again_finds_its_issue_and_comment(
    steps: Bot, repository: FakeRepository
) -> None:
    issue = await steps.open_issue()
    comment = await steps.comment(issue.number)
    assert (await steps.open_issue(again=True)).number == issue.number
    assert (await steps.comment(issue.number, again=True)).id == comment.id
    assert len(repository.issues) == 1
    assert len(repository.issues[1].comments) == 1


async def test_a_closed_issue_is_found_too(steps: Bot, repository: FakeRepository) -> None:
    issue = await steps.open_issue()
    assert (await steps.client.issues.close(issue.number)).state == "closed"
    assert (await steps.open_issue(again=True)).state == "closed"
    assert len(repository.issues) == 1


@pytest.mark.parametrize("fault", LOST, ids=repr)
@pytest.mark.parametrize("lag", [0.0, 3.0], ids=["lists up to date", "lists lag"])
async def test_a_lost_answer_leaves_exactly_one_issue_and_comment(
    steps: Bot, github: DemoGitHub, repository: FakeRepository, fault: Fail, lag: float
) -> None:
    github.faults.lag.seconds = lag
    github.faults.add(fault, method="POST", path=r"/issues$")
    github.faults.add(fault, method="POST", path=r"/comments$")
    issue = await steps.open_issue()
    await steps.comment(issue.number)
    assert [issue.title for issue in repository.issues.values()] == ["main is broken"]
    assert len(repository.issues[1].comments) == 1


async def test_a_write_that_never_gets_an_answer_is_left_uncertain(
    steps: Bot, github: DemoGitHub
) -> None:
    github.faults.add(Fail(500), method="POST", path=r"/issues$", times=None)
    with pytest.raises(Uncertain, match="may have been done"):
        await steps.open_issue()


async def test_a_copy_of_the_marker_by_somebody_else_is_not_ours(
    steps: Bot, repository: FakeRepository, person: Person, mallory: FakeUser
) -> None:
    issue = await steps.open_issue()
    text = f"Ha!\n\n{marker('done:1')}"
    await person(mallory, f"issues/{issue.number}/comments", {"body": text})
    comment = await steps.comment(issue.number, again=True)
    assert comment.body is not None
    assert comment.body.startswith("Done.")
    assert len(repository.issues[1].comments) == 2


async def test_the_sticky_comment_is_edited_in_place_and_only_when_it_says_something_new(
    steps: Bot, bot: GitHub, repository: FakeRepository, person: Person, mallory: FakeUser
) -> None:
    issue = await steps.open_issue()
    first = await steps.status(issue.number, "Computing the revert.")
    await person(mallory, f"issues/{issue.number}/comments", {"body": "What is going on?"})
    second = await steps.status(issue.number, "Waiting for checks.")
    sent = bot.requests.by_route("revert")
    third = await steps.status(issue.number, "Waiting for checks.")
    assert first.id == second.id == third.id
    assert third.body == f"Waiting for checks.\n\n{marker('status:1')}"
    patch = "PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}"
    assert bot.requests.by_route("revert")[patch] == sent[patch] == 1
    assert len(repository.issues[1].comments) == 2


async def test_a_sticky_comment_whose_id_is_known_needs_no_list_and_survives_deletion(
    steps: Bot, bot: GitHub
) -> None:
    issue = await steps.open_issue()
    comment = await steps.status(issue.number, "One.", look_first=False)
    again = await steps.status(issue.number, "Two.", comment_id=comment.id)
    assert again.id == comment.id
    assert "GET /repos/{owner}/{repo}/issues/{number}/comments" not in bot.requests.by_route()
    await steps.client.comments.delete(comment.id)
    await steps.client.comments.delete(comment.id)
    anew = await steps.status(issue.number, "Three.", comment_id=comment.id)
    assert anew.id != comment.id


PATCH = "PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}"


async def test_of_what_a_comment_is_to_say_while_github_lets_us_wait_only_the_newest_is_sent(
    steps: Bot, bot: GitHub, time: Time
) -> None:
    issue = await steps.open_issue()
    known = (await steps.status(issue.number, "One.", look_first=False)).id
    other = (await steps.comment(issue.number)).id
    steps.client.comments._channel._lane.budget.pause(time.now() + 30)
    said = [steps.status(issue.number, text, comment_id=known) for text in ("Two.", "Three.")]
    answers = await asyncio.gather(
        *said,
        steps.client.comments._edit(other, "Apart."),
        steps.status(issue.number, "Four.", comment_id=known),
    )
    assert bot.requests.by_route("revert")[PATCH] == 2
    assert [each.body.partition("\n")[0] for each in answers] == [
        "Four.",
        "Four.",
        "Apart.",
        "Four.",
    ]
    await steps.status(issue.number, "Five.", comment_id=known)
    assert bot.requests.by_route("revert")[PATCH] == 3


@pytest.mark.parametrize("ends", ["is cancelled", "is refused"])
async def test_what_waited_with_an_edit_that_came_to_nothing_is_sent_by_itself(
    ends: str, steps: Bot, github: DemoGitHub, time: Time
) -> None:
    issue = await steps.open_issue()
    known = (await steps.status(issue.number, "One.", look_first=False)).id
    steps.client.comments._channel._lane.budget.pause(time.now() + 30)
    first = asyncio.create_task(steps.status(issue.number, "Two.", comment_id=known))
    await asyncio.sleep(0)
    second = asyncio.create_task(steps.status(issue.number, "Three.", comment_id=known))
    if ends == "is cancelled":
        first.cancel()
    else:
        github.faults.add(Fail(422), method="PATCH", path=r"/comments/")
    [failed, said] = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(failed, asyncio.CancelledError | Unprocessable)
    assert isinstance(said, Comment)
    assert said.body is not None
    assert said.body.startswith("Three.")


async def test_texts_of_any_length_are_taken(steps: Bot) -> None:
    issue = await steps.client.issues.ensure_issue(
        key="incident:2",
        title="t" * 300,
        body="b" * 70_000,
        since=steps.time.moment(),
        look_first=False,
    )
    assert len(issue.title) == 256
    assert issue.body is not None
    assert len(issue.body) <= BODY_LIMIT
    again = await steps.client.issues.ensure_issue(
        key="incident:2",
        title="t",
        body="b",
        since=steps.time.moment().replace(day=1),
        look_first=True,
    )
    assert again.number == issue.number


async def test_whoever_cannot_be_assigned_does_not_keep_an_issue_from_being_opened(
    steps: Bot, github: DemoGitHub, repository: FakeRepository
) -> None:
    me = f"ann-{repository.name}"
    github.create_user(me)
    github.set_collaborator(repository, me, "write")
    issue = await steps.client.issues.ensure_issue(
        key="incident:3",
        title="main is broken",
        body="Bring it back.",
        labels=["incident"],
        assignees=["nobody-here", me],
        since=steps.time.moment().replace(year=2026, day=1),
        look_first=False,
    )
    opened = await steps.client.issues.get(issue.number)
    assert [user.login for user in opened.assignees] == [me]
    assert opened.labels == ("incident",)


async def test_only_what_is_given_is_changed(steps: Bot) -> None:
    issue = await steps.open_issue()
    changed = await steps.client.issues.update(issue.number, title="main was broken")
    assert (changed.title, changed.body, changed.state) == ("main was broken", issue.body, "open")
    assert (await steps.client.issues.get(issue.number)).title == "main was broken"


async def test_an_issue_that_is_not_there_is_not_found(client: RepositoryClient) -> None:
    assert await client.issues.find(404) is None
    with pytest.raises(NotFound):
        await client.issues.get(404)


async def test_people_who_cannot_be_assigned_are_left_out(
    steps: Bot, github: DemoGitHub, repository: FakeRepository
) -> None:
    login = f"ann-{repository.name}"
    github.create_user(login)
    github.set_collaborator(repository, login, "write")
    issue = await steps.open_issue()
    for _ in range(2):
        assigned = await steps.client.issues.ensure_assignees(issue.number, [login, "nobody-here"])
        assert assigned == (login,)


async def test_a_label_is_put_on_an_issue_and_taken_off_once(
    client: RepositoryClient, steps: Bot
) -> None:
    issue = await steps.open_issue()
    on_it = await client.labels.add(issue.number, ["severity:high", "with/slash"])
    assert set(on_it) == {"incident", "severity:high", "with/slash"}
    for _ in range(2):
        await client.labels.remove(issue.number, "with/slash")
    assert set((await client.issues.get(issue.number)).labels) == {"incident", "severity:high"}


async def test_what_github_refuses_is_said_field_by_field(client: RepositoryClient) -> None:
    with pytest.raises(Unprocessable) as refused:
        await client.labels._channel.post("/repos/{owner}/{repo}/labels", {"name": ""})
    assert "name" in refused.value.fields


@pytest.mark.parametrize("subject", [ReactionSubject.ISSUE, ReactionSubject.ISSUE_COMMENT])
async def test_reacting_twice_is_reacting_once(
    client: RepositoryClient, steps: Bot, app: FakeApp, subject: ReactionSubject, github: DemoGitHub
) -> None:
    issue = await steps.open_issue()
    comment = await steps.comment(issue.number)
    target = issue.number if subject is ReactionSubject.ISSUE else comment.id
    github.faults.add(FailAfter(502), method="POST", path="/reactions")
    first = await client.reactions.ensure_reaction(subject, target, Emotion.SEEN)
    again = await client.reactions.ensure_reaction(subject, target, Emotion.SEEN)
    assert first == again
    assert first.user.login == f"{app.slug}[bot]"
    for _ in range(2):
        await client.reactions.remove(subject, target, first.id)


async def test_roles_are_read_from_github(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    login = f"bea-{repository.name}"
    github.create_user(login)
    for role in ("triage", "write", "maintain", "admin"):
        github.set_collaborator(repository, login, role)
        assert await client.permissions.role_of(login) == role
        assert await client.permissions.role_of(login.upper()) == role
    assert [user.login for user in await client.permissions.admins()] == [login]
    assert await client.permissions.role_of("nobody-here") == "none"
