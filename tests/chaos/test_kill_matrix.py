"""The bot is killed with SIGKILL at every instant of a playbook, and it ends as if it had not been.

`make chaos` tries every point; a plain test run a seeded sample.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakegithub.server import DemoGitHub
from tests.chaos.lane import Lane
from tests.chaos.matrix import Point, die_and_come_back, enumerate_points, sample, try_all
from tests.chaos.plays import PLAYS, Play, Revert
from tests.chaos.survived import Survived
from tests.chaos.undoing import BrokenOff

LANES = 3


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


@pytest.mark.sampled("revert")
@pytest.mark.chaos
@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
async def test_killed_at_any_instant_it_ends_as_if_nothing_had_happened(
    lanes: list[Lane], play: Play, chaos_is_full: bool, chaos_seed: int
) -> None:
    tally = await enumerate_points(lanes[0], play)
    points = tally.points
    if not chaos_is_full:
        points = sample(points, chaos_seed, play.sampled_of_each_kind)
    kept = Survived(tally.play.name) if chaos_is_full else None
    await try_all(tally, points, lanes, kept)
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
    assert len(tally.survived) + len(tally.missed) == len(points)


@pytest.mark.thorough
@pytest.mark.chaos
async def test_killed_while_it_undoes_what_it_did_it_undoes_the_rest(
    lanes: list[Lane], chaos_is_full: bool
) -> None:
    tally = await enumerate_points(lanes[0], BrokenOff())
    points = [point for point in tally.points if _is_of_undoing(point)]
    if not chaos_is_full:
        points = [p for p in points if p.kind == "ended" and p.what.startswith("undo-")]
    kept = Survived(tally.play.name) if chaos_is_full else None
    await try_all(tally, points, lanes, kept)
    print(tally)  # noqa: T201 - the count is part of what is shown
    assert not tally.failures, "\n\n".join([str(tally), *tally.failures])
    assert len(points) >= 2


def _is_of_undoing(point: Point) -> bool:
    return "undo" in point.what or point.what.startswith(("PATCH pulls/", "DELETE git/refs/"))


@pytest.mark.thorough
async def test_the_program_itself_is_killed_after_the_merge_and_started_again(
    github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lane = Lane(github, tmp_path_factory.mktemp("program"), as_program=True)
    await lane.start()
    try:
        first = await enumerate_points(lane, Revert())
        [merged] = [p for p in first.points if p.kind == "after" and p.what.endswith("/merge")]
        assert await die_and_come_back(lane, first.play, merged) == first.undisturbed
        assert lane.life.lives == 2
    finally:
        await lane.close()
