"""The bot is killed with SIGKILL at every instant of shadow, ramp and rollback.

`make chaos` tries every point; a plain test run a seeded sample.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.demo.github.server import DemoGitHub
from tests.chaos.lane import Lane
from tests.chaos.matrix import enumerate_points, sample, try_all
from tests.chaos.plays import Play
from tests.chaos.provider_plays import PLAYS

LANES = 4
"""A play mostly waits; more than this, and two cores are the limit."""


@pytest.fixture
async def lanes(
    github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Lane]]:
    """Bots side by side, each in a process of its own with data of its own."""
    lanes = [Lane(github, tmp_path_factory.mktemp("lane")) for _ in range(LANES)]
    for lane in lanes:
        await lane.start()
    yield lanes
    for lane in lanes:
        await lane.close()


@pytest.mark.chaos
@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
async def test_killed_at_any_instant_it_ends_as_if_nothing_had_happened(
    lanes: list[Lane], play: Play, chaos_is_full: bool, chaos_seed: int
) -> None:
    tally = await enumerate_points(lanes[0], play)
    points = tally.points
    if not chaos_is_full:
        points = sample(points, chaos_seed, play.sampled_of_each_kind)
    await try_all(tally, points, lanes)
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
    assert len(tally.survived) + len(tally.missed) == len(points)
