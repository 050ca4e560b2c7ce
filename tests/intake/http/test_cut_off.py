"""A program that ends while it asks: it hung up, and nothing failed here."""

from __future__ import annotations

import asyncio

from aiohttp import web
from structlog.testing import capture_logs

from bot.intake.http.problems import as_problem


async def test_whoever_hangs_up_is_no_failure_of_ours() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def read(request: web.Request) -> web.Response:
        begun.set()
        try:
            return web.Response(body=await request.read())
        finally:
            ended.set()

    app = web.Application(middlewares=[as_problem])
    app.router.add_post("/", read)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    with capture_logs() as said:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: bot\r\nContent-Length: 100\r\n\r\nhalf")
        await begun.wait()
        writer.close()
        async with asyncio.timeout(10):
            await ended.wait()
        await asyncio.sleep(0)
        await runner.cleanup()
    assert [line for line in said if line["log_level"] == "error"] == []
