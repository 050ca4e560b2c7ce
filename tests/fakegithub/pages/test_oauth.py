"""Logging in with an App: what GitHub promises, the demo GitHub keeps.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from pydantic import SecretStr
from yarl import URL

from bot.github.client import GitHub
from bot.github.errors import BadCredentials
from bot.github.oauth import Challenge
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository
from fakegithub.world.roles import RoleName
from tests.people import People

BACK = "http://127.0.0.1:9/ui/login/callback"


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def client(github: DemoGitHub, app: FakeApp) -> AsyncIterator[GitHub]:
    app.callback_urls = ["http://127.0.0.1/ui/login/callback"]
    address = f"{github.url}/api/v3"
    async with GitHub(app_id=app.id, private_key=app.private_key, api_url=address) as client:
        yield client


async def comes_back(browser: aiohttp.ClientSession, address: str, **chosen: str) -> URL:
    """Be sent to GitHub, choose who to be, and be sent back; where to."""
    form = dict(URL(address).query)
    asked = browser.post(URL(address).with_query(None), data=form | chosen, allow_redirects=False)
    async with asked as answer:
        assert answer.status == 302, await answer.text()
        return URL(answer.headers["Location"])


async def test_a_person_logs_in_and_their_token_tells_what_they_see_until_it_is_dropped(
    github: DemoGitHub, client: GitHub, app: FakeApp, browser: aiohttp.ClientSession,
    repository: FakeRepository, installation: FakeInstallation, people: People,
) -> None:  # fmt: skip
    del installation
    people("alice", RoleName.WRITE)
    flow = client.web_flow(app.client_id, SecretStr(app.client_secret))
    pair = Challenge.new()
    address = flow.address(state="s1", challenge=pair.sent, redirect_uri=BACK)
    back = await comes_back(browser, address, login="alice")
    assert back.query["state"] == "s1"
    assert str(back).startswith(BACK)
    grant, visitor = await flow.identify(
        back.query["code"], verifier=pair.verifier, redirect_uri=BACK
    )
    assert visitor.login == "alice"
    assert repository.id in visitor.repositories
    assert await flow.look(grant.token) == visitor
    await flow.drop(grant.token)
    with pytest.raises(BadCredentials):
        await flow.look(grant.token)
    assert grant.token.get_secret_value() not in github.world.app_user_tokens


async def test_a_code_works_once_and_only_with_its_verifier(
    client: GitHub, app: FakeApp, browser: aiohttp.ClientSession, people: People
) -> None:
    people("alice", RoleName.WRITE)
    flow = client.web_flow(app.client_id, SecretStr(app.client_secret))
    pair = Challenge.new()
    address = flow.address(state="s", challenge=pair.sent, redirect_uri=BACK)
    stolen = (await comes_back(browser, address, login="alice")).query["code"]
    with pytest.raises(BadCredentials, match="bad_verification_code"):
        await flow.identify(stolen, verifier=Challenge.new().verifier, redirect_uri=BACK)
    with pytest.raises(BadCredentials, match="bad_verification_code"):
        await flow.identify(stolen, verifier=pair.verifier, redirect_uri=BACK)


async def test_a_wrong_client_secret_gets_no_token(
    client: GitHub, app: FakeApp, browser: aiohttp.ClientSession, people: People
) -> None:
    people("alice", RoleName.WRITE)
    flow = client.web_flow(app.client_id, SecretStr("guessed"))
    pair = Challenge.new()
    address = flow.address(state="s", challenge=pair.sent, redirect_uri=BACK)
    code = (await comes_back(browser, address, login="alice")).query["code"]
    with pytest.raises(BadCredentials, match="incorrect_client_credentials"):
        await flow.identify(code, verifier=pair.verifier, redirect_uri=BACK)


async def test_saying_no_comes_back_as_a_refusal(
    client: GitHub, app: FakeApp, browser: aiohttp.ClientSession
) -> None:
    flow = client.web_flow(app.client_id, SecretStr(app.client_secret))
    address = flow.address(state="s", challenge=Challenge.new().sent, redirect_uri=BACK)
    assert (await comes_back(browser, address, denied="yes")).query["error"] == "access_denied"


async def test_nobody_is_sent_to_an_address_that_is_not_registered(
    client: GitHub, app: FakeApp, browser: aiohttp.ClientSession
) -> None:
    flow = client.web_flow(app.client_id, SecretStr(app.client_secret))
    for elsewhere in ("http://evil.example/ui/login/callback", "http://127.0.0.1/elsewhere"):
        address = flow.address(state="s", challenge="c", redirect_uri=elsewhere)
        async with browser.get(address) as answer:
            assert answer.status == 400
