"""Asking Prometheus: one instant query at a time, over its HTTP API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bot.canary.counters import CounterFault

_LONGEST_WAIT = aiohttp.ClientTimeout(total=10)
_LARGEST_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Vector:
    """The result of an instant query, as of `at` (seconds since the epoch; 0 without series)."""

    at: float
    series: Sequence[Any]


class Prometheus:
    """One Prometheus server (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Ask at `url`, as the bearer of `token` if one is given."""
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http: aiohttp.ClientSession | None = None

    async def query(self, promql: str) -> Vector:
        """Evaluate a query now.

        Raises:
            CounterFault: Prometheus is away, refuses, or answers something else.
        """
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=_LONGEST_WAIT)
        try:
            async with self._http.post(
                self._url, data={"query": promql}, allow_redirects=False
            ) as answer:
                body = await _limited(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CounterFault(f"Prometheus cannot be reached ({type(error).__name__})") from error
        return _vector(body)

    async def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            await self._http.close()


async def _limited(answer: aiohttp.ClientResponse) -> Any:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            raise CounterFault("Prometheus answers with too much: aggregate the series")
    try:
        return json.loads(body)
    except ValueError:
        raise CounterFault(f"Prometheus answers {answer.status}, not JSON") from None


def _vector(body: Any) -> Vector:
    match body:
        case {"status": "success", "data": {"resultType": "vector", "result": [*series]}}:
            try:
                at = max((float(each["value"][0]) for each in series), default=0.0)
            except (LookupError, TypeError, ValueError):
                raise CounterFault("the answer is not an instant vector") from None
            return Vector(at, series)
        case {"status": "success"}:
            raise CounterFault("the queries must give instant vectors")
        case {"status": "error", "error": str(why)}:
            raise CounterFault(f"Prometheus refuses the query: {why[:300]}")
        case _:
            raise CounterFault("Prometheus answers something unknown")
