"""An environment in which doctor finds nothing, and everything that can be made wrong with it.

Each fault is made on real things, and gives what follows doctor's remedy.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import sqlalchemy as sa
from alembic import command
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.doctor import DoctorFinding
from bot.records.audit.anchors import private_pem
from bot.records.database import url_from
from fakegithub.access.credentials import new_key_pair
from fakegithub.world.model import FakeInstallation
from tests.cli.test_commands import ROOT
from tests.records.test_migrations import CONFIG
from tests.shop import SECRET, Shop

Mend = Callable[[], Awaitable[object] | object]
LONGEST_S = 120.0
ROOM = ["unshare", "-rm", "sh", "-c"]
"""A view of this machine's files of one's own."""


class Scene:
    """Variables for a process, and one shop that GitHub delivers for."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.folder = shop, folder
        self.app = shop.bot.settings.github_app_id
        self.fake = shop.github.world.apps[self.app]
        self.data = folder / "data"
        self.before: list[str] = []
        """Words that go before the program: what shows it other files."""
        self.beside: list[Served] = []
        self.environment = {
            "GITHUB_API_URL": f"{shop.github.url}/api/v3",
            "GITHUB_APP_ID": str(self.app),
            "GITHUB_PRIVATE_KEY": self.fake.private_key,
            "GITHUB_WEBHOOK_SECRET": SECRET,
            "GITHUB_CLIENT_ID": self.fake.client_id,
            "GITHUB_CLIENT_SECRET": self.fake.client_secret,
            "PLAYBOOKS_DATA": str(self.data),
            "PLAYBOOKS_PORT": str(free_port()),
            "PLAYBOOKS_URL": f"http://127.0.0.1:{shop.bot.port}",
        }

    @property
    def installation(self) -> FakeInstallation:
        world = self.shop.github.world
        return next(each for each in world.installations.values() if each.app is self.fake)

    def set(self, name: str, value: str | None) -> Mend:
        """Give a variable another value, or none; gives what puts it back."""
        before = self.environment.get(name)

        def put(given: str | None) -> None:
            if given is None:
                self.environment.pop(name, None)
            else:
                self.environment[name] = given

        put(value)
        return lambda: put(before)

    def command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        """The program with these words, and the environment it runs in."""
        kept = {k: v for k, v in os.environ.items() if k in ("HOME", "PATH", "PYTHONPATH")}
        return [*self.before, sys.executable, "-m", "bot", *words], kept | self.environment

    async def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        argv, environment = self.command(*words)
        return await asyncio.to_thread(
            subprocess.run, argv, env=environment, cwd=ROOT, capture_output=True, text=True,
            timeout=LONGEST_S, check=False,
        )  # fmt: skip

    async def findings(self) -> list[DoctorFinding]:
        """What doctor finds wrong; by its exit code, too."""
        done = await self.run("doctor", "--json")
        assert done.stdout, done.stderr
        assert "Traceback" not in done.stderr
        found = [DoctorFinding.model_validate(each) for each in json.loads(done.stdout)]
        wrong = [each for each in found if not each.ok]
        assert done.returncode == bool(wrong)
        return wrong


class Served:
    """`playbooks serve` in a process of its own, until SIGTERM."""

    def __init__(self, scene: Scene, **others: str) -> None:
        argv, environment = scene.command("serve")
        environment |= others
        self.port = environment["PLAYBOOKS_PORT"]
        self.log = scene.folder / f"log-{self.port}"
        with self.log.open("wb") as said:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                argv, env=environment, cwd=ROOT, stdout=said, stderr=said
            )

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()

    async def ask(self, path: str) -> tuple[int, str]:
        """Ask once it listens."""
        async with asyncio.timeout(LONGEST_S), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                        return answer.status, await answer.text()
                except aiohttp.ClientError:
                    assert self.process.poll() is None, self.log.read_text()
                    await asyncio.sleep(0.1)

    async def is_ready(self) -> None:
        """Wait until it is."""
        async with asyncio.timeout(LONGEST_S):
            while (await self.ask("/readyz"))[0] != 200:  # noqa: ASYNC110  told by nobody
                await asyncio.sleep(0.1)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    undo = [
        scene.set("GITHUB_PRIVATE_KEY", None),
        scene.set("GITHUB_PRIVATE_KEY_PATH", str(scene.folder / "nothing.pem")),
    ]
    return lambda: [each() for each in undo]


