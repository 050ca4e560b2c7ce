"""Which repositories are served: known at once where something came from, else a minute old."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from bot.github.client import FRESH, GitHub, Served
from bot.triggers import Repository as Place
from fakegithub.faults.request_faults import Fail
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeUser
from tests.github.conftest import Time

_numbers = count(1)


@pytest.fixture
def newcomer(github: DemoGitHub) -> FakeUser:
    """An account that has no repository yet."""
    return github.create_user(f"newcomer-{next(_numbers)}", organization=True)


@pytest.fixture
def installed(github: DemoGitHub, newcomer: FakeUser) -> FakeInstallation:
    """An App of its own, installed on that account alone."""
    app = github.create_app(
        f"fresh-{newcomer.login}", owner=newcomer, permissions={"metadata": "read"}, events=[]
    )
    return github.install(app, newcomer)


@pytest.fixture
def served(
    installed: FakeInstallation, connect_as: Callable[[FakeApp], GitHub], time: Time
) -> Served:
    return Served(connect_as(installed.app), time.moment)


def new_repository(github: DemoGitHub, owner: FakeUser, installed: FakeInstallation) -> Place:
    made = github.create_repository(owner, f"shop-{next(_numbers)}")
    return Place(id=made.id, owner=owner.login, name=made.name, installation_id=installed.id)


async def names(served: Served) -> list[str]:
    return [each.name for each in await served.served()]


async def test_the_first_repository_of_all_is_known_as_soon_as_something_comes_from_it(
    github: DemoGitHub, newcomer: FakeUser, installed: FakeInstallation, served: Served
) -> None:
    assert await names(served) == []
    place = new_repository(github, newcomer, installed)
    served.heard(place)
    served.heard(place)
    assert list(await served.served()) == [place]


async def test_what_is_heard_before_the_first_list_is_in_that_list_once(
    github: DemoGitHub, newcomer: FakeUser, installed: FakeInstallation, served: Served
) -> None:
    place = new_repository(github, newcomer, installed)
    served.heard(place)
    assert await names(served) == [place.name]


async def test_the_list_is_renewed_after_a_minute_and_when_the_clock_was_set_back(
    github: DemoGitHub, newcomer: FakeUser, installed: FakeInstallation, served: Served, time: Time
) -> None:
    known = [new_repository(github, newcomer, installed).name]
    assert await names(served) == known
    for passed in (FRESH.total_seconds() + 1, -FRESH.total_seconds() - 1):
        known.append(new_repository(github, newcomer, installed).name)
        time.pass_(passed)
        # Nobody waits for GitHub once a list is known: the old one is given meanwhile.
        assert await names(served) == known[:-1]
        await served._asking  # type: ignore[misc]
        assert await names(served) == known


async def test_an_outage_of_github_leaves_the_last_list_in_force(
    github: DemoGitHub, newcomer: FakeUser, installed: FakeInstallation, served: Served, time: Time
) -> None:
    place = new_repository(github, newcomer, installed)
    assert await names(served) == [place.name]
    time.pass_(FRESH.total_seconds() + 1)
    github.faults.add(Fail(503), method="GET", path="installation", times=None)
    assert await names(served) == [place.name]
    await served._asking  # type: ignore[misc]
    assert await names(served) == [place.name]
