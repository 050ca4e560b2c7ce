"""The bot is killed while it judges an eval drop and reverts by itself; it ends as if it had not.

`make chaos` tries every point; a plain test run one of them.
"""

from __future__ import annotations

import random

import pytest

from bot.demo.github.server import DemoGitHub
from tests.chaos.judging import AutomaticRevert
from tests.chaos.lane import Lane
from tests.chaos.matrix import enumerate_points, try_all

SAMPLED = 1


@pytest.mark.chaos
async def test_killed_while_nobody_said_a_word_it_is_reverted_once(
    github: DemoGitHub,
    tmp_path_factory: pytest.TempPathFactory,
    chaos_is_full: bool,
    chaos_seed: int,
) -> None:
    width = 3 if chaos_is_full else SAMPLED
    lanes = [Lane(github, tmp_path_factory.mktemp("lane")) for _ in range(width)]
    for lane in lanes:
        await lane.start()
    try:
        tally = await enumerate_points(lanes[0], AutomaticRevert())
        points = tally.points
        if not chaos_is_full:
            points = random.Random(chaos_seed).sample(points, SAMPLED)  # noqa: S311 - repeatable
        await try_all(tally, points, lanes)
    finally:
        for lane in lanes:
            await lane.close()
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
