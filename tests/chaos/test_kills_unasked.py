"""The bot is killed while it acts though no person asked; it ends as if it had not been.

`make chaos` tries every point; a plain test run one of each play.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from fakegithub.server import DemoGitHub
from tests.chaos.judging import AutomaticRevert
from tests.chaos.lane import Lane
from tests.chaos.matrix import enumerate_points, try_all
from tests.chaos.plays import Play
from tests.chaos.survived import Survived
from tests.chaos.triaging import Alert

PLAYS: tuple[Play, ...] = (AutomaticRevert(), Alert())
LANES = 3


@pytest.fixture
async def lanes(
    github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory, chaos_is_full: bool
) -> AsyncIterator[list[Lane]]:
    """Bots side by side where there is much to try, else one."""
    width = LANES if chaos_is_full else 1
    lanes = [Lane(github, tmp_path_factory.mktemp("lane")) for _ in range(width)]
    for lane in lanes:
        await lane.start()
    yield lanes
    for lane in lanes:
        await lane.close()


@pytest.mark.thorough
@pytest.mark.chaos
@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
async def test_killed_while_it_acts_by_itself_it_ends_as_if_nothing_had_happened(
    lanes: list[Lane], play: Play, chaos_is_full: bool, chaos_seed: int
) -> None:
    tally = await enumerate_points(lanes[0], play)
    points = tally.points
    if not chaos_is_full:
        # What comes once comes always: how often one has to look is another matter.
        once = [point for point in points if point.number == 1]
        points = random.Random(chaos_seed).sample(once, play.sampled_of_each_kind)  # noqa: S311 - repeatable
    kept = Survived(tally.play.name) if chaos_is_full else None
    await try_all(tally, points, lanes, kept)
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
