"""The bot is killed with SIGKILL at instants of shadow, ramp and rollback; `make chaos` only."""

from __future__ import annotations

from typing import Any

import pytest

from bot.demo.github.server import DemoGitHub
from tests.chaos.lane import Lane

# The matrix that plays any playbook; without it there is nothing to play with.
pytest.importorskip("tests.chaos.plays")

LANES = 3


@pytest.mark.chaos
@pytest.mark.parametrize("name", ["Ramp", "Rollback"])
async def test_killed_at_any_instant_it_ends_as_if_nothing_had_happened(
    github: DemoGitHub,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    chaos_is_full: bool,
    chaos_seed: int,
) -> None:
    if not chaos_is_full:
        pytest.skip("each point takes a minute: make chaos tries them")
    from tests.chaos import matrix, provider_plays

    play: Any = getattr(provider_plays, name)()
    lanes = [Lane(github, tmp_path_factory.mktemp("lane")) for _ in range(LANES)]
    for lane in lanes:
        await lane.start()
    try:
        tally = await matrix.enumerate_points(lanes[0], play)
        points = matrix.sample(tally.points, chaos_seed, play.sampled_of_each_kind)
        await matrix.try_all(tally, points, lanes)
    finally:
        for lane in lanes:
            await lane.close()
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
