"""The safety story: an agent's change lowers the evals, and nobody has to say a word.

Self-work is paused, the change reverted, and when main is green one canary goes first. At the end
the promised outcome is looked up over HTTP; the audit chain has to tell it in order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from demo.person import Person
from demo.stage import FILES, Stage
from demo.stories.invitation import Invitation, Say, open_incident
from demo.stories.revert import Played, Told, Transcript, until
from fakegithub.world.world import Event

LONGEST_SECONDS = 240.0
GATE = "self-work gate"
CONFIG_CHECK = "playbooks config"

_CONFIG = FILES[".github/playbooks.yml"] + (
    "self_work: {label: self-work, resume_after_minutes: 0}\n"
)
_GOOD = (
    ("Say thank you in the README", {"README.md": FILES["README.md"] + "\nThank you.\n"}),
    ("Name the currency", {"shop/currency.py": 'CURRENCY = "EUR"\n'}),
)
_BAD = (
    "Round to what people pay",
    {"shop/cart.py": FILES["shop/cart.py"].replace(", 2)", ", 1)")},
)
"""The tests still pass; receipts that customers signed no longer agree."""
_WAITING = (
    ("Thank customers by name", {"shop/thanks.py": "def thanks(name):\n    return name\n"}),
    ("Greet customers", {"shop/greeting.py": "def greet(name):\n    return name\n"}),
)

TOLD_IN_ORDER = (
    "config.approved",
    "self-work.paused",
    "incident.opened",
    "hotfix.opened",
    "hotfix.merged",
    "self-work.half open",
    "self-work.canary merged",
    "self-work.unpaused",
)
"""What the audit chain has to hold, other entries in between."""


class SafetyTranscript(Transcript):
    """Tells what the gate says too."""

    def __init__(self, stage: Stage, say: Say) -> None:
        """Listen from now on."""
        super().__init__(stage, say)
        self._gate: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        """Pull requests by their head commit."""

    def _hear(self, event: Event) -> None:
        if event.name == "check_run" and event.payload["check_run"]["name"] == GATE:
            self._hear_gate(event.payload["check_run"])
            return
        super()._hear(event)

    def _hear_gate(self, run: dict[str, Any]) -> None:
        sha, said = run["head_sha"], run["conclusion"]
        if said and self._gate.get(sha) != said and sha in self.numbers:
            self._gate[sha] = said
            colour = "green" if said == "success" else "red"
            what = f"{GATE} is {colour} on #{self.numbers[sha]}: {run['output']['title']}"
            self.line("gate", what)


async def play_safety(stage: Stage, say: Say) -> Played:
    """Play the story to its end and look whether everything promised is there."""
    began = time.monotonic()
    alice, bob, olivia = (stage.people[name] for name in ("alice", "bob", "olivia"))
    agent = stage.people["agent"]
    transcript = SafetyTranscript(stage, say)
    await _configure(bob, olivia)
    for number, (title, files) in enumerate(_GOOD, start=1):
        await bob.merge(await bob.open_pull_request(title, files, branch=f"work-{number}"))
        await _ended(alice, await alice.head("main"))
    waiting = [await _self_work(agent, transcript, n, *each) for n, each in enumerate(_WAITING, 1)]
    by_hand = await bob.open_pull_request(
        "Say where we are", {"WHERE.md": "Here.\n"}, branch="where"
    )
    person = await _head(bob, by_hand)
    transcript.numbers[person] = by_hand
    agents = [await _head(agent, number) for number in waiting]
    for sha in (*agents, person):
        await until(partial(_gate, alice, sha, "success"))
    transcript.line("", "main is green, two agents and a person have work open. An agent's change:")
    sent = stage.bot.github.requests.total()
    bad = await agent.open_pull_request(*_BAD, branch="agent-round")
    await agent.label(bad, "self-work")
    await until(lambda: _is_marked(alice, bad))
    await agent.merge(bad)
    for sha in agents:
        await until(partial(_gate, alice, sha, "failure"), LONGEST_SECONDS)
    held = await _paused(stage)
    colours = [await _gate(alice, person, "success"), bool(held["paused"])]
    transcript.line("", f"self-work is paused: {held['reason']}")
    first, second = agents
    await until(lambda: _gate(alice, first, "success"), LONGEST_SECONDS)
    colours.append(await _gate(alice, second, "failure"))
    transcript.line("", f"main is green again; #{waiting[0]} is the canary, and goes first:")
    await agent.merge(waiting[0])
    await until(lambda: _gate(alice, second, "success"), LONGEST_SECONDS)
    running = not (await _paused(stage))["paused"]
    transcript.line("", "self-work goes on." if running else "self-work is still paused.")
    told = await _look_up(stage, alice, [*colours, running], sent, began)
    transcript.line("", "as promised." if told.ok else "NOT what was promised.")
    return Played(told, SafetyScene(stage))


class SafetyScene:
    """An agent has a pull request open, whose gate is green until a person holds self-work."""

    def __init__(self, stage: Stage) -> None:
        """Prepare."""
        self._stage = stage
        self._alice, self._agent = stage.people["alice"], stage.people["agent"]
        self._number = self._rounds = 0

    async def set_up(self) -> None:
        """Have the agent open a pull request, and wait for its gate."""
        self._rounds += 1
        self._number = await self._agent.open_pull_request(
            f"Wish a nice day, in {self._rounds} {'way' if self._rounds == 1 else 'ways'}",
            {f"shop/wish_{self._rounds}.py": f"WAYS = {self._rounds}\n"},
            branch=f"agent-wish-{self._rounds}",
        )
        await self._agent.label(self._number, "self-work")
        head = await _head(self._agent, self._number)

        async def reported() -> bool:
            return (await self._alice.check_runs(head)).get(GATE) is not None

        await until(reported, LONGEST_SECONDS)

    async def look(self) -> Invitation:
        """Say whether self-work is held, and what can be done."""
        if found := await open_incident(self._stage, "revert", "bisect"):
            return found
        if (await self._alice.pull_request(self._number))["state"] == "closed":
            await self.set_up()
        page = f"{self._stage.home}/pull/{self._number}"
        held = await _paused(self._stage)
        gate = (await self._alice.check_runs(await _head(self._alice, self._number))).get(GATE)
        if bool(held["paused"]) == (gate == "success"):
            return Invitation(now=f"The gate of #{self._number} is about to follow.")
        if held["paused"]:
            return Invitation(
                now=f"Self-work is held: {held['reason']}. The gate is red on #{self._number}, "
                "and where the gate is required it cannot be merged.",
                page=page,
                do="comment",
                words="/unpause self-work",
                then="Within seconds the gate is green again.",
            )
        return Invitation(
            now=f"Self-work goes on: the agent's #{self._number} is open, and its gate is green.",
            page=page,
            do="comment",
            words="/pause self-work because I want to look at it first",
            then="Within seconds the gate turns red on every pull request of an agent, and says "
            "who holds it, why, and how to lift it. People's work stays green.",
        )


async def _configure(bob: Person, olivia: Person) -> None:
    """What is sensitive counts when the Founder says so: here, the repository's admin."""
    number = await bob.open_pull_request(
        "Let self-work go on as soon as main is green",
        {".github/playbooks.yml": _CONFIG},
        branch="configure",
    )
    head = await _head(bob, number)

    async def shown() -> bool:
        return (await bob.check_runs(head)).get(CONFIG_CHECK) == "neutral"

    # Her yes is to what the check has shown.
    await until(shown)
    comment = await olivia.comment(number, "/approve")
    await until(lambda: _answered(olivia, comment["id"]))
    await _ended(bob, head)
    await bob.merge(number)


