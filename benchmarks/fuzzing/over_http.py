"""The same inputs over HTTP, at a whole bot in a process of its own, on a demo GitHub.

What a repository brings (configuration, spec reports, trial results) has no sender at our port: the
bot reads it from GitHub. There a GitHub answers with it, and our own client and readers take it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from psycopg import sql

from benchmarks.fuzzing.entrances import ENTRANCES, Input, Place
from benchmarks.fuzzing.mutation import spoiled
from benchmarks.fuzzing.pure import LONGEST, Finding, Tally
from bot.github.client import GitHub
from bot.github.errors import Unreadable
from bot.records.database import open_database, url_from
from bot.records.documents.reports import SPEC_REPORT_PATH
from bot.records.schema import migrate
from bot.safety.config_in_force import version_at
from bot.spec_reports import LARGEST_BYTES, read_spec
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import percents_of
from bot.trials.outcome import fingerprint_of, judge_workflow_run
from bot.triggers import Repository
from fakegithub.server import DemoGitHub
from tests.chaos.lane import API_TOKEN, Lane

AT_ONCE = 8
CONFIG = """\
capabilities: {llm.summarize: {baseline: provider-a, candidates: [provider-b]}}
budgets: {llm: {unit: usd, limit: 1000000, window: day}}
"""
FROM_REPOSITORIES = ("configuration", "spec-reports", "trial-results")
OWN_BOOKS = frozenset(
    {"budget_entries", "budget_windows", "github_answers", "readings", "record_looks"}
)
"""What the bot writes down about its own requests and looks, whoever knocks."""
_SETTLED_S = 600.0
_TYPES = {
    "/alerts/cloudevents": "application/cloudevents+json",
    "/providers/observations": "application/x-ndjson",
}
_STRANGERS = (400, 401, 403, 413, 415)
_ENTRIES = re.compile(r"^(?=\d{4}-\d\d-\d\dT)", re.MULTILINE)
_NOT_OURS = re.compile(r"Traceback|\[error")


@dataclass
class Growth:
    """What the bot holds: rows by table, and resident memory (MiB)."""

    rows: dict[str, int] = field(default_factory=dict)
    memory: float = 0.0

    def since(self, before: Growth) -> dict[str, int]:
        """The tables that have more rows, or fewer."""
        names = self.rows.keys() | before.rows.keys()
        more = {name: self.rows.get(name, 0) - before.rows.get(name, 0) for name in sorted(names)}
        return {name: rows for name, rows in more.items() if rows}


@dataclass
class Passed(Tally):
    """What came of one pass over HTTP."""

    statuses: dict[str, int] = field(default_factory=dict)
    asked_for: int = 0
    """Triggers that answers said are stored."""
    rows: dict[str, int] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    """MiB: before, after the first half, at the end."""


def drawn(name: str, count: int, with_seed: int, place: Place) -> list[Input]:
    """Draw so many inputs of an entrance."""
    entrance, found = ENTRANCES[name], list[Input]()

    @seed(with_seed)
    @settings(
        max_examples=-(-count // 5),
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(one=entrance.well_formed(place), draw=st.integers(0, 2**32))
    def each(one: tuple[str, object], draw: int) -> None:
        found.extend(entrance.inputs(one, random.Random(draw), 5))  # noqa: S311 - repeatable

    each()
    return (found * (1 + count // len(found)))[:count]


# --- at the bot's own port ---


@dataclass
class Target:
    """A bot at work, and what inputs may name there."""

    lane: Lane
    place: Place
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where the bot listens."""
        return f"http://127.0.0.1:{self.lane.port}"

    def measured(self) -> Growth:
        """Count rows, and read the process's memory."""
        status = Path(f"/proc/{self.lane.life.pid}/status").read_text()
        found = dict(line.split(":", 1) for line in status.splitlines())
        return Growth(rows(self.lane), int(found["VmRSS"].split()[0]) / 1024)

    async def settled(self) -> None:
        """Wait until everything that was asked for is done, or waits for somebody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLED_S):
                former = -1
                while (now := self.lane.unfinished()) != former or waiting(self.lane):
                    former = now
                    await asyncio.sleep(1.0)


def rows(lane: Lane) -> dict[str, int]:
    """How many rows each table has, the engine's own included."""
    if (url := lane.environment.get("DATABASE_URL")) is not None:
        with psycopg.connect(url) as conn:
            tables = conn.execute(
                "SELECT table_schema, table_name FROM information_schema.tables "
                "WHERE table_schema IN ('public', 'dbos') AND table_type = 'BASE TABLE'"
            ).fetchall()
            counted = sql.SQL("SELECT count(*) FROM {}.{}")
            return {
                f"{schema}.{name}": _first(
                    conn.execute(
                        counted.format(sql.Identifier(schema), sql.Identifier(name))
                    ).fetchone()
                )
                for schema, name in tables
            }
    found = {}
    for path in sorted(lane.data.glob("*.db")):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as conn:
            names = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                query = f'SELECT count(*) FROM "{name}"'  # noqa: S608 - our own tables
                found[f"{path.stem}.{name}"] = _first(conn.execute(query).fetchone())
    return found


