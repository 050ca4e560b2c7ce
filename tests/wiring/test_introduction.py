"""Who we are to GitHub, where something else answers in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from bot.records.database import open_database, url_from
from bot.records.github_answers import GitHubMemory
from bot.records.schema import migrate
from bot.settings import InvalidSettings, Settings
from bot.wiring.readiness import Introduction
from bot.wiring.readings import github_of
from fakegithub.access.credentials import new_key_pair

KEY = new_key_pair()[0]
PAGE = "<html>Please accept the terms of this network</html>"
ALLOWED = '{"message": "The organization has an IP allow list enabled"}'


@asynccontextmanager
async def introduced_to(
    status: int, kind: str, body: str, data: Path
) -> AsyncIterator[Introduction]:
    """An introduction to a server that says the same to whatever it is asked."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, content_type=kind, text=body)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = Settings.model_validate(
        {
            "github_api_url": f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3",
            "github_app_id": 7,
            "github_private_key": KEY,
            "github_webhook_secret": "-",
        }
    )
    await migrate(url_from(data))
    records = open_database(url_from(data))
    async with github_of(settings, patience_seconds=0.0) as github:
        memory = GitHubMemory(records, 7, lambda: datetime.now(UTC))
        yield Introduction(github, settings, memory)
    await records.dispose()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "kind", "body", "says"),
    [
        (200, "text/html", PAGE, "GitHub does not answer"),
        (401, "text/html", PAGE, "GitHub does not answer"),
        (403, "text/html", PAGE, "GitHub does not answer"),
        (407, "text/plain", "", "GitHub does not answer"),
        (403, "application/json", ALLOWED, "an IP allow list keeps this server out"),
    ],
)
async def test_what_stands_in_the_way_is_waited_out(
    status: int, kind: str, body: str, says: str, tmp_path: Path
) -> None:
    async with introduced_to(status, kind, body, tmp_path) as introduction:
        await introduction.begin()
        assert says in str(introduction.hindrance())


@pytest.mark.parametrize("body", ["{}", "[]", "null"])
async def test_json_that_names_no_app_is_not_githubs(body: str, tmp_path: Path) -> None:
    async with introduced_to(200, "application/json", body, tmp_path) as introduction:
        with pytest.raises(InvalidSettings, match="GITHUB_API_URL: no GitHub answers"):
            await introduction.begin()
