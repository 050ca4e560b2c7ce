"""`deploy/grafana.json`: after a story each of its queries is answered, by a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.playbooks.providing import Providers, providers
from tests.plugins.prometheus import PROGRAM, WHY_SKIPPED, scraping
from tests.shop import LONGEST

__all__ = ["providers"]

HERE = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((HERE / "deploy/grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
NAME = re.compile(r"\b(?:playbooks|process)_[a-z0-9_]+")
ROW = re.compile(r"^\| `(playbooks_[a-z_]+)` \| (\w+) \|[^|]*\| (.+) \|$", re.MULTILINE)


def asked() -> set[str]:
    """Each name that a rule or a panel asks for."""
    rules = yaml.safe_load((HERE / "deploy/alerts.yml").read_text())["groups"]
    of_rules = [rule["expr"] for group in rules for rule in group["rules"]]
    return {name for each in (*QUERIES, *of_rules) for name in NAME.findall(each)}


def ready(query: str) -> str:
    """A query as Grafana would send it."""
    return query.replace("$__rate_interval", "1m").replace("$job", "playbooks")


async def answers(http: aiohttp.ClientSession, address: str, query: str) -> list[Any]:
    async with http.get(f"{address}/api/v1/query", params={"query": ready(query)}) as answer:
        said = await answer.json()
    assert said["status"] == "success", (query, said)
    return list(said["data"]["result"])


@pytest.mark.thorough
async def test_after_a_revert_and_in_a_shadow_each_panel_has_data(
    providers: Providers, tmp_path: Path
) -> None:
    if PROGRAM is None:
        pytest.skip(WHY_SKIPPED)
    shop = providers.shop
    target = f"127.0.0.1:{shop.bot.port}"
    async with (
        scraping(tmp_path, "playbooks", target, interval="1s") as address,
        aiohttp.ClientSession() as http,
    ):
        number = await shop.broken()
        answer = await shop.says(number, "/revert because totals are zero")
        assert await answer.reaction() == "+1"
        await providers.configure()
        issue = await shop.alice.open_issue("Try provider-b", "It may be better.")
        await shop.says(issue, "/shadow llm.summarize provider-b")
        await providers.mirroring()
        await providers.mirrored(5)
        silent = list(QUERIES)
        try:
            async with asyncio.timeout(LONGEST):
                while silent:
                    silent = [each for each in silent if not await answers(http, address, each)]
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(f"no data: {silent}") from None
        async with http.get(f"http://{target}/metrics") as published:
            text = await published.text()

    names = set(re.findall(r"^([a-z_0-9]+)[{ ]", text, re.MULTILINE))
    later = {"playbooks_step_retries_total"}  # there once a step was tried again
    later |= {"playbooks_waiting_for_person_since_timestamp_seconds"}  # while somebody is
    assert asked() <= names | later, asked() - names
    if promtool := shutil.which("promtool"):
        order = [promtool, "check", "metrics"]
        checked = subprocess.run(order, input=text, capture_output=True, text=True, check=False)  # noqa: S603, ASYNC221
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    types = dict(re.findall(r"^# TYPE (playbooks_[a-z_]+) (.+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (playbooks_[a-z_]+) (.+)$", text, re.MULTILINE))
    documented = ROW.findall((HERE / "docs/operating.md").read_text())
    said = {(n, types[n], helps[n]) for n in types if not n.endswith("_created")}
    assert set(documented) == said
    # Who or what it is about is nobody's here: no name of a repository, person or capability.
    for private in (shop.repository.name, "alice", "llm.summarize", "provider-b"):
        assert private not in text