def waiting(lane: Lane) -> int:
    """How many entries of the inbox are not handed over yet."""
    query = "SELECT count(*) FROM inbox WHERE done_at IS NULL"
    if (url := lane.environment.get("DATABASE_URL")) is not None:
        with psycopg.connect(url) as conn:
            return _first(conn.execute(query).fetchone())
    path = str(url_from(lane.data)).partition("///")[2]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as conn:
        return _first(conn.execute(query).fetchone())


def _first(row: Any) -> int:
    return int(row[0])


@asynccontextmanager
async def target(
    folder: Path, database: str | None = None, *, observed: bool = False
) -> AsyncIterator[Target]:
    """Start a demo GitHub with one repository, and a bot; `observed`: with a shadow under way."""
    async with DemoGitHub(rng=random.Random(7)) as github, aiohttp.ClientSession() as session:  # noqa: S311
        github.limits.limit = 10**9
        lane = Lane(github, folder, as_program=True, database_url=database)
        known = lane.repository()
        github.commit(known, {".github/playbooks.yml": CONFIG}, "Configure", author=lane.alice)
        mallory = github.create_user("mallory")
        github.set_collaborator(known, mallory.login, "read")
        async with lane.person(known) as alice:
            broken = await lane.broken(alice)
            head = await alice.head("main")
        repository = Repository(
            id=known.id, owner=known.owner.login, name=known.name,
            installation_id=lane.installation.id,
        )  # fmt: skip
        url = database or url_from(lane.data)
        lane.data.mkdir(parents=True, exist_ok=True)
        await migrate(url)
        await lane.approved(known, CONFIG)
        await lane.start()
        generation = await _shadowing(lane, repository, session) if observed else 1
        place = Place(
            repository=repository, people=(lane.alice.login, mallory.login),
            numbers=(broken, broken + 1, broken + 6), commits=(head,), generation=generation,
            now=datetime.now(UTC),
        )  # fmt: skip
        try:
            yield Target(lane, place, session)
        finally:
            await lane.close()


async def _shadowing(lane: Lane, repository: Repository, session: aiohttp.ClientSession) -> int:
    """Have a shadow under way, so that observations count; the generation that they name."""
    body = {"capability": "llm.summarize", "candidate": "provider-b"}
    url = f"http://127.0.0.1:{lane.port}/providers/shadow/start"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    async with session.post(url, json=body, headers=headers) as answer:
        if answer.status != 202:
            raise RuntimeError(await answer.text())
    records = open_database(lane.environment.get("DATABASE_URL") or url_from(lane.data))
    try:
        async with asyncio.timeout(60):
            while True:
                async with records.connect() as conn:
                    open_ones = await ledgers.open_ones(conn, repository.id)
                    for each in open_ones:
                        if percents := await percents_of(conn, each.attempt):
                            return max(percents)
                await asyncio.sleep(0.2)
    finally:
        await records.dispose()


def request(name: str, one: Input, target: Target, rng: random.Random | None) -> dict[str, Any]:
    """Write the request of an input; with `rng` as somebody who is nobody here."""
    headers = {"Content-Type": "application/json"}
    path, body = one.head, one.body
    if name in ("webhooks", "commands"):
        path, event = "/webhooks/github", one.head
        if name == "commands":
            event, body = "issue_comment", _comment(one, target.place)
        secret = target.lane.environment["GITHUB_WEBHOOK_SECRET"] if rng is None else "another"
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers |= {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": hashlib.sha256(body).hexdigest()[:32],
            "X-Hub-Signature-256": f"sha256={digest}",
        }
        if rng is not None and rng.random() < 0.3:
            del headers[rng.choice(sorted(headers))]
    else:
        if name == "observations":
            path = "/providers/observations"
        headers["Content-Type"] = _TYPES.get(path, "application/json")
        headers["Authorization"] = f"Bearer {API_TOKEN if rng is None else 'guessed'}"
        if rng is not None and rng.random() < 0.3:
            del headers["Authorization"]
    return {"url": target.url + path, "data": body, "headers": headers}


