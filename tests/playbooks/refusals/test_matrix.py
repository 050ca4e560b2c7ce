"""Whatever GitHub refuses beside the recovery, main is good at the end, and the words say so.

`make chaos` tries every refusal, before and after the merge, asked for and unasked; a plain test
run a few of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from bot.records.pauses import PauseKind
from tests.playbooks.alerts.alerting import Sender
from tests.playbooks.autorevert.judging import self_work_pause
from tests.playbooks.refusals.refusing import FORBIDDEN, Refusal, begin, choose, ended_well
from tests.shop import BAD, GOOD, Shop

CONFIG = "checks: {smoke: [smoke], evals: [evals]}\n"
SAMPLE = {
    "comment": {
        ("a locked conversation", "before"),
        ("the free plan", "before"),
        ("an old server", "before"),
        ("all that tells, as if it were not there", "before"),
        ("comments", "after"),
        ("the records branch", "before"),
        ("check-runs", "before"),
    },
    "alert": {
        ("issues and their list switched off", "before"),
        ("deletion of hotfix branches", "after"),
    },
}
"""What every test run tries."""


@pytest.fixture
async def sender(shop: Shop) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(shop, session)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the cells."""
    choose(metafunc, SAMPLE["alert" if "sender" in metafunc.fixturenames else "comment"])


@pytest.mark.sampled(
    "the free plan, before",
    "the records branch, before",
    "all that tells, as if it were not there, before",
)
@pytest.mark.chaos
async def test_what_was_asked_for_is_reverted(shop: Shop, refusal: Refusal, when: str) -> None:
    broken = await shop.broken()
    begin(refusal, when, shop, broken)
    await shop.alice.comment(broken, "/revert")
    await _is_reverted(shop, refusal.untold)


@pytest.mark.sampled(
    "deletion of hotfix branches, after", "issues and their list switched off, before"
)
@pytest.mark.chaos
async def test_what_an_alert_names_is_reverted(
    shop: Shop, sender: Sender, refusal: Refusal, when: str
) -> None:
    shop.verdicts["evals"] = "success"
    await shop.alice.push("main", {".github/playbooks.yml": CONFIG}, "Configure")
    broken = await shop.bob.open_pull_request(
        "Cheaper", {"shop.py": BAD}, branch=f"agent-{shop.repository.name}"
    )
    await shop.alice.label(broken, "self-work")
    await shop.bob.merge(broken)
    begin(refusal, when, shop, broken)
    await sender.cloudevent("safety.violation", summary="it leaks", pull_request=broken)
    # It is told on the alert's own issue: the lock is never met.
    await _is_reverted(shop, "" if refusal.name == "a locked conversation" else refusal.untold)
    pause = await self_work_pause(shop)
    assert pause is not None
    assert pause.kind is PauseKind.SAFETY
    assert not pause.lifts_itself


async def _is_reverted(shop: Shop, untold: str) -> None:
    await ended_well(shop, "revert", untold=untold, never=(*FORBIDDEN, "rolled back"))
    assert await shop.alice.file("shop.py") == GOOD
