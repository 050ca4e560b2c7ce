"""One demo GitHub and one bot, and as many repositories side by side as there are cells."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

import aiohttp
import sqlalchemy as sa

from bot.app import Bot
from bot.github.client import EVENTS, PERMISSIONS
from bot.playbooks.run import Patience, Signal, SignalKind
from bot.records.tables.intake import inbox
from bot.triggers import Repository as KnownRepository
from bot.triggers import Trigger, derived_id
from demo.person import Person
from fakegithub.access.credentials import issue_token
from fakegithub.deliveries.deliveries import FakeDelivery
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from tests.cockpit.visitor import Visitor
from tests.looks import Looks
from tests.outside_ci import OutsideCi
from tests.shop import SECRET, Clock, Shop, settings_for

ROLES = {"olivia": "admin", "alice": "maintain", "bob": "write", "mallory": "read"}
LOOK_AGAIN = timedelta(seconds=1.5)
BEGINS_WITHIN = timedelta(seconds=15)
REQUESTS_AN_HOUR = 10**7
"""One installation serves all cells, and its limit is not what they are about."""


class Pulse(Looks):
    """Also knows how often each Run has come to a wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = Counter[str]()
        self.waiting_now: set[str] = set()
        self.begun: set[str] = set()

    async def began(self, run: str, step: str) -> None:
        await super().began(run, step)
        self.begun.add(run)
        self.waiting_now.discard(run)

    async def waiting(self, run: str, at: str) -> None:
        await super().waiting(run, at)
        self.waits[run] += 1
        self.waiting_now.add(run)


@dataclass(frozen=True)
class UnderWay:
    """What the bot does about one repository.

    Attributes:
        busy: whether something was asked for and is not begun, or is being done.
        waiting: the Runs that wait for news, without those that follow an alert.
    """

    busy: bool
    waiting: frozenset[str] = frozenset()


class HeldCi(OutsideCi):
    """A CI whose runners are busy until they are let go; then it says what it has to say."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self.held = False
        self._waiting: list[str] = []

    async def report(self, sha: str, *, landed: bool = True) -> None:
        if self.held and not landed:
            self._waiting.append(sha)
        else:
            await super().report(sha, landed=landed)

    async def let_go(self) -> None:
        """Report on everything that waits, and at once from now on."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        for sha in waiting:
            await super().report(sha, landed=False)