def _comment(one: Input, place: Place) -> bytes:
    words = one.body.decode("utf-8", "surrogatepass")
    digest = int.from_bytes(hashlib.sha256(one.body).digest()[:5], "big") + 1
    # One in eight may ask for something: what they ask for is begun, and that takes its time.
    writer, *others = place.people
    login = writer if digest % 8 == 0 else others[digest % len(others)]
    user = {"login": login, "type": "User"}
    known = place.repository
    return json.dumps(
        {
            "action": "created",
            "issue": {"number": place.numbers[digest % 3], "pull_request": {"url": "x"}},
            "comment": {
                "id": digest, "body": words, "user": user,
                "author_association": "COLLABORATOR" if login == place.people[0] else "NONE",
            },
            "sender": user,
            "installation": {"id": known.installation_id},
            "repository": {
                "id": known.id, "name": known.name, "owner": {"login": known.owner},
                "default_branch": "main", "html_url": f"https://github.com/{known.full_name}",
            },
        }
    ).encode()  # fmt: skip


async def at_the_port(
    target: Target, name: str, inputs: Sequence[Input], *, signed: bool, with_seed: int
) -> Passed:
    """Send inputs to the bot, and see what they leave behind."""
    tally, rng = Passed(), None if signed else random.Random(with_seed)  # noqa: S311
    began, before = time.monotonic(), target.measured()
    tally.memory.append(before.memory)
    said = len(target.lane.life.said(10**9))
    half = len(inputs) // 2
    slow: list[dict[str, Any]] = []
    for part in (inputs[:half], inputs[half:]):
        queue = iter(part)
        await asyncio.gather(
            *(_send(target, name, queue, rng, tally, slow) for _ in range(AT_ONCE))
        )
        await target.settled()
        tally.memory.append(target.measured().memory)
    for each in slow:
        # A busy machine is no finding: it has to be as slow by itself, three times.
        if (took := min([await _alone(target, each) for _ in range(3)])) > LONGEST:
            tally.findings.append(
                Finding(each["url"], each["data"].hex(), f"answered after {took:.1f} s, alone")
            )
    tally.rows = target.measured().since(before)
    for entry in _ENTRIES.split(target.lane.life.said(10**9)[said:]):
        if _NOT_OURS.search(entry):
            tally.findings.append(Finding("the bot's log", "", f"{entry[:300]} … {entry[-1500:]}"))
    if not signed:
        grown = {table.rpartition(".")[2] for table, more in tally.rows.items() if more}
        # A Run that is under way looks by the clock; whoever stirs one leaves a notification.
        own = OWN_BOOKS if "notifications" in grown else OWN_BOOKS | {"operation_outputs"}
        for table, more in tally.rows.items():
            if table.rpartition(".")[2] in own:
                continue
            tally.findings.append(Finding(table, "", f"{more} rows of strangers"))
    stored = sum(more for table, more in tally.rows.items() if table.endswith(".inbox"))
    if name in ("webhooks", "commands") and stored > tally.asked_for:
        tally.findings.append(Finding("inbox", "", f"{stored} rows for {tally.asked_for} requests"))
    tally.seconds = time.monotonic() - began
    return tally


async def _alone(target: Target, asked: dict[str, Any]) -> float:
    began = time.monotonic()
    async with target.session.post(**asked) as response:
        await response.read()
    return time.monotonic() - began


async def _send(
    target: Target,
    name: str,
    queue: Any,
    rng: random.Random | None,
    tally: Passed,
    slow: list[dict[str, Any]],
) -> None:
    entrance = ENTRANCES[name]
    for one in queue:
        asked = request(name, one, target, rng)
        began = time.monotonic()
        async with target.session.post(**asked) as response:
            text = await response.text()
        took = time.monotonic() - began
        status = response.status
        tally.inputs += 1
        tally.longest = max(tally.longest, took)
        tally.statuses[str(status)] = tally.statuses.get(str(status), 0) + 1
        if took > LONGEST:
            slow.append(asked)
        if status >= 500 or (rng is not None and status < 300):
            tally.findings.append(Finding(one.head, one.body.hex(), f"{status} {text[:300]}"))
        if rng is None and status not in _STRANGERS:
            tally.past += entrance.read(one, target.place)
            if status == 202 and name in ("webhooks", "commands"):
                tally.asked_for += int(json.loads(text).get("triggers", 0))


