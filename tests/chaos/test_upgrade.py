"""A Run that waits is not stranded when the code under it is replaced.

`python benchmarks/upgrade.py` tries every wait of every playbook, `make thorough` a few; a plain
test run whether the stories leave no wait out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.upgrade import the_release_before
from fakegithub.server import DemoGitHub
from tests.chaos.upgrading.cells import Ground
from tests.chaos.upgrading.end import differences
from tests.chaos.upgrading.stories import STORIES, Story
from tests.chaos.upgrading.trees import TODAY, NoSuchCommit, Servers, tree_of
from tests.chaos.upgrading.waits import not_covered, unforeseen

MOST_TRIES = 3
SAMPLED = ("revert: for checks", "shadow: for evidence")


@pytest.fixture
async def ground(github: DemoGitHub, tmp_path: Path) -> AsyncIterator[Ground]:
    """Bots of any tree on the tests' GitHub."""
    servers = Servers()
    yield Ground(github, tmp_path, servers)
    await servers.close()
    github.world.commits_do_as_trees = False


def test_every_wait_in_the_code_has_its_story() -> None:
    assert not_covered(TODAY) == []


@pytest.mark.thorough
async def test_begun_by_the_release_before_it_ends_under_todays_code(ground: Ground) -> None:
    try:
        old = tree_of(the_release_before())
    except NoSuchCommit as unknown:
        pytest.skip(str(unknown))

    async def upgraded(story: Story) -> None:
        undisturbed = await ground.visit(story, [TODAY])
        visit = await ground.visit(story, [old, TODAY])
        tries = 1
        # At the moment of the stop it may just have looked again: that is another story.
        while not visit.waited and tries < MOST_TRIES:
            visit, tries = await ground.visit(story, [old, TODAY]), tries + 1
        assert visit.waited, visit.journal
        assert differences(visit.left, undisturbed.left) == []
        assert unforeseen({*visit.places, *undisturbed.places}) == []

    await asyncio.gather(*(upgraded(story) for story in STORIES if story.name in SAMPLED))
