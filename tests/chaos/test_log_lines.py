"""What two replicas say through a kill, a takeover, a forgery and an outage: JSON, with ids."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import sqlalchemy as sa

from fakegithub.faults.request_faults import Fail
from fakegithub.server import DemoGitHub
from tests.chaos.lane import eventually
from tests.chaos.life import Conditions, Life
from tests.chaos.test_replicas import Pair, hotfixes

PLANTED = {
    "GITHUB_CLIENT_SECRET": "planted-client-secret",
    "NOTIFY_URLS": "json://planted-user:planted-notify-pass@127.0.0.1:9/planted-notify-path",
    "PROMETHEUS_URL": "http://127.0.0.1:9",
    "PROMETHEUS_TOKEN": "planted-prometheus-token",
    "PLAYBOOKS_ALERT_MAPPINGS": json.dumps(
        {"sentry": {"preset": "sentry", "secret": 'planted-"quoted"-secret', "reaches": "acme/*"}}
    ),
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "debug",
}

STEADY = Conditions(
    look_again=1.0, beat_every=0.4, give_up_after=15.0, dead_after=25.0, look_for_missed=3600.0
)
"""Nobody ends itself because the machine is busy."""


@pytest.fixture
async def pair(github: DemoGitHub, tmp_path: Path, postgres_url: str) -> AsyncIterator[Pair]:
    with_password = sa.make_url(postgres_url).set(password="planted-db-pass")  # noqa: S106
    url = with_password.render_as_string(hide_password=False)
    pair = Pair(github, tmp_path, url, STEADY)
    for life in (pair.lane.life, pair.sibling):
        life.environment |= PLANTED
    yield pair
    await pair.close()


def lines(life: Life) -> list[dict[str, Any]]:
    """Every line; each is JSON, whoever wrote it."""
    return [json.loads(line) for line in (life.folder / "log").read_text().splitlines()]


async def forge(life: Life) -> None:
    """A delivery with a signature that nobody with the secret made."""
    url = f"http://127.0.0.1:{life.environment['PLAYBOOKS_PORT']}/webhooks/github"
    headers = {
        "X-GitHub-Event": "issue_comment",
        "X-GitHub-Delivery": "forged-1",
        "X-Hub-Signature-256": f"sha256={'0' * 64}",
        "Content-Type": "application/json",
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=b"{}", headers=headers) as answer,
    ):
        assert answer.status == 401


@pytest.mark.thorough
async def test_every_line_of_a_broken_day_is_json_with_its_ids_and_without_a_secret(
    github: DemoGitHub, pair: Pair, postgres_url: str
) -> None:
    await pair.start()
    lane, repository = pair.lane, pair.lane.repository()
    lives = (lane.life, pair.sibling)
    await forge(lane.life)
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        # Whoever of the two took the command dies in the middle of it.
        for life in lives:
            life.plan("began", 12, "", "in-the-middle")
        github.faults.add(Fail(502), method="POST", path="/reactions", times=1)
        comment = await lane.ask(alice, number)

        async def one_died() -> bool:
            return not all(life.alive for life in lives)

        await eventually(one_died, lane.life)
        for life in lives:
            life.unplan()
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        await lane.carried_out(repository, comment)
    [dead] = [life for life in lives if not life.alive]
    [living] = [life for life in lives if life.alive]
    await living.stop()

    said = {life.folder: lines(life) for life in lives}
    together = [line for each in said.values() for line in each]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in together)
    events = [line["event"] for line in together]
    for told in ("starting", "listening", "a delivery asks for something", "stopping", "stopped"):
        assert told in events, told
    [forged] = [line for line in together if line["event"] == "a delivery was refused"]
    assert (forged["delivery"], forged["status"]) == ("forged-1", 401)
    assert "does not match" in forged["why"]
    assert "took over from a replica that fell silent" in events
    assert "decided" in events

    [run] = {
        line["run"]
        for line in together
        if line["event"] == "a run changed its state" and line["playbook"] == "revert"
    }
    of_run = [line for line in together if line.get("run") == run]
    assert {life.folder for life in lives} == {
        folder for folder, each in said.items() if any(line.get("run") == run for line in each)
    }
    goes_on = next(line for line in said[living.folder] if line["event"] == "a run goes on")
    [delivery] = {
        line["delivery"]
        for line in together
        if line["event"] == "a delivery asks for something" and line["command"] == "revert"
    }
    assert goes_on["delivery"] == delivery
    for line in of_run:
        if line["event"] in ("written to GitHub", "decided", "a run changed its state"):
            assert line["delivery"] == delivery, line
            assert line["repository_id"] == repository.id, line
            assert line["repository"] == repository.full_name, line
    writes = [line for line in of_run if line["event"] == "written to GitHub"]
    merged = next(line for line in writes if line["path"].endswith("/merge"))
    assert merged["incident"] == run
    states = [line["state"] for line in of_run if line["event"] == "a run changed its state"]
    assert states == ["preflight", "running", "verifying", "succeeded"]
    assert len(hotfixes(repository)) == 1

    logs = "".join((life.folder / "log").read_text() for life in lives)
    private = dead.environment["GITHUB_PRIVATE_KEY"].splitlines()[1:-1]
    signing = dead.environment["PLAYBOOKS_SIGNING_KEY"].splitlines()[1:-1]
    secret = dead.environment["GITHUB_WEBHOOK_SECRET"]
    assert "planted-" not in logs
    assert not any(line in logs for line in (*private, *signing, "ghs_"))
    assert secret not in logs
