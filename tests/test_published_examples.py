"""The whole bot hears every payload GitHub publishes as an example, and stays calm."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from bot.app import Bot
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp
from tests.shop import SECRET

EXAMPLES = Path(__file__).parents[1] / ".cache" / "contracts" / "webhooks.json"


@pytest.mark.skipif(
    not EXAMPLES.exists(), reason="the published examples are not downloaded: make contracts"
)
async def test_329_published_examples_cause_no_error_and_no_write(
    github: DemoGitHub, bot: Bot, playbooks_app: FakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    events = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    examples = [(event["name"], example) for event in events for example in event["examples"]]
    written = sum(write.app is playbooks_app for write in github.faults.writes)
    statuses: Counter[int] = Counter()
    async with aiohttp.ClientSession() as session:
        for number, (event, payload) in enumerate(examples):
            body = json.dumps(payload).encode()
            mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            async with session.post(
                f"http://127.0.0.1:{bot.port}/webhooks/github",
                data=body,
                headers={
                    "Content-Type": "application/json",
                    "X-GitHub-Event": event,
                    "X-GitHub-Delivery": f"example-{number}",
                    "X-Hub-Signature-256": f"sha256={mac}",
                },
            ) as answer:
                statuses[answer.status] += 1
    await asyncio.sleep(1)  # time for anything that should not happen
    assert statuses.total() == 329
    assert max(statuses) < 300, statuses
    assert sum(write.app is playbooks_app for write in github.faults.writes) == written
    assert "Traceback" not in caplog.text
