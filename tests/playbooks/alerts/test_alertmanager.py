"""A real Alertmanager with its webhook on the bot: what fires and what clears."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bot.records.alerts import WELL_AFTER
from tests.intake.alerts.published import DOCS, pasted
from tests.playbooks.alerts.alerting import Sender
from tests.shop import API_TOKEN, Clock, Shop

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = pytest.mark.skipif(
    ALERTMANAGER is None,
    reason="there is no Alertmanager here (Debian: apt install prometheus-alertmanager)",
)


class Alertmanager:
    """A running Alertmanager, told of alerts the way Prometheus tells it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self._session = url, session

    async def ready(self) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(60):
            while not await self._answers():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)

    async def _answers(self) -> bool:
        try:
            async with self._session.get(f"{self.url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def tell(
        self, name: str, *, over: bool = False, since: datetime | None = None, **labels: str
    ) -> None:
        """An alert fires, or is over."""
        now = datetime.now(UTC)
        ends = now if over else now + timedelta(hours=1)
        one: dict[str, Any] = {
            "labels": {"alertname": name, **labels},
            "annotations": {"summary": f"{name} is high"},
            "endsAt": ends.isoformat(),
        }
        if since or not over:
            one["startsAt"] = (since or now).isoformat()
        async with self._session.post(f"{self.url}/api/v2/alerts", json=[one]) as response:
            assert response.status == 200, await response.text()


def _as_the_page_says(bot: str, token: Path) -> str:
    """What docs/alerts/alertmanager.md tells to paste, with this bot's address, and in a hurry."""
    config = yaml.safe_load(pasted("alertmanager.md", "yaml"))
    config["route"] |= {"group_wait": "100ms", "group_interval": "300ms"}
    [hook] = config["receivers"][0]["webhook_configs"]
    hook["url"] = hook["url"].replace("https://YOUR-HOST", bot)
    hook["http_config"]["authorization"]["credentials_file"] = str(token)
    return yaml.safe_dump(config)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def alertmanager(shop: Shop, tmp_path: Path) -> AsyncIterator[Alertmanager]:
    token = tmp_path / "token"
    token.write_text(API_TOKEN, encoding="utf-8")
    config = tmp_path / "alertmanager.yml"
    config.write_text(_as_the_page_says(f"http://127.0.0.1:{shop.bot.port}", token))
    address = f"127.0.0.1:{_free_port()}"
    process = await asyncio.create_subprocess_exec(
        ALERTMANAGER or "",
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", "")},
    )
    async with aiohttp.ClientSession() as session:
        manager = Alertmanager(f"http://{address}", session)
        try:
            await manager.ready()
            yield manager
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def test_what_fires_opens_an_incident_and_what_clears_resolves_it(
    shop: Shop, alertmanager: Alertmanager
) -> None:
    async with aiohttp.ClientSession() as session:
        sender = Sender(shop, session)
        labels = {"service": "cart", "severity": "page", "repository": shop.name}
        await alertmanager.tell("High", kind="latency", **labels)
        await alertmanager.tell("High", kind="errors", **labels)
        incident = await sender.incident("active")
        assert incident.severity == "critical"
        assert incident.title == "High is high"
        await alertmanager.tell("High", over=True, kind="latency", **labels)
        await shop.eventually(lambda: _says(shop, incident.issue, "cleared"))
        assert (await sender.incidents())[0].status == "active"
        await alertmanager.tell("High", over=True, kind="errors", **labels)
        ended = await sender.incident("resolved")
        assert ended.id == incident.id
        await shop.alone()
        assert (await shop.alice.issue(incident.issue or 0))["state"] == "closed"
        assert len(await sender.incidents()) == 1


@pytest.mark.thorough
async def test_an_alert_that_comes_back_with_its_old_start_opens_its_incident_again(
    shop: Shop, alertmanager: Alertmanager, clock: Clock
) -> None:
    # As Prometheus does that could not reach Alertmanager for a while; its labels are long, too.
    began = datetime.now(UTC) - timedelta(minutes=5)
    labels = {"service": "x" * 5000, "severity": "page", "repository": shop.name}
    async with aiohttp.ClientSession() as session:
        sender = Sender(shop, session)
        await alertmanager.tell("Down", since=began, **labels)
        first = await sender.incident("active")
        await alertmanager.tell("Down", over=True, since=began, **labels)
        await sender.incident("resolved")
        await shop.alone()
        clock.forward(seconds=WELL_AFTER.total_seconds())
        await alertmanager.tell("Down", since=began, **labels)
        again = await sender.incident("active")
        assert again.id == first.id
        await alertmanager.tell("Down", over=True, since=began, **labels)
        await sender.incident("resolved")


@pytest.mark.thorough
async def test_one_bad_alert_of_a_group_costs_only_itself(
    shop: Shop, alertmanager: Alertmanager
) -> None:
    labels = {"service": "cart", "severity": "page"}
    async with aiohttp.ClientSession() as session:
        sender = Sender(shop, session)
        await alertmanager.tell("High", repository="acme/none", **labels)
        await alertmanager.tell("High", repository=shop.name, **labels)
        incident = await sender.incident("active")
        assert incident.title == "High is high"
        await alertmanager.tell("High", over=True, repository=shop.name, **labels)
        ended = await sender.incident("resolved")
        assert ended.id == incident.id
        assert len(await sender.incidents()) == 1


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed here")
async def test_what_the_page_tells_to_try_opens_an_incident_of_low_severity(
    shop: Shop, alertmanager: Alertmanager
) -> None:
    [typed] = re.findall(r"`(amtool alert add [^`]+)`", (DOCS / "alertmanager.md").read_text())
    words = [each.replace("acme/shop", shop.name) for each in typed.split()]
    process = await asyncio.create_subprocess_exec(
        *words, f"--alertmanager.url={alertmanager.url}", stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    async with aiohttp.ClientSession() as session:
        incident = await Sender(shop, session).incident("active")
    assert (incident.severity, incident.title) == ("low", "CheckoutErrors")


async def _says(shop: Shop, number: int | None, words: str) -> bool:
    return words in (await shop.alice.issue(number or 0))["body"]
