"""The revert story: main breaks, somebody comments `/revert`, and main is safe again.

Told as a transcript of what happens on the demo GitHub, with a page to open for each line. At the
end the promised outcome is looked up, the way anybody could: over HTTP, in the repository.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.triggers import Value
from demo.person import Person
from demo.stage import FILES, Stage
from demo.stories.invitation import Invitation, Say, Scene, open_incident, red_on_main
from fakegithub.world.world import Event

PATIENCE_SECONDS = 600.0
"""However slow the machine is; a story that stands still that long has failed."""
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
    (
        "Round at the till",
        {"shop/cart.py": FILES["shop/cart.py"].replace(", 2)", ")")},
    ),
    (
        "Double the discount",
        {"shop/cart.py": FILES["shop/cart.py"].replace("discount), 2", "2 * discount), 2")},
    ),
)
CHECKS = ("smoke", "evals")


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


@dataclass(frozen=True)
class Played:
    """A story that was played: what came of it, and what it leaves to the person."""

    told: Told
    scene: Scene


_LINKED = re.compile(r"\[([^\]]+)\]\([^)\s]*\)")
"""A link, of which a terminal shows the words."""


class Transcript:
    """Writes a line for everything worth telling that happens on the demo GitHub."""

    def __init__(self, stage: Stage, say: Say) -> None:
        """Listen from now on."""
        self._say = say
        self._git = stage.repository.git
        self._start = time.monotonic()
        self._told: set[str] = set()
        self._ran: set[tuple[str, str]] = set()
        stage.github.world.listen(self._hear)

    def line(self, who: str, what: str, url: str = "") -> None:
        """Tell one thing."""
        clock = f"{time.monotonic() - self._start:6.1f}s"
        self._say(f"{clock}  {who:<6} {what}" + (f"\n         → {url}" if url else ""))

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
            what = "incident" if payload["issue"]["user"]["login"] == BOT else "issue"
            self.line(who, f"{verb} {what} #{issue['number']}", issue["html_url"])

    def _hear_issue_comment(self, payload: dict[str, Any], who: str) -> None:
        if payload["action"] == "created":
            first = payload["comment"]["body"].splitlines()[0].strip("*")
            first = _LINKED.sub(r"\1", first)
            number = payload["issue"]["number"]
            self.line(who, f"on #{number}: {first[:110]}", payload["comment"]["html_url"])

    def _hear_check_run(self, payload: dict[str, Any], who: str) -> None:
        run = payload["check_run"]
        if payload["action"] == "completed" and who != "bot":
            branch, sha = run["check_suite"].get("head_branch"), run["head_sha"]
            # What is run on an older commit says nothing of the branch as it is.
            where = branch if branch and self._git.branch(branch) == sha else sha[:9]
            again = ", run again" if where != branch and (run["name"], sha) in self._ran else ""
            self._ran.add((run["name"], sha))
            said = f"{run['name']}: {run['conclusion']} on {where}{again}"
            # A push and its pull request have the same checked twice.
            if said not in self._told:
                self._told.add(said)
                self.line("checks", said)


async def play_revert(stage: Stage, say: Say) -> Played:
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
    sent, asked = stage.bot.github.requests.total(), time.monotonic()
    comment = await alice.comment(broken, "/revert because discounts are gone")
    await until(lambda: _answered(alice, comment["id"]))
    now = time.monotonic()
    told = await _look_up(stage, alice, broken, sent, now - began)
    transcript.line("", "main is safe again." if told.ok else "main is NOT safe again.")
    return Played(told, RevertScene(stage, seconds=now - asked))


class RevertScene:
    """Main is broken by a merge, and the bot leaves it to people."""

    def __init__(self, stage: Stage, seconds: float | None = None) -> None:
        """Prepare; `seconds` is how long a revert took here just now, if there was one."""
        self._stage, self._seconds = stage, seconds
        self._alice, self._bob = stage.people["alice"], stage.people["bob"]
        self._number = self._rounds = 0

    async def set_up(self) -> None:
        """Merge what breaks main, and wait until its checks say so."""
        self._number = await self._propose()
        await self._bob.merge(self._number)
        await until(lambda: red_on_main(self._alice, CHECKS))

    async def look(self) -> Invitation:
        """Say whether main is broken, and what can be done."""
        if found := await open_incident(self._stage, "revert"):
            return found
        failing = await red_on_main(self._alice, CHECKS)
        if await self._alice.file("shop/cart.py", "main") != FILES["shop/cart.py"]:
            if not failing:
                return Invitation(now="main has changed, and its checks are running.")
            return self._broken(failing)
        pull = await self._alice.pull_request(self._number)
        if pull["merged"]:
            self._number = await self._propose()
        page, closed = self._page, pull["state"] == "closed" and not pull["merged"]
        return Invitation(
            now="main is safe. Nothing has to be done.",
            page=page,
            do="reopen it, then merge it" if closed else "merge it",
            then="It breaks main once more, and the bot leaves it to you. `/help` in any comment "
            "lists what else there is.",
        )

    @property
    def _page(self) -> str:
        return f"{self._stage.home}/pull/{self._number}"

    def _broken(self, failing: tuple[str, ...]) -> Invitation:
        return Invitation(
            now=f"main is broken: {' and '.join(failing)} "
            f"{'fails' if len(failing) == 1 else 'fail'} there since #{self._number} was merged. "
            "It waits for you: #"
            f"{self._number} is labelled `playbook:off`, so the bot does nothing by itself.",
            page=self._page,
            do="comment",
            words="/revert",
            then=f"{self._soon} an incident is opened, a hotfix is verified and merged, and main "
            "is safe.",
        )

    @property
    def _soon(self) -> str:
        if self._seconds is None:
            return "Within seconds"
        return f"In about {max(self._seconds, 2):.0f} seconds"

    async def _propose(self) -> int:
        """Bob opens another pull request that breaks main."""
        title, files = _BAD_TOO[self._rounds % len(_BAD_TOO)]
        self._rounds += 1
        branch = f"{title.lower().replace(' ', '-')}-{self._rounds}"
        number = await self._bob.open_pull_request(title, files, branch=branch)
        await self._bob.label(number, "playbook:off")
        return number


async def _look_up(
    stage: Stage, person: Person, broken: int, requests_before: int, seconds: float
) -> Told:
    found = (await stage.api("/incidents"))["incidents"]
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
