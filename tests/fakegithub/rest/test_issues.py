"""https://docs.github.com/rest/issues."""

from __future__ import annotations

import pytest

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeRepository
from tests.fakegithub.saying import Heard, refused


async def test_an_issue_lives_through_opening_editing_closing_and_reopening(
    github: DemoGitHub, alice: Person, repository: FakeRepository
) -> None:
    heard = Heard(github, repository)
    number = await alice.open_issue("It broke", "badly", labels=["bug"])
    await alice.patch(f"issues/{number}", title="It broke again")
    closed = await alice.patch(f"issues/{number}", state="closed", state_reason="not_planned")
    assert (closed["state"], closed["state_reason"]) == ("closed", "not_planned")
    assert closed["closed_by"]["login"] == "alice"
    assert (await alice.patch(f"issues/{number}", state="open"))["state_reason"] == "reopened"

    actions = [event.action for event in heard.named("issues")]
    assert actions == ["opened", "labeled", "edited", "closed", "reopened"]
    payload = heard.named("issues")[2].payload
    assert payload["changes"] == {"title": {"from": "It broke"}}
    assert payload["sender"]["login"] == "alice"
    assert payload["repository"]["full_name"] == alice.repository


async def test_a_comment_is_heard_with_its_issue_and_an_edit_says_what_it_was(
    github: DemoGitHub, alice: Person, repository: FakeRepository
) -> None:
    heard = Heard(github, repository)
    number = await alice.open_issue("Talk")
    comment = await alice.comment(number, "/revert")
    await alice.edit_comment(comment["id"], "/revert #7")
    await alice.delete(f"issues/comments/{comment['id']}")

    events = heard.named("issue_comment")
    assert [event.action for event in events] == ["created", "edited", "deleted"]
    assert events[0].payload["issue"]["number"] == number
    assert events[1].payload["changes"]["body"]["from"] == "/revert"
    assert await alice.comments(number) == []


async def test_what_the_app_writes_bears_its_name(bot: Person, alice: Person, app: FakeApp) -> None:
    number = await alice.open_issue("Talk")
    comment = await bot.comment(number, "On it.")
    assert comment["user"]["login"] == f"{app.slug}[bot]"
    assert comment["user"]["type"] == "Bot"
    assert comment["performed_via_github_app"]["id"] == app.id


async def test_the_same_reaction_twice_is_one_reaction(bot: Person, alice: Person) -> None:
    """https://docs.github.com/rest/reactions/reactions#create-reaction-for-an-issue-comment."""
    comment = await alice.comment(await alice.open_issue("Talk"), "/help")
    path = f"issues/comments/{comment['id']}/reactions"
    assert (await bot.request("POST", path, {"content": "eyes"}))[0] == 201
    assert (await bot.request("POST", path, {"content": "eyes"}))[0] == 200
    await alice.post(path, content="heart")
    assert sorted(await alice.reactions(comment["id"])) == ["eyes", "heart"]
    with refused(422):
        await bot.post(path, content="shrug")


@pytest.mark.parametrize(
    ("body", "words"), [("x" * 65_537, "too long"), ("  ", "blank"), (None, "missing_field")]
)
async def test_a_comment_without_text_or_with_too_much_is_refused(
    alice: Person, body: str | None, words: str
) -> None:
    number = await alice.open_issue("Talk")
    with refused(422, words):
        await alice.post(f"issues/{number}/comments", body=body)
    assert (await alice.comment(number, "x" * 65_536))["id"]


async def test_a_title_is_neither_blank_nor_longer_than_256(alice: Person) -> None:
    for title in ("", "x" * 257):
        with refused(422, "title"):
            await alice.open_issue(title)


async def test_an_unknown_label_is_made_by_putting_it_on(alice: Person) -> None:
    number = await alice.open_issue("Talk")
    await alice.label(number, "severity:high", "BUG")
    assert [x["name"] for x in (await alice.issue(number))["labels"]] == ["severity:high", "bug"]
    await alice.unlabel(number, "severity:high")
    with refused(404):
        await alice.unlabel(number, "severity:high")
    with refused(422, "already_exists"):
        await alice.post("labels", name="Bug", color="ff0000")


async def test_only_people_with_access_can_be_assigned(alice: Person, eve: Person) -> None:
    """https://docs.github.com/rest/issues/assignees#add-assignees-to-an-issue."""
    number = await eve.open_issue("Who?")
    issue = await alice.post(f"issues/{number}/assignees", assignees=["alice", "eve", "ghost"])
    assert [user["login"] for user in issue["assignees"]] == ["alice"]


async def test_lists_filter_by_label_state_creator_and_time(alice: Person, bot: Person) -> None:
    first = await alice.open_issue("first", labels=["incident"])
    second = await bot.open_issue("second", labels=["incident"])
    await alice.patch(f"issues/{first}", state="closed")
    found = await alice.issues(labels="incident", state="open")
    assert [issue["number"] for issue in found] == [second]
    found = await alice.issues(creator="incident-playbooks[bot]")
    assert [issue["number"] for issue in found] == [second]
    assert await alice.issues(since="2999-01-01T00:00:00Z") == []


async def test_a_stranger_edits_neither_issues_nor_comments_of_others(
    alice: Person, eve: Person
) -> None:
    number = await alice.open_issue("Mine")
    comment = await alice.comment(number, "mine too")
    with refused(403):
        await eve.edit_comment(comment["id"], "stolen")
    with refused(403):
        await eve.patch(f"issues/{number}", state="closed")
