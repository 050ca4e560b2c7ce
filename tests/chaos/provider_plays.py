"""Shadow, ramp and rollback, played in a lane: clients report exactly the same every time.

Each batch of observations has event ids of its own and is sent until it is taken, so it counts
once, whatever dies meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import yaml

from tests.chaos.end_state import marked
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Scene
from tests.playbooks.providing import CAPABILITY, POLICY, evenly, headers, share

_BATCH = 1600
_PAIRS = 400


class Ramp:
    """A candidate is shadowed, ramped and promoted."""

    name = "shadow and ramp"
    sampled_of_each_kind = 10
    """One point takes a minute, and there are hundreds; a plain test run tries none."""

    async def prepare(self, lane: Lane) -> Scene:
        """The capability is configured, and somebody wants to try another provider."""
        repository = lane.repository()
        alice = lane.person(repository)
        text = yaml.safe_dump({"capabilities": {CAPABILITY: POLICY}})
        await alice.push("main", {".github/playbooks.yml": text}, "Capabilities")
        issue = await alice.open_issue("Try provider-b")
        return Scene(lane, repository, alice, issue, f"/shadow {CAPABILITY} provider-b")

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Clients report, and once it is proposed somebody asks for the ramp."""
        async with Reporting(lane, scene) as clients:
            await clients.shadow()
            assert await lane.done(scene.repository, comment) == "+1"
            words = f"/ramp {CAPABILITY}"
            asked = int((await scene.person.comment(scene.number, words))["id"])
            for percent in (5, 25, 50, 95, 100):
                await clients.serve(percent)
            assert await lane.done(scene.repository, asked) == "+1"

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One shadow, one ramp, each with its papers; nobody was told anything twice."""
        del scene
        issues = state["issues"].values()
        assert sum("shadow" in each["labels"] for each in issues) == 1
        assert sum("ramp" in each["labels"] for each in issues) == 1
        main = state["files"]["refs/heads/main"]
        assert sum("/provider_shadow_diffs/" in path for path in main) == 1
        assert sum("/ramp_reports/" in path for path in main) == 1
        assert sum(path.startswith("docs/") for path in main) == 2
        assert len(marked(state, "status:")) == 2
        assert len(marked(state, "done:")) == 2
        assert [each[1] for each in state["records"]["runs"]] == ["succeeded", "succeeded"]
        forget_whose_turn_it_was(state)


class Rollback(Ramp):
    """A candidate is shadowed and ramped, and somebody takes it back."""

    name = "rollback"

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """It gets its first traffic, and somebody does not like what they see."""
        async with Reporting(lane, scene) as clients:
            await clients.shadow()
            assert await lane.done(scene.repository, comment) == "+1"
            ramp = await scene.person.comment(scene.number, f"/ramp {CAPABILITY}")
            await clients.until(5)
            words = f"/rollback {CAPABILITY} because answers are empty"
            asked = int((await scene.person.comment(scene.number, words))["id"])
            assert await lane.done(scene.repository, asked) == "+1"
            assert await lane.done(scene.repository, int(ramp["id"])) == "confused"
            await clients.until(0)

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One incident, one fix, merged, with its papers."""
        del scene
        issues = state["issues"].values()
        assert sum("incident" in each["labels"] for each in issues) == 1
        pulls = [each["pull"] for each in issues if each["pull"]]
        assert pulls == [("fix/rollback-<id>", "main", False, True)]
        main = state["files"]["refs/heads/main"]
        assert sum("/incidents/rollback-" in path for path in main) == 1
        assert sum("/ramp_reports/" in path for path in main) == 1
        assert sum(path.startswith("docs/") for path in main) == 3
        assert len(marked(state, "done:")) == 3
        forget_whose_turn_it_was(state)


