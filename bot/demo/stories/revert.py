"""The revert story: main breaks, somebody comments `/revert`, and main is safe again.

Told as a transcript of what happens on the demo GitHub, with a page to open for each line. At the
end the promised outcome is looked up, the way anybody could: over HTTP, in the repository.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from bot.demo.github.world.world import Event
from bot.demo.person import Person
from bot.demo.stage import FILES, Stage
from bot.triggers import Value

Say = Callable[[str], None]

PATIENCE_SECONDS = 120.0
BOT = "incident-playbooks[bot]"

_GOOD = (
    ("Say thank you in the README", {"README.md": FILES["README.md"] + "\nThank you.\n"}),
    ("Name the currency", {"shop/currency.py": 'CURRENCY = "EUR"\n'}),
    (
        "Count what is in the cart",
        {"shop/count.py": "def count(prices):\n    return len(prices)\n"},
    ),
)
_BAD = (
    "Faster totals",
    {"shop/cart.py": FILES["shop/cart.py"].replace("(1 - discount)", "1")},
)
_BAD_TOO = (
    "Round at the till",
    {"shop/cart.py": FILES["shop/cart.py"].replace(", 2)", ")")},
)


class Told(Value):
    """The JSON line at the end; fields that do not apply are null."""

    play: str
    ok: bool
    incident: str | None
    issue: int | None
    pull_request: int | None
    adr: str | None
    artifact: str | None
    seconds: float
    github_requests: int


class Transcript:
    """Writes a line for everything worth telling that happens on the demo GitHub."""

    def __init__(self, stage: Stage, say: Say) -> None:
        """Listen from now on."""
        self._say = say
        self._home = stage.home
        self._start = time.monotonic()
        self._told: set[str] = set()
        stage.github.world.listen(self._hear)

    def line(self, who: str, what: str, url: str = "") -> None:
        """Tell one thing, once."""
        text = f"{who:<6} {what}"
        if text not in self._told:
            self._told.add(text)
            clock = f"{time.monotonic() - self._start:6.1f}s"
            self._say(f"{clock}  {text}" + (f"\n         → {url}" if url else ""))

    def _hear(self, event: Event) -> None:
        teller = getattr(self, f"_hear_{event.name}", None)
        if teller is not None:
            sender = event.payload["sender"]["login"]
            teller(event.payload, "bot" if sender == BOT else sender)

    def _hear_pull_request(self, payload: dict[str, Any], who: str) -> None:
        pull = payload["pull_request"]
        named = f'#{pull["number"]} "{pull["title"]}"'
        if payload["action"] == "opened":
            self.line(who, f"opens {named}", pull["html_url"])
        elif payload["action"] == "closed" and pull["merged"]:
            self.line(who, f"merges {named}")

    def _hear_issues(self, payload: dict[str, Any], who: str) -> None:
        issue = payload["issue"]
        if payload["action"] in ("opened", "closed"):
            verb = "opens" if payload["action"] == "opened" else "closes"
            self.line(who, f"{verb} incident #{issue['number']}", issue["html_url"])

    def _hear_issue_comment(self, payload: dict[str, Any], who: str) -> None:
        if payload["action"] == "created":
            first = payload["comment"]["body"].splitlines()[0].strip("*")
            number = payload["issue"]["number"]
            self.line(who, f"on #{number}: {first[:110]}", payload["comment"]["html_url"])

    def _hear_check_run(self, payload: dict[str, Any], who: str) -> None:
        run = payload["check_run"]
        if payload["action"] == "completed" and who != "bot":
            branch = run["check_suite"].get("head_branch") or run["head_sha"][:9]
            self.line("checks", f"{run['name']}: {run['conclusion']} on {branch}")


async def play_revert(stage: Stage, say: Say) -> Told:
    """Play the story to its end and look whether everything promised is there."""
    began = time.monotonic()
    alice, bob = stage.people["alice"], stage.people["bob"]
    transcript = Transcript(stage, say)
    for number, (title, files) in enumerate(_GOOD, start=1):
        await bob.merge(await bob.open_pull_request(title, files, branch=f"work-{number}"))
    await _checks_end(alice, await alice.head("main"))
    transcript.line("", "main is green. Now something goes wrong:")
    broken = await bob.open_pull_request(*_BAD, branch="faster-totals")
    await _checks_end(alice, await bob.head("faster-totals"))
    # Merged without looking at the checks: nothing forbids it here, as in many repositories.
    merged = await bob.merge(broken)
    await _checks_end(alice, merged)
    sent = stage.bot.github.requests.total()
    comment = await alice.comment(broken, "/revert because discounts are gone")
    await until(lambda: _answered(alice, comment["id"]))
    seconds = time.monotonic() - began
    told = await _look_up(stage, alice, broken, sent, seconds)
    transcript.line("", "main is safe again." if told.ok else "main is NOT safe again.")
    return told


async def leave_one_to_revert(stage: Stage) -> int:
    """Merge another pull request that breaks main, for the person at the keyboard."""
    bob = stage.people["bob"]
    number = await bob.open_pull_request(*_BAD_TOO, branch="round-at-the-till")
    await bob.merge(number)
    return number


async def _look_up(
    stage: Stage, person: Person, broken: int, requests_before: int, seconds: float
) -> Told:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {stage.api_token}"}) as session,
        session.get(f"{stage.bot_url}/incidents") as response,
    ):
        found = (await response.json())["incidents"]
    incident = found[0] if found else None
    requests = stage.bot.github.requests.total() - requests_before
    if incident is None:
        return Told(
            play="revert", ok=False, incident=None, issue=None, pull_request=None, adr=None,
            artifact=None, seconds=round(seconds, 1), github_requests=requests,
        )  # fmt: skip
    identity, issue = incident["id"], incident["issue"]
    pull_request = incident["prs"][-1] if incident["prs"] else None
    artifact = f"apps/orchestrator/orchestrator/incidents/revert-{identity}.json"
    ok = incident["status"] == "resolved" and all(
        [
            await person.file("shop/cart.py") == FILES["shop/cart.py"],
            await _is_merged(person, pull_request),
            await _is_confirmed(person, artifact),
            'outcome: "confirmed"' in (await person.file(incident["adr"] or "") or ""),
            issue is not None and (await person.issue(issue))["state"] == "closed",
            sum("is reverted on" in c["body"] for c in await person.comments(broken)) == 2,
        ]
    )
    return Told(
        play="revert", ok=ok, incident=identity, issue=issue, pull_request=pull_request,
        adr=incident["adr"], artifact=artifact, seconds=round(seconds, 1),
        github_requests=requests,
    )  # fmt: skip


async def _is_merged(person: Person, number: int | None) -> bool:
    return number is not None and bool((await person.pull_request(number))["merged"])


async def _is_confirmed(person: Person, path: str) -> bool:
    text = await person.file(path)
    if text is None:
        return False
    report = json.loads(text)
    canonical = json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    return text == canonical and report["outcome"] == "confirmed"


async def _answered(person: Person, comment_id: int) -> bool:
    return bool({"+1", "confused"} & set(await person.reactions(comment_id)))


async def _checks_end(person: Person, sha: str) -> None:
    async def ended() -> bool:
        runs = await person.check_runs(sha)
        return len(runs) >= 2 and None not in runs.values()

    await until(ended)


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Look again and again until something is true, and give it.

    Raises:
        TimeoutError: it did not come true in time.
    """
    # Looked at from outside, as a person would: there is no event to wait for.
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return found
