"""A real Prometheus (Debian's package `prometheus`) that scrapes counters of the test's own."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

PROGRAM = shutil.which("prometheus")
WHY_SKIPPED = "there is no Prometheus here (Debian: apt-get install prometheus)"
EDGES = (0.5, 0.525, 1.0)


@dataclass
class Exporter:
    """A program's counters, as it would export them."""

    failures: Counter[tuple[str, int]] = field(default_factory=Counter)
    answers: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    spent: dict[tuple[str, int], float] = field(default_factory=dict)

    def count(
        self, arm: str, generation: int, *, failed: bool, latency: float = 0.1, cost: float = 0.0
    ) -> None:
        """Count one request."""
        if cost:
            self.spent[arm, generation] = self.spent.get((arm, generation), 0.0) + cost
        if failed:
            self.failures[arm, generation] += 1
        else:
            self.answers.setdefault((arm, generation), []).append(latency)

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus's text format."""
        del request
        lines = ["# TYPE llm_failures_total counter", "# TYPE llm_seconds histogram"]
        for (arm, generation), count in self.failures.items():
            labels = f'arm="{arm}",generation="{generation}"'
            lines.append(f"llm_failures_total{{{labels}}} {count}")
        for (arm, generation), seen in self.answers.items():
            labels = f'arm="{arm}",generation="{generation}"'
            lines += [
                f'llm_seconds_bucket{{{labels},le="{edge}"}} {sum(each <= edge for each in seen)}'
                for edge in EDGES
            ]
            lines.append(f'llm_seconds_bucket{{{labels},le="+Inf"}} {len(seen)}')
        for (arm, generation), usd in self.spent.items():
            lines.append(f'llm_cost_usd_total{{arm="{arm}",generation="{generation}"}} {usd}')
        return web.Response(text="\n".join(lines) + "\n")


@asynccontextmanager
async def prometheus(folder: Path, exporter: Exporter) -> AsyncIterator[str]:
    """Run it; its address."""
    assert PROGRAM is not None
    application = web.Application()
    application.router.add_get("/metrics", exporter.metrics)
    async with (
        TestServer(application) as target,
        scraping(folder, "llm", f"127.0.0.1:{target.port}") as address,
    ):
        yield address


@asynccontextmanager
async def scraping(
    folder: Path,
    job: str,
    target: str,
    *,
    interval: str = "200ms",
    rules: Sequence[Path] = (),
) -> AsyncIterator[str]:
    """Run it, scraping `target` (host and port) as `job` and heeding `rules`; its address."""
    assert PROGRAM is not None
    config = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    address = f"127.0.0.1:{_free_port()}"
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        await _ready(f"http://{address}/-/ready")
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _ready(url: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
