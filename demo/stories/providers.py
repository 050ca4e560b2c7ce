"""The stories of shadow, ramp and rollback: a candidate is tried on a stream of requests.

A good candidate is promoted; one that fails more often at 25% is rolled back. Told like the revert
story; at the end the promised outcome is looked up over HTTP.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from demo.clients import BASELINE, CANDIDATE, CAPABILITY, NEWCOMER, Clients
from demo.person import Person
from demo.stage import FILES, Stage
from demo.stories.invitation import Invitation, Say, open_incident
from demo.stories.revert import Played, Told, Transcript, until

LONGEST_SECONDS = 900.0
WORSE = 0.05
"""Share of requests that fail besides, once the candidate goes bad."""
ROOT = "apps/orchestrator/orchestrator"
_CONFIG = f"""{FILES[".github/playbooks.yml"]}
capabilities:
  {CAPABILITY}:
    baseline: {BASELINE}
    candidates: [{CANDIDATE}, {NEWCOMER}]
    seed: "20260101"
    shadow: {{sample_rate: 0.5, min_pairs: 1000}}
    stages:
      - {{percent: 5, min_bake: 3s, min_n: 100}}
      - {{percent: 25, min_bake: 3s, min_n: 200}}
      - {{percent: 50, min_bake: 3s, min_n: 200}}
      - {{percent: 100, min_bake: 3s, min_n: 200, holdback: 5, soak: 3s}}
    metrics:
      error: {{alpha: .03, margin_ratio: 4, slo_max: .10}}
      latency: {{alpha: .01, margin: .5}}
      latency_p95: null
      latency_p99: null
      cost: {{alpha: .01, margin: .5}}
      roas: null
    max_silence: 1m
