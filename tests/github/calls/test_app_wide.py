"""What the App asks about itself: installations, repositories, deliveries that failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web

from bot.github.client import GitHub
from bot.triggers import Repository as Place
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeUser
from tests.github.conftest import ConnectAs, Person, Time


async def test_installations_and_their_repositories_are_found(
    bot: GitHub, installation: FakeInstallation, place: Place
) -> None:
    assert installation.id in [found.id async for found in bot.installations.list()]
    found = await bot.installations.get(installation.id)
    assert found.permissions["contents"] == "write"
    assert "issue_comment" in found.events
    assert place in [repository async for repository in bot.installations.repositories(found.id)]
    assert await bot.installations.find_repository(place.owner, place.name) == place
    assert await bot.installations.find_repository(place.owner, "nothing-here") is None


class Receiver:
    """A webhook receiver that can be down."""

    def __init__(self) -> None:
        self.is_up = True
        self.got: list[str] = []

    async def receive(self, request: web.Request) -> web.Response:
        if not self.is_up:
            return web.Response(status=503)
        self.got.append(request.headers["X-GitHub-Delivery"])
        return web.Response()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.fixture
def listening(github: DemoGitHub, owner: FakeUser, receiver: tuple[Receiver, str]) -> FakeApp:
    app = github.create_app(
        f"listener-{id(receiver)}",
        owner=owner,
        permissions={"issues": "read"},
        events=["issue_comment"],
        webhook_url=receiver[1],
        secret="s" * 20,
    )
    github.install(app, owner)
    return app


async def settled(github: DemoGitHub, app: FakeApp) -> None:
    """Wait until nothing is on its way to the App any more."""
    for _ in range(300):
        await asyncio.sleep(0.01)
        if all(d.status != "pending" for d in github.deliveries.log.values() if d.app is app):
            return
    raise AssertionError("the deliveries did not settle")


async def test_a_delivery_that_failed_is_sent_again_and_then_no_longer_failed(
    github: DemoGitHub,
    listening: FakeApp,
    connect_as: ConnectAs,
    receiver: tuple[Receiver, str],
    person: Person,
    mallory: FakeUser,
    time: Time,
) -> None:
    began = time.moment() - timedelta(seconds=1)
    deliveries = connect_as(listening).deliveries
    await person(mallory, "issues", {"title": "Broken"})
    await person(mallory, "issues/1/comments", {"body": "taken"})
    await settled(github, listening)
    assert await deliveries.failed(began) == ()
    receiver[0].is_up = False
    await person(mallory, "issues/1/comments", {"body": "/revert"})
    await person(mallory, "issues/1/comments", {"body": "/status"})
    await settled(github, listening)
    failed = await deliveries.failed(began)
    assert [(delivery.event, delivery.status_code) for delivery in failed] == [
        ("issue_comment", 503),
        ("issue_comment", 503),
    ]
    receiver[0].is_up = True
    await deliveries.redeliver(failed[0])
    await settled(github, listening)
    assert failed[0].guid in receiver[0].got
    assert [delivery.guid for delivery in await deliveries.failed(began)] == [failed[1].guid]
    assert await deliveries.failed(time.moment() + timedelta(seconds=5)) == ()
