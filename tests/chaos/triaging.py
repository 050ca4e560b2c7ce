"""An alert that names a change, played in a lane: reverted, cleared, and over."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.chaos.lane import API_TOKEN, Lane, eventually
from tests.chaos.plays import Scene
from tests.playbooks.alerts.alerting import event
from tests.shop import BAD

CONFIG = "checks: {smoke: [smoke], evals: [smoke]}\n"
"""With evals, self-work is taken back without a person."""


@dataclass
class Alerting(Scene):
    """Instead of a command, an alert fires that names the pull request.

    Attributes:
        left_behind: what an earlier play in this lane never ended: one failure must stay one.
    """

    left_behind: int = 0

    async def ask(self) -> int:
        """Send it; there is no comment."""
        await self.says(1)
        return 0

    async def says(self, number: int, **more: str) -> None:
        """Send an alert, again until it is taken: whoever takes it may just be dead."""
        body = event(
            "slo.breach",
            number,
            repository=self.repository.full_name,
            summary="the checkout is slow",
            pull_request=self.number,
            **more,
        )
        async with aiohttp.ClientSession() as session:
            while not await self._taken(session, body):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    async def _taken(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> bool:
        try:
            async with session.post(
                f"http://127.0.0.1:{self.lane.port}/alerts/cloudevents",
                json=body,
                headers={
                    "Authorization": f"Bearer {API_TOKEN}",
                    "Content-Type": "application/cloudevents+json",
                },
            ) as response:
                assert response.status in (202, 500, 503), await response.text()
                return response.status == 202
        except aiohttp.ClientError:
            return False


class Alert:
    """An SLO breach names merged self-work: it is reverted by itself, and then all is well."""

    name = "alert"
    sampled_of_each_kind = 1
    side_by_side = True

    async def prepare(self, lane: Lane) -> Scene:
        """An agent's change is merged."""
        repository = lane.repository()
        lane.serve_only(repository)
        alice = lane.person(repository)
        await alice.push("main", {".github/playbooks.yml": CONFIG}, "Configure")
        number = await alice.open_pull_request("Cheaper", {"shop.py": BAD}, branch="cheaper")
        await alice.label(number, "self-work")
        await alice.merge(number, "squash")
        await alice.delete("git/refs/heads/cheaper")
        left_behind = lane.unfinished()
        # The bot lists what it serves once a minute; from now on it has heard of this one.
        help_wanted = await alice.comment(number, "/help")

        async def heard() -> bool:
            said = "+1" in lane.reactions(repository, int(help_wanted["id"]))
            return said and lane.unfinished() <= left_behind

        await eventually(heard, lane.life)
        return Alerting(lane, repository, alice, number, "", left_behind)

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """The sender says that it is over once the change is taken back."""
        del comment
        assert isinstance(scene, Alerting)

        async def over() -> bool:
            ended = _statuses(lane, scene) == ["resolved", "resolved"]
            return ended and lane.life.alive and lane.unfinished() <= scene.left_behind

        await self.reverted(lane, scene)
        await scene.says(2, status="resolved")
        await eventually(over, lane.life)

    async def reverted(self, lane: Lane, scene: Scene, *, at_work: int | None = None) -> None:
        """Wait until the change is taken back, and at most so many Runs are at work yet."""
        assert isinstance(scene, Alerting)
        most = None if at_work is None else scene.left_behind + at_work

        async def reverted() -> bool:
            pulls = [i.pull for i in scene.repository.issues.values() if i.pull]
            merged = any(p.merged_at for p in pulls if p.head_ref.startswith("hotfix/"))
            quiet = most is None or lane.unfinished() <= most
            statuses = _statuses(lane, scene)
            return merged and quiet and lane.life.alive and statuses == ["active", "resolved"]

        await eventually(reverted, lane.life)

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One incident of the alert and one of the revert, each with its papers; one pause."""
        del scene
        issues = state["issues"].values()
        assert len([each for each in issues if "incident" in each["labels"]]) == 2
        assert {each["state"] for each in issues if "incident" in each["labels"]} == {
            ("closed", "completed")
        }
        pulls = [each["pull"] for each in issues if each["pull"]]
        assert [pull for pull in pulls if pull[0].startswith("hotfix/")] == [
            ("hotfix/revert-<id>", "main", False, True)
        ]
        kept = state["files"]["refs/heads/playbooks/records"]
        assert len([path for path in kept if path.startswith("docs/")]) == 2
        assert len([path for path in kept if "/incidents/revert-" in path]) == 1
        actions = [row[1] for row in state["records"]["audit"]]
        for action in ("self-work.paused", "alert.judged", "hotfix.merged"):
            assert actions.count(action) == 1, action
        assert actions.count("incident.opened") == 2
        assert actions.count("incident.resolved") == 2
        _forget_whose_turn_it_was(state)


def _forget_whose_turn_it_was(state: dict[str, Any]) -> None:
    """Two Runs write side by side: who came first, and which audit head stood where, may differ."""
    records = state["records"]
    # A group of alerts is named by a hash of its repository.
    records["incidents"] = sorted(row[:3] for row in records["incidents"])
    records["audit"] = sorted(row[1] for row in records["audit"])
    records["runs"] = sorted(row[:2] for row in records["runs"])
    state["commits"] = {name: sorted(said) for name, said in state["commits"].items()}


def _statuses(lane: Lane, scene: Scene) -> list[str]:
    path = lane.data / "playbooks.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        rows = database.execute(
            "SELECT status FROM incidents WHERE repository_id = ?", (scene.repository.id,)
        ).fetchall()
    return sorted(status for (status,) in rows)
