"""`deploy/alerts.yml`: each alert says what to do, fires where it should, and recovers."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.plugins.prometheus import PROGRAM, WHY_SKIPPED, scraping

HERE = Path(__file__).resolve().parents[2]
FILE = HERE / "deploy/alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
]
LONGEST_S = 90.0


def test_promtool_finds_nothing_wrong() -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip(WHY_SKIPPED)
    done = subprocess.run([promtool, "check", "rules", FILE], capture_output=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alert_says_how_bad_it_is_since_when_and_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    headings = re.findall(r"^#+ (.+)$", (HERE / path).read_text(), re.MULTILINE)
    assert rule["alert"] in headings
    assert {"summary", "description"} <= rule["annotations"].keys()


Kind = Callable[[float], float]
"""What a sample says after so many seconds."""


def grows(by: float) -> Kind:
    return lambda seconds: by * seconds


# What a bot says on a bad day, and on a good one. Each name is one that a bot really has: the
# dashboard's test sees to it (tests/deploy/test_dashboard.py).
BAD: dict[str, Kind] = {
    "playbooks_records_readable": lambda _: 0,
    "playbooks_inbox_oldest_age_seconds": lambda _: 600,
    'playbooks_deliveries_total{event="push",outcome="refused 401"}': grows(50),
    'playbooks_deliveries_total{event="push",outcome="not stored"}': grows(10),
    'playbooks_delivery_answer_seconds_bucket{le="5.0"}': lambda _: 0,
    'playbooks_delivery_answer_seconds_bucket{le="10.0"}': grows(10),
    'playbooks_delivery_answer_seconds_bucket{le="+Inf"}': grows(10),
    'playbooks_run_changes_total{playbook="revert",state="failed"}': grows(20),
    'playbooks_run_changes_total{playbook="revert",state="rollback failed"}': grows(5),
    'playbooks_waiting_for_person_since_timestamp_seconds{playbook="revert"}': (
        lambda _: time.time() - 7200
    ),
    'playbooks_incidents_open{severity="critical"}': lambda _: 2,
    'playbooks_step_retries_total{step="merge"}': grows(50),
    'playbooks_github_answers_total{kind="2xx"}': grows(10),
    'playbooks_github_answers_total{kind="5xx"}': grows(10),
    "playbooks_github_limit_remaining": lambda _: 100,
    "playbooks_github_limit": lambda _: 5000,
    'playbooks_notifications_total{outcome="failed"}': grows(5),
    "playbooks_takeovers_total": grows(5),
    'playbooks_event_loop_lag_seconds_bucket{le="1.0"}': lambda _: 0,
    'playbooks_event_loop_lag_seconds_bucket{le="2.5"}': grows(2),
    'playbooks_event_loop_lag_seconds_bucket{le="+Inf"}': grows(2),
    "process_resident_memory_bytes": lambda _: 3e9,
    'playbooks_ramp_seen_timestamp_seconds{attempt="a",mode="ramp"}': lambda _: time.time() - 3600,
}
GOOD: dict[str, float] = {
    "playbooks_records_readable": 1,
    "playbooks_inbox_oldest_age_seconds": 0,
    'playbooks_incidents_open{severity="critical"}': 0,
    "playbooks_github_limit_remaining": 4900,
    "process_resident_memory_bytes": 2e8,
}


class Bot:
    """What a bot would publish: bad as long as it is a bad day, then good; or nothing at all."""

    def __init__(self) -> None:
        self.is_bad, self.is_down = True, False
        self._began = time.monotonic()
        self._last: dict[str, float] = {}

    async def metrics(self, request: web.Request) -> web.Response:
        del request
        if self.is_down:
            return web.Response(status=500)
        if self.is_bad:
            seconds = time.monotonic() - self._began
            self._last = {name: value(seconds) for name, value in BAD.items()}
        else:
            # Nothing is counted any more, and nobody is waited for.
            self._last = {
                name: GOOD.get(name, value)
                for name, value in self._last.items()
                if "_timestamp_seconds" not in name
            }
        return web.Response(text="".join(f"{n} {v}\n" for n, v in self._last.items()))


def hurried(folder: Path) -> Path:
    """The same rules, with seconds for minutes and hours."""
    text = FILE.read_text()
    text = re.sub(r"\[\d+[mh]\]", "[3s]", text)
    text = re.sub(r"for: \d+m", "for: 400ms", text)
    path = folder / "alerts.yml"
    path.write_text(text)
    return path


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[tuple[Bot, str]]:
    if PROGRAM is None:
        pytest.skip(WHY_SKIPPED)
    bot, application = Bot(), web.Application()
    application.router.add_get("/metrics", bot.metrics)
    async with (
        TestServer(application) as target,
        scraping(
            tmp_path, "playbooks", f"127.0.0.1:{target.port}", rules=[hurried(tmp_path)]
        ) as address,
    ):
        yield bot, address


async def firing(http: aiohttp.ClientSession, address: str) -> set[str]:
    async with http.get(f"{address}/api/v1/alerts") as answer:
        found = json.loads(await answer.text())["data"]["alerts"]
    return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}


async def until(http: aiohttp.ClientSession, address: str, wanted: Callable[[set[str]], bool]):
    seen: Counter[str] = Counter()
    try:
        async with asyncio.timeout(LONGEST_S):
            while True:
                now = await firing(http, address)
                seen.update(now)
                if wanted(now):
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"now {sorted(now)}; ever {sorted(seen)}") from None


async def test_each_alert_fires_on_a_bad_day_and_recovers(watched: tuple[Bot, str]) -> None:
    bot, address = watched
    everything = {str(rule["alert"]) for rule in RULES}
    async with aiohttp.ClientSession() as http:
        await until(http, address, lambda now: now >= everything - {"PlaybooksDown"})
        bot.is_bad = False
        await until(http, address, lambda now: not now)
        bot.is_down = True
        await until(http, address, lambda now: "PlaybooksDown" in now)
        bot.is_down = False
        await until(http, address, lambda now: not now)
