"""`doctor` finds each fault, in plain words, and what it says to do mends it; `serve` agrees.

A row for each: what goes wrong, what doctor calls it, what it says, and how the remedy is followed.
Faults of settings end `serve` with one line; those of the world leave it up.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.doctor import _github, warn
from bot.records.database import url_from
from bot.records.schema import migrate
from bot.settings import load_settings
from bot.wiring.readings import github_of
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeUser
from tests.cli import doctor_scene as make
from tests.cli.doctor_scene import LONGEST_S, ROOM, Mend, Scene, Served, value
from tests.people import register_app
from tests.shop import SECRET, Shop

_numbers = count(1)


@pytest.fixture
async def scene(shop: Shop, tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(shop, tmp_path)
    installation, fake = scene.installation, scene.fake
    # Others' repositories cost time, and the latest delivery is to be one of ours.
    chosen, installation.repositories = installation.repositories, {shop.repository.id}
    granted, events, url = dict(installation.permissions), installation.events, fake.webhook_url
    clock = shop.github.world.clock
    await shop.alice.post("issues", title="So that the latest delivery is a good one")
    await shop.github.deliveries.settle()
    yield scene
    for each in scene.beside:
        each.__exit__()
    installation.repositories, installation.permissions = chosen, granted
    installation.events, installation.suspended_at = events, None
    fake.webhook_url, fake.webhook_secret = url, SECRET
    shop.github.world.clock = clock
    shop.github.world.installations[installation.id] = installation


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        make: makes it go wrong, and gives what follows the remedy.
        subject: what doctor says it of.
        says: words of what it says.
        ends: whether `serve` ends with one line and exit 2.
        remains: whether `serve` meets it: one fault is what `serve` itself mends.
    """

    make: Callable[[Scene], Mend | Awaitable[Mend]]
    subject: str
    says: str
    ends: bool = False
    remains: bool = True


