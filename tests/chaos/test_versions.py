"""Two releases side by side on one PostgreSQL: each goes on only with what it can replay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.upgrade import the_release_before
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos.lane import Lane, eventually, free_port
from tests.chaos.test_replicas import hotfixes
from tests.chaos.upgrading.stories import FOLLOWING
from tests.chaos.upgrading.trees import TODAY, NoSuchCommit, Servers, Tree, TreeLife, tree_of

DEAD_AFTER = 12.0
"""Seconds of silence after which a sibling is dead; a fraction of the real time."""
ENOUGH = 2 * DEAD_AFTER
"""Seconds in which a sibling that took what is not its own would have taken it."""


class TwoReleases:
    """A lane on PostgreSQL with a bot of the release before, and one of today."""

    def __init__(self, github: DemoGitHub, folder: Path, url: str, servers: Servers) -> None:
        self.lane = Lane(github, folder, database_url=url)
        self.url, self._folder, self._servers = url, folder, servers
        github.world.commits_do_as_trees = True
        key = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        self._environment = {**self.lane.environment, "PLAYBOOKS_SIGNING_KEY": key.decode()}

    def life(self, tree: Tree, name: str, *, first: bool) -> TreeLife:
        """A bot of this tree; the first one gets the deliveries."""
        environment = self._environment | {
            "PLAYBOOKS_REPLICA": name,
            "PLAYBOOKS_DATA": str(self._folder / f"data-{name}"),
            "PLAYBOOKS_PORT": str(self.lane.port if first else free_port()),
        }
        life = TreeLife(self._servers, tree, environment, self._folder / name)
        life.dead_after = DEAD_AFTER
        return life

    def executor(self) -> tuple[str, str]:
        """Who executes the Run that waits, and of which code it is."""
        with psycopg.connect(self.url) as connection:
            [found] = connection.execute(
                "SELECT executor_id, application_version FROM dbos.workflow_status"
                " WHERE status IN ('PENDING', 'ENQUEUED')"
            ).fetchall()
        return str(found[0]), str(found[1])


@pytest.fixture
async def releases(
    github: DemoGitHub, tmp_path: Path, postgres_url: str
) -> AsyncIterator[TwoReleases]:
    """Both releases, on a database of their own."""
    servers = Servers()
    both = TwoReleases(github, tmp_path, postgres_url, servers)
    yield both
    await servers.close()
    github.world.commits_do_as_trees = False


@pytest.fixture
def old(chaos_is_full: bool) -> Tree:
    """The release before."""
    if not chaos_is_full:
        pytest.skip("make chaos has it: it waits for a sibling that must do nothing")
    try:
        return tree_of(the_release_before())
    except NoSuchCommit as unknown:
        pytest.skip(str(unknown))


async def waits_for_ci(lane: Lane, life: TreeLife) -> tuple[FakeRepository, int, str]:
    """A revert was asked for, and its hotfix waits for CI."""
    lane.life = life
    repository = lane.repository()
    lane.ci.silent = True
    async with lane.person(repository) as alice:
        comment = await lane.ask(alice, await lane.broken(alice))

        async def waiting() -> list[str]:
            at_it = any(place == FOLLOWING for _, _, place, _, _ in life.waits())
            return hotfixes(repository) if at_it else []

        [head] = await eventually(waiting, life)
    return repository, comment, head


@pytest.mark.chaos
async def test_what_the_release_before_began_stays_its_own_and_is_taken_up_when_it_is_gone(
    releases: TwoReleases, old: Tree
) -> None:
    before = releases.life(old, "before", first=True)
    await before.start()
    repository, comment, head = await waits_for_ci(releases.lane, before)
    today = releases.life(TODAY, "today", first=False)
    await today.start()
    await asyncio.sleep(ENOUGH)
    assert releases.executor() == ("before", "1")

    await before.kill()
    killed = time.monotonic()

    async def taken() -> bool:
        return releases.executor()[0] == "today"

    await eventually(taken, today)
    # The real times are 40 seconds of silence and 10 until the next look.
    assert time.monotonic() - killed < DEAD_AFTER + 20
    releases.lane.life = today
    releases.lane.ci.report(repository, head)
    await releases.lane.carried_out(repository, comment)
    assert len(hotfixes(repository)) == 1


@pytest.mark.chaos
async def test_what_today_began_is_left_alone_by_the_release_before_until_today_is_back(
    releases: TwoReleases, old: Tree
) -> None:
    today = releases.life(TODAY, "today", first=True)
    await today.start()
    repository, comment, head = await waits_for_ci(releases.lane, today)
    before = releases.life(old, "before", first=False)
    await before.start()
    mine = releases.executor()
    await today.kill()
    await asyncio.sleep(ENOUGH)
    assert releases.executor() == mine
    await today.start()
    releases.lane.ci.report(repository, head)
    await releases.lane.carried_out(repository, comment)
    assert len(hotfixes(repository)) == 1
