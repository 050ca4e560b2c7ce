"""What a lane can be made to play: a playbook from the command to its end, on a fresh repository.

A play says how the repository is broken, what is asked, what people do until it is over, and what
must be there exactly once when it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

from demo.person import Person
from fakegithub.changes import checks, statuses
from fakegithub.world.model import FakeRepository
from tests.chaos.end_state import assert_one_of_everything, marked
from tests.chaos.lane import Lane, eventually
from tests.playbooks.bisect import bisecting


@dataclass
class Scene:
    """A broken repository, somebody at work in it, and what they are about to ask.

    Attributes:
        number: the issue or pull request on which it is asked.
    """

    lane: Lane
    repository: FakeRepository
    person: Person
    number: int
    words: str

    async def ask(self) -> int:
        """Say it; the comment's id."""
        return int((await self.person.comment(self.number, self.words))["id"])

    async def __aenter__(self) -> Scene:
        """Come in."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave."""
        await self.person.close()


class Play(Protocol):
    """One playbook, played."""

    name: str
    sampled_of_each_kind: int
    """How many points of each kind a plain test run tries."""
    side_by_side: bool
    """Whether two Runs write to the same branches at the same time."""

    async def prepare(self, lane: Lane) -> Scene:
        """Break a fresh repository."""

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Do what people do until it is over."""

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """It was done, and done once."""


class Revert:
    """A pull request broke main, and somebody has it reverted."""

    name = "revert"
    sampled_of_each_kind = 2
    side_by_side = False

    async def prepare(self, lane: Lane) -> Scene:
        """Main is broken by a merged pull request."""
        repository = lane.repository()
        alice = lane.person(repository)
        number = await lane.broken(alice)
        return Scene(lane, repository, alice, number, "/revert because totals are zero")

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Nobody needs to do anything more."""
        await lane.carried_out(scene.repository, comment)

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One hotfix, merged, with its papers."""
        del scene
        assert_one_of_everything(state)


COMMITS, CULPRIT = 16, 8


class Bisect:
    """Main is red since one of a few commits; trials find out which, a person approves the fix."""

    name = "bisect"
    sampled_of_each_kind = 1
    side_by_side = False
    trial = bisecting.GOOD_TRIAL
    """The command of a trial."""

    async def prepare(self, lane: Lane) -> Scene:
        """CI knows every commit but the ends, which have to be tried: both, in whatever order.

        So what is found, and by how many trials, does not depend on which of them ends first.
        """
        repository = lane.repository()
        alice = lane.person(repository)
        trial = bisecting.TRIAL.replace("COMMAND", self.trial)
        files: dict[str, str | None] = {
            ".github/workflows/playbooks-trial.yml": trial,
            ".github/playbooks.yml": bisecting.CONFIG,
        }
        await lane.approved(repository, bisecting.CONFIG)
        first = await alice.push("main", files, "Begin")
        commits = bisecting.put_commits(lane.github, repository, first, COMMITS, CULPRIT)
        with lane.deaf():  # What CI said before anybody asked is not delivered a thousand times.
            for number, sha in enumerate(commits):
                said = "success" if number < CULPRIT else "failure"
                _status(lane, repository, sha, said)
                if 0 < number < COMMITS:
                    _check_run(lane, repository, sha, said)
        issue = await alice.open_issue("main is red")
        return Scene(lane, repository, alice, issue, f"/bisect {first}..main check smoke")

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Once asked, Alice approves the fix."""
        issue = scene.repository.issues[scene.number]

        async def asked() -> bool:
            return lane.life.alive and any("needs-you-person" in c.body for c in issue.comments)

        await eventually(asked, lane.life)
        await scene.person.comment(scene.number, "/approve")
        await lane.carried_out(scene.repository, comment)

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One fix, merged, with its papers; no trial dispatched twice, no stray ref."""
        issues = state["issues"].values()
        assert len([each for each in issues if "incident" in each["labels"]]) == 1
        pulls = [each["pull"] for each in issues if each["pull"]]
        assert pulls == [("fix/bisect-<id>", "main", False, True)]
        assert state["branches"] == ["refs/heads/main", "refs/heads/playbooks/records"]
        main = state["files"]["refs/heads/main"]
        kept = state["files"]["refs/heads/playbooks/records"]
        [report] = [path for path in main if "/incidents/bisect-" in path]
        [adr] = [path for path in main if path.startswith("docs/") and path.endswith(".md")]
        assert kept[report] == main[report]
        assert kept[adr] == main[adr]
        assert "self/spec_report.json" in main
        # It was opened, and it ended.
        assert len(kept["audit/anchors.jsonl"].splitlines()) == 2
        for marker in ("status:", "needs-you-person:", "done:"):
            assert len(marked(state, marker)) == 1, marker
        assert len([each for each in state["check-runs"] if each[0] == "bisect"]) == 1
        assert len(state["records"]["incidents"]) == len(state["records"]["runs"]) == 1
        assert state["records"]["runs"][0][1] == "succeeded"
        runs = scene.lane.github.runner.runs.values()
        trials = [
            run.cause.inputs["trial_id"]
            for run in runs
            if run.repository is scene.repository and run.cause.event == "workflow_dispatch"
        ]
        twice = [name for name, count in Counter(trials).items() if count > 1]
        assert trials
        assert not twice
        assert not list(scene.repository.git.refs("refs/playbooks/"))


def _status(lane: Lane, repository: FakeRepository, sha: str, said: str) -> None:
    statuses.create(lane.github.world, repository, sha, said, "smoke", repository.owner)


def _check_run(lane: Lane, repository: FakeRepository, sha: str, said: str) -> None:
    world, app = lane.github.world, lane.github.runner.app
    checks.create(world, repository, app, "smoke", sha, {"conclusion": said})


PLAYS: tuple[Play, ...] = (Revert(), Bisect())
"""A playbook that is added here is killed everywhere."""
