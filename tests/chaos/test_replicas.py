"""Two bots on one PostgreSQL: when one dies, the other finishes what it was doing, once."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos.lane import Lane, eventually, free_port
from tests.chaos.life import Conditions, Life

QUICK = Conditions(look_again=1.0, beat_every=0.4, give_up_after=5.0, dead_after=8.0)
"""A fraction of the real times, with room for a machine that is busy."""
PATIENT = replace(QUICK, give_up_after=15.0, dead_after=40.0)


class Pair:
    """A lane whose bot has a sibling."""

    def __init__(self, github: DemoGitHub, folder: Path, url: str, conditions: Conditions) -> None:
        self.lane = Lane(github, folder, conditions=conditions, database_url=url)
        key = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        self.lane.life.environment["PLAYBOOKS_SIGNING_KEY"] = key.decode()
        self.sibling = Life(
            self.lane.life.environment
            | {
                "PLAYBOOKS_PORT": str(free_port()),
                "PLAYBOOKS_REPLICA": "sibling",
                "PLAYBOOKS_DATA": str(folder / "sibling"),
            },
            folder / "sibling-life",
            conditions,
        )

    async def start(self) -> None:
        await self.lane.start()
        await self.sibling.start()

    async def close(self) -> None:
        await self.lane.close()
        await self.sibling.kill()

    def done_twice(self) -> set[str]:
        """The steps that both of the two did."""
        one, other = (
            {step for moment, _, step in life.trace() if moment == "ended"}
            for life in (self.lane.life, self.sibling)
        )
        assert one, "the first did nothing"
        assert other, "the second did nothing"
        return one & other


@pytest.fixture
async def pairs(
    github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory, postgres_url: str
) -> AsyncIterator[list[Pair]]:
    """Room for the pair a test makes; closed before its database is dropped."""
    del github, tmp_path_factory, postgres_url
    pairs: list[Pair] = []
    yield pairs
    for pair in pairs:
        await pair.close()


def hotfixes(repository: FakeRepository) -> list[str]:
    """The heads of the hotfix pull requests."""
    return [
        issue.pull.head_sha
        for issue in repository.issues.values()
        if issue.pull and issue.pull.head_ref.startswith("hotfix/")
    ]


@pytest.mark.chaos
async def test_the_sibling_finishes_the_run_of_a_killed_replica_and_does_no_step_twice(
    github: DemoGitHub, tmp_path: Path, postgres_url: str, pairs: list[Pair], chaos_is_full: bool
) -> None:
    # The real times need most of a minute: `make chaos` waits for them.
    conditions = Conditions(look_again=2.0) if chaos_is_full else QUICK
    pair = Pair(github, tmp_path, postgres_url, conditions)
    pairs.append(pair)
    await pair.start()
    lane, repository = pair.lane, pair.lane.repository()
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        # Which of the two takes the command from the inbox is not settled: kill whoever does.
        for life in (lane.life, pair.sibling):
            life.plan("began", 10, "", "in-the-middle")
        comment = await lane.ask(alice, number)

        async def one_died() -> bool:
            return not (lane.life.alive and pair.sibling.alive)

        await eventually(one_died, lane.life)
        for life in (lane.life, pair.sibling):
            life.unplan()
        await lane.carried_out(repository, comment)
    assert not pair.done_twice()
    assert len(hotfixes(repository)) == 1
    assert [i.state for i in repository.issues.values() if i.labels] == ["closed"]


@pytest.mark.thorough
async def test_a_replica_that_stops_in_good_order_leaves_its_run_to_the_sibling_at_once(
    github: DemoGitHub, tmp_path: Path, postgres_url: str, pairs: list[Pair]
) -> None:
    pair = Pair(github, tmp_path, postgres_url, PATIENT)
    pairs.append(pair)
    lane, repository = pair.lane, pair.lane.repository()
    await lane.start()
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        lane.ci.silent = True
        comment = await lane.ask(alice, number)

        async def published() -> list[str]:
            return hotfixes(repository)

        [head] = await eventually(published, lane.life)
        await pair.sibling.start()
        stopped = time.monotonic()
        await lane.life.stop()
        lane.ci.report(repository, head)
        await lane.carried_out(repository, comment)
    assert time.monotonic() - stopped < 20


@pytest.mark.thorough
async def test_a_replica_that_cannot_renew_its_heartbeat_ends_itself(
    github: DemoGitHub, tmp_path: Path, postgres_url: str, pairs: list[Pair]
) -> None:
    pair = Pair(github, tmp_path, postgres_url, QUICK)
    pairs.append(pair)
    await pair.lane.start()
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE replicas IN ACCESS EXCLUSIVE MODE")
        await pair.lane.life.died(within=10)
    assert pair.lane.life.code == 70


@pytest.mark.thorough
async def test_a_replica_that_hung_until_its_sibling_took_over_does_not_go_on(
    github: DemoGitHub, tmp_path: Path, postgres_url: str, pairs: list[Pair]
) -> None:
    pair = Pair(github, tmp_path, postgres_url, QUICK)
    pairs.append(pair)
    await pair.lane.start()
    pair.lane.life.send(signal.SIGSTOP)
    time.sleep(QUICK.give_up_after + 0.5)  # noqa: ASYNC251 - nothing else shall happen
    pair.lane.life.send(signal.SIGCONT)
    await pair.lane.life.died(within=5)
    assert pair.lane.life.code == 70


@pytest.mark.thorough
async def test_alone_it_resumes_its_own_runs_after_a_stop_in_good_order(
    github: DemoGitHub, tmp_path: Path
) -> None:
    lane = Lane(github, tmp_path, conditions=Conditions(look_again=1.0))
    repository = lane.repository()
    await lane.start()
    try:
        async with lane.person(repository) as alice:
            number = await lane.broken(alice)
            lane.ci.silent = True
            comment = await lane.ask(alice, number)

            async def published() -> list[str]:
                return hotfixes(repository)

            [head] = await eventually(published, lane.life)
            await lane.life.stop()
            assert lane.life.code == 0
            lane.ci.report(repository, head)
            await lane.start()
            await lane.carried_out(repository, comment)
    finally:
        await lane.close()
