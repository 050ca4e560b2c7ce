"""Programs that provide a capability, with the client and with OpenFeature's own providers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import AbstractProvider
from sqlalchemy.ext.asyncio import AsyncEngine

import bot.traffic.client
from bot.app import wall_clock
from bot.canary import sample_size
from bot.traffic.client import Client
from bot.traffic.evaluation import Evaluations
from bot.traffic.flag_file import FlagFile
from bot.traffic.flagd import Split, is_candidate
from tests.intake.api import providing
from tests.intake.waiting import until
from tests.traffic.conftest import Clock
from tests.traffic.test_ledger import begin
from tests.traffic.test_serving_flags import decide
from tests.traffic.trials import CAPABILITY, ramping, shadowing

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

STAGES = (5, 25, 50, 100)
BASELINES = {CAPABILITY: "provider-a"}


@pytest.fixture
def now(clock: Clock) -> Clock:
    """The client tells real times, so the server must live in them."""
    clock.now = wall_clock()
    return clock


@pytest.fixture
async def program(client: providing.Client, now: Clock) -> AsyncIterator[Client]:
    del now
    found = Client(client.url, "reporter", BASELINES, repository="acme/app", timeout=10)
    yield found
    await asyncio.to_thread(found.close)


def _openfeature(provider: AbstractProvider, domain: str) -> OpenFeatureClient:
    api.set_provider(provider, domain)
    return api.get_client(domain)


@pytest.fixture
def ofrep(client: providing.Client) -> Iterator[OpenFeatureClient]:
    provider = OFREPProvider(
        f"{client.url}/r/acme/app",
        headers_factory=lambda: {"Authorization": "Bearer reader"},
        timeout=30,
    )
    yield _openfeature(provider, "ofrep")
    api.clear_providers()


def told(client: OpenFeatureClient, key: str) -> str:
    return client.get_string_value(CAPABILITY, "the default", EvaluationContext(key))


async def test_a_split_seen_through_ofrep_is_the_one_that_was_decided(
    ofrep: OpenFeatureClient, engine: AsyncEngine
) -> None:
    """That this split is the right one for 20,000 keys is shown in test_flags."""
    keys = [f"user-{number}" for number in range(60)]
    before: set[str] = set()
    for percent in STAGES:
        await decide(engine, ramping(percent))
        found = await asyncio.to_thread(lambda: {key: told(ofrep, key) for key in keys})
        candidates = {key for key, provider in found.items() if provider == "provider-b"}
        assert set(found.values()) <= {"provider-a", "provider-b"}
        assert candidates == {
            key for key in keys if is_candidate(CAPABILITY, ramping(percent), key)
        }
        assert before <= candidates
        before = candidates


async def test_ofrep_clients_are_told_the_generation_and_get_their_default_for_unknown_flags(
    ofrep: OpenFeatureClient, engine: AsyncEngine
) -> None:
    logging.getLogger("openfeature").setLevel(logging.CRITICAL)
    await decide(engine, ramping(5))
    details = await asyncio.to_thread(
        ofrep.get_string_details, CAPABILITY, "", EvaluationContext("k")
    )
    assert details.flag_metadata["generation"] == 1
    unknown = await asyncio.to_thread(ofrep.get_string_details, "llm.unknown", "the default")
    assert (unknown.value, unknown.error_code) == ("the default", "FLAG_NOT_FOUND")


@pytest.mark.thorough
async def test_a_split_read_from_the_file_follows_every_stage(
    client: providing.Client, engine: AsyncEngine, tmp_path: Path
) -> None:
    path = tmp_path / "flagd.json"
    keys = [f"user-{number}" for number in range(20_000)]
    await decide(engine, ramping(STAGES[0]))
    url = f"{client.url}/r/acme/app/flags/flagd.json"
    file = await asyncio.to_thread(FlagFile(url, "reader", path, every=0.05).start)
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=50
    )
    flagd = await asyncio.to_thread(_openfeature, provider, "file")
    before: set[str] = set()
    try:
        for percent in STAGES:
            await decide(engine, ramping(percent))
            reached = next(
                key
                for key in keys
                if is_candidate(CAPABILITY, ramping(percent), key) and key not in before
            )
            await _until(lambda key=reached: told(flagd, key) == "provider-b")
            found = await asyncio.to_thread(
                lambda: {key for key in keys if told(flagd, key) == "provider-b"}
            )
            assert abs(100 * len(found) / len(keys) - percent) <= 1
            assert before <= found
            before = found
    finally:
        await asyncio.to_thread(file.stop)
        await asyncio.to_thread(api.clear_providers)


async def _until(condition: Callable[[], bool]) -> None:
    await until(lambda: asyncio.to_thread(condition))


async def test_calls_go_where_the_split_says_and_are_observed(
    program: Client, engine: AsyncEngine
) -> None:
    await begin(engine)
    made: dict[str, str] = {}

    def run() -> None:
        for number in range(100):
            key = f"request-{number}"
            made[key] = program.call(
                CAPABILITY, key, {"provider-a": lambda: "a", "provider-b": lambda: "b"},
                cost=lambda _: 0.001,
            )  # fmt: skip
        program.close()

    await asyncio.to_thread(run)
    split = ramping(50)
    assert made == {key: "b" if is_candidate(CAPABILITY, split, key) else "a" for key in made}
    assert (program.counts.sent, program.counts.dropped, program.counts.refused) == (100, 0, 0)
    _, course = await Evaluations(engine).current("ramp-1")
    assert course.evidence.assigned.counts == (  # type: ignore[union-attr]
        list(made.values()).count("a"),
        list(made.values()).count("b"),
    )


async def test_a_failure_is_reported_and_raised(program: Client, engine: AsyncEngine) -> None:
    await begin(engine)

    def broken() -> str:
        raise RuntimeError("the provider is down")

    def run() -> None:
        with pytest.raises(RuntimeError, match="the provider is down"):
            program.call(CAPABILITY, "k", {"provider-a": broken, "provider-b": broken})
        program.close()

    await asyncio.to_thread(run)
    _, course = await Evaluations(engine).current("ramp-1")
    arms = course.settled().arms  # type: ignore[union-attr]
    assert arms.baseline.failed + arms.candidate.failed == 1


async def test_in_a_shadow_a_sample_is_answered_by_both_and_users_see_the_baseline(
    program: Client, engine: AsyncEngine
) -> None:
    await begin(engine, "shadow-1", shadow=True)
    await decide(engine, shadowing(0.5, "shadow-1"))
    copies: list[str] = []

    def run() -> set[str]:
        answers = set()
        for number in range(40):
            key = f"request-{number}"
            answers.add(
                program.call(
                    CAPABILITY,
                    key,
                    {"provider-a": lambda: "a", "provider-b": lambda key=key: copies.append(key)},
                )
            )
            expected = [f"request-{n}" for n in range(number + 1) if _in_sample(f"request-{n}")]
            while len(copies) < len(expected):
                time.sleep(0.001)
        program.close()
        return answers

    assert await asyncio.to_thread(run) == {"a"}
    assert copies == [f"request-{n}" for n in range(40) if _in_sample(f"request-{n}")]
    assert program.counts.refused == 0
    _, course = await Evaluations(engine).current("shadow-1")
    assert course.evidence.pairs == len(copies)  # type: ignore[union-attr]


def _in_sample(key: str) -> bool:
    return sample_size.sampled("20260101", key, 0.5)


async def test_a_slow_candidate_never_holds_up_the_caller(
    program: Client, engine: AsyncEngine
) -> None:
    await begin(engine, "shadow-1", shadow=True)
    await decide(engine, shadowing(1.0, "shadow-1"))
    hanging = threading.Event()

    def run() -> None:
        for number in range(20):
            program.call(
                CAPABILITY,
                str(number),
                {"provider-a": lambda: "a", "provider-b": lambda: str(hanging.wait(60))},
            )

    await asyncio.to_thread(run)
    assert program.counts.unmirrored == 20 - bot.traffic.client.MOST_MIRRORED_AT_ONCE
    hanging.set()


async def test_while_nobody_is_on_trial_nothing_is_sent(
    program: Client, engine: AsyncEngine
) -> None:
    await decide(engine, Split(baseline="provider-a"))
    await asyncio.to_thread(program.call, CAPABILITY, "k", {"provider-a": lambda: "a"})
    await asyncio.to_thread(program.close)
    assert program.counts == bot.traffic.client.Counts()
