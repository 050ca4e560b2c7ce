"""Every payload GitHub publishes as an example is answered without an error of ours."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bot.intake.event_payloads import Hint
from tests.intake.github.delivering import Sender

EXAMPLES = Path(__file__).parents[3] / ".cache" / "contracts" / "webhooks.json"

pytestmark = pytest.mark.skipif(
    not EXAMPLES.exists(),
    reason="the published examples are not downloaded: make contracts",
)


def examples() -> list[tuple[str, dict[str, Any]]]:
    events = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return [(event["name"], example) for event in events for example in event["examples"]]


async def test_all_published_examples_are_answered_without_a_server_error(sender: Sender) -> None:
    statuses = Counter[int]()
    for event, payload in examples():
        statuses[(await sender.send(event, payload)).status] += 1
    assert statuses.total() == 329
    assert set(statuses) == {200, 202}, statuses


async def test_as_an_app_gets_them_none_asks_for_anything_by_accident(
    sender: Sender, hints: list[Hint]
) -> None:
    asked = 0
    for event, payload in examples():
        # Most examples come from repository webhooks; an App's deliveries name its installation.
        answer = await sender.send(event, {**payload, "installation": {"id": 22}})
        assert answer.status in {200, 202}
        asked += answer.body.get("triggers", 0)
    assert asked == 0
    assert len(hints) > 30
