"""A bot at work on the demo GitHub, and a shop whose checks answer in milliseconds.

One bot per worker, one fresh repository per test. The checks are an outside CI: a test says what
it reports, so that nothing waits for real commands (the story and the demo tests run real ones).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import error as dbos_error

from bot.app import Bot
from bot.github.client import EVENTS, PERMISSIONS
from bot.playbooks.run import Patience, Signal, SignalKind
from bot.records import incidents, runs
from bot.records.runs import StoredRun
from bot.records.tables.intake import inbox
from bot.settings import Settings
from demo.person import Person
from fakegithub.access.credentials import issue_token
from fakegithub.faults.request_faults import Held
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from tests.looks import Looks
from tests.outside_ci import OutsideCi

SECRET = "between us"  # noqa: S105  of a GitHub that lives for one test run
API_TOKEN = "a token for machines"  # noqa: S105  likewise
ALERT_MAPPINGS = {
    "datadog": {"preset": "datadog"},
    "sentry": {"preset": "sentry", "secret": "of sentry", "reaches": "acme/*"},
    "uptime": {"id": "/id", "state": "/is", "firing": "down", "repository": "/about"},
}
GOOD = "def total(prices):\n    return sum(prices)\n"
BAD = "def total(prices):\n    return 0\n"
LONGEST = 90.0
"""Seconds until a conversation that got stuck fails."""

LOOK_AGAIN = timedelta(seconds=1)
"""Without a delivery, a waiting Run looks this often."""

RERUNS_BEGIN = timedelta(seconds=12)
"""Until then a check that was asked to run again has begun, or it does not: also where all this
shares a busy machine with others."""

_CALLED = re.compile(r"@|`[\w\[\]-]+`(?:,| and|:) ")
A_WHILE = 1.5
"""Seconds in which whatever looks outside of Runs has looked."""

_names = count(1)
_OWNER = re.compile(r"^Playbooks-Step: ([0-9a-z]{26})/", re.MULTILINE)


class Clock:
    """The bot's clock: the real time, and what a test has let pass."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.passed

    def forward(self, **time: float) -> None:
        """Let time pass."""
        self.passed += timedelta(**time)


@asynccontextmanager
async def open_bot(
    github: DemoGitHub, app: FakeApp, data: Path, clock: Clock, looks: Looks
) -> AsyncIterator[Bot]:
    """The whole bot, listening on loopback; the App's deliveries go there."""
    bot = Bot(
        settings_for(github, app, data),
        clock=clock,
        patience=Patience(
            look_again=LOOK_AGAIN,
            look_later=LOOK_AGAIN,
            other_bots=timedelta(seconds=0.3),
            reruns_begin=RERUNS_BEGIN,
            outages=timedelta(seconds=0.1),
        ),
        observers=(looks,),
        hint_every=0.1,
    )
    # So many tests at one installation are more than GitHub allows anybody.
    bot.github.pace(0)
    await bot.start()
    app.webhook_url = f"http://127.0.0.1:{bot.port}/webhooks/github"
    yield bot
    await bot.stop()


def register_playbooks(github: DemoGitHub, owner: FakeUser) -> FakeApp:
    """The App that the bot runs as, installed for `owner`."""
    app = github.create_app(
        "playbooks", owner=owner, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
    )
    app.callback_urls = ["http://127.0.0.1/ui/login/callback"]
    github.install(app, owner)
    return app


def settings_for(github: DemoGitHub, app: FakeApp, data: Path) -> Settings:
    """What the bot needs to know to serve this GitHub."""
    return Settings.model_validate(
        {
            "github_api_url": f"{github.url}/api/v3",
            "github_app_id": app.id,
            "github_private_key": app.private_key,
            "github_webhook_secret": SECRET,
            "github_client_id": app.client_id,
            "github_client_secret": app.client_secret,
            "playbooks_data": data,
            "playbooks_port": 0,
            "playbooks_replica": "under-test",
            "playbooks_api_tokens": f"tests:write:*:{sha256(API_TOKEN.encode()).hexdigest()}",
            "playbooks_alert_mappings": json.dumps(ALERT_MAPPINGS),
        }
    )


