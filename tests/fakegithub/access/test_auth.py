"""https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from demo.person import Person
from fakegithub.access.credentials import app_jwt, issue_token, new_key_pair
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from tests.fakegithub.calling import as_app
from tests.fakegithub.saying import refused
from tests.people import People


async def test_an_app_proves_itself_with_its_key_and_gets_a_token_for_one_hour(
    github: DemoGitHub, app: FakeApp, installation: FakeInstallation
) -> None:
    caller = as_app(github, app)
    assert (await caller.get("/app")).body["slug"] == app.slug

    reply = await caller.post(f"/app/installations/{installation.id}/access_tokens")

    assert reply.status == 201
    assert reply.body["permissions"]["contents"] == "write"
    life = datetime.fromisoformat(reply.body["expires_at"]) - github.world.now()
    assert timedelta(minutes=59) < life <= timedelta(hours=1)


async def test_a_token_can_be_narrowed_to_a_repository_and_a_permission(
    github: DemoGitHub,
    app: FakeApp,
    installation: FakeInstallation,
    repository: FakeRepository,
    owner: FakeUser,
) -> None:
    other = github.create_repository(owner, f"{repository.name}-other", {"a": "b"})
    reply = await as_app(github, app).post(
        f"/app/installations/{installation.id}/access_tokens",
        {"repositories": [repository.name], "permissions": {"issues": "write"}},
    )
    assert [r["name"] for r in reply.body["repositories"]] == [repository.name]

    async with Person(github.url, reply.body["token"], repository.full_name) as narrowed:
        assert await narrowed.open_issue("still allowed") == 1
        with refused(403, "not accessible by integration"):
            await narrowed.push("main", {"a": "b"}, "more than asked for")
        with refused(404):
            await narrowed.get(f"/repos/{other.full_name}")


async def test_more_than_was_granted_is_not_given(
    github: DemoGitHub, app: FakeApp, installation: FakeInstallation
) -> None:
    reply = await as_app(github, app).post(
        f"/app/installations/{installation.id}/access_tokens",
        {"permissions": {"administration": "write"}},
    )
    assert reply.status == 422


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"iat": -30, "exp": 3600}, "too far in the future"),
        ({"iat": -900, "exp": -300}, "Expiration time"),
        ({"iat": 300, "exp": 500}, "Issued at"),
    ],
)
async def test_an_app_jwt_lives_for_ten_minutes_at_most(
    github: DemoGitHub, app: FakeApp, claims: dict[str, int], words: str
) -> None:
    now = int(github.world.clock().timestamp())
    shifted = {name: now + seconds for name, seconds in claims.items()}
    token = jwt.encode({"iss": str(app.id), **shifted}, app.private_key, algorithm="RS256")
    async with Person(github.url, token, "x/y") as caller:
        with refused(401, words):
            await caller.get("/app")


async def test_a_jwt_signed_with_another_key_is_refused(github: DemoGitHub, app: FakeApp) -> None:
    async with Person(github.url, app_jwt(app.id, new_key_pair()[0]), "x/y") as caller:
        with refused(401, "could not be decoded"):
            await caller.get("/app")


async def test_unknown_and_revoked_tokens_are_bad_credentials(
    github: DemoGitHub, people: People, installation: FakeInstallation, repository: FakeRepository
) -> None:
    async with Person(github.url, "ghs_nobody", repository.full_name) as stranger:
        with refused(401, "Bad credentials"):
            await stranger.issues()
    bot = people.installed(installation)
    await bot.delete("/installation/token")
    with refused(401):
        await bot.issues()


async def test_a_token_expires_after_an_hour() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    async with DemoGitHub(clock=lambda: moment, rng=random.Random(1)) as github:  # noqa: S311
        owner = github.create_user("octo")
        app = github.create_app("an-app", owner=owner, permissions={}, events=[])
        repository = github.create_repository(owner, "hello", {"a": "b"})
        token = issue_token(github.world, github.install(app, owner)).token
        async with Person(github.url, token, repository.full_name) as bot:
            assert (await bot.get(""))["name"] == "hello"
            moment += timedelta(minutes=61)
            with refused(401, "Bad credentials"):
                await bot.get("")


async def test_a_suspended_installation_may_do_nothing(github: DemoGitHub) -> None:
    owner = github.create_user("suspender")
    app = github.create_app("a-tiresome-app", owner=owner, permissions={}, events=[])
    repository = github.create_repository(owner, "hello", {"a": "b"})
    installation = github.install(app, owner)
    token = issue_token(github.world, installation).token
    github.suspend(installation)
    async with Person(github.url, token, repository.full_name) as bot:
        with refused(403, "suspended"):
            await bot.get("")


async def test_a_missing_permission_is_named_in_a_header(
    people: People, installation: FakeInstallation
) -> None:
    """https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api."""
    bot = people.installed(installation, {"metadata": "read"})
    status, answer, headers = await bot.request("POST", "issues", {"title": "no"})
    assert (status, answer["message"]) == (403, "Resource not accessible by integration")
    assert headers["X-Accepted-GitHub-Permissions"] == "issues=write"
