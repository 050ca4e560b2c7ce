"""Who asks first, in which way, and how far the Run is when the next word comes.

A cell is a conversation about one pull request of its own; those of one state are played side by
side in one repository. Whether it ended well is read from the files of the default branch.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from bot.records import incidents, runs
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.runs import StoredRun
from demo.person import Person
from fakegithub.changes import checks
from tests.cockpit.asking import start
from tests.cockpit.visitor import Visitor
from tests.playbooks.alerts.alerting import Sender, event
from tests.shop import BAD, GOOD, Shop

WHO = ("bot", "person", "both", "two persons", "person twice")
"""Who is first: a signal; a person; both in the same moment; and two words after a signal."""
WAYS = ("comment", "hotfix", "issue", "label", "button", "API", "cockpit")
STATES = (
    "asked to begin",
    "waiting for CI",
    "waiting for a person",
    "merged and watching",
    "ended",
)
_OVER = STATES[3:]
CHECKS = "checks: {smoke: [smoke], evals: [evals]}\n"
CAPS = "caps: {reverts_a_day: 500, hotfix_pull_requests_a_day: 500}\n"

Arrives = Callable[[str], Awaitable[Visitor]]


@dataclass(frozen=True)
class Cell:
    """One conversation."""

    who: str
    way: str
    state: str

    @property
    def impossible(self) -> str | None:
        """Why it cannot exist; None: it can."""
        if self.who in ("person", "both") and self.way in ("hotfix", "issue", "button"):
            return "before the first word there is nothing of ours to say it on"
        if self.who == "person" and self.state in ("asked to begin", "waiting for a person"):
            return "nobody is asked about what a person asked for"
        if self.who == "both" and self.state in _OVER:
            return "what comes first cannot come after the merge"
        if self.way == "hotfix" and self.state == "asked to begin":
            return "nothing is published yet"
        if self.way == "hotfix" and self.state in _OVER:
            return "on a merged hotfix it means to revert that"
        if self.way == "button" and self.state not in ("asked to begin", "waiting for a person"):
            return "there is no such button then"
        if self.way == "button" and self.who in ("two persons", "person twice"):
            return "the first of the two words was the yes: the button is gone"
        return None


def cells() -> list[Cell]:
    """Every cell that can exist."""
    every = [Cell(*each) for each in product(WHO, WAYS, STATES)]
    return [cell for cell in every if cell.impossible is None]


def sample(seed: int, each_state: int = 2) -> list[Cell]:
    """A few cells of each state: every way, and every one who is first, as different as can be."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    left = cells()
    rng.shuffle(left)
    met: set[str | tuple[str, str]] = set()
    chosen: list[Cell] = []

    def news(cell: Cell) -> tuple[int, int]:
        return len({cell.who, cell.way} - met), (cell.who, cell.way) not in met

    for state in STATES * each_state:
        here = [cell for cell in left if cell.state == state and cell not in chosen]
        best = max(here, key=news)
        chosen.append(best)
        met |= {best.who, best.way, (best.who, best.way)}
    return chosen


