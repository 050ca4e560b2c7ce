"""Shadow, ramp and rollback, played in a lane: clients report exactly the same every time.

Each batch of observations has event ids of its own and is sent until it is taken, so it counts
once, whatever dies meanwhile.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import yaml

from fakegithub.world.model import FakeRepository
from tests.chaos.end_state import marked
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Play, Scene
from tests.playbooks.providing import CAPABILITY, POLICY, evenly, headers, share

_BATCH = 1600
_PAIRS = 400


@dataclass
class ProviderScene(Scene):
    """A capability with two providers, and its clients.

    Attributes:
        clients: report what they see.
        ramp: the comment that asked for the ramp; None before.
    """

    clients: Reporting
    ramp: int | None = None

    async def __aexit__(self, *_: object) -> None:
        """Leave, and the clients too."""
        await self.clients.close()
        await super().__aexit__()


class Shadow:
    """A candidate is shadowed and found good."""

    name = "shadow"
    sampled_of_each_kind = 1
    side_by_side = False

    async def prepare(self, lane: Lane) -> ProviderScene:
        """The capability is configured, and somebody wants to try another provider."""
        return await configured(lane, f"/shadow {CAPABILITY} provider-b")

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Clients report pairs."""
        await _clients(scene).shadow()
        await lane.carried_out(scene.repository, comment)

    def assert_one_of_everything(self, state: dict[str, Any], scene: Scene) -> None:
        """One shadow with its papers; nobody was told anything twice."""
        del scene
        issues = state["issues"].values()
        assert sum("shadow" in each["labels"] for each in issues) == 1
        main = state["files"]["refs/heads/main"]
        assert sum("/provider_shadow_diffs/" in path for path in main) == 1
        assert sum(path.startswith("docs/") for path in main) == 1
        assert len(marked(state, "status:")) == 1
        assert len(marked(state, "done:")) == 1
        assert [each[1] for each in state["records"]["runs"]] == ["succeeded"]
        forget_whose_turn_it_was(state)


class Ramp:
    """A candidate that was shadowed is ramped and promoted."""

    name = "ramp"
    sampled_of_each_kind = 1
    side_by_side = False

    async def prepare(self, lane: Lane) -> ProviderScene:
        """Its shadow is over, and a ramp is proposed."""
        scene = await configured(lane, f"/ramp {CAPABILITY}")
        await shadowed(lane, scene)
        return scene

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Clients report in every stage."""
        for percent in (5, 25, 50, 95, 100):
            await _clients(scene).serve(percent)
        await lane.carried_out(scene.repository, comment)

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


class Rollback:
    """A candidate is being ramped, and somebody takes it back."""

    name = "rollback"
    sampled_of_each_kind = 1
    side_by_side = True

    async def prepare(self, lane: Lane) -> ProviderScene:
        """It has its first traffic, and somebody does not like what they see."""
        scene = await configured(lane, f"/rollback {CAPABILITY} because answers are empty")
        await shadowed(lane, scene)
        asked = await scene.person.comment(scene.number, f"/ramp {CAPABILITY}")
        scene.ramp = int(asked["id"])
        await scene.clients.until(5)
        await lane.told(scene.repository, "serves 5%")
        return scene

    async def to_its_end(self, lane: Lane, scene: Scene, comment: int) -> None:
        """The ramp ends, and the fix is merged."""
        assert isinstance(scene, ProviderScene)
        await lane.carried_out(scene.repository, comment)
        assert await lane.done(scene.repository, scene.ramp or 0) == "confused"
        await scene.clients.until(0)

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


PLAYS: tuple[Play, ...] = (Shadow(), Ramp(), Rollback())


async def configured(lane: Lane, words: str) -> ProviderScene:
    """A repository with a policy, and an issue in which to say these words."""
    repository = lane.repository()
    lane.serve_only(repository)
    alice = lane.person(repository)
    text = yaml.safe_dump({"capabilities": {CAPABILITY: POLICY}})
    await alice.push("main", {".github/playbooks.yml": text}, "Capabilities")
    issue = await alice.open_issue("Try provider-b")
    clients = Reporting(lane, repository)
    return ProviderScene(lane, repository, alice, issue, words, clients=clients)


async def shadowed(lane: Lane, scene: ProviderScene) -> None:
    """Have the candidate shadowed, undisturbed."""
    asked = await scene.person.comment(scene.number, f"/shadow {CAPABILITY} provider-b")
    await scene.clients.shadow()
    await lane.carried_out(scene.repository, int(asked["id"]))


def _clients(scene: Scene) -> Reporting:
    assert isinstance(scene, ProviderScene)
    return scene.clients


def forget_whose_turn_it_was(state: dict[str, Any]) -> None:
    """Two Runs end side by side: what each leaves is compared, not who was first."""
    for issue in state["issues"].values():
        issue["comments"].sort()
        issue["body"] = _unnumbered(issue["body"])
        issue["comments"] = [
            (who, _unnumbered(said), *more) for who, said, *more in issue["comments"]
        ]
    state["commits"] = {
        name: sorted(map(_by_whomever, said)) for name, said in state["commits"].items()
    }
    for files in state["files"].values():
        for path, text in files.items():
            files[path] = _unnumbered(text)
    records = state["records"]
    # Beside every Run the flag document is looked at after each push, and replaced where it is
    # too old: who of the two was first is not compared, nor how often one had to say so.
    audit = [row for row in records["audit"] if row[1] != "flags.replaced"]
    records["audit"] = sorted(tuple(map(_unnumbered, row[1:])) for row in audit)


def _by_whomever(message: str) -> str:
    """The document goes back once: by the rollback, or by whoever looks after pushes."""
    words = ("Flags: what is served", "Flags: all of")
    return "Flags: back" if message.startswith(words) else message


def _unnumbered(text: str) -> str:
    text = re.sub(r"(Audit head: entry |\"seq\": |audit head `)\d+", r"\1<n>", text)
    # How fast the shadow's requests came is measured.
    text = re.sub(r"% of [\d.,]+ requests a (second|minute)", r"% of <n> requests a \1", text)
    # Who was first to open an issue has the lower number.
    return re.sub(r"(#|issues/|pull/|\"(?:issue|number|pull_request)\": ?)\d+", r"\1<n>", text)


class Reporting:
    """The clients of a repository's capability."""

    def __init__(self, lane: Lane, repository: FakeRepository) -> None:
        self._lane, self._place = lane, repository.full_name
        self._http = aiohttp.ClientSession(headers=headers())
        self._url = f"http://127.0.0.1:{lane.port}"

    async def close(self) -> None:
        """Report no more."""
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
        await self._report(lines)

    async def until(self, percent: int) -> int:
        """Wait until the candidate has this share; the generation."""
        return await self._when(lambda flag: share(flag) == percent)

    async def _when(self, wanted: Any) -> int:
        async def look() -> int | None:
            try:
                async with self._http.get(
                    f"{self._url}/r/{self._place}/flags/flagd.json"
                ) as response:
                    found = await response.json() if response.status == 200 else {}
            except aiohttp.ClientError:
                return None  # it is dead just now
            flag = found.get("flags", {}).get(CAPABILITY)
            return flag["metadata"]["generation"] if flag and wanted(flag) else None

        return int(await eventually(look, self._lane.life))

    async def _report(self, lines: list[dict[str, Any]]) -> None:
        body = "\n".join(map(json.dumps, lines))
        path = f"{self._url}/providers/observations?repository={self._place}"
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
