"""While the App is set up, a page of somebody else's sends nobody to another GitHub."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.setup.site import HOME, SetupSite


@pytest.fixture
async def refusing() -> AsyncIterator[list[str]]:
    """A GitHub that refuses every code; what it was asked, after its address."""
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"message": "Not Found"}, status=404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", refuse)
    server = TestServer(application)
    await server.start_server()
    asked.append(str(server.make_url("")).rstrip("/"))
    yield asked
    await server.close()


def state_on(page: str) -> str:
    found = re.search(r"state=([\w-]+)", page)
    assert found
    return found[1]


async def test_a_code_goes_back_to_the_github_that_its_page_was_for(
    refusing: list[str],
) -> None:
    site = SetupSite("127.0.0.1", 0, None, f"{refusing[0]}/api/v3", None)
    await site.open()
    jar = aiohttp.CookieJar(unsafe=True)
    try:
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            async with browser.get(site.address) as page:
                ours = state_on(await page.text())
            # A link that somebody sent is opened meanwhile.
            async with browser.get(f"{site.url}{HOME}?github=http://127.0.0.1:1") as page:
                theirs = state_on(await page.text())
            assert ours != theirs
            code = "0123456789abcdef0123456789abcdef01234567"
            for state, status in ((ours, 400), ("guessed", 400)):
                query = {"state": state, "code": code}
                async with browser.get(f"{site.url}{HOME}/registered", params=query) as page:
                    assert page.status == status
    finally:
        await site.close()
    assert refusing[1:] == [f"/api/v3/app-manifests/{code}/conversions"]
    assert site.given is None
