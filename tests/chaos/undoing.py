"""A revert that breaks off after its hotfix was opened, played in a lane: it undoes what it did."""

from __future__ import annotations

from typing import Any

from tests.chaos.end_state import marked
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Scene


class BrokenOff:
    """While a hotfix waits for its checks, the App may no longer read them."""

    name = "undo"
    sampled_of_each_kind = 1

    async def prepare(self, lane: Lane) -> Scene:
        """Main is broken, and CI says nothing any more."""
        lane.may(**lane.installation.permissions | {"statuses": "read"})
        lane.ci.silent = False
        repository = lane.repository()
        alice = lane.person(repository)
        number = await lane.broken(alice)
        lane.ci.silent = True
        return Scene(lane, repository, alice, number, "/revert because totals are zero")

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Once the hotfix waits, the permission goes."""
        issues = scene.repository.issues

        async def waiting() -> bool:
            said = [c.body for issue in issues.values() for c in issue.comments]
            return any("I am waiting for" in body for body in said)

        await eventually(waiting, lane.life)
        left = {name: level for name, level in lane.installation.permissions.items()
                if name != "statuses"}  # fmt: skip
        lane.may(**left)
        assert await lane.done(scene.repository, comment) == "confused"

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One hotfix, closed, its branch gone; told once, in every place."""
        del scene
        pulls = [each for each in state["issues"].values() if each["pull"]]
        hotfixes = [each for each in pulls if each["pull"][0].startswith("hotfix/")]
        assert [(each["state"][0], each["pull"][3]) for each in hotfixes] == [("closed", False)]
        assert not [name for name in state["branches"] if "hotfix" in name]
        [incident] = [each for each in state["issues"].values() if "incident" in each["labels"]]
        assert "What it did is undone, newest first" in incident["body"]
        assert "2. publish the hotfix: its branch is deleted" in incident["body"]
        assert len(marked(state, "playbooks:status:")) == 1
        assert len(marked(state, "playbooks:answer:")) == 1
        kept = state["files"]["refs/heads/playbooks/records"]
        assert sum("/incidents/revert-" in path for path in kept) == 1
        assert [each[1] for each in state["records"]["runs"]] == ["rolled back"]
        actions = [row[1] for row in state["records"]["audit"]]
        assert actions.count("run.undoing") == actions.count("run.failed") == 1