class Conversation:
    """One cell, played on one pull request."""

    def __init__(
        self, shop: Shop, sender: Sender, arrives: Arrives, cell: Cell, number: int, file: str
    ) -> None:
        self.shop, self.sender, self.arrives = shop, sender, arrives
        self.cell, self.number, self.file = cell, number, file
        self.places = {number}
        self.second = shop.bob if cell.who == "two persons" else shop.alice

    async def to_the_state(self) -> None:
        """Say the first words, and wait until the Run is where it should be."""
        cell = self.cell
        if cell.who == "both":
            await asyncio.gather(self._alert(), self._word(self.shop.alice))
            return
        if cell.who == "person":
            await self._word(self.shop.alice)
        else:
            await self._alert()
        if cell.state != "merged and watching":
            await self.merge_if(cell.state == "ended")
            await self._reach(cell.state)
            return
        await self._reach("waiting for CI")

    async def merge_if(self, wanted: bool) -> None:
        """Have it merged, unless a person asked for it anyway."""
        if wanted and self.cell.who != "person":
            await self._reach("waiting for a person")
            hotfix = (await self._incident()).prs[-1]
            await self.shop.says(hotfix, "/approve", self.shop.olivia)

    async def merged(self) -> None:
        """Have it merged, and wait for that."""
        await self.merge_if(True)
        await self._reach(self.cell.state)

    async def last_words(self) -> None:
        """Say what comes then."""
        if self.cell.who == "both":
            return
        if self.cell.who == "person":
            await self._alert()
            return
        if self.cell.who in ("two persons", "person twice"):
            await self.shop.says(self.number, "/revert")
        await self._word(self.second)

    async def ends_well(self) -> None:
        """The default branch is as it was, by one hotfix, and whoever asked has heard of it."""
        shop = self.shop
        try:
            await shop.eventually(self._is_safe)
            await shop.eventually(self._is_over)
        except TimeoutError:
            raise AssertionError(f"{self.cell}: {await self._told()}") from None
        title = f'Revert #{self.number} "'
        hotfixes = [pull for pull in await shop.hotfixes() if pull["title"].startswith(title)]
        assert len(hotfixes) == 1, (self.cell, [pull["number"] for pull in hotfixes])
        about = [each for each in await self._incidents() if each.kind == "revert"]
        assert len(about) == 1, (self.cell, about)
        async with shop.bot.read_only.connect() as conn:
            assert len(await runs.of_incident(conn, about[0].id)) == 1, self.cell
        if self.cell.way in ("comment", "hotfix", "issue"):
            try:
                await shop.eventually(self._was_heard)
            except TimeoutError:
                raise AssertionError(f"{self.cell}: {await self._told()}") from None

    async def _is_safe(self) -> bool:
        return await self.shop.alice.file(self.file) == GOOD

    async def _is_over(self) -> bool:
        async with self.shop.bot.read_only.connect() as conn:
            live = await runs.list_live(conn, self.shop.repository.id)
        mine = (await self._incident()).id
        return not [run for run in live if run.incident_id in (None, mine)]

    async def _was_heard(self) -> bool:
        said = await self._told()
        who = {"alice"} if self.cell.who != "two persons" else {"alice", "bob"}
        if self.cell.state in _OVER:
            already = [each for each in said if "already reverted" in each and "#" in each]
            return self.cell.who == "person" or bool(already)
        last = [each for each in said if "Done: " in each]
        return any(all(f"@{login}" in each for login in who) for each in last)

    async def _told(self) -> list[str]:
        places = set(self.places)
        mine = await self._incidents()
        groups = {each.group_key for each in mine if each.group_key}
        async with self.shop.bot.read_only.connect() as conn:
            recent = await incidents.list_recent(conn, self.shop.repository.id, limit=500)
        mine += [each for each in recent if each.group_key in groups]
        for incident in mine:
            places |= {incident.issue or self.number, *incident.prs}
        return [said for place in sorted(places) for said in await self.shop.from_bot(place)]

    async def _alert(self) -> None:
        body = event("eval.drop", self.number, repository=self.shop.name, pull_request=self.number)
        body["subject"] = f"checkout-{self.number}"
        status, answer = await self.sender.post(
            "/alerts/cloudevents", body, "application/cloudevents+json"
        )
        assert status == 202, answer

    async def _word(self, person: Person) -> None:
        shop, way = self.shop, self.cell.way
        login = "bob" if person is shop.bob else "alice"
        match way:
            case "comment":
                await person.comment(self.number, "/revert")
            case "hotfix":
                await person.comment((await self._incident()).prs[-1], "/revert")
            case "issue":
                await person.comment((await self._incident()).issue or 0, "/revert")
            case "label":
                await person.label(self.number, "playbook:revert")
            case "button":
                check = await shop.eventually(self._offered)
                user = shop.github.world.users[login]
                checks.press(shop.github.world, shop.repository, check, "approve", user)
            case "API":
                body = {"repository": shop.name, "pull_request": self.number, "reason": "SLO"}
                status, answer = await self.sender.post(
                    "/incidents/revert", body, "application/json"
                )
                assert status == 202, answer
            case "cockpit":
                visitor = await self.arrives(login)
                plan = await start(visitor, shop, f"/revert #{self.number}")
                if self.cell.state not in _OVER or self.cell.who == "person":
                    await visitor.press(plan, "/revert")

    async def _offered(self) -> Any:
        run = await self._run()
        ours = [c for c in self.shop.repository.check_runs.values() if c.name == "hotfix"]
        mine = [c for c in ours if run and c.external_id and run.id in c.external_id]
        return next((c for c in mine if c.conclusion == "action_required"), None)

    async def _incidents(self) -> list[Incident]:
        async with self.shop.bot.read_only.connect() as conn:
            recent = await incidents.list_recent(conn, self.shop.repository.id, limit=500)
        return [each for each in recent if self._is_mine(each)]

    def _is_mine(self, incident: Incident) -> bool:
        return incident.subject == f"pull_request:{self.number}"

    async def _incident(self) -> Incident:
        async def opened() -> Incident | None:
            found = [each for each in await self._incidents() if each.kind == "revert"]
            return found[0] if found else None

        incident: Incident = await self.shop.eventually(opened)
        return incident

    async def _run(self) -> StoredRun | None:
        async with self.shop.bot.read_only.connect() as conn:
            found = await runs.of_incident(conn, (await self._incident()).id)
        return found[-1] if found else None

    async def _reach(self, state: str) -> None:
        async def there() -> bool:
            incident, run = await self._incident(), await self._run()
            if run is None or incident.issue is None:
                return False
            match state:
                case "asked to begin":
                    return run.state is RunState.AWAITING_APPROVAL
                case "waiting for a person":
                    return run.state is RunState.AWAITING_APPROVAL and bool(incident.prs)
                case "waiting for CI":
                    return run.state is RunState.VERIFYING and run.standing is not None
                case "merged and watching":
                    return incident.status is IncidentStatus.MITIGATED
                case _:
                    return not run.is_live and incident.status is IncidentStatus.RESOLVED

        try:
            await self.shop.eventually(there)
        except TimeoutError:
            raise AssertionError(f"{self.cell} never was {state}: {await self._told()}") from None


