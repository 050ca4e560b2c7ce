"""Counters read from something that answers like Prometheus, or does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.canary.counters import CounterSource
from bot.canary.policy import Policy
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.circuit_breaker import CircuitBreaker
from bot.traffic.evaluation import Evaluations
from bot.traffic.prometheus import NOT_SET, Prometheus, Scraper, Vector
from tests.canary.test_counters import series
from tests.canary.test_totals import usd
from tests.canary.traffic import frozen, only, policy
from tests.traffic.conftest import Clock, nothing_comes
from tests.traffic.test_guard import state
from tests.traffic.trials import CAPABILITY, REPOSITORY, START, ramping

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

SOURCE = CounterSource(successes="answers", failures="failures")


class Server:
    """Answers every query with what the test says."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = _vector([])
        self.queries: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(str((await request.post())["query"]))
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(text=text, status=self.status, content_type="application/json")


def _vector(result: list[Any], at: float = 1000.0) -> dict[str, Any]:
    for each in result:
        each["value"][0] = at
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Prometheus]]:
    found = Server()
    application = web.Application()
    application.router.add_post("/api/v1/query", found.answer)
    async with TestServer(application) as listening:
        prometheus = Prometheus(str(listening.make_url("/")), "a-token")
        yield found, prometheus
        await prometheus.close()


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def scraper(
    engine: AsyncEngine, server: tuple[Server, Prometheus], clock: Clock, heard: list[str]
) -> Scraper:
    return Scraper(engine, server[1].query, clock=clock, heard=heard.append)


async def begin(
    engine: AsyncEngine,
    source: CounterSource = SOURCE,
    rules: Policy | None = None,
    attempt: str = "ramp-1",
    capability: str = CAPABILITY,
) -> None:
    async with engine.begin() as conn:
        await ledgers.open_log(
            conn, attempt=attempt, run_id="run-1", repository_id=REPOSITORY,
            capability=capability, policy=rules or policy(metrics=only("error")),
            frozen=source.frozen(frozen()), source=source, at=START,
        )  # fmt: skip
        await allocation.set_traffic(
            conn,
            REPOSITORY,
            capability,
            ramping(50).model_copy(update={"attempt": attempt}),
            allocation.Decided(at=START, actor="alice", why="begin"),
        )


def arms(baseline: int, candidate: int, failed: int = 0) -> list[dict[str, Any]]:
    found = [
        series(baseline, generation="1"),
        series(candidate, generation="1", arm="candidate"),
    ]
    if failed:
        found.append(series(failed, generation="1", arm="candidate", failed=True))
    return found


async def test_counts_become_evidence_once_whoever_reads_them(
    engine: AsyncEngine,
    server: tuple[Server, Prometheus],
    scraper: Scraper,
    heard: list[str],
    clock: Clock,
) -> None:
    await begin(engine)
    server[0].body = _vector(arms(100, 90))
    await scraper.read_due()
    await scraper.read_due()
    assert server[0].queries == [SOURCE.query]
    other = Scraper(engine, server[1].query, clock=clock, heard=heard.append)
    await other.read_due()
    clock.move(15)
    server[0].body = _vector(arms(160, 150), at=1015.0)
    await scraper.read_due()
    await other.read_due()
    _, course = await Evaluations(engine).current("ramp-1")
    # What came first may be more of one arm than of the other.
    assert course.evidence.assigned.counts == (60, 60)  # type: ignore[union-attr]
    assert heard == ["ramp-1"] * 2


async def test_a_breach_is_found_in_counts(
    engine: AsyncEngine,
    server: tuple[Server, Prometheus],
    scraper: Scraper,
    guard: CircuitBreaker,
    clock: Clock,
) -> None:
    await begin(engine)
    for at, counts in ((1000.0, arms(1, 1)), (1015.0, arms(1000, 500, failed=400))):
        server[0].body = _vector(counts, at=at)
        await scraper.read_due()
        clock.move(15)
    await guard.watch("ramp-1")
    ledger, serving = await state(engine)
    assert ledger.breach is not None
    assert (ledger.breach.metric, serving.split.percent) == ("error", 0)


async def test_a_candidate_that_costs_too_much_is_found_in_sums(
    engine: AsyncEngine,
    server: tuple[Server, Prometheus],
    scraper: Scraper,
    guard: CircuitBreaker,
    clock: Clock,
) -> None:
    source = SOURCE.model_copy(update={"cost": "usd_total"})
    await begin(engine, source, policy(metrics=only("cost")))
    for reading in range(1, 31):
        spent = [usd(reading, generation="1"), usd(4 * reading, generation="1", arm="candidate")]
        server[0].body = _vector(spent, at=1000.0 + 15 * reading)
        clock.move(15)
        await scraper.read_due()
        await guard.watch("ramp-1")
    ledger, serving = await state(engine)
    assert ledger.breach is not None
    assert (ledger.breach.metric, serving.split.percent) == ("cost", 0)
    _, course = await Evaluations(engine).current("ramp-1")
    assert course.evidence.spent[1] == 4 * course.evidence.spent[0] > 0  # type: ignore[union-attr]


async def test_after_costs_began_again_the_next_reading_counts_from_there(
    engine: AsyncEngine, server: tuple[Server, Prometheus], scraper: Scraper, clock: Clock
) -> None:
    source = SOURCE.model_copy(update={"cost": "usd_total"})
    await begin(engine, source, policy(metrics=only("cost")))
    for number, (baseline, candidate) in enumerate(((5.0, 5.0), (1.0, 2.0), (3.0, 5.0))):
        both = [usd(baseline, generation="1"), usd(candidate, generation="1", arm="candidate")]
        server[0].body = _vector(both, at=1000.0 + 15 * number)
        await scraper.read_due()
        clock.move(15)
    _, course = await Evaluations(engine).current("ramp-1")
    assert course.evidence.spent == (2.0, 3.0)  # type: ignore[union-attr]
    assert course.evidence.metrics["cost"].worse.n == 1


