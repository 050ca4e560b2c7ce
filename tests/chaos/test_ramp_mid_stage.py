"""The bot is killed with SIGKILL in the middle of a stage; no digit of the evidence changes.

What is left is compared with what comes out when the same ledger is read in one go.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from bot.canary.judge import Breach
from bot.playbooks.rollout.evidence import percents_of, report_of_ramp
from bot.records import incidents
from bot.records.database import open_database, url_from
from bot.records.documents.artifacts import canonical_bytes
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import RampEvaluation
from fakegithub.server import DemoGitHub
from tests.chaos.lane import Lane, eventually
from tests.playbooks.providing import CAPABILITY, ROOT, Providers, headers


class Place:
    """A lane's repository, as `Providers` wants to see it."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.repository = lane.repository()
        self.alice = lane.person(self.repository)
        self.name = self.repository.full_name
        self.bot = SimpleNamespace(port=lane.port, clock=lambda: datetime.now(UTC))

    async def eventually(self, condition: Any) -> Any:
        async def look() -> Any:
            try:
                return await condition()
            except aiohttp.ClientError:
                return None  # it is dead just now

        return await eventually(look, self.lane.life)

    async def killed(self) -> None:
        """Die in the middle of whatever it is doing, and come back."""
        await self.lane.life.kill()
        await self.lane.start()

    async def said(self, number: int, words: str) -> bool:
        return any(words in comment["body"] for comment in await self.alice.comments(number))


@pytest.fixture
async def lane(github: DemoGitHub, tmp_path: Path) -> Any:
    lane = Lane(github, tmp_path)
    # An address that GitHub, here on the same machine, can fetch pictures from.
    lane.life.environment["PLAYBOOKS_URL"] = f"http://127.0.0.1:{lane.port}"
    await lane.start()
    yield lane
    await lane.close()


@pytest.mark.thorough
async def test_killed_in_the_middle_of_a_stage_the_evidence_is_the_same_to_the_last_digit(
    lane: Lane,
) -> None:
    place = Place(lane)
    async with aiohttp.ClientSession(headers=headers()) as http, place.alice as alice:
        providers = Providers(place, http)  # type: ignore[arg-type]  # it has what is used here
        await providers.configure(approvals={50: 1})
        issue = await alice.open_issue("Try provider-b", "")
        await alice.comment(issue, f"/shadow {CAPABILITY} provider-b")
        await providers.mirroring()
        await providers.mirrored(200)
        await place.killed()
        await providers.mirrored(200)
        await place.eventually(lambda: place.said(issue, "Ramp it with"))
        await alice.comment(issue, f"/ramp {CAPABILITY}")
        await providers.ramping(5)
        await providers.served(300)
        await place.killed()
        await providers.serve_until(25)
        await providers.served(400)
        await place.eventually(lambda: place.said(issue, "Approve the stage of 50%"))
        # A breach while an approval is waited for, just after a restart.
        await providers.served(300, candidate=0.9)
        await place.killed()
        await providers.served(300, candidate=0.9)
        await providers.ramping(0)
        assert await providers.provider() == "provider-a"
        await place.eventually(lambda: place.said(issue, "the ramp was rolled back"))
        names = await alice.get(f"contents/{ROOT}/ramp_reports")
        [path] = [each["path"] for each in names]
        written = await alice.file(path)
        assert written == await in_one_go(lane, Path(path).stem)
        [ramp] = await alice.issues(labels="ramp", state="all")
        [address] = re.findall(r"!\[[^]]*\]\((http[^)]+)\)", ramp["body"])
        # As GitHub's proxy does: without any login.
        async with aiohttp.ClientSession() as anybody, anybody.get(address) as response:
            assert response.content_type == "image/svg+xml"
            assert "Beyond its limit: errors." in await response.text()
    assert lane.life.lives == 4


async def in_one_go(lane: Lane, attempt: str) -> str:
    """The report as it comes out of the ledger, read from its first entry without a pause."""
    database = open_database(url_from(lane.data))
    async with database.connect() as conn:
        ledger = await ledgers.find(conn, attempt)
        assert ledger is not None
        assert ledger.frozen is not None
        assert ledger.breach is not None
        served = await allocation.of_attempt(conn, attempt)
        entries = await ledgers.entries(conn, attempt, after=0, until=ledger.last, limit=1000)
        shadow = next(each for each in await incidents.list_recent(conn) if each.kind == "shadow")
    await database.dispose()
    course = RampEvaluation(ledger.policy, ledger.frozen, ledger.opened_at)
    for entry in entries:
        await asyncio.to_thread(course.take, entry, percents_of(served))
    assert isinstance(course.breach, Breach)
    assert course.breach == ledger.breach.verdict
    report = report_of_ramp(
        ledger,
        course,
        ledger.breach.verdict,
        candidate="provider-b",
        salt="1",
        shadow=shadow.id,
        now=ledger.opened_at,
        ended="breach",
    )
    return canonical_bytes(report).decode()
