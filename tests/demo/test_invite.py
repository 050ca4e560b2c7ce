"""How a person is invited: nothing is said twice, nothing is forgotten, whatever they do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from demo import command, play
from demo.person import Person
from demo.stories.invitation import LOOK_EVERY_S, Invitation, invite, plain
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeInstallation
from tests.people import People

BROKEN = Invitation(
    now="main is broken.", page="http://here/pull/7", do="comment", words="/revert", then="Safe."
)
SAFE = Invitation(now="main is safe.", page="http://here/pull/8", do="merge it")


class Told(Exception):
    """The test has seen enough."""


class Scene:
    """Whatever a test says it has come to, look by look; the last one stays."""

    def __init__(self, *looks: Invitation | Exception) -> None:
        self.looks = list(looks)
        self.is_set_up = False

    async def set_up(self) -> None:
        self.is_set_up = True

    async def look(self) -> Invitation:
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found


async def said_within(
    seconds: float, scene: Scene, github: DemoGitHub, at: Callable[[float], object] = lambda _: None
) -> list[str]:
    """What a person reads in so many seconds of a clock that costs no time."""
    said: list[str] = []
    passed = 0.0

    async def sleep(length: float) -> None:
        nonlocal passed
        passed += length
        if passed > seconds:
            raise Told
        done = at(passed)
        if asyncio.iscoroutine(done):
            await done

    with pytest.raises(Told):
        await invite(scene, github.world, said.append, sleep)
    return said


async def test_what_to_type_stands_on_a_line_of_its_own(github: DemoGitHub) -> None:
    [said] = await said_within(5, Scene(BROKEN), github)
    assert said.splitlines() == [
        "",
        "  main is broken.",
        "  Now you: open http://here/pull/7",
        "  and comment:",
        "",
        "      /revert",
        "",
        "  Safe.",
    ]


async def test_ten_minutes_of_doing_nothing_repeat_nothing(github: DemoGitHub) -> None:
    assert await said_within(600, Scene(BROKEN), github) == [BROKEN.text()]


async def test_what_it_comes_to_is_said_by_itself(github: DemoGitHub) -> None:
    said = await said_within(60, Scene(*[BROKEN] * 9, SAFE), github)
    assert said == [BROKEN.text(), SAFE.text()]


async def test_a_moment_between_two_things_is_not_said(github: DemoGitHub) -> None:
    said = await said_within(60, Scene(BROKEN, BROKEN, SAFE, BROKEN), github)
    assert said == [BROKEN.text()]


async def test_a_look_that_meets_a_change_is_taken_again(github: DemoGitHub) -> None:
    lost = aiohttp.ServerDisconnectedError()
    assert await said_within(60, Scene(lost, BROKEN, lost, BROKEN), github) == [BROKEN.text()]


async def test_after_something_else_it_is_said_once_more_when_that_was_answered(
    github: DemoGitHub, alice: Person, people: People, installation: FakeInstallation
) -> None:
    issue, bot = await alice.open_issue("Something else"), people.installed(installation)

    async def talk(passed: float) -> None:
        look = round(passed / LOOK_EVERY_S)
        if look == 4:
            await alice.comment(issue, "/help")
        if look == 300:
            await bot.comment(issue, "Here is what there is.")

    # The bot may be slow: as long as it says nothing, nothing is repeated.
    assert await said_within(200, Scene(BROKEN), github, talk) == [BROKEN.text()]
    assert await said_within(600, Scene(BROKEN), github, talk) == [BROKEN.text()] * 2


def test_links_of_the_bots_words_are_left_out_on_a_terminal() -> None:
    said = "**Look at [`1ae99adec`](http://here/commit/1ae99adec): it fails.**"
    assert plain(said) == "Look at `1ae99adec`: it fails."


def test_every_story_can_be_asked_for_by_its_name() -> None:
    # Two lists: whoever asks for help does not wait for the stories to be loaded.
    assert tuple(play.STORIES) == command.STORIES
