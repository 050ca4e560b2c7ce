"""Which repositories are served: known at once where something came from, else a minute old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import pytest

from bot.github.client import GitHub
from bot.github.served import FRESH, LONGEST_REST, Served
from bot.triggers import Repository as Place
from fakegithub.faults.request_faults import Fail, Held, Suspend
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


class Elsewhere:
    """A second installation of the same App, with a repository of its own."""

    def __init__(self, github: DemoGitHub, installed: FakeInstallation) -> None:
        number = next(_numbers)
        self.account = github.create_user(f"elsewhere-{number}", organization=True)
        self.installed = github.install(installed.app, self.account)
        self.place = new_repository(github, self.account, self.installed)


@pytest.fixture
def elsewhere(github: DemoGitHub, installed: FakeInstallation) -> Elsewhere:
    return Elsewhere(github, installed)


async def renewed(served: Served, time: Time, seconds: float) -> list[str]:
    """The names after so much time and another look."""
    time.pass_(seconds)
    await served.served()
    await served._asking  # type: ignore[misc]
    return sorted(await names(served))


async def test_an_ip_allow_list_at_one_account_keeps_no_other_from_being_served(
    github: DemoGitHub,
    newcomer: FakeUser,
    installed: FakeInstallation,
    served: Served,
    elsewhere: Elsewhere,
    time: Time,
) -> None:
    here = new_repository(github, newcomer, installed)
    elsewhere.account.has_allow_list = True
    assert await names(served) == [here.name]
    [(where, why)] = served.unreadable.items()
    assert where == f"installation {elsewhere.installed.id}"
    assert why == "an IP allow list keeps this server out: its owner can add the address to it"
    elsewhere.account.has_allow_list = False
    both = sorted([here.name, elsewhere.place.name])
    assert await renewed(served, time, LONGEST_REST.total_seconds() + 1) == both
    assert not served.unreadable


async def test_what_cannot_be_read_is_left_alone_ever_longer_until_something_comes_from_it(
    github: DemoGitHub,
    newcomer: FakeUser,
    installed: FakeInstallation,
    served: Served,
    elsewhere: Elsewhere,
    time: Time,
) -> None:
    here = new_repository(github, newcomer, installed)
    elsewhere.account.has_allow_list = True
    await names(served)
    for _ in range(3):
        await renewed(served, time, FRESH.total_seconds() + 1)
    elsewhere.account.has_allow_list = False
    assert await renewed(served, time, FRESH.total_seconds() + 1) == [here.name]
    served.heard(elsewhere.place)
    assert elsewhere.place in await served.served()
    assert elsewhere.place not in await served.readable()
    await renewed(served, time, FRESH.total_seconds() + 1)
    assert elsewhere.place in await served.readable()


async def test_an_enterprise_without_a_login_is_an_installation_like_any_other(
    github: DemoGitHub,
    newcomer: FakeUser,
    installed: FakeInstallation,
    served: Served,
    elsewhere: Elsewhere,
) -> None:
    here = new_repository(github, newcomer, installed)
    elsewhere.account.type = "Enterprise"
    assert sorted(await names(served)) == sorted([here.name, elsewhere.place.name])


async def test_a_slow_installation_holds_up_nobody_and_joins_when_it_has_answered(
    github: DemoGitHub,
    newcomer: FakeUser,
    installed: FakeInstallation,
    served: Served,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.github.served.SLOW_S", 0.2)
    here = new_repository(github, newcomer, installed)
    released = asyncio.Event()
    # Whichever asks first for its token is the slow one.
    github.faults.add(Held(released), method="POST", path="access_tokens")
    [quick] = await served.served()
    assert quick in (here, elsewhere.place)
    released.set()
    await asyncio.wait(served._reading.values())
    assert {*await served.served()} == {here, elsewhere.place}


async def test_an_installation_that_was_suspended_meanwhile_is_served_no_more(
    github: DemoGitHub,
    newcomer: FakeUser,
    installed: FakeInstallation,
    served: Served,
    elsewhere: Elsewhere,
    time: Time,
) -> None:
    here = new_repository(github, newcomer, installed)
    assert sorted(await names(served)) == sorted([here.name, elsewhere.place.name])
    # GitHub's list of installations is behind.
    path = "/installation/repositories"
    github.faults.add(Suspend(), method="GET", path=path)
    left = await renewed(served, time, FRESH.total_seconds() + 1)
    assert len(left) == 1
    assert [*served.unreadable.values()] == ["the App is suspended"]