def forget_whose_turn_it_was(state: dict[str, Any]) -> None:
    """Two Runs end side by side: what each leaves is compared, not who was first."""
    for issue in state["issues"].values():
        issue["comments"].sort()
        issue["body"] = _unnumbered(issue["body"])
        issue["comments"] = [
            (who, _unnumbered(said), *more) for who, said, *more in issue["comments"]
        ]
    state["commits"] = {name: sorted(said) for name, said in state["commits"].items()}
    for files in state["files"].values():
        for path, text in files.items():
            files[path] = _unnumbered(text)
    records = state["records"]
    records["audit"] = sorted(tuple(map(_unnumbered, row[1:])) for row in records["audit"])


def _unnumbered(text: str) -> str:
    text = re.sub(r"(Audit head: entry |\"seq\": |audit head `)\d+", r"\1<n>", text)
    text = re.sub(r"(its shadow `)[0-9a-z]{8}", r"\1<short id>", text)
    # Who was first to open an issue has the lower number.
    return re.sub(r"(#|issues/|pull/|\"(?:issue|number|pull_request)\": ?)\d+", r"\1<n>", text)


class Reporting:
    """The clients of one scene."""

    def __init__(self, lane: Lane, scene: Scene) -> None:
        self._lane, self._scene = lane, scene
        self._http = aiohttp.ClientSession(headers=headers())
        self._url = f"http://127.0.0.1:{lane.port}"

    async def __aenter__(self) -> Reporting:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def shadow(self) -> None:
        """Report pairs, all of them at once."""
        generation = await self._when(lambda flag: flag["metadata"]["mode"] == "shadow")
        lines = [
            self._line(f"p{number}-{arm}", arm, generation, failed=evenly(number + shift, 0.3))
            | {"pair_id": f"p{number}"}
            for number in range(_PAIRS)
            for arm, shift in (("baseline", 0), ("candidate", 7))
        ]
        await self._report(lines)

    async def serve(self, percent: int) -> None:
        """Report requests of one stage, all of them at once."""
        generation = await self.until(percent)
        arms = {"baseline": 0, "candidate": 0}
        lines = []
        for number in range(_BATCH):
            arm = "candidate" if evenly(number, percent / 100) else "baseline"
            failed = evenly(arms[arm], 0.3)
            arms[arm] += 1
            lines.append(self._line(f"s{percent}-{number}", arm, generation, failed=failed))
        # Two points of a curve lie a second apart at least, or one of them is left out.
        await asyncio.sleep(1.1)
        await self._report(lines)

    async def until(self, percent: int) -> int:
        """Wait until the candidate has this share; the generation."""
        return await self._when(lambda flag: share(flag) == percent)

    async def _when(self, wanted: Any) -> int:
        async def look() -> int | None:
            place = self._scene.repository.full_name
            try:
                async with self._http.get(f"{self._url}/r/{place}/flags/flagd.json") as response:
                    found = await response.json() if response.status == 200 else {}
            except aiohttp.ClientError:
                return None  # it is dead just now
            flag = found.get("flags", {}).get(CAPABILITY)
            return flag["metadata"]["generation"] if flag and wanted(flag) else None

        return int(await eventually(look, self._lane.life))

    async def _report(self, lines: list[dict[str, Any]]) -> None:
        body = "\n".join(map(json.dumps, lines))
        place = self._scene.repository.full_name
        path = f"{self._url}/providers/observations?repository={place}"
        media = {"Content-Type": "application/x-ndjson"}

        async def taken() -> bool:
            try:
                async with self._http.post(path, data=body, headers=media) as response:
                    return response.status == 202
            except aiohttp.ClientError:
                return False

        await eventually(taken, self._lane.life)

    def _line(self, event: str, arm: str, generation: int, *, failed: bool) -> dict[str, Any]:
        time = datetime.now(UTC) - timedelta(seconds=1)
        return {
            "event_id": event,
            "capability": CAPABILITY,
            "arm": arm,
            "generation": generation,
            "time": time.isoformat(),
            "error": failed,
        }
