"""Deliveries over real HTTP: who is let in, what is answered, and what is on disk after."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake import events
from bot.intake.event_payloads import Hint, OurApp
from bot.intake.inbox import Inbox
from bot.intake.webhooks import LARGEST_BODY, Webhooks
from bot.triggers import Trigger
from tests.intake.conftest import Clock
from tests.intake.github.delivering import (
    SECRET,
    Answer,
    Sender,
    comment,
    headers,
    repository,
    signature,
)
from tests.intake.waiting import rows

PING = b'{"zen": "Keep it logically awesome."}'
SHA_1 = "sha1=" + hmac.new(SECRET.encode(), PING, hashlib.sha1).hexdigest()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def stored(database: AsyncEngine) -> list[Trigger]:
    return [Trigger.model_validate(row.payload) for row in await rows(database)]


async def test_a_command_is_on_disk_when_it_is_answered(
    sender: Sender, database: AsyncEngine, clock: Clock
) -> None:
    answer = await sender.send("issue_comment", comment("/revert because logins fail"))
    assert answer == Answer(202, {"triggers": 1, "hints": 0})
    (trigger,) = await stored(database)
    assert trigger.key == "11:issue_comment:501:0"
    assert trigger.received_at == clock()


async def test_one_delivery_twenty_times_at_once_is_one_trigger(
    sender: Sender, database: AsyncEngine
) -> None:
    sends = (sender.send("issue_comment", comment("/revert"), delivery="same") for _ in range(20))
    answers = await asyncio.gather(*sends)
    assert {answer.status for answer in answers} == {202}
    assert len(await stored(database)) == 1


async def test_a_redelivered_label_is_one_trigger_and_a_second_labelling_another(
    sender: Sender, database: AsyncEngine
) -> None:
    for second in ("01", "01", "59"):
        answer = await sender.send("pull_request", labeled(f"2025-08-17T12:00:{second}Z"))
        assert answer.status == 202
    assert len(await stored(database)) == 2


def labeled(at: str) -> dict[str, Any]:
    return {
        "action": "labeled",
        "label": {"name": "playbook:revert"},
        "pull_request": {"number": 7, "updated_at": at},
        "repository": repository(),
        "installation": {"id": 22},
        "sender": {"login": "mona", "type": "User"},
    }


async def test_what_is_signed_names_an_event_and_not_the_id_beside_it(
    sender: Sender, database: AsyncEngine
) -> None:
    """Neither is a body done twice by another id, nor another body kept out by a known one."""
    first, second = labeled("2025-08-17T12:00:01Z"), labeled("2025-08-17T12:00:59Z")
    for payload, delivery in ((first, "a"), (first, "b"), (second, "a")):
        assert (await sender.send("pull_request", payload, delivery=delivery)).status == 202
    assert [each.delivery_id for each in await rows(database)] == ["a", "a"]
    assert len(await stored(database)) == 2


@pytest.mark.parametrize(
    ("association", "talk"),
    [
        ("OWNER", False), ("MEMBER", False), ("COLLABORATOR", False), (None, False),
        ("CONTRIBUTOR", True), ("FIRST_TIMER", True), ("NONE", True),
    ],
)  # fmt: skip
async def test_what_strangers_say_waits_behind_everything_else(
    sender: Sender, database: AsyncEngine, association: str | None, talk: bool
) -> None:
    said = comment("/revert")
    said["comment"]["author_association"] = association
    await sender.send("issue_comment", said)
    assert [each.is_talk for each in await rows(database)] == [talk]


async def test_a_hint_wakes_and_stores_nothing(
    sender: Sender, database: AsyncEngine, hints: list[Hint]
) -> None:
    payload = {"sha": "a" * 40, "repository": repository(), "installation": {"id": 22}}
    assert await sender.send("status", payload) == Answer(202, {"triggers": 0, "hints": 1})
    assert [hint.head_sha for hint in hints] == ["a" * 40]
    assert await stored(database) == []


async def test_small_talk_is_answered_at_once(sender: Sender, database: AsyncEngine) -> None:
    answer = await sender.send("issue_comment", comment("Nice work! /revert is not needed."))
    assert answer == Answer(200, {"nothing": "no command in it"})
    assert await stored(database) == []


async def test_a_ping_is_answered(sender: Sender) -> None:
    assert await sender.send("ping", PING) == Answer(200, {"pong": True})


async def test_a_form_is_read_like_json(sender: Sender, database: AsyncEngine) -> None:
    body = f"payload={quote_plus(json.dumps(comment('/status ü')))}".encode()
    assert (await sender.post(body, headers("issue_comment", body) | FORM)).status == 202
    assert len(await stored(database)) == 1


async def test_the_next_secret_is_good_too_while_secrets_are_rotated(sender: Sender) -> None:
    assert (await sender.send("ping", PING, secret="the-next-secret")).status == 200  # noqa: S106


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Hub-Signature-256": signature(PING, "another secret")},
        {"X-Hub-Signature-256": signature(PING + b" ")},
        {"X-Hub-Signature-256": signature(PING).removeprefix("sha256=")},
        {"X-Hub-Signature-256": signature(PING).upper()},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256=é"},
        {"X-Hub-Signature-256": "", "X-Hub-Signature": SHA_1},
        {"X-Hub-Signature-256": SHA_1},
    ],
)
async def test_without_a_good_sha_256_signature_nobody_gets_in(
    sender: Sender, changed: dict[str, str]
) -> None:
    assert (await sender.post(PING, headers("ping", PING) | changed)).status == 401


@pytest.mark.parametrize(
    ("missing", "status"),
    [
        ("X-GitHub-Event", 400),
        ("X-GitHub-Delivery", 400),
        ("Content-Type", 400),
        ("X-Hub-Signature-256", 401),
    ],
)
async def test_a_missing_header_is_named(sender: Sender, missing: str, status: int) -> None:
    whole = headers("ping", PING)
    del whole[missing]
    answer = await sender.post(PING, whole)
    assert answer.status == status
    assert missing in answer.body["error"]


UNREADABLE = {
    "nothing": b"",
    "half of it": b'{"action": ',
    "a list": b"[]",
    "null": b"null",
    "text": b'"text"',
    "UTF-16": b"\xff\xfe{}",
    "a broken character": b'{"a": "\xc3"}',
    "endless lists": b"[" * 200_000,
    "endless objects": b'{"a": ' * 50_000,
    "an absurd number": b'{"a": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_not_a_json_object_is_refused(sender: Sender, body: bytes) -> None:
    assert (await sender.post(body, headers("issue_comment", body))).status == 400


@pytest.mark.parametrize("body", [b"", b"payload=", b"other={}", b"payload=%FF", b"&" * 99])
async def test_a_form_without_one_payload_is_refused(sender: Sender, body: bytes) -> None:
    assert (await sender.post(body, headers("push", body) | FORM)).status == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
async def test_other_types_are_refused(sender: Sender, kind: str) -> None:
    assert (await sender.post(PING, headers("ping", PING) | {"Content-Type": kind})).status == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(
    sender: Sender, http: aiohttp.ClientSession, method: str
) -> None:
    async with http.request(method, sender.url) as response:
        assert response.status == 405


async def test_twenty_five_megabytes_are_read_and_a_byte_more_is_refused(sender: Sender) -> None:
    frame = len(b'{"a": ""}')
    most = b'{"a": "' + b"x" * (LARGEST_BODY - frame) + b'"}'
    assert (await sender.send("ping", most)).status == 200
    assert (await sender.send("ping", most + b" ")).status == 413


async def test_a_body_of_no_announced_length_is_cut_off_at_the_cap(
    sender: Sender, http: aiohttp.ClientSession
) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(26):
            yield b" " * 1024 * 1024

    async with http.post(sender.url, data=long(), headers=headers("ping", b"")) as response:
        assert response.status == 413


async def test_deliveries_are_counted_by_what_came_of_them(
    sender: Sender, registry: CollectorRegistry
) -> None:
    await sender.send("issue_comment", comment("/revert"))
    await sender.send("issue_comment", comment("hello"))
    await sender.send("star", {"action": "created"})
    await sender.send("made_up_event", {})
    await sender.send("ping", PING, secret="wrong")  # noqa: S106

    def count(event: str, outcome: str) -> float | None:
        labels = {"event": event, "outcome": outcome}
        return registry.get_sample_value("playbooks_deliveries_total", labels)

    assert count("issue_comment", "trigger") == 1
    assert count("issue_comment", "nothing: no command in it") == 1
    assert count("other", "nothing: event not used") == 2
    assert count("other", "refused 401") == 1


async def test_what_no_handler_reads_is_not_even_parsed(sender: Sender) -> None:
    assert await sender.send("star", b"no JSON") == Answer(200, {"nothing": "event not used"})
    assert (await sender.send("star", b"no JSON", secret="wrong")).status == 401  # noqa: S106


async def test_a_handler_that_breaks_does_not_keep_another_from_its_work(
    sender: Sender, hints: list[Hint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> Any:
        raise ValueError("a payload that nobody thought of")

    monkeypatch.setattr(events, "_failed", breaks)
    failed = {"sha": "a" * 40, "state": "failure", "context": "ci", "branches": []}
    told = failed | {"repository": repository(), "installation": {"id": 22}}
    assert (await sender.send("status", told)).status == 500
    assert [hint.head_sha for hint in hints] == ["a" * 40]


async def test_when_the_database_is_away_the_sender_is_told_to_deliver_again(
    sender: Sender, database: AsyncEngine
) -> None:
    async with database.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE inbox RENAME TO gone"))
    assert (await sender.send("issue_comment", comment("/revert"))).status == 503
    async with database.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE gone RENAME TO inbox"))
    assert (await sender.send("issue_comment", comment("/revert"))).status == 202


@pytest.mark.parametrize("secrets", [(), ("",), ("", "")])
def test_without_a_secret_nothing_starts(
    secrets: tuple[str, ...], inbox: Inbox, clock: Clock, registry: CollectorRegistry
) -> None:
    async def wake(_: Hint) -> None:
        return

    with pytest.raises(ValueError, match="GITHUB_WEBHOOK_SECRET"):
        Webhooks(
            secrets=secrets,
            us=lambda: OurApp(id=99, slug="playbooks"),
            inbox=inbox,
            wake=wake,
            clock=clock,
            registry=registry,
        )