NOWHERE = "http://127.0.0.1:9"
FAULTS: dict[str, Fault] = {
    # --- settings ---
    "nothing set": Fault(make.nothing_set, "settings", "othing is set up yet"),
    "half set": Fault(value("GITHUB_WEBHOOK_SECRET", None), "GITHUB_WEBHOOK_SECRET",
                      "is not set. Set it, or GITHUB_WEBHOOK_SECRET_PATH", ends=True),
    "key not PEM": Fault(value("GITHUB_PRIVATE_KEY", "nonsense"), "GITHUB_PRIVATE_KEY",
                         "is not an RSA private key in PEM form", ends=True),
    "key unreadable": Fault(make.unreadable, "GITHUB_PRIVATE_KEY_PATH",
                            "names a file that cannot be read", ends=True),
    "GHES without /api/v3": Fault(value("GITHUB_API_URL", "https://github.example.org"),
                                  "GITHUB_API_URL", "/api/v3", ends=True),
    "API host is no GitHub": Fault(make.no_github_there, "GITHUB_API_URL", "no GitHub answers at",
                                   ends=True),
    "NOTIFY_URLS": Fault(value("NOTIFY_URLS", "nonsense"), "NOTIFY_URLS", "address 1", ends=True),
    "API token": Fault(value("PLAYBOOKS_API_TOKENS", "ci:write:*"), "PLAYBOOKS_API_TOKENS",
                       "name:role:repository-glob:sha256", ends=True),
    "signing key": Fault(value("PLAYBOOKS_SIGNING_KEY", "nonsense"), "PLAYBOOKS_SIGNING_KEY",
                         "not an unencrypted PEM private key", ends=True),
    "port in use": Fault(make.port_in_use, "PLAYBOOKS_PORT", "is in use", ends=True),
    "port of Kubernetes": Fault(value("PLAYBOOKS_PORT", "tcp://10.0.0.1:8080"), "PLAYBOOKS_PORT",
                                "enableServiceLinks: false", ends=True),
    "data in no folder": Fault(value("PLAYBOOKS_DATA", "/dev/null/data"), "PLAYBOOKS_DATA",
                               "Not a directory", ends=True),
    "data not writable": Fault(make.on_a_disk_without_writing, "PLAYBOOKS_DATA",
                               "Read-only file system", ends=True),
    "a file for the mirrors' folder": Fault(make.in_the_data("mirrors", b""), "PLAYBOOKS_DATA",
                                            "Not a directory", ends=True),
    "a folder for the database": Fault(make.in_the_data("playbooks.db", None), "PLAYBOOKS_DATA",
                                       "Is a directory", ends=True),
    "a folder for the engine": Fault(make.in_the_data("engine.db", None), "PLAYBOOKS_DATA",
                                     "Is a directory", ends=True),
    "engine damaged": Fault(make.engine_damaged, "PLAYBOOKS_DATA",
                            "database disk image is malformed", ends=True),
    "database of another kind": Fault(value("DATABASE_URL", "mysql://u:secret@h/d"),
                                      "DATABASE_URL", "mysql is not supported", ends=True),
    "database nonsense": Fault(value("DATABASE_URL", "nonsense"), "DATABASE_URL",
                               "no database's address", ends=True),
    "database with a bare @": Fault(value("DATABASE_URL", "postgresql://u:p@ss:w/rd#@h/d"),
                                    "DATABASE_URL", "cannot be read as an address", ends=True),
    "database that is none": Fault(make.no_database, "DATABASE_URL", "file is not a database",
                                   ends=True),
    "key file damaged": Fault(make.key_damaged, "PLAYBOOKS_DATA", "cannot be read as a key",
                              ends=True),
    "Prometheus nonsense": Fault(value("PROMETHEUS_URL", "http://"), "PROMETHEUS_URL",
                                 "names no host", ends=True),
    "wrong App id": Fault(value("GITHUB_APP_ID", "4242"), "GITHUB_APP_ID",
                          "GitHub knows no App 4242", ends=True),
    "wrong key": Fault(make.key_of_another, "GITHUB_PRIVATE_KEY", "does not accept this key",
                       ends=True),
    "two of one name": Fault(make.namesake, "PLAYBOOKS_REPLICA", "another process is alive",
                             ends=True),
    "signing keys differ": Fault(make.keys_differ, "PLAYBOOKS_SIGNING_KEY", "same key", ends=True),
    "another App": Fault(make.another_app, "DATABASE_URL", "is another App", ends=True),
    # --- the world ---
    "misspelt variable": Fault(value("PLAYBOOK_FOUNDERS", "alice"), "PLAYBOOK_FOUNDERS",
                               "is not known"),
    "variable with our prefix": Fault(value("PLAYBOOKS_DATABASE_URL", "postgresql://h/d"),
                                      "PLAYBOOKS_DATABASE_URL", "is not known"),
    "no public address": Fault(make.open_without_address, "PLAYBOOKS_URL",
                               "no public address is set"),
    "client id missing": Fault(value("GITHUB_CLIENT_ID", None), "GITHUB_CLIENT_ID",
                               "nobody can log in"),
    "client secret wrong": Fault(value("GITHUB_CLIENT_SECRET", "wrong"), "GITHUB_CLIENT_SECRET",
                                 "nobody can log in"),
    "Prometheus unreachable": Fault(value("PROMETHEUS_URL", NOWHERE), "PROMETHEUS_URL", "reach"),
    "GitHub unreachable": Fault(value("GITHUB_API_URL", f"{NOWHERE}/api/v3"), "GitHub", "reach"),
    "API host wrong": Fault(value("GITHUB_API_URL", "https://api.githib.invalid/api/v3"), "GitHub",
                            "reach"),
    "clock wrong": Fault(make.clock_wrong, "clock", "clock of this machine"),
    "database refused": Fault(value("DATABASE_URL", "postgresql://u:secret@127.0.0.1:9/d"),
                              "database", "onnection refused"),
    "permission missing": Fault(make.permission, "permissions", "missing actions: write"),
    "event missing": Fault(make.event, "events", "not subscribed: check_run"),
    "not installed": Fault(make.not_installed, "installation", "installed nowhere"),
    "suspended": Fault(make.suspended, "installation", "suspended"),
    "webhook secret": Fault(make.secrets_differ, "GITHUB_WEBHOOK_SECRET", "webhook secrets differ"),
    "hook elsewhere": Fault(make.hook_elsewhere, "webhooks",
                            "sends deliveries to https://old.example"),
    "address leads nowhere": Fault(make.address_leads_nowhere, "webhooks",
                                   "nothing of the bot answers"),
    "git old": Fault(make.programs("echo git version 2.30.1"), "git", "2.30.1"),
    "git missing": Fault(make.programs(None), "git", "git"),
    "no sandbox": Fault(make.no_sandbox, "sandbox", "bubblewrap cannot confine anything here"),
    "disk low": Fault(make.on_a_small_disk, "disk", "GiB free"),
    "migration pending": Fault(make.migration_pending, "database", "older release", remains=False),
    # --- repositories ---
    "misnamed configuration": Fault(
        make.misnamed_configuration, "shop", ".github/playbooks.yaml is not read"
    ),
    "invalid configuration": Fault(make.invalid_configuration, "shop", "'chekcs' is not known"),
    "a check that never reports": Fault(make.silent_check, "shop", "e2e-old"),
    "hotfix branches closed": Fault(make.branches_closed("hotfix/**"), "shop",
                                    "keeps the App from hotfix/**"),
    "records branch closed": Fault(make.branches_closed("playbooks/**"), "shop",
                                   "keeps the App from playbooks/**"),
    "plan without rules": Fault(make.no_rules, "shop", "no rulesets here"),
}  # fmt: skip
"""Every fault that doctor is to find, and some near them."""


async def begun(fault: Fault, scene: Scene) -> Mend:
    made = fault.make(scene)
    mend = await made if isinstance(made, Awaitable) else made
    if scene.before and subprocess.run([*ROOM, "mount -t tmpfs none /mnt"], check=False).returncode:  # noqa: ASYNC221, S603
        pytest.skip("nothing can be mounted here")
    return mend


async def mended(mend: Mend) -> None:
    done = mend()
    if isinstance(done, Awaitable):
        await done


async def test_nothing_is_wrong_where_nothing_is(scene: Scene) -> None:
    assert await scene.findings() == []


