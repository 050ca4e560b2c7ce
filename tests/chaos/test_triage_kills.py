"""The bot is killed while an alert fires, is acted on and clears; it ends as if it had not.

`make chaos` tries every point; a plain test run one of them.
"""

from __future__ import annotations

import random

import pytest

from bot.demo.github.server import DemoGitHub
from tests.chaos.lane import Lane
from tests.chaos.matrix import enumerate_points, try_all
from tests.chaos.triaging import Alert

LANES = 3
SAMPLED = 1


@pytest.mark.chaos
async def test_killed_while_an_alert_fires_what_it_names_is_reverted_once_and_it_ends(
    github: DemoGitHub,
    tmp_path_factory: pytest.TempPathFactory,
    chaos_is_full: bool,
    chaos_seed: int,
) -> None:
    width = LANES if chaos_is_full else 1
    lanes = [Lane(github, tmp_path_factory.mktemp("lane")) for _ in range(width)]
    for lane in lanes:
        await lane.start()
    try:
        tally = await enumerate_points(lanes[0], Alert())
        points = tally.points
        if not chaos_is_full:
            once = [point for point in points if point.number == 1]
            points = random.Random(chaos_seed).sample(once, SAMPLED)  # noqa: S311 - repeatable
        await try_all(tally, points, lanes)
    finally:
        for lane in lanes:
            await lane.close()
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
