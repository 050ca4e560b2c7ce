"""A ramp that is judged by a real Prometheus: nobody reports a single observation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.traffic.prometheus import Prometheus
from tests.playbooks.providing import CAPABILITY, POLICY, Providers, evenly, share
from tests.plugins.prometheus import PROGRAM, WHY_SKIPPED, Exporter, prometheus
from tests.shop import Answer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WHY_SKIPPED)

COUNTERS = {
    "successes": "llm_seconds_bucket",
    "failures": "llm_failures_total",
    "every": "1s",
    "thresholds": {"latency_p95": 0.5},
}
COST = {"cost": "llm_cost_usd_total"}
WATCHED = POLICY["metrics"] | {
    "error": {"alpha": 0.03, "margin_ratio": 20, "slo_max": 0.9},
    "latency_p95": {"alpha": 0.01},
}


@pytest.fixture
async def counted(providers: Providers, tmp_path: Path) -> AsyncIterator[Exporter]:
    """What the capability's programs count, and Prometheus reads."""
    exporter = Exporter()
    scraper = providers.shop.bot.scraper
    async with prometheus(tmp_path, exporter) as url:
        source = Prometheus(url)
        scraper._query = source.query
        yield exporter
        scraper._query = None
        await source.close()


async def serve(providers: Providers, exporter: Exporter, *, dearer: float = 1.0) -> None:
    """Requests split as the flag says; no arm is slower or fails more often than the other."""
    flag = await providers.flag()
    percent, generation = share(flag), flag["metadata"]["generation"]
    arms = {"baseline": 0, "candidate": 0}
    for number in range(400):
        arm = "candidate" if evenly(number, percent / 100) else "baseline"
        failed = evenly(arms[arm], 0.3)
        arms[arm] += 1
        latency = 0.51 if evenly(arms[arm], 0.4) else 0.2
        cost = 0.001 * (dearer if arm == "candidate" else 1.0)
        exporter.count(arm, generation, failed=failed, latency=latency, cost=cost)


async def until(
    providers: Providers, exporter: Exporter, percent: int, *, dearer: float = 1.0
) -> None:
    async with asyncio.timeout(90):
        while await providers.percent() != percent:
            await serve(providers, exporter, dearer=dearer)
            await asyncio.sleep(0.2)


async def begin(
    providers: Providers, metrics: dict[str, Any] = WATCHED, counters: dict[str, Any] = COUNTERS
) -> tuple[int, Answer]:
    await providers.configure(metrics=metrics, prometheus=counters)
    issue = await providers.shadowed()
    answer = await providers.shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    return issue, answer


@pytest.mark.thorough
async def test_a_ramp_completes_from_its_counters_alone(
    providers: Providers, counted: Exporter
) -> None:
    issue, asked = await begin(providers)
    generation = (await providers.flag())["metadata"]["generation"]
    line = providers.line("candidate", generation, failed=True)
    status, answer = await providers.report([line])
    assert (status, answer["errors"][0]["field"]) == (422, "line 1: capability")
    await until(providers, counted, 0)
    assert await asked.reaction() == "+1"
    assert "is the active provider" in (await providers.shop.mentions(issue))[-1]
    report = await providers.file("ramp_reports")
    assert report["verdict"] == "promote"
    assert [stage["percent"] for stage in report["stages"]] == [5, 25, 50, 95, 100]
    assert sorted(report["metrics"]) == ["error", "latency_p95"]
    assert report["metrics"]["latency_p95"]["tau"] == 0.5
    seen = sum(report["sample_ratio"]["counts"])
    assert 0 < seen <= counted.failures.total() + sum(map(len, counted.answers.values()))


@pytest.mark.thorough
async def test_a_candidate_that_costs_too_much_is_seen_in_the_counters(
    providers: Providers, counted: Exporter
) -> None:
    issue, asked = await begin(providers, WATCHED | {"cost": {"alpha": 0.005}}, COUNTERS | COST)
    await until(providers, counted, 0, dearer=20)
    assert await asked.reaction() == "confused"
    said = (await providers.shop.mentions(issue))[-1]
    assert "the ramp was rolled back" in said
    assert "The candidate costs more than tolerated" in said
    assert (await providers.flag())["metadata"]["paused"] is True
    report = await providers.file("ramp_reports")
    assert report["metrics"]["cost"]["candidate"] == pytest.approx(0.02)
    assert report["metrics"]["cost"]["baseline"] == pytest.approx(0.001)