@pytest.mark.thorough
async def test_a_database_that_was_just_created_is_nothing_wrong(
    scene: Scene, tmp_path: Path
) -> None:
    """As `createdb` leaves it: the first start makes its tables."""
    (tmp_path / "new.db").touch()
    scene.set("DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    assert await scene.findings() == []


@pytest.mark.sampled("wrong key", "hotfix branches closed")
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_found_named_and_what_is_said_mends_it(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    mend = await begun(fault, scene)
    found = [each for each in await scene.findings() if fault.subject in each.subject]
    assert len(found) == 1, found
    assert fault.says in f"{found[0].what} {found[0].remedy}"
    assert found[0].remedy
    assert "secret@" not in str(found)
    await mended(mend)
    assert await scene.findings() == []


ENDS = [name for name, fault in FAULTS.items() if fault.ends]
STAYS = [name for name, fault in FAULTS.items() if fault.remains and not fault.ends]


@pytest.mark.sampled("NOTIFY_URLS")
@pytest.mark.parametrize("name", ENDS)
async def test_serve_ends_with_one_line(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    mend = await begun(fault, scene)
    done = await scene.run("serve")
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert fault.subject in errors[0]
    assert fault.says in errors[0]
    assert "Traceback" not in done.stderr
    assert "secret@" not in done.stderr
    await mended(mend)
    with Served(scene) as served:
        assert (await served.ask("/healthz"))[0] == 200


@pytest.mark.sampled("GitHub unreachable")
@pytest.mark.parametrize("name", STAYS)
async def test_serve_stays_up_and_says_the_same(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    await begun(fault, scene)
    scene.set("LOG_FORMAT", "json")
    with Served(scene) as served:
        assert (await served.ask("/healthz"))[0] == 200
        said = ""
        async with asyncio.timeout(LONGEST_S):
            while fault.says not in said:
                _, ready = await served.ask("/readyz")
                said = ready + served.log.read_text()
                await asyncio.sleep(0.1)
    assert served.process.returncode == 0
    log = served.log.read_text()
    assert "Traceback" not in log, log
    assert "secret@" not in log


async def test_a_stop_while_the_look_around_closes_its_database_is_no_error(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = shop.bot.settings.model_copy(
        update={"playbooks_data": tmp_path, "github_api_url": f"{NOWHERE}/api/v3"}
    )
    await migrate(url_from(tmp_path))
    dispose = AsyncEngine.dispose

    async def stopped_meanwhile(engine: AsyncEngine, close: bool = True) -> None:
        asyncio.get_running_loop().call_soon(looking.cancel)
        await dispose(engine, close)

    monkeypatch.setattr(AsyncEngine, "dispose", stopped_meanwhile)
    looking = asyncio.create_task(warn(settings))
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert [each.getMessage() for each in caplog.records if "pool" in each.name] == []


async def test_a_start_asks_of_few_repositories_however_many_accounts_there_are(
    github: DemoGitHub, owner: FakeUser
) -> None:
    fake = register_app(github, owner)
    for _ in range(4):
        account = github.create_user(f"account-{next(_numbers)}", organization=True)
        github.create_repository(account, "one", {"README.md": "One\n"})
        github.install(fake, account)
    settings = load_settings(
        github_api_url=f"{github.url}/api/v3",
        github_app_id=fake.id,
        github_private_key=fake.private_key,
        github_webhook_secret="a secret",  # noqa: S106 - of a GitHub that lives for one test run
    )
    async with github_of(settings) as client:
        await _github(settings, client, 2)
        assert client.requests.by_route()["GET /installation/repositories"] == 2


@pytest.mark.thorough
async def test_where_nothing_answers_doctor_tries_once(scene: Scene) -> None:
    began = time.monotonic()
    for url in (f"{NOWHERE}/api/v3", "https://api.githib.invalid/api/v3"):
        scene.set("GITHUB_API_URL", url)
        assert [each.subject for each in await scene.findings()] == ["GitHub"]
    assert time.monotonic() - began < 40


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["NOTIFY_URLS", "data in no folder", "signing key"])
async def test_before_there_is_an_app_the_other_settings_are_read_too(
    scene: Scene, name: str
) -> None:
    fault = FAULTS[name]
    make.nothing_set(scene)
    await begun(fault, scene)
    assert fault.subject in [each.subject for each in await scene.findings()]
    for words in ("serve", "setup"):
        done = await scene.run(words)
        assert done.returncode == 2
        assert done.stderr.startswith(f"Error: {fault.subject}")
        assert "token=" not in done.stderr


@pytest.mark.thorough
async def test_an_app_whose_variables_are_misspelt_is_no_app_and_that_is_said(scene: Scene) -> None:
    make.nothing_set(scene)
    scene.set("GITHUB_APPID", "7")
    found = {each.subject: each for each in await scene.findings()}
    assert found["GITHUB_APPID"].remedy == "Write GITHUB_APP_ID."
    with Served(scene) as served:
        await served.ask("/healthz")
        assert "GITHUB_APPID: is not known. Write GITHUB_APP_ID." in served.log.read_text()