def _refuses(server: Server) -> None:
    server.status, server.body = 400, {"status": "error", "error": "parse error"}


def _is_no_json(server: Server) -> None:
    server.status, server.body = 502, "<html>"


def _gives_scalars(server: Server) -> None:
    server.body = {"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}


def _dated(at: str) -> Callable[[Server], None]:
    def date(server: Server) -> None:
        server.body = json.dumps(_vector(arms(9, 9))).replace("1000.0", at)

    return date


def _counts_beyond_all(server: Server) -> None:
    server.body = json.dumps(_vector(arms(9, 9))).replace('"9"', "9" * 400)


def _is_nested(server: Server) -> None:
    server.body = "[" * 100_000


def _lacks_labels(server: Server) -> None:
    server.body = _vector([{"metric": {"job": "x"}, "value": [0, "1"]}])


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_refuses, "Prometheus refuses the query: parse error"),
        (_is_no_json, "Prometheus answers 502, not JSON"),
        (_gives_scalars, "the queries must give instant vectors"),
        (_lacks_labels, "every series needs the label arm: baseline or candidate"),
        (_dated("1e999"), "the answer is not an instant vector"),
        (_dated("NaN"), "the answer is not an instant vector"),
        (_dated("9" * 400), "the answer is not an instant vector"),
        (_counts_beyond_all, "the answer is not an instant vector"),
        (_is_nested, "Prometheus answers 200, not JSON"),
    ],
)
async def test_what_is_wrong_is_said_when_silence_ends_the_ramp(
    engine: AsyncEngine,
    server: tuple[Server, Prometheus],
    scraper: Scraper,
    clock: Clock,
    breaks: Callable[[Server], None],
    said: str,
) -> None:
    async def wake(run: str) -> None:
        del run

    evaluations = Evaluations(engine)
    guard = CircuitBreaker(engine, evaluations, wake=wake, clock=clock, fault=scraper.fault)
    await begin(engine)
    breaks(server[0])
    await scraper.read_due()
    assert scraper.fault("ramp-1") == said
    await guard.watch("ramp-1")
    assert (await state(engine))[1].split.percent == 50
    nothing_comes(evaluations, clock, 601)
    await guard.watch("ramp-1")
    ledger, _ = await state(engine)
    assert ledger.breach is not None
    assert ledger.breach.metric == "silence"
    assert ledger.breach.evidence.endswith(f"Counters: {said}.")


async def test_when_it_comes_back_nothing_was_missed(
    engine: AsyncEngine, server: tuple[Server, Prometheus], scraper: Scraper, clock: Clock
) -> None:
    await begin(engine)
    server[0].body = _vector(arms(100, 90))
    await scraper.read_due()
    server[0].status, server[0].body = 503, "down"
    clock.move(300)
    await scraper.read_due()
    server[0].status, server[0].body = 200, _vector(arms(400, 390), at=1400.0)
    clock.move(15)
    await scraper.read_due()
    assert scraper.fault("ramp-1") is None
    _, course = await Evaluations(engine).current("ramp-1")
    assert course.evidence.assigned.counts == (300, 300)  # type: ignore[union-attr]


async def test_what_is_wrong_or_slow_for_one_ramp_keeps_no_other_from_its_counts(
    engine: AsyncEngine, clock: Clock, heard: list[str]
) -> None:
    hung = SOURCE.model_copy(update={"successes": "hung"})
    broken = SOURCE.model_copy(update={"successes": "broken"})
    # Whichever is asked first.
    await begin(engine, hung, attempt="ramp-1", capability="llm.one")
    await begin(engine, broken, attempt="ramp-2", capability="llm.two")
    await begin(engine, attempt="ramp-3", capability="llm.three")
    await begin(engine, hung, attempt="ramp-4", capability="llm.four")
    answered = asyncio.Event()

    async def query(promql: str) -> Vector:
        if "hung" in promql:
            await answered.wait()
        if "broken" in promql:
            raise RuntimeError("nobody thought of this")
        generation = 3
        found = [
            series(9, generation=str(generation)),
            series(9, generation=str(generation), arm="candidate"),
        ]
        return Vector(1000.0, found)

    scraper = Scraper(engine, query, clock=clock, heard=heard.append)
    reading = asyncio.create_task(scraper.read_due())
    for _ in range(500):
        if heard:
            break
        await asyncio.sleep(0.02)
    assert heard == ["ramp-3"]
    answered.set()
    await reading


async def test_an_empty_answer_is_silence(
    engine: AsyncEngine,
    scraper: Scraper,
    guard: CircuitBreaker,
    evaluations: Evaluations,
    clock: Clock,
) -> None:
    await begin(engine)
    nothing_comes(evaluations, clock, 601)
    await scraper.read_due()
    await guard.watch("ramp-1")
    assert (await state(engine))[1].paused == "No observation for 10 min 1 s; 10 min is the limit."


async def test_without_an_address_and_without_a_server_it_is_said(
    engine: AsyncEngine, clock: Clock, heard: list[str]
) -> None:
    await begin(engine)
    unset = Scraper(engine, None, clock=clock, heard=heard.append)
    await unset.read_due()
    assert unset.fault("ramp-1") == NOT_SET
    away = Prometheus("http://127.0.0.1:9")
    unreachable = Scraper(engine, away.query, clock=clock, heard=heard.append)
    await unreachable.read_due()
    assert "cannot be reached" in str(unreachable.fault("ramp-1"))
    await away.close()
