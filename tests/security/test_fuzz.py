"""A sample of the fuzzing (benchmarks/fuzz.py does it all), and everything that it has found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.fuzzing.entrances import ENTRANCES, Input
from benchmarks.fuzzing.over_http import at_the_port, drawn, from_a_repository, target
from benchmarks.fuzzing.pure import read_pure
from bot.command_arguments import CommentPlace
from bot.intake.comment_parser import Command, parse
from bot.intake.webhooks import _decoded
from bot.records.tables.columns import from_rfc3339, rfc3339
from bot.triggers import BisectRequest
from tests.shop import API_TOKEN, Shop

SAMPLE = 400

# A bot at work in the same process draws from `random` meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@pytest.mark.parametrize("name", ENTRANCES)
def test_the_pure_reader_takes_or_refuses_whatever_comes(name: str) -> None:
    tally = read_pure(name, SAMPLE, with_seed=20)
    assert tally.findings == []
    assert tally.inputs == SAMPLE
    assert tally.past * 2 >= SAMPLE, "it hardly looked inside"


async def test_over_http_strangers_leave_nothing_and_others_what_they_asked_for(
    tmp_path: Path,
) -> None:
    async with target(tmp_path) as bot:
        # Strangers first: nothing that others asked for goes on beside them then.
        for signed in (False, True):
            for name in ("commands", "webhooks", "alerts"):
                inputs = drawn(name, 40, 20, bot.place)
                tally = await at_the_port(bot, name, inputs, signed=signed, with_seed=20)
                assert tally.findings == []
                assert tally.inputs == 40


# --- what it has found; each failed once ---


def test_a_year_before_1000_is_written_with_four_digits_and_read_either_way() -> None:
    moment = datetime(1, 1, 1, tzinfo=UTC)
    assert rfc3339(moment) == "0001-01-01T00:00:00.000000Z"
    assert from_rfc3339(rfc3339(moment)) == moment
    assert from_rfc3339("1-01-01T00:00:00.000000Z") == moment


async def test_an_alert_of_the_year_one_is_followed_like_any_other(shop: Shop) -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "Errors", "repository": shop.name},
        "startsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "a",
    }
    body = {"version": "4", "groupKey": "zero time", "status": "firing", "alerts": [alert]}
    url = f"http://127.0.0.1:{shop.bot.port}/alerts/alertmanager"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
    [issue] = await shop.eventually(shop.incidents)
    assert "Errors" in issue["title"]


def test_half_a_character_in_a_command_is_read_as_one_that_nobody_knows() -> None:
    here = CommentPlace("acme/app", "https://github.com/acme/app", 7)
    [found] = parse("/bisect ..mai\ud800n check unit", here)
    assert isinstance(found, Command)
    assert isinstance(found.request, BisectRequest)
    assert found.request.bad == "mai\ufffdn"


def test_half_a_character_in_a_delivery_stops_no_reader() -> None:
    read = _decoded("application/json", rb'{"a": ["\ud800", "\ud83d\ude42"], "\udfff": 1}')
    assert read == {"a": ["?", "\U0001f642"], "?": 1}


async def test_annotations_that_are_no_list_are_no_answer_of_githubs() -> None:
    run = {"id": 1, "run_attempt": 1, "status": "completed", "conclusion": "failure",
           "event": "workflow_dispatch", "head_sha": "a" * 40}  # fmt: skip
    body = json.dumps({"run": run, "jobs": [], "annotations": 0}).encode()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    passed = await from_a_repository(
        "trial-results", [Input("run", body)], signed=True, with_seed=1, key=key.decode()
    )
    assert passed.findings == []
