"""A real Alertmanager with its webhook on the bot: what fires and what clears."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.playbooks.triage.alerting import Sender
from tests.shop import API_TOKEN, Shop

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = """route:
  receiver: playbooks
  group_by: [service]
  group_wait: 100ms
  group_interval: 300ms
  repeat_interval: 1h
receivers:
  - name: playbooks
    webhook_configs:
      - url: {url}
        send_resolved: true
        http_config:
          authorization:
            type: Bearer
            credentials_file: {token}
"""

pytestmark = pytest.mark.skipif(
    ALERTMANAGER is None,
    reason="there is no Alertmanager here (Debian: apt install prometheus-alertmanager)",
)


class Alertmanager:
    """A running Alertmanager, told of alerts the way Prometheus tells it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session

    async def ready(self) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(60):
            while not await self._answers():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)

    async def _answers(self) -> bool:
        try:
            async with self._session.get(f"{self._url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def tell(self, name: str, *, over: bool = False, **labels: str) -> None:
        """An alert fires, or is over."""
        now = datetime.now(UTC)
        ends = now if over else now + timedelta(hours=1)
        one: dict[str, Any] = {
            "labels": {"alertname": name, **labels},
            "annotations": {"summary": f"{name} is high"},
            "endsAt": ends.isoformat(),
        }
        if not over:
            one["startsAt"] = now.isoformat()
        async with self._session.post(f"{self._url}/api/v2/alerts", json=[one]) as response:
            assert response.status == 200, await response.text()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def alertmanager(shop: Shop, tmp_path: Path) -> AsyncIterator[Alertmanager]:
    token = tmp_path / "token"
    token.write_text(API_TOKEN, encoding="utf-8")
    config = tmp_path / "alertmanager.yml"
    url = f"http://127.0.0.1:{shop.bot.port}/alerts/alertmanager"
    config.write_text(CONFIG.format(url=json.dumps(url), token=json.dumps(str(token))))
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
        await alertmanager.tell("LatencyHigh", **labels)
        await alertmanager.tell("ErrorsHigh", **labels)
        incident = await sender.incident("active")
        assert incident.severity == "critical"
        assert incident.title in ("LatencyHigh is high", "ErrorsHigh is high")
        await alertmanager.tell("LatencyHigh", over=True, **labels)
        await shop.eventually(lambda: _says(shop, incident.issue, "cleared"))
        assert (await sender.incidents())[0].status == "active"
        await alertmanager.tell("ErrorsHigh", over=True, **labels)
        ended = await sender.incident("resolved")
        assert ended.id == incident.id
        await shop.alone()
        assert (await shop.alice.issue(incident.issue or 0))["state"] == "closed"
        assert len(await sender.incidents()) == 1


async def _says(shop: Shop, number: int | None, words: str) -> bool:
    return words in (await shop.alice.issue(number or 0))["body"]
