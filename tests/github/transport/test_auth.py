"""The App signs in, keeps its tokens as long as they are good, and no longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jwt
import pytest

from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import BadCredentials, Forbidden, NotInstalled, Suspended
from bot.github.transport.auth import AppKey
from bot.triggers import Repository as Place
from bot.wiring.background import Mirrors
from fakegithub.faults.request_faults import ExpireToken, Suspend
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation
from tests.github.conftest import Connect, Time


def tokens_made(bot: GitHub) -> int:
    route = "POST /app/installations/{installation_id}/access_tokens"
    return bot.requests.by_route("auth").get(route, 0)


async def test_one_token_serves_many_calls_at_once(bot: GitHub, client: RepositoryClient) -> None:
    await asyncio.gather(*(client.about() for _ in range(10)))
    assert tokens_made(bot) == 1


async def test_a_token_is_renewed_five_minutes_before_its_end(
    bot: GitHub, client: RepositoryClient, time: Time
) -> None:
    await client.about()
    time.pass_(54 * 60)
    await client.about()
    assert tokens_made(bot) == 1
    time.pass_(2 * 60)
    await client.about()
    assert tokens_made(bot) == 2


async def test_a_token_that_expires_in_the_middle_is_renewed_once_and_the_work_goes_on(
    bot: GitHub, client: RepositoryClient, github: DemoGitHub, time: Time
) -> None:
    await client.about()
    github.faults.add(ExpireToken(), method="POST", path=r"/issues$")
    issue = await client.issues.ensure_issue(
        key="expires", title="x", body="x", since=time.moment(), look_first=False
    )
    assert issue.title == "x"
    assert tokens_made(bot) == 2


async def test_a_token_that_is_refused_again_and_again_is_given_up(
    bot: GitHub, client: RepositoryClient, github: DemoGitHub
) -> None:
    github.faults.add(ExpireToken(), path="/repos/", times=None)
    with pytest.raises(BadCredentials, match="clock"):
        await client.about()
    assert tokens_made(bot) == 2


async def test_the_mirrors_token_can_only_read_this_repository(
    client: RepositoryClient, github: DemoGitHub, place: Place
) -> None:
    token = github.world.installation_tokens[await client.clone_token()]
    assert token.permissions == {"contents": "read"}
    assert token.repositories == {place.id}
    assert await client.clone_token() == token.token
    assert client.clone_url == f"{github.url}/{place.full_name}.git"


async def test_a_mirror_is_fetched_as_the_installation_of_today(
    bot: GitHub, place: Place, installation: FakeInstallation, tmp_path: Path
) -> None:
    mirrors = Mirrors(tmp_path, bot)
    # Transferred to another owner, or the App was removed and installed again.
    before = mirrors.of(place.model_copy(update={"installation_id": installation.id + 10**6}))
    mirror = mirrors.of(place)
    assert mirror is before
    assert mirror.token is not None
    assert await mirror.token()


async def test_a_permission_the_app_was_not_given_is_named(
    bot: GitHub, installation: FakeInstallation
) -> None:
    with pytest.raises(Forbidden, match="workflows"):
        await bot.token(installation.id, permissions={"workflows": "write"})


async def test_granted_permissions_can_be_asked_for(client: RepositoryClient) -> None:
    assert await client.permissions.may("contents")
    assert await client.permissions.may("administration", "read")
    assert not await client.permissions.may("administration", "write")
    assert not await client.permissions.may("workflows")


async def test_a_suspended_installation_says_who_can_lift_it(
    client: RepositoryClient, github: DemoGitHub
) -> None:
    github.faults.add(Suspend(), path="/repos/")
    with pytest.raises(Suspended, match="owner can lift it"):
        await client.about()


async def test_a_suspended_installation_is_said_too_when_the_process_just_started(
    client: RepositoryClient, github: DemoGitHub, installation: FakeInstallation
) -> None:
    installation.suspended_at = github.world.now()
    with pytest.raises(Suspended):
        await client.about()


async def test_a_removed_app_says_so(bot: GitHub, place: Place) -> None:
    gone = place.model_copy(update={"installation_id": 999_999})
    with pytest.raises(NotInstalled, match="Install it again"):
        await bot.repository(gone, playbook="revert").about()


def test_a_key_that_is_none_is_found_out_at_the_start(app: FakeApp, time: Time) -> None:
    for wrong in ("", "nonsense", app.public_key):
        with pytest.raises(BadCredentials, match="GITHUB_PRIVATE_KEY"):
            AppKey(app.id, wrong, time.now)


def test_the_jwt_is_backdated_short_and_kept(app: FakeApp, time: Time) -> None:
    key = AppKey(app.id, app.private_key, time.now)
    first = key.jwt()
    claims = jwt.decode(first, options={"verify_signature": False})
    assert claims == {
        "iss": str(app.id),
        "iat": int(time.seconds) - 60,
        "exp": int(time.seconds) + 540,
    }
    time.pass_(6 * 60)
    assert key.jwt() == first
    time.pass_(90)
    assert key.jwt() != first


async def test_the_app_knows_its_own_name_after_asking_once(connect: Connect, app: FakeApp) -> None:
    bot = connect()
    assert await bot.ourselves.login() == f"{app.slug}[bot]"
    assert await bot.ourselves.login() == f"{app.slug}[bot]"
    assert bot.requests.total("auth") == 1
    assert bot.requests.total() == 0
