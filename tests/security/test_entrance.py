"""What strangers may cost: connections, headers, bodies and packed ones, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from bot.app import Bot
from bot.intake.http.bodies import STRANGERS, TooLarge, read_body
from bot.intake.http.entrance import Entrance, EntranceLimits
from tests.intake.github.delivering import headers
from tests.shop import API_TOKEN, Shop

MB = 1024 * 1024
SOON = 10.0
"""Seconds after which what should have happened did not."""


@asynccontextmanager
async def entrance(limits: EntranceLimits, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that tells the length of what it was sent."""

    async def length(request: web.Request) -> web.Response:
        try:
            return web.Response(text=str(len(await read_body(request, 25 * MB, STRANGERS))))
        except TooLarge:
            return web.Response(status=413)

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(16 * MB))

    app = web.Application()
    app.add_routes([web.post("/", length), web.get("/", length), web.get("/large", large)])
    opened = Entrance(app, limits, last_answers=0.1)
    port = await opened.open(host, 0)
    try:
        yield port
    finally:
        await opened.close()


@asynccontextmanager
async def knock(port: int, said: bytes) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        await writer.drain()
        yield reader
    finally:
        writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), SOON) == b""
    except ConnectionError:
        return True


async def post(port: int, body: bytes, address: str = "127.0.0.1", **given: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}:{port}/", data=body, headers=given) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::", {"127.0.0.1", "[::1]"}),
        ("::0", {"127.0.0.1", "[::1]"}),
        ("::1", {"[::1]"}),
        ("127.0.0.1", {"127.0.0.1"}),
    ],
)
async def test_all_addresses_are_those_of_both_versions_of_ip(host: str, reached: set[str]) -> None:
    found = set()
    async with entrance(EntranceLimits(), host) as port:
        for address in ("127.0.0.1", "[::1]"):
            # Another server may have this port at the other address: it counts no letters.
            with suppress(aiohttp.ClientError):
                if await post(port, b"seventeen letters", address=address) == (200, "17"):
                    found.add(address)
    assert found == reached


