"""`deploy/compose.yml` as plain processes: its commands and variables, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from bot.records.audit.anchors import ANCHORS_PATH
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos.lane import Lane, eventually, free_port
from tests.chaos.life import Life
from tests.chaos.test_replicas import hotfixes
from tests.plugins.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

HERE = Path(__file__).resolve().parents[2]
SERVICES = yaml.safe_load((HERE / "deploy/compose.yml").read_text())["services"]


def variables(service: dict[str, Any], given: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment of a service: what it names is read from `given`, secrets from files."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, value in service["environment"].items():
        filled = re.sub(
            r"\$\{(\w+):([-?])([^}]*)\}",
            lambda m: given.get(m[1]) or (m[3] if m[2] == "-" else pytest.fail(m[3])),
            str(value),
        )
        if filled.startswith("/run/secrets/"):
            file = secrets / filled.removeprefix("/run/secrets/")
            file.write_text(given[file.name])
            filled = str(file)
        found[name] = filled
    # What is a place inside its container is one on this machine.
    return found | {
        "PLAYBOOKS_DATA": str(folder / "data"),
        "PLAYBOOKS_HOST": "127.0.0.1",
        "PLAYBOOKS_PORT": given["port"],
    }


class Composed:
    """Both services, each a process; a lane to play on."""

    def __init__(self, github: DemoGitHub, folder: Path, url: str) -> None:
        self.lane = Lane(github, folder / "lane", database_url=url)
        ports = (self.lane.environment["PLAYBOOKS_PORT"], str(free_port()))
        self.lives = []
        for (name, service), port in zip(
            ((n, s) for n, s in SERVICES.items() if n.startswith("bot-")), ports, strict=True
        ):
            assert service["command"] == ["serve"]
            given = {
                "GITHUB_APP_ID": self.lane.environment["GITHUB_APP_ID"],
                "GITHUB_API_URL": self.lane.environment["GITHUB_API_URL"],
                "GITHUB_CLIENT_ID": "Iv1.composed",
                "PLAYBOOKS_URL": f"http://127.0.0.1:{ports[0]}",
                "github_private_key": self.lane.environment["GITHUB_PRIVATE_KEY"],
                "github_webhook_secret": self.lane.environment["GITHUB_WEBHOOK_SECRET"],
                "github_client_secret": "of nobody",
                "database_url": url,
                "port": port,
            }
            environment = variables(service, given, folder / name)
            self.lives.append(Life(environment, folder / f"{name}-life", as_program=True))
        self.lane.life = self.lives[0]

    async def reverted(self, repository: FakeRepository, killed: int) -> None:
        """A revert under way: one replica is killed, the revert ends all the same."""
        lane, before = self.lane, set(hotfixes(repository))
        async with lane.person(repository) as alice:
            number = await lane.broken(alice, f"totals-{killed}.py")
            lane.ci.silent = True
            comment = await lane.ask(alice, number)

            async def published() -> set[str]:
                return set(hotfixes(repository)) - before

            [head] = await eventually(published, self.lives[1 - killed])
            # Deliveries go to the first, as a proxy would have it to whoever lives.
            self.lane.app.webhook_url = (
                f"http://127.0.0.1:{self.lives[1 - killed].environment['PLAYBOOKS_PORT']}"
                "/webhooks/github"
            )
            await self.lives[killed].kill()
            lane.ci.silent = False
            lane.ci.report(repository, head)
            lane.life = self.lives[1 - killed]
            assert await lane.answer(repository, comment) == "+1"
        assert len(set(hotfixes(repository)) - before) == 1
        await self.lives[killed].start()


@pytest.fixture
async def composed(
    github: DemoGitHub, tmp_path: Path, postgres_url: str
) -> AsyncIterator[Composed]:
    composed = Composed(github, tmp_path, postgres_url)
    yield composed
    for life in composed.lives:
        await life.kill()


@pytest.mark.thorough
async def test_a_revert_ends_when_either_is_killed_and_a_cut_chain_is_found_by_each_key(
    composed: Composed, postgres_url: str, tmp_path: Path
) -> None:
    for life in composed.lives:
        await life.start()
    repository = composed.lane.repository(("totals-0.py", "totals-1.py"))
    for killed in (0, 1):
        await composed.reverted(repository, killed)
    async with composed.lane.person(repository) as alice:
        anchors = await alice.file(ANCHORS_PATH, "playbooks/records")
    (tmp_path / "anchors.jsonl").write_text(anchors or "")
    keys = [
        Path(life.environment["PLAYBOOKS_DATA"]) / "signing-key.pem.pub" for life in composed.lives
    ]
    assert all(key.exists() for key in keys)

    async def verified(key: Path) -> int:
        order = [
            sys.executable, "-m", "bot", "audit", "verify", "--anchors", tmp_path / "anchors.jsonl",
            "--public-key", key, "--database", postgres_url,
        ]  # fmt: skip
        done = await asyncio.to_thread(subprocess.run, order, capture_output=True, cwd=HERE)
        return int(done.returncode)

    assert [await verified(key) for key in keys] == [0, 0]
    for life in composed.lives:
        await life.stop()
    with psycopg.connect(postgres_url, autocommit=True) as database:
        database.execute("SET session_replication_role = replica")
        database.execute("DELETE FROM audit_entries WHERE seq > 2")
        database.execute(
            "UPDATE audit_heads SET seq = 2, head_hash ="
            " (SELECT entry_hash FROM audit_entries WHERE seq = 2)"
        )
    assert [await verified(key) for key in keys] == [3, 3]
    said = "".join((life.folder / "log").read_text() for life in composed.lives)
    assert all(json.loads(line)["event"] for line in said.splitlines())