def nothing_set(scene: Scene) -> Mend:
    named = [name for name in scene.environment if name.startswith("GITHUB_")]
    undo = [scene.set(name, None) for name in named]
    return lambda: [each() for each in undo]


def no_github_there(scene: Scene) -> Mend:
    # Something else answers: the bot itself.
    return scene.set("GITHUB_API_URL", f"http://127.0.0.1:{scene.shop.bot.port}/api/v3")


def clock_wrong(scene: Scene) -> Mend:
    world = scene.shop.github.world
    before = world.clock
    world.clock = lambda: datetime.now(UTC) + timedelta(minutes=20)
    return lambda: setattr(world, "clock", before)


def permission(scene: Scene) -> Mend:
    installation = scene.installation
    installation.permissions = {
        name: level for name, level in scene.fake.permissions.items() if name != "actions"
    }
    return lambda: setattr(installation, "permissions", dict(scene.fake.permissions))


def event(scene: Scene) -> Mend:
    installation = scene.installation
    installation.events = [name for name in scene.fake.events if name != "check_run"]
    return lambda: setattr(installation, "events", list(scene.fake.events))


def suspended(scene: Scene) -> Mend:
    installation = scene.installation
    installation.suspended_at = datetime.now(UTC)
    return lambda: setattr(installation, "suspended_at", None)


def not_installed(scene: Scene) -> Mend:
    world, installation = scene.shop.github.world, scene.installation
    del world.installations[installation.id]
    return lambda: world.installations.update({installation.id: installation})


async def secrets_differ(scene: Scene) -> Mend:
    scene.fake.webhook_secret = "another"  # noqa: S105 - of a GitHub that lives for one test run
    await scene.shop.alice.post("issues", title="Nobody hears this")
    await scene.shop.github.deliveries.settle()

    async def mend() -> None:
        scene.fake.webhook_secret = SECRET
        assert (await scene.run("redeliver")).returncode == 0
        await scene.shop.github.deliveries.settle()

    return mend


def hook_elsewhere(scene: Scene) -> Mend:
    before, scene.fake.webhook_url = scene.fake.webhook_url, "https://old.example.org/webhooks"
    return lambda: setattr(scene.fake, "webhook_url", before)


def address_leads_nowhere(scene: Scene) -> Mend:
    there = f"http://127.0.0.1:{free_port()}"
    before = scene.fake.webhook_url
    scene.fake.webhook_url = f"{there}/webhooks/github"
    put = scene.set("PLAYBOOKS_URL", there)

    def mend() -> None:
        put()
        scene.fake.webhook_url = before

    return mend


def open_without_address(scene: Scene) -> Mend:
    undo = [scene.set("PLAYBOOKS_HOST", "0.0.0.0"), scene.set("PLAYBOOKS_URL", None)]  # noqa: S104
    return lambda: [each() for each in undo]


