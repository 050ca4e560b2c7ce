"""What all REST routes share: ETags, pages, rate limits, redirects, roles."""

from __future__ import annotations

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName
from tests.fakegithub.saying import refused
from tests.people import People


async def test_an_unchanged_answer_is_304_and_costs_nothing(alice: Person) -> None:
    """https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api."""
    _, _, first = await alice.request("GET", "issues")
    known = {"If-None-Match": first["ETag"]}
    status, _, second = await alice.request("GET", "issues", headers=known)
    assert status == 304
    assert second["X-RateLimit-Remaining"] == first["X-RateLimit-Remaining"]

    await alice.open_issue("something new")
    status, _, third = await alice.request("GET", "issues", headers=known)
    assert status == 200
    assert int(third["X-RateLimit-Remaining"]) == int(first["X-RateLimit-Remaining"]) - 2


async def test_long_lists_come_in_pages_that_link_to_each_other(alice: Person) -> None:
    """https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api."""
    for title in ("first", "second", "third"):
        await alice.open_issue(title)
    _, page, headers = await alice.request("GET", "issues", params={"per_page": "2"})
    assert [issue["title"] for issue in page] == ["third", "second"]
    assert 'rel="next"' in headers["Link"]
    assert 'rel="last"' in headers["Link"]
    assert "page=2" in headers["Link"]

    _, page, headers = await alice.request("GET", "issues", params={"per_page": "2", "page": "2"})
    assert [issue["title"] for issue in page] == ["first"]
    assert 'rel="next"' not in headers["Link"]


async def test_every_answer_has_a_request_id_and_what_is_left(alice: Person) -> None:
    _, _, one = await alice.request("GET", "")
    _, _, other = await alice.request("GET", "")
    assert one["X-GitHub-Request-Id"] != other["X-GitHub-Request-Id"]
    assert int(other["X-RateLimit-Used"]) == int(one["X-RateLimit-Used"]) + 1


async def test_who_has_used_up_the_hour_is_refused_until_the_reset(
    github: DemoGitHub, people: People
) -> None:
    """https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api."""
    greedy = people("greedy", RoleName.WRITE)
    github.limits.exhaust("person:greedy", seconds=60)
    status, answer, headers = await greedy.request("GET", "issues")
    assert status == 403
    assert "rate limit exceeded" in answer["message"]
    assert headers["X-RateLimit-Remaining"] == "0"
    _, asked, _ = await greedy.request("GET", "/rate_limit")
    assert asked["resources"]["core"]["remaining"] == 0


async def test_a_renamed_repository_redirects_and_keeps_its_id(
    mona: Person, repository: FakeRepository
) -> None:
    """https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api."""
    former, number = repository.full_name, await mona.open_issue("before the move")
    await mona.patch("", name=f"{repository.name}-renamed")
    issue = await mona.get(f"/repos/{former}/issues/{number}")
    assert issue["title"] == "before the move"
    assert issue["repository_url"].endswith("-renamed")
    by_id = await mona.get(f"/repositories/{repository.id}")
    assert by_id["full_name"] == repository.full_name


async def test_people_may_do_what_their_role_allows(eve: Person, alice: Person) -> None:
    """https://docs.github.com/organizations/managing-user-access-to-your-organizations-repositories/managing-repository-roles/repository-roles-for-an-organization."""
    number = await eve.open_issue("anyone can ask", labels=["bug"])
    assert (await eve.issue(number))["labels"] == []
    with refused(403):
        await eve.label(number, "bug")
    with refused(403):
        await alice.patch("", default_branch="main")
    await alice.label(number, "bug")
    assert [label["name"] for label in (await eve.issue(number))["labels"]] == ["bug"]


async def test_a_private_repository_does_not_exist_for_strangers(
    repository: FakeRepository, eve: Person, alice: Person
) -> None:
    repository.private = True
    with refused(404):
        await eve.get("")
    assert (await alice.get(""))["private"] is True


async def test_a_permission_is_exact_in_role_name_and_folded_in_permission(
    people: People, alice: Person, bot: Person
) -> None:
    """https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user."""
    for login, role, folded in (
        ("sam", RoleName.MAINTAIN, "write"),
        ("tia", RoleName.TRIAGE, "read"),
        ("alice", RoleName.WRITE, "write"),
        ("eve", RoleName.NONE, "read"),
    ):
        people(login, role)
        answer = await bot.get(f"collaborators/{login}/permission")
        assert answer["permission"] == folded
        assert answer["role_name"] == ("read" if role is RoleName.NONE else role)
    with refused(404):
        await alice.get("collaborators/nobody-by-that-name/permission")


async def test_no_json_is_400(alice: Person, github: DemoGitHub) -> None:
    session = alice._session
    if session is None:
        await alice.get("")
        session = alice._session
    assert session is not None
    address = f"{github.world.api}/repos/{alice.repository}/issues"
    async with session.post(address, data=b"{", headers=alice._headers) as response:
        assert response.status == 400
        assert (await response.json())["message"] == "Problems parsing JSON"
