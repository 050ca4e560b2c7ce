"""The bot is killed with SIGKILL at every instant of shadow, ramp and rollback.

`make chaos` tries every point; a plain test run a seeded sample.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from fakegithub.server import DemoGitHub
from tests.chaos.lane import Lane
from tests.chaos.matrix import Tally, enumerate_points, try_all
from tests.chaos.plays import Play
from tests.chaos.provider_plays import PLAYS
from tests.chaos.survived import Survived

LANES = 4
"""A play mostly waits; more than this, and two cores are the limit."""
SAMPLED = 1
"""Points of each play that a plain test run tries."""


@pytest.fixture
async def lanes(
    github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory, chaos_is_full: bool
) -> AsyncIterator[list[Lane]]:
    """Bots side by side, each in a process of its own with data of its own."""
    count = LANES if chaos_is_full else 0
    lanes = [Lane(github, tmp_path_factory.mktemp("lane")) for _ in range(count)]
    for lane in lanes:
        await lane.start()
    yield lanes
    for lane in lanes:
        await lane.close()


@pytest.mark.thorough
async def test_killed_at_a_few_instants_it_ends_as_if_nothing_had_happened(
    github: DemoGitHub,
    tmp_path_factory: pytest.TempPathFactory,
    chaos_is_full: bool,
    chaos_seed: int,
) -> None:
    if chaos_is_full:
        pytest.skip("every instant is tried")

    async def some(play: Play) -> Tally:
        """Each play in a lane of its own, side by side."""
        lane = Lane(github, tmp_path_factory.mktemp("lane"))
        await lane.start()
        try:
            tally = await enumerate_points(lane, play)
            points = random.Random(chaos_seed).sample(tally.points, SAMPLED)  # noqa: S311 - repeatable
            await try_all(tally, points, [lane])
        finally:
            await lane.close()
        return tally

    for tally in await asyncio.gather(*map(some, PLAYS)):
        print(tally)  # noqa: T201 - the count is part of what is shown
        assert not tally.failures, "\n\n".join([str(tally), *tally.failures])


@pytest.mark.chaos
@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
async def test_killed_at_any_instant_it_ends_as_if_nothing_had_happened(
    lanes: list[Lane], play: Play, chaos_is_full: bool
) -> None:
    if not chaos_is_full:
        pytest.skip("make chaos tries every instant")
    tally = await enumerate_points(lanes[0], play)
    await try_all(tally, tally.points, lanes, Survived(play.name))
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
    assert len(tally.survived) + len(tally.missed) == len(tally.points)