@dataclass
class Shop:
    """One repository, the people at work on it, and its CI."""

    github: DemoGitHub
    bot: Bot
    looks: Looks
    repository: FakeRepository
    olivia: Person
    alice: Person
    bob: Person
    mallory: Person
    ci: Person
    verdicts: dict[str, str] = field(default_factory=lambda: {"smoke": "success"})
    """What CI says about the next commit pushed, by check; empty: it says nothing."""
    deploys: dict[str, str] = field(default_factory=dict)
    """What it says of commits on the default branch only."""
    attempts: dict[str, list[str]] = field(default_factory=dict)
    """What check-runs of CI's App conclude, attempt by attempt; on the default branch: the last."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something happens in the repository."""

    @property
    def name(self) -> str:
        """`owner/name`."""
        return self.alice.repository

    async def merged(
        self,
        title: str,
        files: dict[str, str | None],
        *,
        method: str = "squash",
        base: str | None = None,
    ) -> int:
        """Bob opens a pull request and merges it; its number."""
        branch = f"work-{next(_names)}"
        number = await self.bob.open_pull_request(title, files, branch=branch, base=base)
        await self.bob.merge(number, method)
        return number

    async def broken(self, *, method: str = "squash") -> int:
        """A pull request that breaks the totals, merged."""
        return await self.merged("Faster totals", {"shop.py": BAD}, method=method)

    async def says(self, number: int, words: str, person: Person | None = None) -> Answer:
        """Somebody comments (alice, unless said otherwise); wait until the bot has reacted."""
        person = person or self.alice
        comment = await person.comment(number, words)
        return Answer(self, number, comment["id"])

    async def alone(self) -> None:
        """Wait until no Run works or waits, in any repository; what lasts for days is cancelled.

        What was asked for and is not begun counts too.
        """
        engine = self.bot.engine
        async with asyncio.timeout(LONGEST):
            while engine._executing or self.bot.strangers.is_answering or await self._asked_for():
                async with self.bot.read_only.connect() as conn:
                    live = await runs.list_live(conn)
                for run in live:
                    # Some tests only write records of Runs, and play none.
                    with suppress(dbos_error.DBOSNonExistentWorkflowError):
                        await engine.wake(run.id, Signal(kind=SignalKind.CANCEL), "alone")
                await asyncio.sleep(0.05)

    async def _asked_for(self) -> int:
        """How many entries of the inbox are not handed over yet."""
        query = sa.select(sa.func.count()).where(inbox.c.done_at.is_(None))
        async with self.bot.read_only.connect() as conn:
            return int(await conn.scalar(query) or 0)

    async def looked_again(self) -> None:
        """Let the bot hear of everything so far, and look at least once more."""
        await self.github.deliveries.settle()
        async with asyncio.timeout(LONGEST):
            while await self._asked_for():  # noqa: ASYNC110  seen from outside
                await asyncio.sleep(0.05)
            async with self.bot.read_only.connect() as conn:
                live = {run.id for run in await runs.list_live(conn, self.repository.id)}
            if live:
                await self.looks.again(self.bot.engine, live)
            else:
                await asyncio.sleep(A_WHILE)

    async def eventually(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Look at every piece of news, and now and then, until something is true; give it."""
        async with asyncio.timeout(LONGEST):
            while True:
                self.news.clear()
                if found := await condition():
                    return found
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), 0.2)
                await asyncio.sleep(0.02)

    async def from_bot(self, number: int) -> list[str]:
        """The bot's comments on an issue or pull request, oldest first."""
        return [
            str(comment["body"])
            for comment in await self.alice.comments(number)
            if comment["user"]["login"] == "playbooks[bot]"
        ]

    async def hotfixes(self) -> list[Any]:
        """The hotfix pull requests, newest first."""
        pulls = await self.alice.get("pulls", state="all", per_page="100")
        return [pull for pull in pulls if pull["head"]["ref"].startswith(("hotfix/", "hotfix-"))]

    async def incidents(self) -> list[Any]:
        """The incident issues, newest first."""
        return await self.alice.issues(labels="incident")

    async def standing(self, number: int, words: str) -> str:
        """Wait until the sticky status on an issue or pull request holds these words; give it."""

        async def look() -> str | None:
            said = [body for body in await self.from_bot(number) if body.startswith("**")]
            return next((body for body in said if words in body), None)

        try:
            return str(await self.eventually(look))
        except TimeoutError:
            said = "\n---\n".join(await self.from_bot(number))
            raise AssertionError(f"never said {words!r}, but:\n{said}") from None

    async def mentions(self, number: int) -> list[str]:
        """The bot's comments that call somebody by name, oldest first; later ones do not notify."""
        return [body for body in await self.from_bot(number) if _CALLED.match(body)]

    async def asked(self, number: int, *, times: int) -> list[str]:
        """Wait until the bot has mentioned somebody so often; what it said."""

        async def said() -> list[str] | None:
            found = await self.mentions(number)
            return found if len(found) >= times else None

        found: list[str] = await self.eventually(said)
        assert len(found) == times, found
        return found

    async def told(self, number: int, words: str, *, times: int) -> list[str]:
        """Wait until so many comments of the bot, the status apart, say this; what they say."""

        async def said() -> list[str] | None:
            found = [
                body
                for body in await self.from_bot(number)
                if words in body and not body.startswith("**")
            ]
            return found if len(found) >= times else None

        found: list[str] = await self.eventually(said)
        assert len(found) == times, found
        return found

    async def final_word(self, number: int) -> str:
        """Wait for the incident about `number` to end; its last comment."""

        async def said() -> str | None:
            # The newest Run may be another one, such as the judge of a red check.
            state = await self.last_run()
            if state is None or state.is_live:
                return None
            return next(reversed(await self.mentions(number)), None)

        last: str = await self.eventually(said)
        return last

    async def last_run(self) -> StoredRun | None:
        """The newest Run in this repository."""
        async with self.bot.read_only.connect() as conn:
            known = [
                run
                for each in await incidents.list_recent(conn, self.repository.id)
                for run in await runs.of_incident(conn, each.id)
            ]
            known += await runs.without_incident(conn, self.repository.id)
        return max(known, key=lambda run: (run.created_at, run.id), default=None)

    async def hotfix(self) -> Any:
        """Wait for the only hotfix pull request."""
        [only] = await self.eventually(self.hotfixes)
        return only

    async def merged_hotfix(self) -> Any:
        """Wait until the only hotfix is merged."""

        async def merged() -> Any:
            found = await self.hotfixes()
            return found[0] if found and found[0]["merged_at"] else None

        return await self.eventually(merged)

    async def incident_of(self, proposal: Any) -> str:
        """The id of the incident that a hotfix or fix was made for, by its commit's trailer."""
        commits = await self.alice.get(f"pulls/{proposal['number']}/commits")
        found = _OWNER.search("\n".join(each["commit"]["message"] for each in commits))
        assert found, commits
        return found[1]

    async def report_of(self, hotfix: Any, ref: str = "main") -> Any:
        """The JSON report of a hotfix's incident."""
        identity = await self.incident_of(hotfix)
        path = f"apps/orchestrator/orchestrator/incidents/revert-{identity}.json"
        return json.loads(await self.alice.file(path, ref) or "null")

    def installation(self) -> FakeInstallation:
        """The bot's installation."""
        return _installation(self.github)

    def serve_too(self, repository: FakeRepository) -> None:
        """The App is installed on one more repository."""
        installed = self.installation()
        installed.repositories = {repository.id, *(installed.repositories or ())}

    def forget_tokens(self) -> None:
        """Have every installation token expire, so that new permissions count."""
        self.github.world.installation_tokens.clear()

    @contextmanager
    def holding_back(
        self, path: str, *, method: str, times: int | None = None
    ) -> Iterator[Callable[[], Awaitable[bool]]]:
        """Have GitHub do what it is asked, and answer only at the end of the block.

        Gives what tells whether it was asked.
        """
        released = asyncio.Event()
        rule = self.github.faults.add(Held(released), method=method, path=path, times=times)

        async def came() -> bool:
            return rule.fired > 0

        try:
            yield came
        finally:
            self.github.faults.remove(rule)
            released.set()

    async def report(self, conclusion: str, name: str = "smoke", *, branch: str) -> None:
        """CI reports on the head of a branch."""
        await self.alice.set_status(await self.alice.head(branch), conclusion, name)


@dataclass
class Answer:
    """The bot's answer to one comment."""

    shop: Shop
    number: int
    comment: int

    async def reaction(self) -> str:
        """`+1` or `confused`, once the command is done."""

        async def last() -> str | None:
            given = set(await self.shop.alice.reactions(self.comment))
            return next((each for each in ("+1", "confused") if each in given), None)

        return str(await self.shop.eventually(last))


def _installation(github: DemoGitHub) -> FakeInstallation:
    found = github.world.installations.values()
    return next(each for each in found if each.app.slug == "playbooks")


async def _serve_only(github: DemoGitHub, bot: Bot, repository: FakeRepository) -> None:
    """What is over costs nothing any more: once a minute the bot looks after all it serves."""
    _installation(github).repositories = {repository.id}
    # Its list of them is renewed as seldom; one asked for before this would hide the new one.
    await forget_served(bot)


async def forget_served(bot: Bot) -> None:
    """Have the bot ask anew where it is installed, the next time that it wants to know."""
    served = bot.served
    while asked := [*served._reading.values(), *filter(None, [served._asking])]:
        await asyncio.wait(asked)
        if not served._reading:
            break
    served._known, served._unreadable, served._at = {}, {}, None


@asynccontextmanager
async def open_shop(
    bot: Bot,
    github: DemoGitHub,
    looks: Looks,
    clock: Clock,
    acme: FakeUser,
    staff: dict[str, FakeUser],
    ci_app: FakeInstallation,
) -> AsyncIterator[Shop]:
    """A shop on a green main, with two people who may write and one who may not."""
    github.limits.windows.clear()
    repository = github.create_repository(
        acme, f"shop-{next(_names)}", {"README.md": "# Shop\n", "shop.py": GOOD}
    )
    await _serve_only(github, bot, repository)
    roles = {"olivia": "admin", "alice": "maintain", "bob": "write", "mallory": "read"}
    for login, role in roles.items():
        github.set_collaborator(repository, login, role)
    async with AsyncExitStack() as stack:
        persons = [
            await stack.enter_async_context(
                Person(github.url, staff[login].token, f"acme/{repository.name}")
            )
            for login in roles
        ]
        token = issue_token(github.world, ci_app, None).token
        hands = Person(github.url, token, f"acme/{repository.name}")
        ci_hands = await stack.enter_async_context(hands)
        shop = Shop(github, bot, looks, repository, *persons, ci=ci_hands)
        ci = OutsideCi(shop)
        github.world.listen(ci.hear)
        await ci.report(await shop.alice.head("main"))
        yield shop
        ci.stop()
        github.faults.clear()
        clock.passed = timedelta()
        await _end_all_runs(shop)


async def _end_all_runs(shop: Shop) -> None:
    """Nothing of this test goes on working beside the next."""
    installation = shop.installation()
    installation.suspended_at = None
    installation.permissions = dict(installation.app.permissions)
    tokens = shop.github.world.installation_tokens.values()
    if any(
        each.installation is installation and each.permissions != installation.permissions
        for each in tokens
    ):
        # One that was made while a permission was missing would be used by the next test too.
        shop.forget_tokens()
    async with shop.bot.read_only.connect() as conn:
        live = await runs.list_live(conn, shop.repository.id)
    for run in live:
        await shop.bot.engine.wake(run.id, Signal(kind=SignalKind.CANCEL))
    for run in live:
        async with asyncio.timeout(LONGEST):
            while not await shop.bot.engine.finished(run.id):  # noqa: ASYNC110  seen from outside
                await asyncio.sleep(0.05)