"""
"""Short stages and wide margins: the story takes a minute, not hours."""
STAYS_AT_25 = _CONFIG.replace("percent: 25, min_bake: 3s", "percent: 25, min_bake: 2m")
"""Long enough at 25% for what goes bad there to be found there."""


class ProviderTranscript(Transcript):
    """Tells of pushes to main too: the flag document is committed at every stage."""

    def _hear_push(self, payload: dict[str, Any], who: str) -> None:
        if payload["ref"] == "refs/heads/main" and payload["commits"]:
            title = payload["commits"][-1]["message"].partition("\n")[0]
            if title.startswith("Flags: "):
                self.line(who, f"commits “{title}”")

    def _hear_issues(self, payload: dict[str, Any], who: str) -> None:
        issue = payload["issue"]
        if payload["action"] in ("opened", "closed"):
            verb = "opens" if payload["action"] == "opened" else "closes"
            self.line(who, f"{verb} #{issue['number']} “{issue['title']}”", issue["html_url"])

    def _hear_check_run(self, payload: dict[str, Any], who: str) -> None:
        """Checks are not what this story is about."""


async def play_shadow(stage: Stage, say: Say) -> Played:
    """A candidate is shadowed and stays within bounds: a ramp is proposed."""
    began = time.monotonic()
    story = await stage.keep(on_stage(stage, say))
    await story.shadow()
    incident = await story.incident("shadow")
    report = await story.report(f"provider_shadow_diffs/{incident['id']}.json")
    only_baseline = set(story.clients.seen.served) == {BASELINE}
    story.say(f"{report['pairs']['n']:,} pairs were compared; users met {BASELINE} only.")
    ok = all(
        [
            report["verdict"] == "promote",
            incident["status"] == "resolved",
            only_baseline,
            await story.has(f"Ramp it with `/ramp {CAPABILITY}`"),
            'outcome: "confirmed"' in (await story.alice.file(incident["adr"] or "") or ""),
        ]
    )
    artifact = f"{ROOT}/provider_shadow_diffs/{incident['id']}.json"
    told = await story.told("shadow", ok, incident, artifact, None, began)
    return Played(told, ProviderScene(story))


async def play_ramp(stage: Stage, say: Say) -> Played:
    """A good candidate passes every stage and becomes the active provider."""
    began = time.monotonic()
    story = await stage.keep(on_stage(stage, say))
    await story.shadow()
    await story.ramp()
    await until(lambda: story.has("is the active provider"), LONGEST_SECONDS)
    incident = await story.incident("ramp")
    report = await story.report(f"ramp_reports/{incident['id']}.json")
    ok = all(
        [
            report["verdict"] == "promote",
            [stage["percent"] for stage in report["stages"]] == [5, 25, 50, 95, 100],
            incident["status"] == "resolved",
            (await story.incident("shadow"))["status"] == "closed",
            story.clients.seen.flipped == 0,
            await story.clients.provider_now("anybody") == CANDIDATE,
            'outcome: "confirmed"' in (await story.alice.file(incident["adr"] or "") or ""),
        ]
    )
    story.say(f"Nobody flipped back; {CANDIDATE} serves everybody.")
    artifact = f"{ROOT}/ramp_reports/{incident['id']}.json"
    told = await story.told("ramp", ok, incident, artifact, None, began)
    return Played(told, ProviderScene(story))


async def play_rollback(stage: Stage, say: Say) -> Played:
    """A candidate that fails more often at 25% is rolled back, and a fix is merged."""
    began = time.monotonic()
    story = await stage.keep(on_stage(stage, say, STAYS_AT_25))
    await story.shadow()
    await story.ramp()
    await until(lambda: story.serves_at_least(25), LONGEST_SECONDS)
    story.say(f"{CANDIDATE} has 25% now, and begins to fail: 5 more of every 100 requests do.")
    story.clients.behaviour[CANDIDATE].failing += WORSE
    went_bad = time.monotonic()
    await until(lambda: story.serves(BASELINE), LONGEST_SECONDS)
    story.say(
        f"All traffic was back at {BASELINE} {time.monotonic() - went_bad:.1f} s later, before "
        "anybody was asked."
    )
    fix = await until(lambda: story.fix(), LONGEST_SECONDS)
    await until(lambda: story.is_green(fix), LONGEST_SECONDS)
    await story.alice.merge(fix)
    await until(lambda: story.is_resolved("rollback"), LONGEST_SECONDS)
    incident = await story.incident("rollback")
    path = f"incidents/rollback-{incident['id']}.json"
    report = await until(lambda: story.settled(path), LONGEST_SECONDS)
    flags = json.loads(await story.alice.file("flags/flagd.json") or "{}")
    flag = flags.get("flags", {}).get(CAPABILITY, {})
    story.say(
        f"To try again: /unpause {CAPABILITY} because …, then {report['reshadow']['command']}"
    )
    ok = all(
        [
            report["anomaly"]["kind"] == "breach",
            report["traffic"]["before"] == 25,
            report["reshadow"]["needed"],
            incident["severity"] in ("high", "critical"),
            "targeting" not in flag and flag.get("metadata", {}).get("paused") is True,
            await story.serves(BASELINE),
            (await story.alice.pull_request(fix))["merged"],
            'outcome: "confirmed"' in (await story.alice.file(incident["adr"] or "") or ""),
        ]
    )
    told = await story.told("rollback", ok, incident, f"{ROOT}/{path}", fix, began)
    story.clients.behaviour[CANDIDATE].failing -= WORSE
    return Played(told, ProviderScene(story))


class ProviderStory:
    """What the three stories share."""

    def __init__(self, stage: Stage, transcript: Transcript, clients: Clients) -> None:
        """Prepare."""
        self.stage, self.clients, self._transcript = stage, clients, transcript
        self.alice: Person = stage.people["alice"]
        self.issue = 0
        self._sent = stage.bot.github.requests.total()

    def say(self, what: str) -> None:
        """Tell one thing."""
        self._transcript.line("", what)

    async def open_issue(self) -> None:
        """Open the issue that all of it is asked for on."""
        self.issue = await self.alice.open_issue(
            f"Try {CANDIDATE} for {CAPABILITY}", "It is said to be as good."
        )

    async def shadow(self) -> None:
        """Alice asks for a shadow; wait for the proposal."""
        await self.open_issue()
        await self.alice.comment(self.issue, f"/shadow {CAPABILITY} {CANDIDATE}")
        await until(lambda: self.has(f"Ramp it with `/ramp {CAPABILITY}`"), LONGEST_SECONDS)

    async def ramp(self) -> None:
        """Alice asks for the ramp."""
        await self.alice.comment(self.issue, f"/ramp {CAPABILITY}")

    async def has(self, words: str) -> bool:
        """Whether the bot has said this to whoever asked, in a comment of its own."""
        return any(
            words in comment["body"] and comment["body"].startswith("@alice")
            for comment in await self.alice.comments(self.issue)
        )

    async def incident(self, kind: str) -> Any:
        """The latest incident of a kind, as the API tells it."""
        found = (await self.stage.api("/incidents"))["incidents"]
        return next((each for each in found if each["kind"] == kind), None)

    async def is_over(self, run: str) -> bool:
        """Whether a Run has ended."""
        found = await self.stage.api(f"/runs/{run}")
        return found["run"]["finished_at"] is not None

    async def is_resolved(self, kind: str) -> bool:
        """Whether the latest incident of a kind is resolved."""
        incident = await self.incident(kind)
        return incident is not None and incident["status"] == "resolved"

    async def report(self, path: str) -> Any:
        """A report on main; empty unless it is written canonically."""
        text = await self.alice.file(f"{ROOT}/{path}")
        found = json.loads(text or "{}")
        canonical = json.dumps(found, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
        return found if text == canonical else {}

    async def settled(self, path: str) -> Any:
        """The same once its outcome is confirmed; None before."""
        found = await self.report(path)
        return found if found.get("outcome") == "confirmed" else None

    async def serves(self, provider: str) -> bool:
        """Whether a provider serves everybody."""
        keys = [f"somebody-{number}" for number in range(20)]
        return all([await self.clients.provider_now(key) == provider for key in keys])

    async def serves_at_least(self, percent: int) -> bool:
        """Whether the candidate has so much of the traffic."""
        return self.clients.percent >= percent

    async def fix(self) -> int | None:
        """The rollback's pull request, once it is open."""
        pulls = await self.alice.get("pulls", state="all")
        found = [p["number"] for p in pulls if p["head"]["ref"].startswith("fix/rollback-")]
        return int(found[0]) if found else None

    async def is_green(self, number: int) -> bool:
        """Whether both checks passed on a pull request."""
        pull = await self.alice.pull_request(number)
        runs = await self.alice.check_runs(pull["head"]["sha"])
        return len(runs) >= 2 and set(runs.values()) == {"success"}

    async def told(
        self,
        play: str,
        ok: bool,
        incident: Any,
        artifact: str,
        pull_request: int | None,
        began: float,
    ) -> Told:
        """Wait for the Run's end, and say what came of the story."""
        await until(lambda: self.is_over(incident["id"]), LONGEST_SECONDS)
        self.say("as promised." if ok else "NOT what was promised.")
        return Told(
            play=play, ok=ok, incident=incident["id"], issue=incident["issue"],
            pull_request=pull_request, adr=incident["adr"], artifact=artifact,
            seconds=round(time.monotonic() - began, 1),
            github_requests=self.stage.bot.github.requests.total() - self._sent,
        )  # fmt: skip


