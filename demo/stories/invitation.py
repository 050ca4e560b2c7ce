"""After the story it is the person's turn: what they find, what to do, and what will come of it.

Nothing is assumed of what they do, or when. A scene is looked at again and again, as anybody could
look at it, and whatever it has come to, it says the one thing that can be done now.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol

import aiohttp

from bot.playbooks.incident.phrases import STATES
from bot.triggers import Value
from demo.person import Person, Rejected
from demo.stage import Stage
from fakegithub.world.world import Event, World

Say = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]

LOOK_EVERY_S = 0.7
_DEEDS = {
    ("issue_comment", "created"),
    ("issues", "closed"),
    ("issues", "reopened"),
    ("pull_request", "closed"),
    ("pull_request", "reopened"),
}
_LEADS_ON = re.compile(r"`(/(?:approve|retry|revert|bisect)\b[^`…]*)`")
_OPEN = ("triage", "active", "mitigated")
_ANSWERED_WITHIN_LOOKS = 10
"""After this many quiet looks whoever did something else is told again what they can do."""


class Invitation(Value):
    """What a person finds on the stage, and the one thing they can do there.

    Attributes:
        now: what is true now, in a sentence.
        page: where to do it; empty where there is nothing to do.
        do: what to do there, such as "comment".
        words: what to write, exactly; empty where nothing is written.
        then: what will happen.
    """

    now: str
    page: str = ""
    do: str = ""
    words: str = ""
    then: str = ""

    def text(self) -> str:
        """All of it, for the terminal."""
        lines = ["", f"  {self.now}"]
        if self.page:
            asked = f"  Now you: open {self.page}"
            lines += [asked, f"  and {self.do}{':' if self.words else '.'}"]
        if self.words:
            lines += ["", f"      {self.words}", ""]
        if self.then:
            lines.append(f"  {self.then}")
        return "\n".join([*lines, ""])


class Scene(Protocol):
    """What a story leaves to the person."""

    async def set_up(self) -> None:
        """Bring about what the invitation says; back when it is true."""

    async def look(self) -> Invitation:
        """Say what it has come to."""


class _Deeds:
    """Whether somebody did something and was answered, since it was asked last."""

    def __init__(self, world: World) -> None:
        self._done = self._answered = False
        world.listen(self._hear)

    def _hear(self, event: Event) -> None:
        is_person = event.payload["sender"]["type"] == "User"
        # A scene opens and labels by itself; it never comments, merges or closes.
        if is_person and (event.name, event.action) in _DEEDS:
            self._done = True
        # However slow the machine is, what they did has its effect first.
        elif self._done and not is_person:
            self._done, self._answered = False, True

    def taken(self) -> bool:
        answered, self._answered = self._answered, False
        return answered


async def invite(scene: Scene, world: World, say: Say, sleep: Sleep = asyncio.sleep) -> None:
    """Invite the person, for as long as they stay.

    Args:
        scene: what they find.
        world: where they act.
        say: tells them.
        sleep: lets so many seconds pass.
    """
    await scene.set_up()
    said: Invitation | None = None
    before: Invitation | None = None
    deeds, quiet = _Deeds(world), -1
    while True:
        acted = deeds.taken()
        found = said
        # Where something was changed while we looked, the next look sees what it has come to.
        with suppress(aiohttp.ClientError, Rejected, TimeoutError):
            found = await scene.look()
        if acted:
            quiet = 0
        elif quiet >= 0:
            quiet += 1
        # What is so for a moment only, between two things that belong together, is not said.
        is_news = found != said and found == before
        if found is not None and (is_news or quiet == _ANSWERED_WITHIN_LOOKS):
            say(found.text())
            said, quiet = found, -1
        before = found
        await sleep(LOOK_EVERY_S)


async def open_incident(stage: Stage, *kinds: str) -> Invitation | None:
    """Say where the latest open incident of these kinds stands; None where there is none."""
    alice = stage.people["alice"]
    for incident in (await stage.api("/incidents"))["incidents"]:
        if incident["kind"] not in kinds or incident["status"] not in (*_OPEN, "resolved"):
            continue
        number = incident["issue"]
        if incident["status"] == "resolved":
            if number is not None and (await alice.issue(number))["state"] == "open":
                return Invitation(now=f"The bot writes down what came of #{number}.")
            continue
        if number is None:
            return Invitation(now="The bot has heard, and begins.")
        body = (await alice.issue(number))["body"] or ""
        headline = plain(body.partition("\n")[0])
        if headline.startswith(STATES):
            return Invitation(now=f"The bot is at work, see #{number}.")
        return _asking(number, headline, body, f"{stage.home}/issues/{number}")
    return None


def _asking(number: int, headline: str, body: str, page: str) -> Invitation:
    """What the bot asks, with the first command that it names for going on."""
    now, command = f"The bot asks, in #{number}: {headline}", _LEADS_ON.search(body)
    if command is None:
        return Invitation(now=now, page=page, do="see there what can be done")
    then = "Or do what else it says there: it waits for you."
    return Invitation(now=now, page=page, do="comment", words=command[1], then=then)


async def red_on_main(person: Person, checks: Collection[str]) -> tuple[str, ...] | None:
    """Name those of these checks that fail on main; None until each has ended once.

    Commits on which none of them was run, such as those of records, are looked behind. While a
    check is run again, what it said before holds.
    """
    for commit in await person.get("commits", sha="main", per_page="30"):
        path = f"commits/{commit['sha']}/check-runs"
        found = (await person.get(path, filter="all", per_page="100"))["check_runs"]
        of_these = [run for run in found if run["name"] in checks]
        if not of_these:
            continue
        ended = {
            run["name"]: run["conclusion"]
            for run in sorted(of_these, key=lambda run: int(run["id"]))
            if run["conclusion"] is not None
        }
        if len(ended) < len(checks):
            return None
        return tuple(sorted(name for name, how in ended.items() if how != "success"))
    return None


def plain(headline: str) -> str:
    """Write what the bot says for a terminal: no links, nothing bold."""
    return re.sub(r"\[([^\]]*)\]\([^)\s]*\)", r"\1", headline).replace("**", "")