@dataclass
class Town:
    """What all cells of one process share."""

    github: DemoGitHub
    bot: Bot
    app: FakeApp
    acme: FakeUser
    installation: FakeInstallation
    ci_app: FakeInstallation
    staff: dict[str, FakeUser]
    clock: Clock
    pulse: Pulse
    session: aiohttp.ClientSession
    sending: int | None = None
    """The repository of the delivery that is being sent."""
    _listing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _names: count[int] = field(default_factory=lambda: count(1))
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _read_at: float = 0.0
    _last: int = 0
    _inbox: dict[str, tuple[Trigger, bool]] = field(default_factory=dict)
    """What the bot was asked for, by its key, and whether it was handed over."""

    def __post_init__(self) -> None:
        send = self.github.deliveries._send

        async def watched(delivery: FakeDelivery) -> None:
            self.sending = delivery.repository_id
            try:
                await send(delivery)
            finally:
                self.sending = None

        self.github.deliveries._send = watched

    @asynccontextmanager
    async def shop(self, files: dict[str, str]) -> AsyncIterator[tuple[Shop, HeldCi]]:
        """A fresh repository with these files, and the people at work on it."""
        number = next(self._names)
        repository = self.github.create_repository(self.acme, f"cell-{number}", files)
        for login, role in ROLES.items():
            self.github.set_collaborator(repository, login, role)
        self._serve(repository)
        async with AsyncExitStack() as stack:
            tokens = [self.staff[login].token for login in ROLES]
            tokens.append(issue_token(self.github.world, self.ci_app, None).token)
            people = [
                await stack.enter_async_context(
                    Person(self.github.url, token, repository.full_name)
                )
                for token in tokens
            ]
            shop = Shop(self.github, self.bot, self.pulse, repository, *people[:4], ci=people[4])
            ci = HeldCi(shop)
            self.github.world.listen(ci.hear)
            try:
                yield shop, ci
            finally:
                ci.stop()
                self.github.world.listeners.remove(ci.hear)
                await self._leave(repository)

    def _serve(self, repository: FakeRepository) -> None:
        serving = self.installation.repositories or set()
        self.installation.repositories = {*serving, repository.id}

    async def _leave(self, repository: FakeRepository) -> None:
        """Nothing of this cell costs the others anything any more."""
        repository.refusals.accept()
        repository.rulesets.clear()
        for run, _ in await self._asked_for(repository):
            if run in self._executing():
                await self.bot.engine.wake(run, Signal(kind=SignalKind.CANCEL), "leave")
        for _ in range(100):
            if not self._executing() & {run for run, _ in await self._asked_for(repository)}:
                break
            await asyncio.sleep(0.1)
        self.installation.repositories = (self.installation.repositories or set()) - {repository.id}

    async def known(self, repository: FakeRepository) -> None:
        """Wait until the bot knows that it is installed here: its list is renewed once a minute."""
        served, known = self.bot.served, _as_known(repository, self.installation)
        async with self._listing, asyncio.timeout(300):
            while not served.is_known(known):
                # One that was asked for before would hide this repository again.
                if served._asking is not None:
                    await asyncio.wait([served._asking])
                served._at = None
                await served.served()

    async def under_way(self, repository: FakeRepository) -> UnderWay:
        """See what the bot does about a repository: all it was asked for, and how far that is."""
        asked, executing = await self._asked_for(repository), self._executing()
        unsent = self.sending == repository.id or any(
            delivery.repository_id == repository.id
            for queue in self.github.deliveries._queues.values()
            for delivery, _ in queue.waiting
        )
        under_way = {run: what for run, what in asked if run in executing}
        busy = under_way.keys() - self.pulse.waiting_now
        if unsent or busy or any(what == "not begun" for _, what in asked):
            return UnderWay(busy=True)
        return UnderWay(
            busy=False,
            waiting=frozenset(run for run, what in under_way.items() if what != "triage"),
        )

    def _executing(self) -> set[str]:
        return {task.get_name().removeprefix("run ") for task in self.bot.engine._executing}

    async def _asked_for(self, repository: FakeRepository) -> list[tuple[str, str]]:
        """The Run of each request about a repository, with its command; or "not begun"."""
        await self._read_inbox()
        asked = []
        for key, (trigger, done) in self._inbox.items():
            if not key.startswith(f"{repository.id}:"):
                continue
            run = derived_id(trigger.key, trigger.received_at)
            begun = done and (run in self.pulse.begun or self._is_old(trigger))
            asked.append((run, trigger.request.command if begun else "not begun"))
        return asked

    async def _read_inbox(self) -> None:
        """Read what has come since, and which of the rest was handed over: once for all who ask."""
        asked_at = time.monotonic()
        async with self._reading:
            if self._read_at > asked_at:
                return
            now = time.monotonic()
            waiting = [key for key, (_, done) in self._inbox.items() if not done]
            query = sa.select(inbox.c.id, inbox.c.key, inbox.c.payload, inbox.c.done_at).where(
                sa.or_(inbox.c.id > self._last, inbox.c.key.in_(waiting))
            )
            async with self.bot.read_only.connect() as conn:
                rows = (await conn.execute(query)).all()
            for row in rows:
                known = self._inbox.get(row.key)
                trigger = known[0] if known else Trigger.model_validate(row.payload)
                self._inbox[row.key] = trigger, row.done_at is not None
                self._last = max(self._last, row.id)
            self._read_at = now

    def _is_old(self, trigger: Trigger) -> bool:
        """Whether it would have begun by now: of some nothing is made."""
        return self.clock() - trigger.received_at > BEGINS_WITHIN

    @asynccontextmanager
    async def visitor(self, login: str) -> AsyncIterator[Visitor]:
        """Somebody who logs in to the cockpit now: it remembers for minutes what one may see."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            visitor = Visitor(f"http://127.0.0.1:{self.bot.port}", session)
            page = await visitor.log_in(login)
            assert page.status == 200, page.text
            yield visitor


def _as_known(repository: FakeRepository, installation: FakeInstallation) -> KnownRepository:
    return KnownRepository(
        id=repository.id,
        owner=repository.owner.login,
        name=repository.name,
        installation_id=installation.id,
    )


@asynccontextmanager
async def town(data: Path) -> AsyncIterator[Town]:
    """Build it; `data` is the bot's folder."""
    async with DemoGitHub(rng=random.Random(15)) as github:  # noqa: S311  repeatable
        github.limits.limit = REQUESTS_AN_HOUR
        acme = github.create_user("acme", organization=True)
        app = github.create_app(
            "playbooks", owner=acme, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
        )
        app.callback_urls = ["http://127.0.0.1/ui/login/callback"]
        installation = github.install(app, acme)
        installation.repositories = set()
        ci = github.create_app("ci", owner=acme, permissions={"checks": "write"}, events=[])
        staff = {name: github.create_user(name) for name in ROLES}
        clock, pulse = Clock(), Pulse()
        bot = Bot(
            settings_for(github, app, data),
            clock=clock,
            patience=Patience(
                look_again=LOOK_AGAIN, look_later=LOOK_AGAIN, other_bots=timedelta(seconds=0.3)
            ),
            observers=(pulse,),
            hint_every=0.1,
        )
        bot.github.pace(0)
        await bot.start()
        app.webhook_url = f"http://127.0.0.1:{bot.port}/webhooks/github"
        try:
            async with aiohttp.ClientSession() as session:
                yield Town(
                    github, bot, app, acme, installation, github.install(ci, acme), staff,
                    clock, pulse, session,
                )  # fmt: skip
        finally:
            await bot.stop()
