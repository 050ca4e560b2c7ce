"""Fixtures of the git room: a fresh history, and host git on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.git.process import Git
from tests.git.history_builder import History
from tests.git.remote import Remote

LINES = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History.start(tmp_path / "work")


@pytest.fixture
def git(history: History) -> Git:
    return Git(history.git_dir)


@pytest.fixture
async def remote(history: History, tmp_path: Path) -> AsyncIterator[Remote]:
    """A served copy of a small history: `app.py` broken by the commit before the last."""
    history.commit({"app.py": LINES, "old.py": LINES + "old\n"}, "start")
    history.commit({"app.py": LINES.replace("line 3", "boom")}, "broken")
    history.commit({"app.py": LINES.replace("line 3", "boom") + "more\n"}, "later")
    remote = Remote.of(history, tmp_path / "served.git")
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/owner/name.git/{rest:.*}", remote.answer)
    server = TestServer(application)
    await server.start_server()
    remote.url = f"http://{server.host}:{server.port}/owner/name.git"
    yield remote
    await server.close()
