"""A lane: one App with one real bot process, and as many fresh repositories as are broken in it."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from bot.github.client import EVENTS, PERMISSIONS
from bot.records.database import open_database, url_from
from demo.person import Person
from fakegithub.changes import statuses
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeComment, FakeRepository, FakeUser
from fakegithub.world.world import Event
from tests.chaos.life import Conditions, Life
from tests.config_approvals import approved_long_ago

GOOD = "def total(prices):\n    return sum(prices)\n"
BAD = "def total(prices):\n    return 0\n"
API_TOKEN = "a token for machines"  # noqa: S105  of a GitHub that lives for one test run
LONGEST_S = 240.0
"""A play that takes longer is stuck, on however busy a machine."""
_names = count(1)


def free_port() -> int:
    """A port that nobody listens on, to be used again after every kill."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class InstantCi:
    """A CI that reports on every push before anybody can look, unless it is silent."""

    def __init__(self, github: DemoGitHub) -> None:
        self._github = github
        self._repositories: set[int] = set()
        self.silent = False
        github.world.listen(self._hear)

    def watch(self, repository: FakeRepository) -> None:
        self._repositories.add(repository.id)

    def _hear(self, event: Event) -> None:
        repository = event.repository
        if repository is None or repository.id not in self._repositories:
            return
        if event.name == "push" and not event.payload["deleted"] and not self.silent:
            self.report(repository, event.payload["after"])

    def speak(self, repository: FakeRepository) -> None:
        """Be silent no more, and make up for the hotfixes that were pushed meanwhile."""
        self.silent = False
        for sha in repository.git.refs("refs/heads/hotfix/").values():
            self.report(repository, sha)

    def report(self, repository: FakeRepository, sha: str) -> None:
        """Say that all is well with a commit."""
        statuses.create(self._github.world, repository, sha, "success", "smoke", repository.owner)