async def _self_work(
    agent: Person, transcript: SafetyTranscript, n: int, title: str, files: dict[str, str]
) -> int:
    number = await agent.open_pull_request(title, files, branch=f"agent-{n}")
    await agent.label(number, "self-work")
    transcript.numbers[await _head(agent, number)] = number
    return number


async def _head(person: Person, number: int) -> str:
    return str((await person.pull_request(number))["head"]["sha"])


async def _gate(person: Person, sha: str, conclusion: str) -> bool:
    return (await person.check_runs(sha)).get(GATE) == conclusion


async def _is_marked(person: Person, number: int) -> bool:
    found = await person.get(f"commits/{await _head(person, number)}/check-runs", check_name=GATE)
    return any("Self-work" in run["output"]["title"] for run in found["check_runs"])


async def _ended(person: Person, sha: str) -> None:
    async def ended() -> bool:
        runs = await person.check_runs(sha)
        return runs.get("smoke") is not None and runs.get("evals") is not None

    await until(ended)


async def _answered(person: Person, comment_id: int) -> bool:
    return bool({"+1", "confused"} & set(await person.reactions(comment_id)))


async def _paused(stage: Stage) -> Any:
    return await stage.api("/self-work")


async def _look_up(
    stage: Stage, person: Person, seen: Sequence[bool], requests_before: int, began: float
) -> Told:
    async def resolved() -> Any:
        found = (await stage.api("/incidents"))["incidents"]
        return found[0] if found and found[0]["status"] == "resolved" else None

    incident = await until(resolved, LONGEST_SECONDS)
    identity, issue = incident["id"], incident["issue"]
    pull_request = incident["prs"][-1] if incident["prs"] else None
    artifact = f"apps/orchestrator/orchestrator/incidents/revert-{identity}.json"

    async def confirmed() -> bool:
        report = json.loads(await person.file(artifact) or "{}")
        return bool(report.get("outcome") == "confirmed")

    await until(confirmed, LONGEST_SECONDS)
    entries = (await stage.api("/audit?limit=1000"))["entries"]
    ok = all(
        [
            *seen,
            _in_order([entry["action"] for entry in entries], TOLD_IN_ORDER),
            await person.file("shop/cart.py") == FILES["shop/cart.py"],
            pull_request is not None and (await person.pull_request(pull_request))["merged"],
            'outcome: "confirmed"' in (await person.file(incident["adr"] or "") or ""),
        ]
    )
    return Told(
        play="safety", ok=ok, incident=identity, issue=issue, pull_request=pull_request,
        adr=incident["adr"], artifact=artifact, seconds=round(time.monotonic() - began, 1),
        github_requests=stage.bot.github.requests.total() - requests_before,
    )  # fmt: skip


def _in_order(told: Sequence[str], wanted: Sequence[str]) -> bool:
    rest = iter(told)
    return all(action in rest for action in wanted)
