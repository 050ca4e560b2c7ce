"""`doctor` finds each fault, in plain words, and what it says to do mends it; `serve` agrees.

A row for each: what goes wrong, what doctor calls it, what it says, and how the remedy is followed.
Faults of settings end `serve` with one line; those of the world leave it up.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import bot.doctor as doctor_module
from bot.doctor import DoctorFinding, examine_here
from bot.listen import redeliver_failed
from bot.records.audit.anchors import private_pem
from bot.records.database import migrate, open_database, url_from
from bot.records.replicas import NameLock, join
from bot.settings import load_settings
from fakegithub.access.credentials import new_key_pair
from fakegithub.server import DemoGitHub
from tests.cli.test_commands import playbooks
from tests.shop import SECRET, Shop

Mend = Callable[[], Awaitable[object] | object]


class Scene:
    """An environment in which doctor finds nothing, and one shop that GitHub delivers for."""

    def __init__(self, shop: Shop, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.shop, self.folder, self.patch = shop, folder, patch
        self.app = shop.bot.settings.github_app_id
        self.fake = shop.github.world.apps[self.app]
        self.environment: dict[str, str] = {}

    def set(self, name: str, value: str | None) -> Mend:
        """Give a variable another value, or none; gives what puts it back."""
        before = self.environment.get(name)

        def put(given: str | None) -> None:
            if given is None:
                self.environment.pop(name, None)
                self.patch.delenv(name, raising=False)
            else:
                self.environment[name] = given
                self.patch.setenv(name, given)

        put(value)
        return lambda: put(before)

    async def findings(self) -> list[DoctorFinding]:
        if "PATH" not in self.environment:
            return [each for each in await examine_here(os.environ) if not each.ok]
        done = await asyncio.to_thread(playbooks, "doctor", "--json", **self.environment)
        return [DoctorFinding.model_validate(e) for e in json.loads(done.stdout) if not e["ok"]]


@pytest.fixture
async def scene(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    for name in list(os.environ):
        if name.startswith(("GITHUB_", "PLAYBOOKS_", "DATABASE_", "NOTIFY_", "PROMETHEUS_")):
            monkeypatch.delenv(name)
    scene = Scene(shop, tmp_path, monkeypatch)
    [installation] = [
        each for each in shop.github.world.installations.values() if each.app is scene.fake
    ]
    # Others' repositories cost time, and the latest delivery is to be one of ours.
    chosen, installation.repositories = installation.repositories, {shop.repository.id}
    granted, events = dict(installation.permissions), list(installation.events)
    for name, value in {
        "GITHUB_API_URL": f"{shop.github.url}/api/v3",
        "GITHUB_APP_ID": str(scene.app),
        "GITHUB_PRIVATE_KEY": scene.fake.private_key,
        "GITHUB_WEBHOOK_SECRET": SECRET,
        "GITHUB_CLIENT_ID": scene.fake.client_id,
        "GITHUB_CLIENT_SECRET": scene.fake.client_secret,
        "PLAYBOOKS_DATA": str(tmp_path / "data"),
        "PLAYBOOKS_PORT": str(_free_port()),
        "PLAYBOOKS_SANDBOX": "off",
        "PLAYBOOKS_URL": f"http://127.0.0.1:{shop.bot.port}",
    }.items():
        scene.set(name, value)
    url, secret = scene.fake.webhook_url, scene.fake.webhook_secret
    await shop.alice.post("issues", title="So that the latest delivery is a good one")
    await shop.github.deliveries.settle()
    yield scene
    installation.repositories, installation.permissions = chosen, granted
    installation.events, installation.suspended_at = events, None
    scene.fake.webhook_url, scene.fake.webhook_secret = url, secret
    shop.github.world.installations[installation.id] = installation


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _installation(scene: Scene) -> object:
    world = scene.shop.github.world
    return next(each for each in world.installations.values() if each.app is scene.fake)


# --- what goes wrong ---


def value(name: str, given: str | None) -> Callable[[Scene], Mend]:
    return lambda scene: scene.set(name, given)


def port_in_use(scene: Scene) -> Mend:
    taken = socket.socket()
    taken.bind(("127.0.0.1", int(scene.environment["PLAYBOOKS_PORT"])))
    taken.listen()
    return taken.close


def key_of_another(scene: Scene) -> Mend:
    return scene.set("GITHUB_PRIVATE_KEY", new_key_pair()[0])


def unreadable(scene: Scene) -> Mend:
    put = scene.set("GITHUB_PRIVATE_KEY", None)
    also = scene.set("GITHUB_PRIVATE_KEY_PATH", str(scene.folder / "nothing.pem"))

    def mend() -> None:
        also()
        put()

    return mend


def nothing_set(scene: Scene) -> Mend:
    named = [name for name in scene.environment if name.startswith("GITHUB_")]
    undo = [scene.set(name, None) for name in named]
    return lambda: [each() for each in undo]


def permission(scene: Scene) -> Mend:
    installation = _installation(scene)
    installation.permissions = {"metadata": "read", "checks": "read"}
    return lambda: setattr(installation, "permissions", dict(scene.fake.permissions))


def event(scene: Scene) -> Mend:
    installation = _installation(scene)
    installation.events = ["push"]
    return lambda: setattr(installation, "events", list(scene.fake.events))


def suspended(scene: Scene) -> Mend:
    installation = _installation(scene)
    installation.suspended_at = datetime.now(UTC)
    return lambda: setattr(installation, "suspended_at", None)


def not_installed(scene: Scene) -> Mend:
    world, installation = scene.shop.github.world, _installation(scene)
    del world.installations[installation.id]
    return lambda: world.installations.update({installation.id: installation})


async def secrets_differ(scene: Scene) -> Mend:
    scene.fake.webhook_secret = "another"  # noqa: S105 - of a GitHub that lives for one test run
    await scene.shop.alice.post("issues", title="Nobody hears this")
    await scene.shop.github.deliveries.settle()

    async def mend() -> None:
        scene.fake.webhook_secret = SECRET
        assert await redeliver_failed(load_settings())
        await scene.shop.github.deliveries.settle()

    return mend


def hook_elsewhere(scene: Scene) -> Mend:
    before, scene.fake.webhook_url = scene.fake.webhook_url, "https://old.example.org/webhooks"
    return lambda: setattr(scene.fake, "webhook_url", before)


def address_leads_nowhere(scene: Scene) -> Mend:
    port = _free_port()
    before = scene.fake.webhook_url
    scene.fake.webhook_url = f"http://127.0.0.1:{port}/webhooks/github"
    put = scene.set("PLAYBOOKS_URL", f"http://127.0.0.1:{port}")

    def mend() -> None:
        put()
        scene.fake.webhook_url = before

    return mend


def open_without_address(scene: Scene) -> Mend:
    undo = [scene.set("PLAYBOOKS_HOST", "0.0.0.0"), scene.set("PLAYBOOKS_URL", None)]  # noqa: S104
    return lambda: [each() for each in undo]


def programs(script: str | None) -> Callable[[Scene], Mend]:
    def put(scene: Scene) -> Mend:
        folder = scene.folder / "programs"
        folder.mkdir()
        if script is not None:
            (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
            (folder / "git").chmod(0o755)
        return (
            scene.set("PATH", str(folder)) if "PATH" in scene.environment else _path(scene, folder)
        )

    return put


def _path(scene: Scene, folder: Path) -> Mend:
    before = os.environ["PATH"]
    scene.set("PATH", str(folder))
    return lambda: scene.set("PATH", before)


def disk_low(scene: Scene) -> Mend:
    scene.patch.setattr(doctor_module, "_LEAST_FREE_BYTES", 2**60)
    return lambda: scene.patch.setattr(doctor_module, "_LEAST_FREE_BYTES", 0)


async def invalid_configuration(scene: Scene) -> Mend:
    await scene.shop.alice.push("main", {".github/playbooks.yml": "chekcs: 1\n"}, "Wrong")
    return lambda: scene.shop.alice.push("main", {".github/playbooks.yml": "{}\n"}, "Right")


async def silent_check(scene: Scene) -> Mend:
    await scene.shop.broken()
    await scene.shop.olivia.post(
        "rulesets", name="Required", target="branch", enforcement="active",
        conditions={"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}},
        rules=[{"type": "required_status_checks", "parameters": {
            "strict_required_status_checks_policy": False,
            "required_status_checks": [{"context": "e2e-old"}]}}],
    )  # fmt: skip
    return scene.shop.repository.rulesets.clear


def branches_closed(scene: Scene) -> Mend:
    shop = scene.shop
    ruleset = shop.github.restrict_refs(shop.repository, "hotfix/**")

    def mend() -> None:
        actor = {"actor_id": scene.app, "actor_type": "Integration", "bypass_mode": "always"}
        ruleset.bypass_actors = [actor]

    return mend


async def migration_pending(scene: Scene) -> Mend:
    url = url_from(scene.folder / "data")
    await migrate(url)
    with closing(sqlite3.connect(scene.folder / "data" / "playbooks.db")) as database:
        [(newest,)] = database.execute("SELECT version_num FROM schema_version").fetchall()
        database.execute("UPDATE schema_version SET version_num = '0009'")
        database.commit()

    def mend() -> None:
        with closing(sqlite3.connect(scene.folder / "data" / "playbooks.db")) as database:
            database.execute("UPDATE schema_version SET version_num = ?", (newest,))
            database.commit()

    return mend


async def namesake(scene: Scene) -> Mend:
    url = url_from(scene.folder / "data")
    await migrate(url)
    records = open_database(url)
    lock = NameLock(records, load_settings().replica)
    assert await lock.take()

    async def mend() -> None:
        await lock.release()
        await records.dispose()

    return mend


async def keys_differ(scene: Scene) -> Mend:
    from bot.records.audit.keys import settle_key

    url = url_from(scene.folder / "data")
    await migrate(url)
    records, now = open_database(url), datetime.now(UTC)
    theirs, ours = (private_pem(Ed25519PrivateKey.generate()).decode() for _ in range(2))
    async with records.begin() as conn:
        await join(conn, "a sibling", now)
        file = scene.folder / "none.pem"
        await settle_key(conn, given=theirs, file=file, siblings=(), at=now - timedelta(hours=1))
    await records.dispose()
    scene.set("PLAYBOOKS_SIGNING_KEY", ours)
    return lambda: scene.set("PLAYBOOKS_SIGNING_KEY", theirs)


@dataclass(frozen=True)
class Fault:
    """One row: `ends` tells whether `serve` ends with one line and exit 2."""

    make: Callable[[Scene], Mend | Awaitable[Mend]]
    subject: str
    says: str
    ends: bool = False
    served: bool = True


NOWHERE = "http://127.0.0.1:9"
FAULTS: dict[str, Fault] = {
    # --- settings ---
    "nothing set": Fault(nothing_set, "settings", "nothing is set up yet", served=False),
    "half set": Fault(value("GITHUB_WEBHOOK_SECRET", None), "GITHUB_WEBHOOK_SECRET",
                      "Field required", ends=True),
    "key not PEM": Fault(value("GITHUB_PRIVATE_KEY", "nonsense"), "GITHUB_PRIVATE_KEY",
                         "is not an RSA private key in PEM form", ends=True),
    "key unreadable": Fault(unreadable, "GITHUB_PRIVATE_KEY_PATH",
                            "names a file that cannot be read", ends=True),
    "GHES without /api/v3": Fault(value("GITHUB_API_URL", "https://github.example.org"),
                                  "GITHUB_API_URL", "/api/v3", ends=True),
    "NOTIFY_URLS": Fault(value("NOTIFY_URLS", "nonsense"), "NOTIFY_URLS", "address 1", ends=True),
    "API token": Fault(value("PLAYBOOKS_API_TOKENS", "ci:write:*"), "PLAYBOOKS_API_TOKENS",
                       "name:role:repository-glob:sha256", ends=True),
    "signing key": Fault(value("PLAYBOOKS_SIGNING_KEY", "nonsense"), "PLAYBOOKS_SIGNING_KEY",
                         "not an unencrypted PEM private key", ends=True),
    "port in use": Fault(port_in_use, "PLAYBOOKS_PORT", "is in use", ends=True),
    "port of Kubernetes": Fault(value("PLAYBOOKS_PORT", "tcp://10.0.0.1:8080"), "PLAYBOOKS_PORT",
                                "enableServiceLinks: false", ends=True),
    "data not writable": Fault(value("PLAYBOOKS_DATA", "/dev/null/data"), "PLAYBOOKS_DATA",
                               "Not a directory", ends=True),
    "database of another kind": Fault(value("DATABASE_URL", "mysql://u:secret@h/d"),
                                      "DATABASE_URL", "mysql is not supported", ends=True),
    "database nonsense": Fault(value("DATABASE_URL", "nonsense"), "DATABASE_URL",
                               "no database's address", ends=True),
    "Prometheus nonsense": Fault(value("PROMETHEUS_URL", "http://"), "PROMETHEUS_URL",
                                 "names no host", ends=True),
    "wrong App id": Fault(value("GITHUB_APP_ID", "4242"), "GITHUB_APP_ID",
                          "GitHub knows no App 4242", ends=True),
    "wrong key": Fault(key_of_another, "GITHUB_PRIVATE_KEY", "does not take this key", ends=True),
    "namesake": Fault(namesake, "PLAYBOOKS_REPLICA", "another process is alive", ends=True),
    "signing keys differ": Fault(keys_differ, "PLAYBOOKS_SIGNING_KEY", "same key", ends=True),
    # --- the world ---
    "misspelt variable": Fault(value("PLAYBOOK_FOUNDERS", "alice"), "PLAYBOOK_FOUNDERS",
                               "is not known"),
    "no public address": Fault(open_without_address, "PLAYBOOKS_URL", "no public address is set"),
    "client id missing": Fault(value("GITHUB_CLIENT_ID", None), "GITHUB_CLIENT_ID",
                               "nobody can log in"),
    "client secret wrong": Fault(value("GITHUB_CLIENT_SECRET", "wrong"), "GITHUB_CLIENT_SECRET",
                                 "nobody can log in"),
    "Prometheus unreachable": Fault(value("PROMETHEUS_URL", NOWHERE), "PROMETHEUS_URL", "reach"),
    "GitHub unreachable": Fault(value("GITHUB_API_URL", f"{NOWHERE}/api/v3"), "GitHub", "reach"),
    "database refused": Fault(value("DATABASE_URL", "postgresql://u:secret@127.0.0.1:9/d"),
                              "database", "Connection refused"),
    "permission missing": Fault(permission, "permissions", "missing actions: write"),
    "event missing": Fault(event, "events", "not subscribed: check_run"),
    "not installed": Fault(not_installed, "installation", "installed nowhere"),
    "suspended": Fault(suspended, "installation", "suspended"),
    "webhook secret": Fault(secrets_differ, "GITHUB_WEBHOOK_SECRET", "webhook secrets differ"),
    "hook elsewhere": Fault(hook_elsewhere, "webhooks", "sends deliveries to https://old.example"),
    "address leads nowhere": Fault(address_leads_nowhere, "webhooks", "nothing of the bot answers"),
    "git old": Fault(programs("echo git version 2.30.1"), "git", "2.30.1"),
    "git missing": Fault(programs(None), "git", "git"),
    "disk low": Fault(disk_low, "disk", "GiB free", served=False),
    "migration pending": Fault(migration_pending, "database", "older release", served=False),
    # --- repositories, which `serve` looks at as it works ---
    "invalid configuration": Fault(invalid_configuration, "shop", "'chekcs' is not known",
                                   served=False),
    "a check that never reports": Fault(silent_check, "shop", "e2e-old", served=False),
    "branches closed to us": Fault(branches_closed, "shop", "keeps the App from hotfix/**",
                                   served=False),
}  # fmt: skip


async def begun(fault: Fault, scene: Scene) -> Mend:
    made = fault.make(scene)
    return await made if isinstance(made, Awaitable) else made


async def test_nothing_is_wrong_where_nothing_is(scene: Scene) -> None:
    assert await scene.findings() == []


@pytest.mark.sampled(
    "key not PEM", "data not writable", "wrong key", "suspended", "webhook secret",
    "branches closed to us",
)  # fmt: skip
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_found_named_and_what_is_said_mends_it(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    mend = await begun(fault, scene)
    found = [each for each in await scene.findings() if fault.subject in each.subject]
    assert len(found) == 1, found
    assert fault.says in f"{found[0].what} {found[0].remedy}"
    assert found[0].remedy
    assert "secret@" not in str(found)
    mended = mend()
    if isinstance(mended, Awaitable):
        await mended
    assert await scene.findings() == []


async def test_a_clock_that_is_wrong_is_said_and_not_the_key(scene: Scene, tmp_path: Path) -> None:
    def later() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=20)

    async with DemoGitHub(tmp_path / "github", clock=later, rng=random.Random(1)) as github:  # noqa: S311
        owner = github.create_user("late", organization=True)
        app = github.create_app("late", owner=owner, permissions={}, events=[])
        scene.set("GITHUB_API_URL", f"{github.url}/api/v3")
        scene.set("GITHUB_APP_ID", str(app.id))
        scene.set("GITHUB_PRIVATE_KEY", app.private_key)
        found = await scene.findings()
    assert "clock" in [each.subject for each in found]
    assert not [each for each in found if "KEY" in each.subject]


# --- the program itself ---


async def test_the_program_says_it_as_json_and_ends_with_1(scene: Scene) -> None:
    scene.set("GITHUB_CLIENT_ID", None)
    done = await asyncio.to_thread(playbooks, "doctor", "--json", **scene.environment)
    said = [each for each in json.loads(done.stdout) if not each["ok"]]
    assert [each["subject"] for each in said] == ["GITHUB_CLIENT_ID"]
    assert done.returncode == 1


ENDS = [name for name, fault in FAULTS.items() if fault.ends]
STAYS = [name for name, fault in FAULTS.items() if fault.served and not fault.ends]


@pytest.mark.sampled("NOTIFY_URLS")
@pytest.mark.parametrize("name", ENDS)
async def test_serve_ends_with_one_line(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    mend = await begun(fault, scene)
    done = await asyncio.to_thread(playbooks, "serve", **scene.environment)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert fault.subject in errors[0]
    assert fault.says in errors[0]
    assert "Traceback" not in done.stderr
    assert "secret@" not in done.stderr
    mended = mend()
    if isinstance(mended, Awaitable):
        await mended


@pytest.mark.sampled("GitHub unreachable")
@pytest.mark.parametrize("name", STAYS)
async def test_serve_stays_up_and_says_the_same(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    await begun(fault, scene)
    scene.set("LOG_FORMAT", "json")
    with _served(scene.environment) as served:
        assert (await served.ask("/healthz"))[0] == 200
        said = ""
        async with asyncio.timeout(90):
            while fault.says not in said:
                _, ready = await served.ask("/readyz")
                said = ready + served.log.read_text()
                await asyncio.sleep(0.1)
    assert served.process.returncode == 0
    assert "Traceback" not in served.log.read_text()
    assert "secret@" not in served.log.read_text()


class _served:  # noqa: N801  reads as what it is
    """`playbooks serve` in a process of its own, until SIGTERM."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = environment["PLAYBOOKS_PORT"]
        self.log = Path(environment["PLAYBOOKS_DATA"]).parent / "log"
        clean = {k: v for k, v in os.environ.items() if k in ("HOME", "PATH", "PYTHONPATH")}
        with self.log.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bot", "serve"], env=clean | environment, stdout=said,
                stderr=said,
            )  # fmt: skip

    def __enter__(self) -> _served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()

    async def ask(self, path: str) -> tuple[int, str]:
        async with asyncio.timeout(90), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                        return answer.status, await answer.text()
                except aiohttp.ClientError:
                    assert self.process.poll() is None, self.log.read_text()
                    await asyncio.sleep(0.1)
