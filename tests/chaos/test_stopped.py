"""SIGTERM in the middle of a revert, a bisect and a ramp: parked within ten seconds, then resumed.

A real `playbooks serve`, as a supervisor stops it: `docker stop` and Kubernetes kill soon after.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fakegithub.faults.request_faults import Held
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos import provider_plays
from tests.chaos.end_state import assert_audit_is_intact, end_state
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Bisect, Revert, Scene

LONGEST_S = 10.0


class RevertStopped(Revert):
    """Stopped while the hotfix waits for its checks."""

    by = signal.SIGTERM

    async def prepare(self, lane: Lane) -> Scene:
        """CI says nothing until the bot is back."""
        scene = await super().prepare(lane)
        lane.ci.silent = True
        return scene

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """CI speaks again."""
        lane.ci.speak(scene.repository)
        await super().to_its_end(lane, scene, comment)

    async def in_the_middle(self, scene: Scene) -> bool:
        """Whether the hotfix is proposed."""
        return any(ref.startswith("refs/heads/hotfix/") for ref in scene.repository.git.refs())


class BisectStopped(Bisect):
    """Stopped while commits are being tried, by the end of the terminal it runs in."""

    by = signal.SIGHUP

    async def in_the_middle(self, scene: Scene) -> bool:
        """Whether a trial is dispatched."""
        runs = scene.lane.github.runner.runs.values()
        return any(r.repository is scene.repository and r.cause.event == "workflow_dispatch"
                   for r in runs)  # fmt: skip


class RampStopped(provider_plays.Ramp):
    """Stopped in the middle of the first stage, by Ctrl-C."""

    by = signal.SIGINT

    async def in_the_middle(self, scene: Scene) -> bool:
        """Whether the candidate serves its first share."""
        return _says(scene.repository, "serves 5%")


def _says(repository: FakeRepository, words: str) -> bool:
    return any(words in (issue.body or "") or any(words in c.body for c in issue.comments)
               for issue in repository.issues.values())  # fmt: skip


PLAYS = {play.name: play for play in (RevertStopped(), BisectStopped(), RampStopped())}


@pytest.fixture
async def lane(github: DemoGitHub, tmp_path: Path) -> AsyncIterator[Lane]:
    lane = Lane(github, tmp_path, as_program=True)
    await lane.start()
    yield lane
    await lane.close()


async def _stop(lane: Lane, by: signal.Signals = signal.SIGTERM) -> float:
    """Stop; the seconds until the process was gone, of itself and without a word of trouble."""
    began = time.monotonic()
    lane.life.send(by)
    await lane.life.died()
    assert lane.life.code == 0, lane.life.said()
    assert "Traceback" not in lane.life.said()
    return time.monotonic() - began


@pytest.mark.sampled("revert")
@pytest.mark.parametrize("name", PLAYS)
async def test_stopped_in_the_middle_everything_is_parked_and_goes_on_at_the_next_start(
    lane: Lane, name: str
) -> None:
    play = PLAYS[name]
    async with await play.prepare(lane) as scene:
        lane.serve_only(scene.repository)
        comment = await scene.ask()
        await eventually(lambda: play.in_the_middle(scene), lane.life)
        assert await _stop(lane, play.by) <= LONGEST_S
        assert lane.unfinished() >= 1
        await lane.start()
        await play.to_its_end(lane, scene, comment)
        await lane.github.deliveries.settle()
    assert lane.life.lives == 2
    state = end_state(scene.repository, lane.data)
    play.assert_one_of_everything(state, scene)
    await assert_audit_is_intact(scene.repository, lane.data)


@pytest.mark.thorough
async def test_what_hangs_does_not_keep_it_from_ending_in_time(
    github: DemoGitHub, lane: Lane
) -> None:
    """GitHub took a request and never answers it; the next life looks what became of it."""
    play, released = Revert(), asyncio.Event()
    async with await play.prepare(lane) as scene:
        lane.serve_only(scene.repository)
        rule = github.faults.add(Held(released), method="POST", path="/pulls$", times=1)
        comment = await scene.ask()

        async def held() -> bool:
            return rule.fired > 0

        await eventually(held, lane.life)
        assert await _stop(lane) <= LONGEST_S
        released.set()
        await lane.start()
        await play.to_its_end(lane, scene, comment)
    play.assert_one_of_everything(end_state(scene.repository, lane.data), scene)


@pytest.mark.thorough
async def test_a_thread_that_waits_for_the_database_does_not_keep_it_from_ending_in_time(
    lane: Lane,
) -> None:
    """Another process writes for long while this one has something to migrate."""
    await lane.life.stop()
    with closing(sqlite3.connect(lane.data / "playbooks.db", isolation_level=None)) as other:
        other.execute("UPDATE schema_version SET version_num = '0017'")
        other.execute("BEGIN IMMEDIATE")
        starting = asyncio.create_task(lane.life.start())

        async def waits() -> bool:
            return "listening, but not ready" in lane.life.said()

        await eventually(waits, lane.life)
        assert await _stop(lane) <= LONGEST_S
    with suppress(AssertionError):
        await starting
