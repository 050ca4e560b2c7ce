"""What the Founder and the team hear: Apprise against a service that really listens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.notify import PAUSES, Courier, InvalidAddress, read_addresses
from bot.records import incidents, notifications
from bot.records.database import open_database, url_from
from bot.records.incidents import Incident, Opening
from bot.records.lifecycle import IncidentStatus
from bot.records.notifications import Notification, NotificationState, announce
from bot.records.schema import migrate
from bot.settings import Settings
from bot.triggers import Repository, Severity

REPOSITORY = Repository(id=7, owner="acme", name="shop", installation_id=1)
SECRET = "tok3n-of-the-founder"  # noqa: S105  of a service that lives for one test
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Service:
    """Somebody's chat: takes JSON, or refuses it."""

    url: str = ""
    got: list[Any] = field(default_factory=list)
    status: int = 200
    hangs: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append(await request.json())
        if request.path.startswith("/slow"):
            answer = web.StreamResponse()
            await answer.prepare(request)
            while not self.hangs.is_set():
                await answer.write(b"x")
                await asyncio.sleep(0.1)
            return answer
        where = {"Location": "/log-in"} if self.status == 302 else None
        return web.Response(status=self.status, headers=where)

    async def log_in(self, _: web.Request) -> web.Response:
        return web.Response(text="Who are you?")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_post("/{any:.*}", service.take)
    app.router.add_get("/log-in", service.log_in)
    async with TestServer(app) as server:
        service.url = f"json://{server.host}:{server.port}/{SECRET}"
        yield service
        service.hangs.set()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    await migrate(url_from(tmp_path))
    engine = open_database(url_from(tmp_path))
    yield engine
    await engine.dispose()


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _courier(
    database: AsyncEngine, clock: Clock, *entries: str, longest: timedelta = timedelta(seconds=9)
) -> Courier:
    to = read_addresses(entries)
    return Courier(database, to, clock=clock, web_url="https://github.test", longest=longest)


async def _opened(
    database: AsyncEngine, severity: str, number: int = 1, *, at: datetime = NOON, topic: str = ""
) -> Incident:
    opening = Opening(
        id=f"incident{number}",
        repository=REPOSITORY,
        kind="revert",
        subject=f"pull_request:{number}",
        title="main broken by #7 @everyone",
        severity=Severity(severity),
        source="check_run",
        opened_by="bot",
        detected_at=at,
        group_key=topic or None,
    )
    async with database.begin() as conn:
        incident, _ = await incidents.open_or_join(conn, opening)
        await incidents.refer(conn, incident.id, issue=12)
        await announce(conn, incident, at=at)
    return incident


async def _said(database: AsyncEngine, incident: Incident) -> dict[str, Notification]:
    async with database.connect() as conn:
        return {each.audience: each for each in await notifications.of_incident(conn, incident.id)}


@pytest.mark.parametrize(
    ("severity", "heard", "silence"),
    [
        ("critical", True, None),
        ("high", True, None),
        ("medium", False, "the severity is medium, for the first time about this within 7 days"),
        ("low", False, "the severity is low"),
    ],
)
async def test_the_founder_hears_of_what_is_bad_and_else_the_reason_for_silence_is_kept(
    database: AsyncEngine,
    clock: Clock,
    service: Service,
    severity: str,
    heard: bool,
    silence: str | None,
) -> None:
    incident = await _opened(database, severity)
    await _courier(database, clock, service.url).deliver_some()
    said = (await _said(database, incident))["founder"]
    assert said.state == ("sent" if heard else "suppressed")
    assert said.reason == silence
    if heard:
        [message] = service.got
        assert message["title"] == f"{severity.upper()} in acme/shop"
        assert "main broken by #7 @\u200beveryone" in message["message"]
        assert "https://github.test/acme/shop/issues/12" in message["message"]


