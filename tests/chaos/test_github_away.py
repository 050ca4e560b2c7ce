"""GitHub is away for a while, at the very first start, at a later one, and in the middle.

The bot stays up and says so; pages and flags are served, and what is asked for meanwhile is done.
`--chaos=full` keeps GitHub away for ten minutes each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from bot.records import sessions
from bot.records.database import open_database, url_from
from bot.triggers import Role
from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos.end_state import assert_one_of_everything, end_state
from tests.chaos.lane import API_TOKEN, Lane, eventually

SHORT_S, LONG_S = 5.0, 600.0
QUICK_S = 4.0
"""Seconds in which a page is there, on a busy machine."""


class Gate:
    """The way from the bot to GitHub. Shut, it refuses connections, or takes them in silence."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.StreamWriter] = set()
        self._is_silent = False

    async def open(self) -> None:
        await self._close()
        self._is_silent = False
        await self._listen()

    async def shut(self, *, silent: bool = False) -> None:
        await self._close()
        if silent:
            self._is_silent = True
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for each in self._ways:
            each.transport.abort()
        self._ways.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ways.add(writer)
        if self._is_silent:
            return
        theirs, to_them = await asyncio.open_connection("127.0.0.1", self._target)
        self._ways.add(to_them)
        await asyncio.gather(self._copy(reader, to_them), self._copy(theirs, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()


class Visitor:
    """Somebody with a session in the cockpit, and a machine with a token."""

    def __init__(self, lane: Lane, repository: FakeRepository) -> None:
        self._lane, self._repository = lane, repository
        self._key = "the-key-to-a-session"

    async def comes_in(self) -> None:
        """Log in, as of some minutes ago: so long that GitHub would be asked anew."""
        now = datetime.now(UTC)
        records = open_database(url_from(self._lane.data))
        here = self._repository.id
        async with records.begin() as conn:
            await sessions.begin(
                conn, self._key, login=self._lane.alice.login, csrf="csrf",
                token=SecretStr("ghu_x"), roles={here: Role.WRITE},
                now=now - timedelta(minutes=20), until=now + timedelta(hours=1),
            )  # fmt: skip
        await records.dispose()

    async def ask(self, path: str, method: str = "GET", **more: Any) -> tuple[int, str]:
        headers = {"Cookie": f"playbooks={self._key}", "Authorization": f"Bearer {API_TOKEN}"}
        url = f"http://127.0.0.1:{self._lane.port}{path}"
        async with (
            asyncio.timeout(QUICK_S),
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, url, allow_redirects=False, **more) as answer,
        ):
            return answer.status, await answer.text()

    async def flags(self) -> list[tuple[int, str]]:
        """The flag document, and all flags by OFREP."""
        here = f"/r/{self._repository.full_name}"
        context = {"context": {"targetingKey": "anybody"}}
        return [
            await self.ask(f"{here}/flags/flagd.json"),
            await self.ask(f"{here}/ofrep/v1/evaluate/flags", "POST", json=context),
        ]


@pytest.fixture
async def own_github() -> AsyncIterator[DemoGitHub]:
    async with DemoGitHub() as github:
        yield github


async def _is_up_and_says_so(lane: Lane, visitor: Visitor) -> None:
    async def unready() -> Any:
        status, said = await visitor.ask("/readyz")
        return said if status == 503 else None

    said = await eventually(unready, lane.life)
    assert '"GitHub": "GitHub does not answer"' in said
    assert (await visitor.ask("/healthz"))[0] == 200


async def _serves(visitor: Visitor, name: str, *, knows: bool) -> None:
    """The pages and flags, of what it was told of once; else that it waits for GitHub."""
    if knows:
        assert [status for status, _ in await visitor.flags()] == [200, 200]
        status, page = await visitor.ask("/ui/")
        assert status == 200
        assert name in page
        return
    assert (await visitor.ask("/ui/login"))[0] == 200
    status, said = (await visitor.flags())[0]
    assert status == 503
    assert "GitHub" in said


async def _under_way(lane: Lane, repository: FakeRepository, alice: Person) -> int:
    """Ask for a revert whose hotfix waits for its checks; the comment."""
    lane.ci.silent = True
    comment = await lane.ask(alice, await lane.broken(alice))

    async def proposed() -> bool:
        return any(ref.startswith("refs/heads/hotfix/") for ref in repository.git.refs())

    await eventually(proposed, lane.life)
    return comment


@pytest.mark.chaos
@pytest.mark.sampled("a later start-silent")
@pytest.mark.parametrize(
    ("moment", "way"),
    [("the first start", "refused"), ("a later start", "refused"), ("a later start", "silent"),
     ("in the middle", "refused"), ("in the middle", "silent")],
)  # fmt: skip
async def test_it_stays_up_serves_what_is_known_and_loses_nothing(
    own_github: DemoGitHub, tmp_path: Path, moment: str, way: str, chaos_is_full: bool
) -> None:
    lane = Lane(own_github, tmp_path, as_program=True)
    gate = Gate(int(own_github.url.rpartition(":")[2]))
    await gate.open()
    lane.life.environment |= {
        "GITHUB_API_URL": f"http://127.0.0.1:{gate.port}/api/v3",
        "GITHUB_CLIENT_ID": lane.app.client_id,
        "GITHUB_CLIENT_SECRET": lane.app.client_secret,
    }
    asked_here, under_way_here = lane.repository(), lane.repository()
    visitor = Visitor(lane, asked_here)
    knows, in_the_middle = moment != "the first start", moment == "in the middle"
    looks, slowest, begun = 0, 0.0, -1
    try:
        async with lane.person(asked_here) as alice, lane.person(under_way_here) as also:
            number = await lane.broken(alice)
            if knows:
                await lane.start()

                async def known() -> bool:
                    return all(status == 200 for status, _ in await visitor.flags())

                await eventually(known, lane.life)
                await visitor.comes_in()
                if in_the_middle:
                    begun = await _under_way(lane, under_way_here, also)
                else:
                    await lane.life.stop()
            await gate.shut(silent=way == "silent")
            if not in_the_middle:
                await lane.start()
            await _is_up_and_says_so(lane, visitor)
            comment = await lane.ask(alice, number)
            if in_the_middle:
                lane.ci.speak(under_way_here)
            await own_github.deliveries.settle()
            over = time.monotonic() + (LONG_S if chaos_is_full else SHORT_S)
            while time.monotonic() < over:
                began = time.monotonic()
                await _serves(visitor, asked_here.full_name, knows=knows)
                await _is_up_and_says_so(lane, visitor)
                looks, slowest = looks + 1, max(slowest, time.monotonic() - began)
                await asyncio.sleep(1.0)
            assert not lane.reactions(asked_here, comment)
            await gate.open()
            back = time.monotonic()
            await lane.carried_out(asked_here, comment)
            if in_the_middle:
                await lane.carried_out(under_way_here, begun)

            async def ready() -> bool:
                return (await visitor.ask("/readyz"))[0] == 200

            await eventually(ready, lane.life)
            took = time.monotonic() - back
        assert "Traceback" not in lane.life.said(1_000_000)
        for each in (asked_here, under_way_here) if in_the_middle else (asked_here,):
            assert_one_of_everything(end_state(each, lane.data))
    finally:
        await lane.close()
        await gate.shut()
    print(f"{moment}, {way}: {looks} looks, slowest {slowest:.2f} s; all done {took:.1f} s after")  # noqa: T201 - shown
