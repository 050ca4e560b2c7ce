"""The bisect story: a flaky check is red, nobody knows since when, and the bot finds the commit.

Told like the revert story; at the end the promised outcome is looked up over HTTP.
"""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp

from bot.demo.github.actions.workflow_runs import WorkflowRun
from bot.demo.person import Person
from bot.demo.stage import Stage
from bot.demo.stories import bisect_history
from bot.demo.stories.bisect_history import Past
from bot.demo.stories.revert import Say, Told, Transcript, until

LONGEST_SECONDS = 600.0
_SPEC = "self/spec_report.json"


class BisectTranscript(Transcript):
    """Tells of every trial too."""

    def __init__(self, stage: Stage, say: Say) -> None:
        """Listen from now on."""
        super().__init__(stage, say)
        self._git = stage.repository.git
        self._runs = stage.github.runner.runs
        self.trials = 0

    def _hear_workflow_run(self, payload: dict[str, Any], who: str) -> None:
        del who
        run: WorkflowRun | None = self._runs.get(payload["workflow_run"]["id"])
        if payload["action"] != "completed" or run is None or "sha" not in run.cause.inputs:
            return
        self.trials += 1
        sha = run.cause.inputs["sha"]
        title = self._git.commit(sha).message.partition("\n")[0]
        self.line("trial", f"{self.trials}: {sha[:9]} ({title[:40]}) {run.conclusion}")

    def _hear_check_run(self, payload: dict[str, Any], who: str) -> None:
        if payload["check_run"]["name"] == bisect_history.CHECK:
            super()._hear_check_run(payload, who)


async def play_bisect(stage: Stage, say: Say) -> Told:
    """Play the story to its end and look whether everything promised is there."""
    began = time.monotonic()
    alice = stage.people["alice"]
    transcript = BisectTranscript(stage, say)
    start = await alice.push("main", bisect_history.SET_UP, "Check the prices")
    bob = stage.github.world.users["bob"]
    past = bisect_history.make(stage.github.world, stage.repository, start, bob, seed=7)
    transcript.line(
        "", f"main has {past.commits} new commits, {past.merges} of them merges; none was checked"
    )
    await until(lambda: _said(alice, past.head))
    issue = await alice.open_issue("unit is red on main", "It worked at the beginning. Since when?")
    sent = stage.bot.github.requests.total()
    comment = await alice.comment(issue, f"/bisect {past.good[:12]}..main check unit")
    fix = await until(lambda: _fix(alice), LONGEST_SECONDS)
    found = stage.bot.github.requests.total() - sent
    transcript.line(
        "", f"the fix is proposed after {transcript.trials} trials and {found} GitHub requests"
    )
    await until(lambda: _green(alice, fix), LONGEST_SECONDS)
    await until(lambda: _asked_for(alice, issue), LONGEST_SECONDS)
    await alice.merge(fix)
    await until(lambda: _answered(alice, comment["id"]), LONGEST_SECONDS)
    requests = stage.bot.github.requests.total() - sent
    told = await _look_up(stage, alice, fix, past, requests, time.monotonic() - began)
    transcript.line(
        "",
        f"{transcript.trials} trials, {requests} GitHub requests: "
        + ("the right commit is reverted." if told.ok else "NOT what was promised."),
    )
    return told


async def _said(person: Person, sha: str) -> bool:
    return (await person.check_runs(sha)).get(bisect_history.CHECK) is not None


async def _fix(person: Person) -> int | None:
    pulls = await person.get("pulls", state="all")
    found = [pull["number"] for pull in pulls if pull["head"]["ref"].startswith("fix/bisect-")]
    return int(found[0]) if found else None


async def _asked_for(person: Person, issue: int) -> bool:
    return any("Merge fix" in comment["body"] for comment in await person.comments(issue))


async def _green(person: Person, fix: int) -> bool:
    """Whether the fix is green; a check that flaked is run again, as people do."""
    pull = await person.pull_request(fix)
    found = await person.get(f"commits/{pull['head']['sha']}/check-runs", per_page="100")
    runs = [run for run in found["check_runs"] if run["name"] == bisect_history.CHECK]
    for run in runs:
        if run["conclusion"] == "failure":
            await person.post(f"actions/jobs/{run['id']}/rerun")
    return bool(runs) and all(run["conclusion"] == "success" for run in runs)


async def _answered(person: Person, comment_id: int) -> bool:
    return bool({"+1", "confused"} & set(await person.reactions(comment_id)))


async def _look_up(
    stage: Stage, person: Person, fix: int, past: Past, requests: int, seconds: float
) -> Told:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {stage.api_token}"}) as session,
        session.get(f"{stage.bot_url}/incidents") as response,
    ):
        incident = (await response.json())["incidents"][0]
    identity, issue = incident["id"], incident["issue"]
    artifact = f"apps/orchestrator/orchestrator/incidents/bisect-{identity}.json"
    report = json.loads(await person.file(artifact) or "{}")
    spec = json.loads(await person.file(_SPEC) or "{}")
    pull = await person.pull_request(fix)
    hidden = [name for name in stage.repository.git.refs() if name.startswith("refs/playbooks/")]
    ok = incident["status"] == "resolved" and all(
        [
            (report.get("finding") or {}).get("culprit") == past.culprit,
            report.get("outcome") == "confirmed",
            (report.get("verification") or {}).get("boundary") == "confirmed",
            (report.get("spec") or {}).get("summary", {}).get("unmet") == 0,
            spec.get("incident") == identity,
            pull["merged"] and "| requirement |" in (pull["body"] or ""),
            await person.file("shop/prices.py") == bisect_history.MENDED,
            'outcome: "confirmed"' in (await person.file(incident["adr"] or "") or ""),
            (await person.issue(issue))["state"] == "closed",
            not hidden,
        ]
    )
    return Told(
        play="bisect", ok=ok, incident=identity, issue=issue, pull_request=fix,
        adr=incident["adr"], artifact=artifact, seconds=round(seconds, 1),
        github_requests=requests,
    )  # fmt: skip
