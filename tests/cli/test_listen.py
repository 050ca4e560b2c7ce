"""`playbooks listen`: a bot without a public address hears what GitHub could not hand over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.cli.test_commands import playbooks
from tests.setup.test_terminal import Typed
from tests.shop import SECRET, Shop

NOWHERE = "http://127.0.0.1:9/webhooks/github"


class Relay:
    """A smee-compatible relay: what is posted to its channel is passed on to whoever reads it."""

    def __init__(self, *, raw: bool) -> None:
        self._raw, self._readers = raw, set[web.StreamResponse]()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/channel", self._read)
        application.router.add_post("/channel", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/channel"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _read(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"event: ready\ndata: {}\n\n")
        self._readers.add(answer)
        while True:
            await asyncio.sleep(5)
            await answer.write(b"event: ping\ndata: {}\n\n")

    async def _take(self, request: web.Request) -> web.Response:
        text = await request.text()
        sent: dict[str, Any] = {name.lower(): value for name, value in request.headers.items()}
        sent |= {"body": json.loads(text), "timestamp": 1}
        if self._raw:
            sent["rawBody"] = text
        await self.pass_on(sent)
        return web.Response()

    async def pass_on(self, sent: dict[str, Any]) -> None:
        for reader in self._readers:
            await reader.write(f"id: 1\ndata: {json.dumps(sent)}\n\n".encode())


def environment_of(shop: Shop) -> dict[str, str]:
    fake = shop.github.world.apps[shop.bot.settings.github_app_id]
    return {
        "GITHUB_API_URL": f"{shop.github.url}/api/v3",
        "GITHUB_APP_ID": str(fake.id),
        "GITHUB_PRIVATE_KEY": fake.private_key,
        "GITHUB_WEBHOOK_SECRET": SECRET,
        "PLAYBOOKS_URL": f"http://127.0.0.1:{shop.bot.port}",
    }


@pytest.fixture
async def unreachable(shop: Shop) -> AsyncIterator[Shop]:
    """GitHub does not reach the bot; missed deliveries are not asked for in time either."""
    app = shop.github.world.apps[shop.bot.settings.github_app_id]
    before, app.webhook_url = app.webhook_url, NOWHERE
    yield shop
    app.webhook_url = before


@asynccontextmanager
async def listening(shop: Shop, *more: str) -> AsyncIterator[Typed]:
    bot = f"http://127.0.0.1:{shop.bot.port}"
    listen = await Typed.run("listen", "--bot", bot, "--every", "1", *more, **environment_of(shop))
    try:
        yield listen
    finally:
        await listen.close()


@pytest.mark.thorough
async def test_what_github_could_not_hand_over_is_taken_from_its_list(unreachable: Shop) -> None:
    shop = unreachable
    number = await shop.broken()
    async with listening(shop) as listen:
        await listen.says("asking GitHub every 1 s")
        answer = await shop.says(number, "/revert because totals are zero")
        assert await answer.reaction() == "+1"
        assert "issue_comment" in await listen.says(r"issue_comment \S+: 2\d\d")


@pytest.mark.sampled("as smee does")
@pytest.mark.parametrize("raw", [False, True], ids=["as smee does", "with rawBody"])
async def test_a_relay_is_read_and_what_it_forges_is_refused(unreachable: Shop, raw: bool) -> None:
    shop, relay = unreachable, Relay(raw=raw)
    await relay.start()
    app = shop.github.world.apps[shop.bot.settings.github_app_id]
    number = await shop.broken()
    await shop.github.deliveries.settle()
    try:
        async with listening(shop, "--relay", relay.url) as listen:
            await listen.says("reading http")
            forged = {"x-github-event": "issue_comment", "x-github-delivery": "forged",
                      "x-hub-signature-256": "sha256=0", "body": {"action": "created"}}  # fmt: skip
            await relay.pass_on(forged)
            await listen.says("issue_comment forged: 40[13]")
            app.webhook_url = relay.url
            answer = await shop.says(number, "/revert because totals are zero ☠")
            await listen.says(r"issue_comment \S+: 202")
            assert await answer.reaction() == "+1"
    finally:
        await relay.stop()


async def test_where_no_bot_runs_it_says_so_and_goes_on(unreachable: Shop) -> None:
    shop = unreachable
    await shop.alice.open_issue("Nobody hears this")
    await shop.github.deliveries.settle()
    listen = await Typed.run("listen", "--bot", "http://127.0.0.1:9", "--every", "1",
                             **environment_of(shop))  # fmt: skip
    try:
        said = await listen.says(r"(?s)599 No bot answers.*599 No bot answers")
        assert "Traceback" not in said
    finally:
        await listen.close()


async def test_a_delivery_by_hand_is_signed_and_its_answer_is_told(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("payload") / "ping.json"
    file.write_text(json.dumps({"zen": "Keep it logically awesome."}))
    told = environment_of(shop)
    done = await asyncio.to_thread(playbooks, "receive", "-e", "ping", "-p", file, **told)
    assert done.returncode == 0, done.stderr
    told["GITHUB_WEBHOOK_SECRET"] = "another"  # noqa: S105  of a GitHub that lives for one test run
    done = await asyncio.to_thread(playbooks, "receive", "-e", "ping", "-p", file, **told)
    assert done.returncode == 1
    assert done.stdout.startswith(("401", "403"))