def programs(script: str | None) -> Callable[[Scene], Mend]:
    """Only this git is to be found, and no other program."""

    def put(scene: Scene) -> Mend:
        folder = scene.folder / "programs"
        folder.mkdir()
        if script is not None:
            (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
            (folder / "git").chmod(0o755)
        # Without programs nothing is tried here either, and that is said apart.
        undo = [scene.set("PATH", str(folder)), scene.set("PLAYBOOKS_SANDBOX", "off")]
        return lambda: [each() for each in undo]

    return put


def no_sandbox(scene: Scene) -> Mend:
    folder = scene.folder / "programs"
    folder.mkdir()
    (folder / "bwrap").write_text("#!/bin/sh\necho No permissions to create a new namespace >&2\n"
                                  "exit 1\n")  # fmt: skip
    (folder / "bwrap").chmod(0o755)
    scene.set("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: scene.set("PLAYBOOKS_SANDBOX", "off")


def on_a_small_disk(scene: Scene) -> Mend:
    scene.data.mkdir()
    shown = 'mount -t tmpfs -o size=64m none "$PLAYBOOKS_DATA" && exec "$@"'
    scene.before = [*ROOM, shown, "sh"]
    return scene.before.clear


def no_database(scene: Scene) -> Mend:
    file = scene.folder / "notes.db"
    file.write_text("My notes of Monday, which are quite long. " * 100, "utf-8")
    return scene.set("DATABASE_URL", f"sqlite:///{file}")


def in_the_data(name: str, content: bytes | None) -> Callable[[Scene], Mend]:
    """A file of the data folder that is damaged; None: a folder in its place."""

    def damage(scene: Scene) -> Mend:
        there = scene.data / name
        scene.data.mkdir(exist_ok=True)
        if content is None:
            there.mkdir()
            return there.rmdir
        there.write_bytes(content)
        return there.unlink

    return damage


async def key_damaged(scene: Scene) -> Mend:
    """The copy of the signing key in the data folder."""
    with Served(scene) as served:
        await served.is_ready()
    (scene.data / "signing-key.pem").write_bytes(b"")
    return (scene.data / "signing-key.pem").unlink


async def engine_damaged(scene: Scene) -> Mend:
    """The file of Runs, cut as by a disk that was full."""
    with Served(scene) as served:
        await served.is_ready()
    file = scene.data / "engine.db"
    whole = file.read_bytes()
    file.write_bytes(whole[:8192])
    return lambda: file.write_bytes(whole)


def on_a_disk_without_writing(scene: Scene) -> Mend:
    scene.data.mkdir()
    shown = 'mount -t tmpfs -o ro none "$PLAYBOOKS_DATA" && exec "$@"'
    scene.before = [*ROOM, shown, "sh"]
    return scene.before.clear


async def invalid_configuration(scene: Scene) -> Mend:
    await scene.shop.alice.push("main", {".github/playbooks.yml": "chekcs: 1\n"}, "Wrong")
    return lambda: scene.shop.alice.push("main", {".github/playbooks.yml": "{}\n"}, "Right")


async def misnamed_configuration(scene: Scene) -> Mend:
    wrong, right = ".github/playbooks.yaml", ".github/playbooks.yml"
    text = "checks: {smoke: [smoke]}\n"
    await scene.shop.alice.push("main", {wrong: text}, "Wrong")
    return lambda: scene.shop.alice.push("main", {wrong: None, right: text}, "Right")


async def no_rules(scene: Scene) -> Mend:
    await scene.shop.alice.push("main", {".github/playbooks.yml": "{}\n"}, "Nothing is named")
    scene.shop.repository.private, scene.shop.repository.plan = True, "free"
    named = {".github/playbooks.yml": "checks: {smoke: [smoke]}\n"}
    return lambda: scene.shop.alice.push("main", named, "Name the check")


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


def branches_closed(pattern: str) -> Callable[[Scene], Mend]:
    def close(scene: Scene) -> Mend:
        ruleset = scene.shop.github.restrict_refs(scene.shop.repository, pattern)
        actor = {"actor_id": scene.app, "actor_type": "Integration", "bypass_mode": "always"}
        return lambda: setattr(ruleset, "bypass_actors", [actor])

    return close


async def migration_pending(scene: Scene) -> Mend:
    scene.data.mkdir()
    older = sa.create_engine(url_from(scene.data), poolclass=sa.NullPool)
    with older.begin() as connection:
        CONFIG.attributes["connection"] = connection
        command.upgrade(CONFIG, "0009")
    older.dispose()

    async def mend() -> None:
        with Served(scene) as served:
            await served.is_ready()

    return mend


async def _beside(scene: Scene, **others: str) -> Served:
    served = Served(scene, PLAYBOOKS_PORT=str(free_port()), **others)
    scene.beside.append(served)
    await served.is_ready()
    return served


async def namesake(scene: Scene) -> Mend:
    scene.set("PLAYBOOKS_REPLICA", "only one")
    await _beside(scene)
    return lambda: scene.set("PLAYBOOKS_REPLICA", "another")


async def keys_differ(scene: Scene) -> Mend:
    theirs, ours = (private_pem(Ed25519PrivateKey.generate()).decode() for _ in range(2))
    await _beside(scene, PLAYBOOKS_SIGNING_KEY=theirs)
    scene.set("PLAYBOOKS_SIGNING_KEY", ours)
    return lambda: scene.set("PLAYBOOKS_SIGNING_KEY", theirs)


async def another_app(scene: Scene) -> Mend:
    theirs = scene.shop.github.create_app(
        "staging", owner=scene.fake.owner, permissions={}, events=[]
    )
    named = {"GITHUB_APP_ID": str(theirs.id), "GITHUB_PRIVATE_KEY": theirs.private_key}
    beside = await _beside(scene, **named)
    scene.beside.remove(beside)
    return beside.__exit__
