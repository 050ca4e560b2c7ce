"""Every payload GitHub publishes as an example is answered without an error of ours."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.intake import event_triggers
from bot.intake.event_payloads import Hint, NothingAsked, OurApp
from bot.intake.events import Delivery, meanings
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


DEPTH = 4
"""How far inside a delivery something is odd: we read nothing that lies deeper."""
US = OurApp(id=1, slug="playbooks")
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def odd(given: Any, depth: int = DEPTH) -> Iterator[Any]:
    """The same with one thing in it null, absent, or a word or object that nobody has heard of."""
    if not depth or not isinstance(given, dict | list):
        return
    for key, inner in given.items() if isinstance(given, dict) else enumerate(given[:1]):
        unknown = "something_new" if isinstance(inner, str) else {"something": "new"}
        for other in (None, unknown, *odd(inner, depth - 1)):
            yield given | {key: other} if isinstance(given, dict) else [other, *given[1:]]
        if isinstance(given, dict):
            yield {name: each for name, each in given.items() if name != key}


@pytest.mark.thorough
def test_whatever_is_odd_in_a_published_example_it_is_read() -> None:
    read = 0
    for event, payload in examples():
        for each in odd({**payload, "installation": {"id": 22}}):
            found = meanings(Delivery(event=event, payload=each, us=US, body=b"odd"))
            assert found
            for meaning in found:
                if not isinstance(meaning, Hint | NothingAsked):
                    event_triggers.triggers(meaning, NOW)
            read += 1
    assert read > 190_000
