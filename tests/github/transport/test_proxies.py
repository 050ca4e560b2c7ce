"""Which way a request goes out: through the environment's proxy, with no login but its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from bot.github.transport.http import exchange, new_session, proxy_for
from bot.github.transport.retry import HttpAnswer

OURS = "token ours"


@asynccontextmanager
async def answering() -> AsyncIterator[tuple[str, list[web.BaseRequest]]]:
    """A server that answers everything, also as a proxy: its address, and what it was asked."""
    asked: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request)
        return web.Response(text="here")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("who", ["machine 127.0.0.1", "default"])
@pytest.mark.parametrize("signed", [{"authorization": OURS}, {}], ids=["signed", "unsigned"])
async def test_logins_that_lie_on_the_machine_are_not_ours(
    who: str, signed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{who} login olivia password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with answering() as (host, asked), new_session(5.0) as session:
        answer = await exchange(session, "GET", f"http://{host}/meta", signed, None)
    assert isinstance(answer, HttpAnswer)
    assert answer.body == b"here"
    assert [each.headers.get("authorization") for each in asked] == [signed.get("authorization")]


async def test_a_proxy_that_the_environment_names_is_asked_with_its_own_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with answering() as (host, asked), new_session(5.0) as session:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{host}")
        url = "http://github.internal/api/v3/meta"
        await exchange(session, "GET", url, {"authorization": OURS}, None)
        # Nobody says NO_PROXY: it is this machine.
        await exchange(session, "GET", f"http://{host}/direct", {}, None)
    # Whatever else runs in this process asks through the proxy, too, while it is named.
    [proxied] = [each for each in asked if str(each.url) == url]
    [direct] = [each for each in asked if each.path == "/direct"]
    assert proxied.headers["authorization"] == OURS
    assert proxied.headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert "proxy-authorization" not in direct.headers


@pytest.mark.parametrize(
    ("named", "asked", "goes"),
    [
        ({}, "https://api.github.com/meta", None),
        ({"https_proxy": "http://p:3128"}, "https://api.github.com/meta", "http://p:3128"),
        ({"HTTPS_PROXY": "p:3128"}, "https://api.github.com/meta", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, "https://api.github.com/meta", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": ".corp"}, "https://git.corp/api/v3", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, "https://api.github.com/", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "git.corp:8443"}, "https://git.corp:8443/", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "corp"}, "https://corporate/", "http://p"),
        ({"HTTPS_PROXY": " http://p\n"}, "https://api.github.com/", "http://p"),
        *(
            ({"HTTP_PROXY": "http://p"}, f"http://{here}:8080/healthz", None)
            for here in ("localhost", "127.0.0.1", "127.1.2.3", "[::1]")
        ),
    ],
)
def test_what_the_environment_says_of_an_address(
    named: dict[str, str], asked: str, goes: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(URL(asked)) == (goes and URL(goes))
