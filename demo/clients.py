"""Clients of the demo's capability: real OpenFeature SDKs, asking the bot who serves each request.

Some ask by OFREP, the others evaluate the flagd document by themselves, from a file that is kept
as it is served. What both providers answer is made up, with chances that the story may change;
everything else is what a team would run.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from bot.canary.sample_size import sampled

CAPABILITY = "llm.summarize"
BASELINE, CANDIDATE, NEWCOMER = "provider-a", "provider-b", "provider-c"
_TICK = 0.1
_LOOK_MS = 100
"""How often the file is looked at by those who read it."""
_BY_OFREP, _BY_FILE = 6, 74
"""Requests a tick."""
_PANEL = 200
"""Users that are looked at again and again: none may flip back while the ramp grows."""


class NoOpenFeature(Exception):
    """The OpenFeature SDK is not installed."""


class _Details(Protocol):
    value: str
    variant: str | None
    flag_metadata: Any


class _Client(Protocol):
    def get_string_details(self, key: str, default: str, context: Any) -> _Details: ...


@dataclass
class Behaviour:
    """How a provider answers: the chance to fail, and its median latency in seconds."""

    failing: float = 0.04
    latency: float = 0.2
    cost: float = 0.002


@dataclass
class Seen:
    """What the clients met: requests by provider, and users that were moved back."""

    served: dict[str, int] = field(default_factory=dict)
    flipped: int = 0
    reported: int = 0
    refused: int = 0


class Clients:
    """A stream of requests, until it is stopped."""

    def __init__(self, url: str, repository: str, token: str, folder: Path, seed: int) -> None:
        """Prepare.

        Args:
            url: where the bot listens.
            repository: `owner/name`.
            token: of the bot's API.
            folder: where the flag document is kept for the clients that evaluate by themselves.
            seed: of what the providers answer.
        """
        self.behaviour = {name: Behaviour() for name in (BASELINE, CANDIDATE, NEWCOMER)}
        self.seen = Seen()
        self._url, self._repository, self._token = url, repository, token
        self._file = folder / "flagd.json"
        self._rng = random.Random(seed)  # noqa: S311  answers of a demo
        self._number = 0
        self._etag = ""
        self._moved: set[str] = set()
        self.percent = 0
        self._task: asyncio.Task[None] | None = None
        self._sdk: tuple[_Client, _Client, Any] | None = None

    async def __aenter__(self) -> Clients:
        """Begin to send requests."""
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._token}"})
        await self._fetch()
        self._sdk = await asyncio.to_thread(self._connect)
        self._task = asyncio.create_task(self._run(), name="demo clients")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._http.close()
        if self._sdk is not None:
            from openfeature import api

            await asyncio.to_thread(api.shutdown)
            # The file's watcher looks once more before it sees that it is to stop.
            await asyncio.sleep(2 * _LOOK_MS / 1000)

    async def provider_now(self, key: str) -> str:
        """Who serves a key just now, asked by OFREP."""
        value, _, _ = await asyncio.to_thread(self._ask, 0, key)
        return value

    def _connect(self) -> tuple[_Client, _Client, Any]:
        try:
            from openfeature import api
            from openfeature.contrib.provider.flagd import FlagdProvider
            from openfeature.contrib.provider.flagd.config import ResolverType
            from openfeature.contrib.provider.ofrep import OFREPProvider
            from openfeature.evaluation_context import EvaluationContext
        except ImportError as missing:
            raise NoOpenFeature(
                "The demo's clients are OpenFeature SDKs, which are not installed: make setup."
            ) from missing
        api.set_provider(
            OFREPProvider(
                f"{self._url}/",
                headers_factory=lambda: {"Authorization": f"Bearer {self._token}"},
            ),
            "ofrep",
        )
        api.set_provider(
            FlagdProvider(
                resolver_type=ResolverType.FILE,
                offline_flag_source_path=str(self._file),
                deadline_ms=_LOOK_MS,
            ),
            "file",
        )
        return api.get_client("ofrep"), api.get_client("file"), EvaluationContext

    def _ask(self, which: int, key: str) -> tuple[str, str, dict[str, Any]]:
        """Who serves, as which arm, and what travels with the answer."""
        if self._sdk is None:
            raise RuntimeError("the clients are not connected")
        found = self._sdk[which].get_string_details(
            CAPABILITY, BASELINE, self._sdk[2](targeting_key=key)
        )
        return found.value, found.variant or "baseline", dict(found.flag_metadata or {})

    async def _run(self) -> None:
        while True:
            # A request that got lost is one request: clients go on.
            with suppress(aiohttp.ClientError, TimeoutError):
                await self._fetch()
                lines = await asyncio.to_thread(self._serve)
                if lines:
                    await self._report(lines)
            await asyncio.sleep(_TICK)

    async def _fetch(self) -> None:
        """Keep the file as the bot serves it; readers never see half of it."""
        url = f"{self._url}/r/{self._repository}/flags/flagd.json"
        known = {"If-None-Match": self._etag} if self._etag else {}
        async with self._http.get(url, headers=known) as response:
            if response.status == 304:
                return
            response.raise_for_status()
            text, self._etag = await response.text(), response.headers["ETag"]
        targeting = json.loads(text)["flags"].get(CAPABILITY, {}).get("targeting")
        self.percent = targeting["if"][1]["fractional"][1][1] if targeting else 0
        fresh = self._file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._file)

    def _serve(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for which, requests in ((0, _BY_OFREP), (1, _BY_FILE)):
            for _ in range(requests):
                self._number += 1
                request = f"r{self._number}"
                provider, arm, metadata = self._ask(which, request)
                self.seen.served[provider] = self.seen.served.get(provider, 0) + 1
                lines += self._answer(request, provider, arm, metadata)
        user = f"user-{self._number // (_BY_OFREP + _BY_FILE) % _PANEL}"
        self._watch(user, *self._ask(1, user))
        return lines

    def _watch(self, user: str, _: str, arm: str, metadata: dict[str, Any]) -> None:
        if metadata.get("mode") != "ramp":
            self._moved.clear()
        elif arm == "candidate":
            self._moved.add(user)
        elif user in self._moved:
            self.seen.flipped += 1

    def _answer(
        self, request: str, provider: str, arm: str, metadata: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """What is observed of a request; in a shadow the candidate answers some of them too."""
        match metadata.get("mode"):
            case "shadow" if sampled(metadata["mirrorSeed"], request, metadata["mirrorRate"]):
                pair = {"pair_id": request}
                return [
                    self._observed(f"{request}-{arm}", arm, who, metadata) | pair
                    for arm, who in (("baseline", provider), ("candidate", metadata["mirrorTo"]))
                ]
            case "ramp":
                return [self._observed(request, arm, provider, metadata)]
            case _:
                return []

    def _observed(
        self, event: str, arm: str, provider: str, metadata: dict[str, Any]
    ) -> dict[str, Any]:
        behaviour, rng = self.behaviour[provider], self._rng
        return {
            "event_id": event,
            "capability": CAPABILITY,
            "arm": arm,
            "generation": int(metadata["generation"]),
            "time": datetime.now(UTC).isoformat(),
            "error": rng.random() < behaviour.failing,
            "latency": behaviour.latency * rng.lognormvariate(0, 0.3),
            "cost": behaviour.cost * rng.lognormvariate(0, 0.3),
        }

    async def _report(self, lines: list[dict[str, Any]]) -> None:
        body = "\n".join(json.dumps(line) for line in lines)
        url = f"{self._url}/providers/observations"
        headers = {"Content-Type": "application/x-ndjson"}
        async with self._http.post(url, data=body, headers=headers) as response:
            answer = await response.json()
            # Answers under way while the split changed hands are refused, and rightly so.
            self.seen.reported += answer.get("accepted", 0)
            self.seen.refused += len(answer.get("rejected", lines))
