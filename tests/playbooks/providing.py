"""A capability with two providers: its policy, and clients that report what they saw of both.

Observations are drawn evenly instead of by chance, so that every test sees the same evidence.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from itertools import count
from typing import Any

import aiohttp
import pytest
import yaml

from tests.shop import API_TOKEN, LONGEST, Shop

CAPABILITY = "llm.summarize"
ROOT = "apps/orchestrator/orchestrator"
STAGES = (5, 25, 50, 100)
POLICY: dict[str, Any] = {
    "baseline": "provider-a",
    "candidates": ["provider-b", "provider-c"],
    "seed": "20260101",
    "shadow": {"sample_rate": 1, "min_pairs": 100},
    "stages": [
        {"percent": 5, "min_bake": "0s", "min_n": 20},
        {"percent": 25, "min_bake": "0s", "min_n": 20},
        {"percent": 50, "min_bake": "0s", "min_n": 20},
        {"percent": 100, "min_bake": "0s", "min_n": 20, "holdback": 5, "soak": "0s"},
    ],
    # Failures are frequent and the margin is wide: few observations tell.
    "metrics": {
        "error": {"alpha": 0.05, "margin_ratio": 20, "slo_max": 0.9},
        "latency": None,
        "latency_p95": None,
        "latency_p99": None,
        "cost": None,
        "roas": None,
    },
}
_events = count(1)


@dataclass
class Providers:
    """What clients of the capability do."""

    shop: Shop
    http: aiohttp.ClientSession
    policy: dict[str, Any] = field(default_factory=lambda: dict(POLICY))

    @property
    def url(self) -> str:
        """Where the bot listens."""
        return f"http://127.0.0.1:{self.shop.bot.port}"

    async def configure(self, **policy: Any) -> None:
        """Write the policy to the default branch."""
        self.policy |= policy
        text = yaml.safe_dump({"capabilities": {CAPABILITY: self.policy}})
        await self.shop.alice.push("main", {".github/playbooks.yml": text}, "Capabilities")

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Call the API."""
        async with self.http.post(f"{self.url}{path}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def document(self) -> Any:
        """The flagd document as it is served."""
        async with self.http.get(f"{self.url}/r/{self.shop.name}/flags/flagd.json") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def flag(self) -> dict[str, Any]:
        """The capability's flag; empty as long as nothing was decided."""
        found = (await self.document())["flags"].get(CAPABILITY)
        return dict(found or {})

    async def percent(self) -> int:
        """The candidate's share."""
        return share(await self.flag())

    async def provider(self, key: str = "somebody") -> str:
        """Who serves a key, by OFREP."""
        path = f"{self.url}/r/{self.shop.name}/ofrep/v1/evaluate/flags/{CAPABILITY}"
        async with self.http.post(path, json={"context": {"targetingKey": key}}) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return str(answer["value"])

    async def report(self, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        """Post observations."""
        body = "\n".join(json.dumps(line) for line in lines)
        path = f"{self.url}/providers/observations?repository={self.shop.name}"
        headers = {"Content-Type": "application/x-ndjson"}
        async with self.http.post(path, data=body, headers=headers) as response:
            return response.status, await response.json()

    def line(self, arm: str, generation: int, *, failed: bool, **more: Any) -> dict[str, Any]:
        """One observation, made now."""
        time = self.shop.bot.clock() - timedelta(seconds=1)
        return {
            "event_id": f"e{next(_events)}",
            "capability": CAPABILITY,
            "arm": arm,
            "generation": generation,
            "time": time.isoformat(),
            "error": failed,
            **more,
        }

    async def mirrored(self, pairs: int = 400, *, baseline: float = 0.3, candidate: float = 0.3):
        """Requests of which both providers answered a copy, failing so often."""
        generation = (await self.flag())["metadata"]["generation"]
        lines = []
        for number in range(pairs):
            pair = f"p{next(_events)}"
            for arm, rate, shift in (("baseline", baseline, 0), ("candidate", candidate, 7)):
                failed = evenly(number + shift, rate)
                lines.append(self.line(arm, generation, failed=failed, pair_id=pair))
        status, answer = await self.report(lines)
        assert status == 202, answer

    async def served(
        self,
        requests: int = 400,
        *,
        baseline: float = 0.3,
        candidate: float = 0.3,
        split: int | None = None,
        keyed: bool = False,
    ) -> tuple[int, Any]:
        """Requests split as the flag says (or as `split` says), failing so often.

        `keyed`: two heavy users, each of them always with one provider.
        """
        flag = await self.flag()
        generation = flag["metadata"]["generation"]
        percent = share(flag) if split is None else split
        lines, arms = [], {"baseline": 0, "candidate": 0}
        for number in range(requests):
            arm = "candidate" if evenly(number, percent / 100) else "baseline"
            rate = candidate if arm == "candidate" else baseline
            failed = evenly(arms[arm], rate)
            arms[arm] += 1
            more = {"key": f"user of the {arm}"} if keyed else {}
            lines.append(self.line(arm, generation, failed=failed, **more))
        return await self.report(lines)

    async def serve_until(self, percent: int, **failing: float) -> None:
        """Requests come in until the candidate has at least this share (0: none any more)."""

        def reached(now: int) -> bool:
            return now == 0 if percent == 0 else now >= percent or now == 0

        try:
            async with asyncio.timeout(LONGEST):
                while not reached(await self.percent()):
                    await self.served(**failing)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            issues = await self.shop.alice.issues(state="all")
            raise AssertionError(f"never {percent}%:\n{issues[0]['body']}") from None

    async def file(self, kind: str) -> Any:
        """The only report of a kind on main, as JSON."""
        names = await self.shop.alice.get(f"contents/{ROOT}/{kind}")
        [only] = [each["path"] for each in names]
        text = await self.shop.alice.file(only)
        report = json.loads(text or "null")
        canonical = json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False)
        assert text == canonical + "\n"
        return report

    async def shadowed(self, candidate: str = "provider-b") -> int:
        """Alice has a candidate shadowed, which is good; the issue where she asked."""
        issue = await self.shop.alice.open_issue(f"Try {candidate}", "It may be better.")
        answer = await self.shop.says(issue, f"/shadow {CAPABILITY} {candidate}")
        await self.mirroring()
        await self.mirrored()
        assert await answer.reaction() == "+1"
        return issue

    async def mirroring(self) -> None:
        """Wait until copies of requests are wanted."""

        async def begun() -> bool:
            async with self.http.get(f"{self.url}/r/{self.shop.name}/flags/flagd.json") as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    return False  # the bot has not heard of the repository yet
            return (await self.flag()).get("metadata", {}).get("mode") == "shadow"

        await self.shop.eventually(begun)

    async def ramping(self, percent: int = 5) -> None:
        """Wait until the candidate has its share."""

        async def begun() -> bool:
            return await self.percent() == percent

        await self.shop.eventually(begun)


def share(flag: dict[str, Any]) -> int:
    """The candidate's share in a flag."""
    targeting = flag.get("targeting")
    if not targeting:
        return 0
    return int(targeting["if"][1]["fractional"][1][1])


def evenly(number: int, rate: float) -> bool:
    """Spread a rate evenly over numbers counted from 0."""
    return int((number + 1) * rate + 1e-9) > int(number * rate + 1e-9)


def headers() -> dict[str, str]:
    """Who calls."""
    return {"Authorization": f"Bearer {API_TOKEN}"}


@pytest.fixture
async def providers(shop: Shop) -> AsyncIterator[Providers]:
    """The shop's capability, configured, and clients that use it."""
    async with aiohttp.ClientSession(headers=headers()) as http:
        found = Providers(shop, http)
        await found.configure()
        yield found