async def test_the_founder_hears_of_a_repeated_medium_about_one_check(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    await _opened(database, "medium", 1, topic="check:evals")
    await _opened(database, "medium", 2, topic="check:smoke")
    await _opened(database, "medium", 3, at=NOON + timedelta(days=8), topic="check:evals")
    clock.now = NOON + timedelta(days=9)
    courier = _courier(database, clock, service.url)
    await courier.deliver_some()
    assert service.got == []
    again = await _opened(database, "medium", 4, at=clock.now, topic="check:evals")
    await courier.deliver_some()
    assert len(service.got) == 1
    assert (await _said(database, again))["founder"].state == "sent"


async def test_a_severity_that_rises_sends_what_was_held_back_and_nothing_twice(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    incident = await _opened(database, "medium")
    courier = _courier(database, clock, service.url)
    await courier.deliver_some()
    for severity in (Severity.HIGH, Severity.CRITICAL):
        async with database.begin() as conn:
            worse = await incidents.set_severity(conn, incident.id, severity)
            await announce(conn, worse, at=NOON)
        await courier.deliver_some()
    assert [message["title"] for message in service.got] == ["HIGH in acme/shop"]


async def test_a_message_that_does_not_go_out_is_sent_again_only_where_it_failed(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    incident = await _opened(database, "high")
    deaf = f"json://127.0.0.1:9/{SECRET}"
    courier = _courier(database, clock, service.url, deaf)
    await courier.deliver_some()
    said = (await _said(database, incident))["founder"]
    assert said.state == "failed"
    assert said.reason == "not accepted by json (attempt 1)"
    assert await courier.deliver_some() == 0
    for pause in PAUSES:
        clock.now += pause
        assert await courier.deliver_some() == 1
    assert (await _said(database, incident))["founder"].state == "dead"
    assert len(service.got) == 1


async def test_a_redirect_to_a_page_is_no_delivery(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    service.status = 302
    incident = await _opened(database, "high")
    await _courier(database, clock, service.url).deliver_some()
    assert (await _said(database, incident))["founder"].state == "failed"


async def test_a_service_whose_answer_never_ends_holds_up_no_other(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    first = await _opened(database, "high")
    slow = service.url.replace(SECRET, "slow")
    courier = _courier(database, clock, slow, service.url, longest=timedelta(seconds=0.3))
    await courier.deliver_some()
    assert (await _said(database, first))["founder"].reason == "not accepted by json (attempt 1)"
    assert len(service.got) == 2
    await _opened(database, "high", 2)
    await courier.deliver_some()
    # It is not asked anything more before it has answered.
    assert len(service.got) == 3


async def test_a_thousand_incidents_at_once_are_a_few_messages_and_each_is_sent_once(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    opened = [await _opened(database, "high", number) for number in range(60)]
    courier = _courier(database, clock, service.url)
    while await courier.deliver_some():
        pass
    assert [each["title"].split()[0] for each in service.got] == ["50", "10"]
    assert "HIGH in acme/shop: main broken by #7" in service.got[0]["message"]
    assert "And 40 more." in service.got[0]["message"]
    assert {(await _said(database, each))["founder"].state for each in opened} == {"sent"}


async def test_what_is_over_by_the_time_it_can_be_told_is_said_to_be(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    incident = await _opened(database, "high")
    async with database.begin() as conn:
        for status in (IncidentStatus.MITIGATED, IncidentStatus.RESOLVED):
            await incidents.move(conn, incident.id, status, at=NOON)
    await _courier(database, clock, service.url).deliver_some()
    assert "It is over by now: resolved." in service.got[0]["message"]


async def test_a_sender_that_died_leaves_the_message_to_the_next(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    await _opened(database, "high")
    async with database.begin() as conn:
        claimed = await notifications.claim(conn, at=NOON, until=NOON + timedelta(minutes=5))
    assert [each.audience for each in claimed] == ["founder", "team"]
    courier = _courier(database, clock, service.url)
    assert await courier.deliver_some() == 0
    clock.now += timedelta(minutes=5)
    await courier.deliver_some()
    assert len(service.got) == 1


async def test_the_team_has_addresses_of_its_own_and_silence_without_one_is_recorded(
    database: AsyncEngine, clock: Clock, service: Service
) -> None:
    incident = await _opened(database, "medium")
    await _courier(database, clock, f"team={service.url}").deliver_some()
    assert len(service.got) == 1
    other = await _opened(database, "high", 2)
    await _courier(database, clock).deliver_some()
    said = await _said(database, other)
    assert said["founder"].reason == "NOTIFY_URLS names no address for the founder"
    assert said["founder"].state is NotificationState.SUPPRESSED
    assert (await _said(database, incident))["team"].state is NotificationState.SENT


async def test_no_address_ever_reaches_a_log_a_record_or_an_error(
    database: AsyncEngine,
    clock: Clock,
    service: Service,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    service.status = 500
    incident = await _opened(database, "high")
    courier = _courier(database, clock, service.url)
    await courier.deliver_some()
    said = await _said(database, incident)
    shown = capsys.readouterr()
    # The service's own log of what it was sent is not ours.
    logged = [each.getMessage() for each in caplog.records if each.name != "aiohttp.access"]
    everything = "".join(logged) + shown.out + shown.err + json.dumps(str(said))
    everything += repr(read_addresses([service.url]))
    assert SECRET not in everything


def test_an_address_apprise_does_not_know_is_refused_by_its_place_and_never_shown() -> None:
    with pytest.raises(InvalidAddress, match="address 2 is none that Apprise knows") as refused:
        read_addresses(["json://localhost", f"nonsense://{SECRET}"])
    assert SECRET not in str(refused.value)


def test_addresses_are_parted_where_the_next_begins() -> None:
    split = Settings._split_before_addresses
    given = "json://a/?to=x,y, team=slack://T1/T2 founder=mailto://u:p@h?to=a,b"
    assert split(given) == (
        "json://a/?to=x,y",
        "team=slack://T1/T2",
        "founder=mailto://u:p@h?to=a,b",
    )