async def provider_scene(stage: Stage, say: Say) -> ProviderScene:
    """The capability with its clients, before anybody was on trial."""
    story = await stage.keep(on_stage(stage, say, STAYS_AT_25))
    await story.open_issue()
    return ProviderScene(story)


class ProviderScene:
    """A candidate can be tried, or is being tried, or is held back: whatever it has come to."""

    def __init__(self, story: ProviderStory) -> None:
        """Prepare; the clients go on."""
        self._story, self._stage = story, story.stage

    async def set_up(self) -> None:
        """Nothing: the story left it as it is."""

    async def look(self) -> Invitation:
        """Say who serves, and what can be done."""
        if found := await open_incident(self._stage, "rollback"):
            return found
        paused = await self._stage.pause_of(CAPABILITY)
        if found := await open_incident(self._stage, "ramp"):
            return found if paused or found.page else self._ramping()
        if paused:
            return self._say(
                f"{CAPABILITY} is paused: every request goes to {await self._serving()}. The "
                "makers of what failed say that it is fixed.",
                f"/unpause {CAPABILITY} because it is fixed",
                "Candidates may be tried again; nothing else changes by that.",
            )
        if found := await open_incident(self._stage, "shadow"):
            return found
        shadow = await self._story.incident("shadow")
        if shadow is not None and shadow["status"] == "resolved":
            return self._say(
                "The candidate stayed within bounds, and a ramp is proposed. It waits for you.",
                f"/ramp {CAPABILITY}",
                "The candidate gets 5, 25, 50, then all of the requests, as long as the evidence "
                "allows it; else everything goes back within a second.",
            )
        serving = await self._serving()
        candidate = CANDIDATE if serving != CANDIDATE else NEWCOMER
        return self._say(
            f"{serving} serves every request, and nobody is on trial.",
            f"/shadow {CAPABILITY} {candidate}",
            f"{candidate} answers copies of half the requests, unseen by users; when it stays "
            "within bounds a ramp is proposed.",
        )

    def _ramping(self) -> Invitation:
        return self._say(
            "The candidate is ramped, stage by stage. It goes on by itself; or you end it.",
            f"/rollback {CAPABILITY} because its answers read oddly",
            "Within a second nobody is served by it any more; then the incident and its fix "
            "follow.",
        )

    async def _serving(self) -> str:
        return await self._story.clients.provider_now("anybody")

    def _say(self, now: str, words: str, then: str) -> Invitation:
        page = f"{self._stage.home}/issues/{self._story.issue}"
        return Invitation(now=now, page=page, do="comment", words=words, then=then)


@asynccontextmanager
async def on_stage(stage: Stage, say: Say, config: str = _CONFIG) -> AsyncIterator[ProviderStory]:
    """Configure the capability, and have clients call it."""
    transcript = ProviderTranscript(stage, say)
    await stage.people["alice"].push("main", {".github/playbooks.yml": config}, "Capabilities")
    with tempfile.TemporaryDirectory(prefix="playbooks-clients-") as folder:
        clients = Clients(
            stage.bot_url,
            stage.people["alice"].repository,
            stage.api_token,
            Path(folder),
            seed=7,
        )
        async with clients:
            transcript.line(
                "",
                f"Clients call {CAPABILITY} all the time; {BASELINE} answers. They ask the bot who "
                "serves each request, and report how it went.",
            )
            yield ProviderStory(stage, transcript, clients)