class Lane:
    """One bot at work, on data of its own."""

    def __init__(
        self,
        github: DemoGitHub,
        folder: Path,
        *,
        conditions: Conditions | None = None,
        as_program: bool = False,
        database_url: str | None = None,
    ) -> None:
        """Register an App on an account of its own; `start` starts the bot."""
        number = next(_names)
        self.github, self.folder = github, folder
        self.owner: FakeUser = github.create_user(f"org-{number}", organization=True)
        self.port = free_port()
        secret = f"secret {number}"
        self.app = github.create_app(
            f"chaos-{number}", owner=self.owner, permissions=PERMISSIONS, events=list(EVENTS),
            webhook_url=f"http://127.0.0.1:{self.port}/webhooks/github", secret=secret,
        )  # fmt: skip
        self.installation = github.install(self.app, self.owner)
        self.alice = github.create_user(f"alice-{number}")
        self.environment = {
            "GITHUB_API_URL": f"{github.url}/api/v3",
            "GITHUB_APP_ID": str(self.app.id),
            "GITHUB_PRIVATE_KEY": self.app.private_key,
            "GITHUB_WEBHOOK_SECRET": secret,
            "PLAYBOOKS_DATA": str(folder / "data"),
            "PLAYBOOKS_PORT": str(self.port),
            "PLAYBOOKS_REPLICA": f"lane-{number}",
            "PLAYBOOKS_API_TOKENS": f"tests:write:*:{sha256(API_TOKEN.encode()).hexdigest()}",
            "LOG_LEVEL": "warning",
        }
        if database_url is not None:
            self.environment["DATABASE_URL"] = database_url
        self.life = Life(self.environment, folder / "life", conditions, as_program=as_program)
        self.ci = InstantCi(github)

    @property
    def data(self) -> Path:
        """The bot's data folder."""
        return self.folder / "data"

    async def start(self) -> None:
        """Start the bot."""
        await self.life.start()

    async def approved(self, repository: FakeRepository, config: str) -> None:
        """A Founder has approved the protected parts of this configuration long ago."""
        given = self.environment.get("DATABASE_URL")
        records = open_database(given or url_from(self.data))
        await approved_long_ago(records, repository.id, config)
        await records.dispose()

    async def close(self) -> None:
        """Kill the bot, whatever it is doing."""
        await self.life.kill()
        self.app.webhook_url = None

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Nothing that happens meanwhile is delivered."""
        url, self.app.webhook_url = self.app.webhook_url, None
        yield
        self.app.webhook_url = url

    def may(self, **permissions: str) -> None:
        """The App may this from now on, and its tokens of before are no good any more."""
        self.installation.permissions = permissions
        tokens = self.github.world.installation_tokens
        # Those of other lanes are left alone: they play beside this one.
        for token in [t for t, known in tokens.items() if known.installation is self.installation]:
            del tokens[token]

    def serve_only(self, repository: FakeRepository) -> None:
        """The App is installed on this repository alone: others cost nothing any more."""
        self.installation.repositories = {repository.id}

    # What people do

    def repository(self, paths: Sequence[str] = ("shop.py",)) -> FakeRepository:
        """A repository with a green main, with totals in these files."""
        # Hundreds of plays are not to share the requests of one hour.
        self.github.limits.windows.clear()
        repository = self.github.create_repository(
            self.owner, f"shop-{next(_names)}", {"README.md": "# Shop\n"}
        )
        self.github.set_collaborator(repository, self.alice.login, "maintain")
        self.ci.watch(repository)
        self.github.commit(repository, dict.fromkeys(paths, GOOD), "Totals", author=self.alice)
        return repository

    def person(self, repository: FakeRepository) -> Person:
        """Alice, at work there."""
        return Person(self.github.url, self.alice.token or "", repository.full_name)

    async def broken(self, alice: Person, path: str = "shop.py") -> int:
        """A merged pull request that breaks the totals in one file; its number."""
        branch = f"work-{next(_names)}"
        number = await alice.open_pull_request("Faster totals", {path: BAD}, branch=branch)
        await alice.merge(number, "squash")
        await alice.delete(f"git/refs/heads/{branch}")
        return number

    async def ask(self, alice: Person, number: int) -> int:
        """Alice comments `/revert`; the comment's id."""
        comment = await alice.comment(number, "/revert because totals are zero")
        return int(comment["id"])

    # What can be seen from outside

    def reactions(self, repository: FakeRepository, comment: int) -> set[str]:
        """The bot's reactions to a comment."""
        return {
            reaction.content
            for issue in repository.issues.values()
            for each in _comments(issue)
            if each.id == comment
            for reaction in each.reactions
        }

    async def told(self, repository: FakeRepository, words: str) -> None:
        """Wait until an issue's body or a comment holds these words."""

        async def said() -> bool:
            return any(
                words in text
                for issue in repository.issues.values()
                for text in (issue.body or "", *(each.body for each in _comments(issue)))
            )

        await eventually(said, self.life)

    def unfinished(self) -> int:
        """How many durable executions have not ended yet."""
        states = "'PENDING', 'ENQUEUED', 'DELAYED'"
        if (url := self.environment.get("DATABASE_URL")) is not None:
            with psycopg.connect(url) as engine:
                counted = engine.execute(
                    f"SELECT count(*) FROM dbos.workflow_status WHERE status IN ({states})"  # noqa: S608
                ).fetchone()
            return int(counted[0]) if counted else 0
        path = self.data / "engine.db"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as engine:
            query = f"SELECT count(*) FROM workflow_status WHERE status IN ({states})"  # noqa: S608
            return int(engine.execute(query).fetchone()[0])

    async def answer(self, repository: FakeRepository, comment: int) -> str:
        """Wait until the command has its answer, whatever still runs; the answer."""

        async def answered() -> str | None:
            given = self.reactions(repository, comment)
            return next((each for each in ("+1", "confused") if each in given), None)

        return str(await eventually(answered, self.life))

    async def done(self, repository: FakeRepository, comment: int) -> str:
        """Wait until the command has its answer and nothing runs any more; the answer."""

        async def answered() -> str | None:
            given = self.reactions(repository, comment)
            answer = next((each for each in ("+1", "confused") if each in given), None)
            return answer if answer and not self.unfinished() else None

        return str(await eventually(answered, self.life))

    async def carried_out(self, repository: FakeRepository, comment: int) -> None:
        """Wait until the command is done; fail with what the bot said if it was refused."""
        if await self.done(repository, comment) != "+1":
            said = [
                each.body
                for issue in repository.issues.values()
                for each in _comments(issue)
                if each.user.login != self.alice.login
            ]
            answers = "\n\n".join(said)
            raise AssertionError(f"it was refused:\n{answers}\n\nits log:\n{self.life.said()}")


def _comments(issue: Any) -> list[FakeComment]:
    return [*issue.comments, *(issue.pull.comments if issue.pull else [])]


async def eventually(condition: Callable[[], Awaitable[Any]], life: Life) -> Any:
    """Look again and again until something is true, and give it; the log helps where it is not."""
    try:
        async with asyncio.timeout(LONGEST_S):
            while not (found := await condition()):  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it did not happen in time; the bot said:\n{life.said()}") from None
    return found