def files(count: int) -> Iterator[str]:
    """The file that each cell breaks."""
    return (f"part{n}.py" for n in range(count))


async def play(
    shop: Shop, sender: Sender, arrives: Arrives, chosen: list[Cell], state: str
) -> None:
    """Play all cells of one state side by side."""
    begun = [cell for cell in chosen if cell.state == state]
    parts = list(files(len(begun)))
    proposes = "triggers: {autonomy: propose}\n" if state == "asked to begin" else ""
    settings = {".github/playbooks.yml": CHECKS + CAPS + proposes}
    shop.verdicts["evals"] = "success"
    configured = await shop.merged("Configure", {**settings, **dict.fromkeys(parts, GOOD)})
    assert await (await shop.says(configured, "/approve", shop.olivia)).reaction() == "+1"
    talks = [
        Conversation(shop, sender, arrives, cell, await shop.merged("Faster", {part: BAD}), part)
        for cell, part in zip(begun, parts, strict=True)
    ]
    if state in ("waiting for CI", "merged and watching"):
        shop.verdicts.update(smoke="pending", evals="pending")
    await asyncio.gather(*[talk.to_the_state() for talk in talks])
    if state == "merged and watching":
        # What is merged is another tree than what was verified, so the branch is watched.
        await shop.alice.push("main", {"NOTES.md": "a note\n"}, "Write a note")
        await _is_green(shop)
        await asyncio.gather(*[talk.merged() for talk in talks])
    await asyncio.gather(*[talk.last_words() for talk in talks])
    await shop.looked_again()
    shop.verdicts.update(smoke="success", evals="success")
    await _is_green(shop)
    await asyncio.gather(*[talk.ends_well() for talk in talks])


async def _is_green(shop: Shop) -> None:
    """CI reports on every hotfix, and on what is merged of them."""
    for pull in await shop.hotfixes():
        sha = pull["merge_commit_sha"] if pull["merged_at"] else pull["head"]["sha"]
        for name in ("smoke", "evals"):
            await shop.alice.set_status(sha, "success", name)