_SAID = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xed\xa0\x80?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a\x00b\r\n\r\n",
        _SAID + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        _SAID + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _SAID + b"Content-Length: -1\r\n\r\n",
        _SAID + b"X: " + b"x" * 9000 + b"\r\n\r\n",
        b"".join([_SAID, *(b"X-%d: x\r\n" % n for n in range(70)), b"\r\n"]),
    ],
)
async def test_what_is_no_http_is_refused_and_fills_no_log(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with entrance(EntranceLimits()) as port, knock(port, said) as reader:
        answer = await asyncio.wait_for(reader.read(), SOON)
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert [each.message for each in caplog.records if each.levelname != "DEBUG"] == []


@pytest.mark.parametrize("said", [b"", b"P", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_headers_that_never_end_are_not_waited_for(said: bytes) -> None:
    async with entrance(EntranceLimits(header_seconds=0.1)) as port, knock(port, said) as reader:
        assert await is_closed(reader)


async def test_a_second_request_that_never_ends_is_not_waited_for_either() -> None:
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
    async with entrance(EntranceLimits(header_seconds=0.2)) as port, knock(port, first) as reader:
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n2")
        await asyncio.sleep(0.4)
        assert not reader.at_eof()  # an idle connection is kept for the next request
    async with entrance(EntranceLimits(header_seconds=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n2")
        writer.write(b"POST / HTTP/1.1\r\nHo")
        assert await is_closed(reader)
        writer.close()


async def test_three_hundred_half_sent_headers_make_way_for_whoever_speaks_out() -> None:
    half = b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "
    async with entrance(EntranceLimits(connections=60, unheard=40)) as port:
        slow = [knock(port, half) for _ in range(300)]
        readers = [await each.__aenter__() for each in slow]
        assert await post(port, b"hello") == (200, "5")
        async with asyncio.timeout(SOON):
            while sum(each.at_eof() for each in readers) < 260:  # noqa: ASYNC110  seen from outside
                await asyncio.sleep(0.01)
        for each in slow:
            await each.__aexit__(None, None, None)


async def test_deliveries_that_come_in_the_same_second_do_not_make_way_for_each_other() -> None:
    async with entrance(EntranceLimits(unheard=10)) as port:
        answers = await asyncio.gather(*(post(port, b"hello") for _ in range(150)))
    assert set(answers) == {(200, "5")}


async def test_too_many_connections_close_idle_ones_and_never_one_at_work() -> None:
    slow_body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\no"
    idle = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
    async with (
        entrance(EntranceLimits(connections=3)) as port,
        knock(port, slow_body) as at_work,
        knock(port, idle) as first,
        knock(port, idle),
    ):
        await first.readuntil(b"\r\n\r\n2")
        assert await post(port, b"hello") == (200, "5")
        assert await is_closed(first)
        assert not at_work.at_eof()


@pytest.mark.parametrize(("files", "connections"), [(256, 64), (1024, 256), (4096, 1000)])
def test_connections_leave_files_for_what_the_bot_itself_opens(
    files: int, connections: int
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    try:
        assert EntranceLimits().connections == connections
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_who_takes_no_answer_keeps_nobody_out() -> None:
    large = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
    async with AsyncExitStack() as held, entrance(EntranceLimits(connections=3)) as port:
        for _ in range(3):
            answer = await held.enter_async_context(knock(port, large))
            await answer.readuntil(b"\r\n\r\n")
        for _ in range(3):
            assert await post(port, b"hello") == (200, "5")


async def test_a_body_that_does_not_come_is_answered_408() -> None:
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
    async with entrance(EntranceLimits(body_seconds=0.1)) as port, knock(port, half) as reader:
        answer = await asyncio.wait_for(reader.read(), SOON)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"Connection: close" in answer


async def test_twenty_large_bodies_sent_slowly_are_held_within_bounds_and_small_ones_pass() -> None:
    body = b"x" * (4 * MB)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1)
    limits = EntranceLimits(strangers=10 * MB, body_seconds=1.5)
    tracemalloc.start()
    async with entrance(limits) as port:
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        before, _ = tracemalloc.get_traced_memory()
        sending = []
        for _, writer in pairs:
            writer.transport.set_write_buffer_limits(0)
            writer.write(head)
            sending.append(asyncio.create_task(_pieces(writer, body)))
        await asyncio.sleep(0.5)
        held = tracemalloc.get_traced_memory()[0] - before
        assert held < 40 * MB, held  # of the 80 that were sent; what is in flight counts twice
        assert await post(port, b"hello") == (200, "5")
        answers = [await asyncio.wait_for(reader.read(64), SOON) for reader, _ in pairs]
        assert {each[:12] for each in answers} == {b"HTTP/1.1 408"}
        for each in sending:
            each.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for _, writer in pairs:
            writer.close()
        assert await post(port, body) == (200, str(len(body)))
    tracemalloc.stop()


async def _pieces(writer: asyncio.StreamWriter, body: bytes) -> None:
    for start in range(0, len(body), 16 * 1024):
        writer.write(body[start : start + 16 * 1024])
        await writer.drain()


ENTRANCES = [
    "/webhooks/github",
    "/incidents/revert",
    "/incidents/bisect",
    "/alerts/alertmanager",
    "/alerts/grafana",
    "/alerts/cloudevents",
    "/alerts/mapped/datadog",
    "/ofrep/v1/evaluate/flags",
    "/budgets/tokens/spend",
    "/ui/theme",
    "/ui/act",
    "/nowhere",
]
BOMB = gzip.compress(b"[" + b"0," * MB + b"0]")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
@pytest.mark.parametrize("path", ENTRANCES)
async def test_packed_bodies_are_refused_unread_at_every_entrance(
    bot: Bot, path: str, encoding: str
) -> None:
    given = headers("issue_comment", BOMB) | {
        "Content-Encoding": encoding,
        "Authorization": f"Bearer {API_TOKEN}",
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://127.0.0.1:{bot.port}{path}", data=BOMB, headers=given) as answer,
    ):
        assert answer.status == 415
        assert answer.headers["Accept-Encoding"] == "identity"


async def observations(bot: Bot, body: bytes, **given: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"http://127.0.0.1:{bot.port}/providers/observations", data=body, headers=given
        ) as answer,
    ):
        return answer.status, await answer.text()


async def test_observations_come_packed_from_whoever_has_a_token(shop: Shop) -> None:
    known = {"Authorization": f"Bearer {API_TOKEN}"}
    line = json.dumps({"event_id": "e1"}).encode()
    plain = await observations(shop.bot, line, **known)
    packed = await observations(
        shop.bot, gzip.compress(line), **known, **{"Content-Encoding": "gzip"}
    )
    assert plain == packed
    assert plain[0] == 422


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * (16 * MB + 1)), "gzip", 413),
        (b"no gzip", "gzip", 415),
        (gzip.compress(b"{}")[:-4], "gzip", 415),
        (gzip.compress(b"{}") + b"more", "gzip", 415),
        (b"{}", "br", 415),
    ],
    ids=["a bomb", "no gzip", "half of it", "more behind it", "another kind"],
)
async def test_what_cannot_be_unpacked_within_bounds_is_refused(
    shop: Shop, body: bytes, encoding: str, status: int
) -> None:
    given = {"Authorization": f"Bearer {API_TOKEN}", "Content-Encoding": encoding}
    assert (await observations(shop.bot, body, **given))[0] == status


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer a guess"}], ids=["none", "wrong"])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "br", "gzip, gzip"])
async def test_without_a_token_nothing_is_unpacked(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, encoding: str, given: dict[str, str]
) -> None:
    unpacked: list[int] = []
    monkeypatch.setattr(zlib, "decompressobj", lambda *_, **__: unpacked.append(1))
    said = {**given, "Content-Encoding": encoding}
    status, _ = await observations(bot, BOMB, **said)
    assert status == 401
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    opened = (
        f"POST /providers/observations HTTP/1.1\r\nHost: x\r\n{head}"
        f"Content-Length: {2 * MB}\r\n\r\n"
    )
    async with knock(bot.port, opened.encode() + BOMB[:512]) as reader:
        answer = await asyncio.wait_for(reader.readline(), SOON)
    assert answer.startswith(b"HTTP/1.1 401")
    assert unpacked == []


PRIVATE = [
    ("/incidents/revert", 401),
    ("/providers/observations", 401),
    ("/alerts/alertmanager", 401),
    ("/alerts/cloudevents", 401),
    ("/alerts/mapped/datadog", 401),
    ("/alerts/mapped/sentry", 401),
    ("/budgets/tokens/spend", 401),
    ("/ofrep/v1/evaluate/flags", 401),
    ("/webhooks/github", 401),
    ("/ui/act", 401),
]


@pytest.mark.parametrize(("path", "status"), PRIVATE)
async def test_who_is_unknown_is_told_so_before_the_body_is_there(
    bot: Bot, path: str, status: int
) -> None:
    said = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "X-GitHub-Event: ping\r\nX-GitHub-Delivery: d\r\nX-Hub-Signature-256: sha256=0\r\n"
        "Content-Length: 1000\r\n\r\n"
    )
    async with knock(bot.port, said.encode()) as reader:
        answer = await asyncio.wait_for(reader.readline(), SOON)
    assert answer.startswith(f"HTTP/1.1 {status}".encode())
