"""What comes from where the App is not installed: no work, no traceback, a word at debug."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import capture_logs

from tests.intake.github.delivering import comment, headers
from tests.shop import SECRET, Shop, forget_served

_ids = count(880_001)


def strange(**changed: Any) -> dict[str, Any]:
    """A comment in a repository that nobody installed the App on."""
    said = comment("/revert", id_=next(_ids))
    said["repository"] |= {"id": 999_999_999, "name": "elsewhere", "owner": {"login": "nobody"}}
    return said | {"installation": {"id": 987_654}} | changed


async def deliver(shop: Shop, event: str, payload: dict[str, Any]) -> int:
    body = json.dumps(payload).encode()
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"http://127.0.0.1:{shop.bot.port}/webhooks/github",
            data=body,
            headers=headers(event, body, secret=SECRET),
        ) as answer,
    ):
        return answer.status


@pytest.fixture(autouse=True)
def every_line() -> Iterator[None]:
    """Lines at debug are written too."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    yield
    structlog.configure(wrapper_class=before)


@pytest.mark.sampled("nowhere")
@pytest.mark.parametrize("where", ["nowhere", "this installation, another repository"])
async def test_deliveries_from_elsewhere_leave_a_word_at_debug(shop: Shop, where: str) -> None:
    installation = {"id": shop.installation().id} if where != "nowhere" else {"id": 987_654}
    hint = {"sha": "a" * 40, "context": "x", "state": "success"}
    with capture_logs() as logs:
        for event, payload in (
            ("issue_comment", strange()),
            ("status", strange() | hint),
            ("pull_request", strange() | {"action": "opened", "pull_request": {"number": 7}}),
            ("push", strange() | {"ref": "refs/heads/main", "after": "a" * 40}),
        ):
            payload["installation"] = installation
            assert await deliver(shop, event, payload) in (200, 202)
        await shop.github.deliveries.settle()
        await shop.alone()
        await shop.eventually(lambda: _asked(shop))
    assert not [each for each in logs if each["log_level"] in ("error", "critical")], logs
    assert not [each for each in logs if each.get("exc_info")], logs
    # Another test's repository may still be spoken of.
    ours = [each for each in logs if each.get("repository") == "nobody/elsewhere"]
    told = [each for each in ours if "not installed" in each["event"]]
    assert len(told) == 4
    assert {each["log_level"] for each in told} == {"debug"}


async def _asked(shop: Shop) -> bool:
    return not shop.bot.hinting._asking


async def test_a_suspended_installation_is_left_alone(shop: Shop) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    said = comment("/revert", id_=4711)
    said["repository"] |= {
        "id": shop.repository.id,
        "name": shop.repository.name,
        "owner": {"login": "acme"},
    }
    said["issue"]["number"] = number
    said["installation"] = {"id": shop.installation().id}
    shop.installation().suspended_at = datetime.now(UTC)
    shop.forget_tokens()
    await forget_served(shop.bot)
    with capture_logs() as logs:
        assert await deliver(shop, "issue_comment", said) == 202
        await shop.alone()
    assert not [each for each in logs if each.get("exc_info")], logs
    assert any("not installed" in each["event"] for each in logs)