# --- what a repository brings ---


class Bringing:
    """A GitHub that answers with what somebody committed, or what a trial printed."""

    def __init__(self) -> None:
        """Nothing is brought yet."""
        self.body = b""
        self.spoil: random.Random | None = None

    def application(self) -> web.Application:
        """The few routes that reading takes."""
        application = web.Application()
        application.router.add_post("/api/v3/app/installations/{id}/access_tokens", self._token)
        application.router.add_get(
            "/api/v3/repos/{owner}/{repo}/contents/{path:.*}", self._contents
        )
        for route, part in (
            ("actions/runs/{id}", "run"),
            ("actions/runs/{id}/jobs", "jobs"),
            ("check-runs/{id}/annotations", "annotations"),
        ):
            application.router.add_get(
                f"/api/v3/repos/{{owner}}/{{repo}}/{route}", self._part(part)
            )
        return application

    async def _token(self, _: web.Request) -> web.Response:
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return web.json_response({"token": "t", "expires_at": until, "permissions": {}}, status=201)

    async def _contents(self, request: web.Request) -> web.Response:
        del request
        return self._answer(
            {
                "type": "file", "encoding": "base64", "size": len(self.body),
                "sha": hashlib.sha1(self.body, usedforsecurity=False).hexdigest(),
                "content": base64.b64encode(self.body).decode(),
            }
        )  # fmt: skip

    def _part(self, part: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            try:
                found = json.loads(self.body)[part]
            except (ValueError, KeyError, TypeError, RecursionError):
                found = {}
            if part == "jobs":
                found = found if isinstance(found, list) else []
                found = {"total_count": len(found), "jobs": found}
            return self._answer(found)

        return answer

    def _answer(self, envelope: Any) -> web.Response:
        if self.spoil is not None:
            envelope = spoiled(envelope, self.spoil)
        text = json.dumps(envelope)
        return web.Response(text=text, content_type="application/json")


async def from_a_repository(
    name: str, inputs: Sequence[Input], *, signed: bool, with_seed: int, key: str
) -> Passed:
    """Have our client read what a GitHub answers; unsigned: in envelopes that are spoiled."""
    tally, bringing, entrance, place = Passed(), Bringing(), ENTRANCES[name], Place()
    bringing.spoil = None if signed else random.Random(with_seed)  # noqa: S311
    began = time.monotonic()
    runner = web.AppRunner(bringing.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3"

    async def at_once(_: float) -> None:
        """Waits of the client are not what is looked at."""

    async with GitHub(app_id=1, private_key=key, api_url=url, sleep=at_once) as github:
        github.pace(0)
        client = github.repository(place.repository, playbook="spec")
        tally.memory.append(_our_memory())
        for number, one in enumerate(inputs):
            bringing.body = one.body
            asked = time.monotonic()
            outcome = "read"
            try:
                await _brought(name, client)
            except Exception as error:
                outcome = type(error).__name__
                if signed:
                    tally.findings.append(Finding(one.head, one.body.hex(), repr(error)))
            took = time.monotonic() - asked
            tally.inputs += 1
            tally.past += signed and entrance.read(one, place)
            tally.longest = max(tally.longest, took)
            tally.statuses[outcome] = tally.statuses.get(outcome, 0) + 1
            if took > LONGEST:
                tally.findings.append(Finding(one.head, one.body.hex(), f"took {took:.1f} s"))
            if number == len(inputs) // 2:
                tally.memory.append(_our_memory())
        tally.memory.append(_our_memory())
    await runner.cleanup()
    tally.seconds = time.monotonic() - began
    return tally


async def _brought(name: str, client: Any) -> None:
    if name == "configuration":
        version = await version_at(client, "main")
        if (version.config is None) is not bool(version.fault):
            raise AssertionError(f"neither read nor refused: {version}")
    elif name == "spec-reports":
        file = await client.contents.find(SPEC_REPORT_PATH, "main", largest=LARGEST_BYTES)
        if file is not None and file.content is not None:
            read_spec(file.content)
    else:
        with suppress(Unreadable):
            # An answer that is none of GitHub's.
            run = await client.workflows.run(1)
            jobs = await client.workflows.jobs(1)
            if run is not None:
                judge_workflow_run(run, jobs, check="smoke", build=("build",))
            fingerprint_of(await client.workflows.annotations(1))


def _our_memory() -> float:
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(found["VmRSS"].split()[0]) / 1024
