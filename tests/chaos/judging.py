"""An eval drop after self-work, played in a lane: nobody says a word, and it is reverted."""

from __future__ import annotations

from typing import Any

from fakegithub.world.model import FakeRepository
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Scene
from tests.playbooks.autorevert.judging import CONFIG, STEADY, WORKFLOW


class Merging(Scene):
    """Instead of a command, an agent's pull request is merged that breaks the evals."""

    async def ask(self) -> int:
        """Merge it; there is no comment."""
        await self.person.merge(self.number)
        return 0


class AutomaticRevert:
    """The judge reproduces a failing check, self-work is paused, and the change reverted."""

    name = "automatic revert after eval drop"
    sampled_of_each_kind = 1
    side_by_side = False
    command = STEADY
    """What the evals run."""

    async def prepare(self, lane: Lane) -> Scene:
        """Evals run as a workflow; an agent's change that breaks them is open."""
        lane.ci.silent = False
        repository = lane.repository()
        alice = lane.person(repository)
        files: dict[str, str | None] = {
            ".github/workflows/evals.yml": WORKFLOW.replace("COMMAND", self.command),
            ".github/playbooks.yml": CONFIG,
        }
        await alice.push("main", files, "Evaluate")
        await _evaluated(lane, repository, await alice.head("main"))
        await alice.push("main", {"notes.txt": "all is well\n"}, "Write a note")
        await _evaluated(lane, repository, await alice.head("main"))
        number = await alice.open_pull_request(
            "Cheaper prompts", {"broken": "yes\n"}, branch="cheaper"
        )
        await alice.label(number, "self-work")
        await _evaluated(lane, repository, await alice.head("cheaper"))
        return Merging(lane, repository, alice, number, "")

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Wait until main is as it was, and nothing runs any more."""
        del comment

        async def mended() -> bool:
            merged = [i.pull for i in scene.repository.issues.values() if i.pull]
            hotfixes = [pull for pull in merged if pull.head_ref.startswith("hotfix/")]
            return any(pull.merged_at for pull in hotfixes) and not lane.unfinished()

        await eventually(mended, lane.life)

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One hotfix, merged, with its papers; judged and paused before it was asked for."""
        issues = state["issues"].values()
        assert len([each for each in issues if "incident" in each["labels"]]) == 1
        pulls = [each["pull"] for each in issues if each["pull"]]
        hotfixes = [pull for pull in pulls if pull[0].startswith("hotfix/")]
        assert hotfixes == [("hotfix/revert-<id>", "main", False, True)]
        main = state["files"]["refs/heads/main"]
        assert "broken" not in main
        assert sum("/incidents/revert-" in path for path in main) == 1
        actions = [row[1] for row in state["records"]["audit"]]
        assert actions.count("self-work.paused") == 1
        assert actions.index("self-work.paused") < actions.index("incident.opened")
        _forget_how_often_it_was_tried(state, scene)


def _forget_how_often_it_was_tried(state: dict[str, Any], scene: Scene) -> None:
    """How many runs there were when it was judged depends on when the bot was killed."""
    del scene
    records = state["records"]
    records["audit"] = [row[1] for row in records["audit"] if row[1] != "check.judged"]
    records["runs"] = sorted({row[:2] for row in records["runs"]})
    state["check-runs"] = [run for run in state["check-runs"] if run[0] in ("hotfix", "bisect")]
    # What was seen is part of the reason, which stands in every text and report.
    state["issues"] = {
        number: (each["state"], each["labels"], each["pull"], len(each["comments"]))
        for number, each in state["issues"].items()
    }
    state["files"] = {name: sorted(files) for name, files in state["files"].items()}
    state["commits"] = {name: len(said) for name, said in state["commits"].items()}
    state["proposed"] = {number: len(said) for number, said in state["proposed"].items()}
    state["check-runs"] = [run[:4] for run in state["check-runs"]]


async def _evaluated(lane: Lane, repository: FakeRepository, sha: str) -> None:
    async def ended() -> bool:
        runs = [r for r in repository.check_runs.values() if r.head_sha == sha]
        return any(r.name == "evals" and r.status == "completed" for r in runs)

    await eventually(ended, lane.life)
