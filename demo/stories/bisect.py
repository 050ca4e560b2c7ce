"""The bisect story: a flaky check is red, nobody knows since when, and the bot finds the commit.

Told like the revert story; at the end the promised outcome is looked up over HTTP.
"""

from __future__ import annotations

import json
import time
from typing import Any

from demo.person import Person
from demo.stage import Stage
from demo.stories import bisect_history
from demo.stories.bisect_history import Past
from demo.stories.invitation import Invitation, Say, open_incident, red_on_main
from demo.stories.revert import Played, Told, Transcript, until
from fakegithub.actions.workflow_runs import FakeWorkflowRun

LONGEST_SECONDS = 600.0
_SPEC = "self/spec_report.json"
_SEARCHES_ON = "`/retry` searches further"
"""What the bot offers where the search is not at its end."""


class BisectTranscript(Transcript):
    """Tells of every trial too."""

    def __init__(self, stage: Stage, say: Say) -> None:
        """Listen from now on."""
        super().__init__(stage, say)
        self._runs = stage.github.runner.runs
        self.trials = 0

    def _hear_workflow_run(self, payload: dict[str, Any], who: str) -> None:
        del who
        run: FakeWorkflowRun | None = self._runs.get(payload["workflow_run"]["id"])
        if payload["action"] != "completed" or run is None or "sha" not in run.cause.inputs:
            return
        self.trials += 1
        sha = run.cause.inputs["sha"]
        title = self._git.commit(sha).message.partition("\n")[0]
        self.line("trial", f"{self.trials}: {sha[:7]} ({title[:40]}) {run.conclusion}")

    def _hear_check_run(self, payload: dict[str, Any], who: str) -> None:
        if payload["check_run"]["name"] == bisect_history.CHECK:
            super()._hear_check_run(payload, who)


async def set_up_bisect(stage: Stage) -> str:
    """How commits are tried counts when the Founder says so; the commit that brings it."""
    bob, olivia = stage.people["bob"], stage.people["olivia"]
    number = await bob.open_pull_request("Check the prices", bisect_history.SET_UP, branch="prices")
    head = str((await bob.pull_request(number))["head"]["sha"])

    async def shown() -> bool:
        return (await bob.check_runs(head)).get("playbooks config") == "neutral"

    # Her yes is to what the check has shown.
    await until(shown)
    comment = await olivia.comment(number, "/approve")
    await until(lambda: _answered(olivia, comment["id"]))
    return await bob.merge(number)


async def play_bisect(stage: Stage, say: Say) -> Played:
    """Play the story to its end and look whether everything promised is there."""
    began = time.monotonic()
    alice = stage.people["alice"]
    transcript = BisectTranscript(stage, say)
    start = await set_up_bisect(stage)
    bob = stage.github.world.users["bob"]
    past = bisect_history.make(stage.github.world, stage.repository, start, bob, seed=7)
    transcript.line(
        "", f"main has {past.commits} new commits, {past.merges} of them merges; none was checked"
    )
    await until(lambda: _said(alice, past.head))
    issue = await alice.open_issue("unit is red on main", "It worked at the beginning. Since when?")
    sent, asked = stage.bot.github.requests.total(), time.monotonic()
    comment = await alice.comment(issue, f"/bisect {past.good[:12]}..main check unit")
    fix = await until(_Persistent(alice, issue).fix, LONGEST_SECONDS)
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
    return Played(told, BisectScene(stage, seconds=time.monotonic() - asked))


class BisectScene:
    """`unit` fails on main again, nobody knows since when, and the bot leaves it to people."""

    def __init__(self, stage: Stage, seconds: float | None = None) -> None:
        """Prepare; `seconds` is how long a bisect took here just now, if there was one."""
        self._stage, self._seconds = stage, seconds
        self._alice = stage.people["alice"]
        self._past: Past | None = None
        self._issue = 0

    async def set_up(self) -> None:
        """Push commits of which one breaks `unit`, and wait until that is seen on main."""
        is_set_up = await self._alice.file("shop/prices.py", "main") is not None
        start = await self._alice.head("main") if is_set_up else await set_up_bisect(self._stage)
        world, repository = self._stage.github.world, self._stage.repository
        self._past = bisect_history.make(
            world, repository, start, world.users["bob"], seed=8, commits=60, culprit=41
        )
        await until(self._is_red, LONGEST_SECONDS)
        self._issue = await self._alice.open_issue(
            "unit is red on main again", "It was fixed, and now this. Since when?"
        )

    async def look(self) -> Invitation:
        """Say whether `unit` fails on main, and what can be done."""
        if found := await open_incident(self._stage, "bisect", "revert"):
            return found
        past, page = self._past, f"{self._stage.home}/issues/{self._issue}"
        is_mended = await self._alice.file("shop/prices.py", "main") == bisect_history.MENDED
        if past is not None and not is_mended:
            if not await self._is_red():
                return Invitation(now="main has changed, and `unit` is running.")
            return Invitation(
                now=f"`unit` fails on main, one of {past.commits} new commits broke it, and "
                "nobody knows which. It waits for you: automatic action is switched off here.",
                page=page,
                do="comment",
                words=f"/bisect {past.good[:12]}..main check unit",
                then=f"The commits are tried, four at a time; in about {self._minutes} the one "
                "that broke it is named, and a fix is proposed for you to merge.",
            )
        return Invitation(
            now="`unit` is fixed on main. Nothing has to be done.",
            then=f"Read what is left of it: the incidents on {self._stage.home}/issues, the "
            f"commits on {self._stage.home}/commits/main. `/help` in any comment lists what else "
            "there is.",
        )

    @property
    def _minutes(self) -> str:
        # So few commits take about half as long as all those of the story did.
        minutes = round((self._seconds or 0) / 120)
        return f"{minutes} minutes" if minutes > 1 else "a minute"

    async def _is_red(self) -> bool:
        return bool(await red_on_main(self._alice, [bisect_history.CHECK]))


async def _said(person: Person, sha: str) -> bool:
    return (await person.check_runs(sha)).get(bisect_history.CHECK) is not None


class _Persistent:
    """Somebody who does as the bot says: fresh runs may, by chance, leave a suspect unsettled."""

    def __init__(self, person: Person, issue: int) -> None:
        self._person, self._issue = person, issue
        self._retried = 0

    async def fix(self) -> int | None:
        """The fix, once there is one; asks for more runs where the bot says how."""
        if found := await _fix(self._person):
            return found
        said = [each["body"] for each in await self._person.comments(self._issue)]
        offered = [body for body in said if body.startswith("@") and _SEARCHES_ON in body]
        if len(offered) > self._retried:
            self._retried += 1
            await self._person.comment(self._issue, "/retry")
        return None


async def _fix(person: Person) -> int | None:
    pulls = await person.get("pulls", state="all")
    found = [pull["number"] for pull in pulls if pull["head"]["ref"].startswith("fix/bisect-")]
    return int(found[0]) if found else None


async def _asked_for(person: Person, issue: int) -> bool:
    said = [comment["body"] for comment in await person.comments(issue)]
    return any(each.startswith("@alice") and "Merge fix" in each for each in said)


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
    incident = (await stage.api("/incidents"))["incidents"][0]
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
