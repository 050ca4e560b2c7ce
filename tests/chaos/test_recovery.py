"""A run that has done its work and only waits for others survives a kill like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakegithub.changes import statuses
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos.end_state import end_state, marked
from tests.chaos.lane import Lane, eventually


@pytest.fixture
async def lane(github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    """A bot in a process of its own."""
    lane = Lane(github, tmp_path_factory.mktemp("recovery"))
    yield lane
    await lane.close()


def hotfix_of(repository: FakeRepository, *, merged: bool) -> Any:
    """The hotfix pull request, once it is there or merged."""
    found = [i for i in repository.issues.values() if i.pull and "hotfix/" in i.pull.head_ref]
    return next((i for i in found if i.pull and (i.pull.merged_at or not merged)), None)


@pytest.mark.thorough
async def test_killed_while_it_watches_a_red_branch_it_still_sees_it_recover(
    github: DemoGitHub, lane: Lane
) -> None:
    repository = lane.repository()
    await lane.start()
    async with lane.person(repository) as alice:
        number = await lane.broken(alice)
        lane.ci.silent = True
        comment = await lane.ask(alice, number)

        async def opened() -> Any:
            return hotfix_of(repository, merged=False)

        async def merged() -> Any:
            return hotfix_of(repository, merged=True)

        async def asked() -> bool:
            said = [str(each["body"]) for each in await alice.comments(number)]
            return any(" Look at `main`: " in body for body in said)

        hotfix = await eventually(opened, lane.life)
        await alice.push("main", {"other.py": "1\n"}, "Another change")
        lane.ci.report(repository, hotfix.pull.head_sha)
        sha = (await eventually(merged, lane.life)).pull.merge_commit_sha
        statuses.create(github.world, repository, sha, "failure", "smoke", repository.owner)
        await eventually(asked, lane.life)
        await lane.life.kill()
        lane.ci.report(repository, sha)
        await lane.start()
        await lane.carried_out(repository, comment)
    state = end_state(repository, lane.data)
    for key in ("status:", "needs-you-red-after-merge", "done:"):
        assert len(marked(state, key)) == 1, key
    # That it was red was recorded at once, that it recovered later: nothing a third time.
    kept = state["files"]["refs/heads/playbooks/records"]
    assert len(kept["audit/anchors.jsonl"].splitlines()) == 2
    assert len(state["commits"]["refs/heads/playbooks/records"]) == 2
    [run] = state["records"]["runs"]
    assert run[1] == "succeeded"
