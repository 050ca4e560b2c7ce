"""One cell as a conversation: who speaks first, who then, and what is done that the bot advises.

After both have spoken a person does nothing of their own accord: only what the bot's words say,
literally, and at most three such things.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from bot.playbooks.run import Signal, SignalKind
from bot.records.lifecycle import RunState
from demo.person import Person, Rejected
from fakegithub.access.answers import RequestRefused
from fakegithub.changes import checks
from tests.cockpit.visitor import Visitor
from tests.first_minute.advice import Advice, advices, waits
from tests.first_minute.product import Cell, First, Trouble, Way
from tests.first_minute.scene import RESOLVED, Scene, scene
from tests.first_minute.town import Town
from tests.first_minute.words import Words, wrong_words
from tests.shop import API_TOKEN

MOST_ADVICE = 3
LONGEST_S = 150.0
"""Until a conversation in which something goes on all the time counts as stuck."""
ENDS_S = 60.0
"""Until a recovery that is done has told so and is over."""
LOOKS = 2
"""As often a Run has to look and find nothing, until it is believed to rest."""
SILENCE_S = 0.6
"""As long nothing happens where no Run is left, until that is believed."""
A_MOMENT = 0.2
CHECKS_MAY_TAKE = timedelta(minutes=61)


@dataclass
class Result:
    """What came of one cell.

    Attributes:
        cell: its key.
        safe: whether main is, by its files.
        wrong: what is wrong with main.
        words: what the bot said that it may not say.
        advice: what was done because the bot said so.
        seen: its newest words, where main is not safe or they are wrong.
        seconds: from the first word until main was safe (or nothing went on).
        comments: the bot's, in all.
        notes: what else was remarkable.
        time_wanted: whether it only waits for a time-out: to be played alone, with the clock.
    """

    cell: str
    safe: bool = False
    wrong: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    seconds: float = 0.0
    comments: int = 0
    notes: list[str] = field(default_factory=list)
    time_wanted: bool = False

    def as_line(self) -> str:
        """As one line of a file."""
        return json.dumps(asdict(self), ensure_ascii=False)


async def play(town: Town, cell: Cell, *, may_forward: bool = False) -> Result:
    """Play one cell to its end.

    Args:
        town: where.
        cell: what; it can exist.
        may_forward: whether the clock may be put forward: only where no other cell is played.
    """
    result = Result(cell.key)
    try:
        async with scene(town, cell) as made:
            await Conversation(made, result, may_forward).play()
    except Exception as fault:
        result.safe = False
        result.wrong.append(f"the cell itself broke: {type(fault).__name__}: {fault}"[:500])
    finally:
        if may_forward:
            town.clock.passed = timedelta()
    return result


class Conversation:
    """Two who speak, and then one who does what the bot says."""

    def __init__(self, made: Scene, result: Result, may_forward: bool = False) -> None:
        self.scene, self.result, self.may_forward = made, result, may_forward
        self.town, self.shop, self.spoken = made.town, made.shop, made.spoken
        self.began = time.monotonic()
        self.safe_at: float | None = None
        self.done: dict[tuple[str, str], int] = {}

    async def play(self) -> None:
        self.began = time.monotonic()
        await self._both_speak()
        await self._follow_advice()
        result, made = self.result, self.scene
        result.seconds = round((self.safe_at or time.monotonic()) - self.began, 2)
        if self.safe_at is not None:
            await self.ends()
            await asyncio.sleep(A_MOMENT)
        result.wrong = made.unsafe()
        result.safe = not result.wrong
        read = self.spoken.now()
        result.words = list(dict.fromkeys(wrong_words(self.spoken.said)))
        result.comments = self.spoken.comments
        result.notes += self._unheard()
        last = await self.shop.last_run()
        ended = last is None or last.incident_id is None or last.state is RunState.SUCCEEDED
        if result.safe and last is not None and last.playbook == "revert" and not ended:
            result.notes.append(f"main is safe, and the Run is {last.state}")
        if not result.safe or result.words:
            result.seen = [f"{w.place} on #{w.number}: {_short(w.text)}" for w in read[:6]]

    def _unheard(self) -> list[str]:
        """The commands that nobody reacted to, on which no word of the bot's followed either."""
        unheard = []
        for issue in self.shop.repository.issues.values():
            said = [c for c in issue.comments if c.app is None and c.body.startswith("/")]
            answered = [c.id for c in issue.comments if c.app is not None]
            for comment in said:
                given = {each.content for each in comment.reactions}
                if not given & {"+1", "confused"} and max(answered, default=0) < comment.id:
                    unheard.append(f"no answer to {comment.body!r} on #{issue.number}")
        return unheard

    # --- who speaks ---

    async def _both_speak(self) -> None:
        first, way, ci = self.scene.cell.first, self.scene.cell.way, self.scene.ci
        bob, alice = self.shop.bob, self.shop.alice
        match first:
            case First.BOT:
                await self._alert()
                await self.until(self._waits_for_a_person)
                await self._speak(alice)
            case First.SAME:
                await asyncio.gather(self._alert(), self._speak(alice))
            case First.PERSON:
                ci.held = True
                await self._speak(alice)
                await self.until(self._hotfix)
                await self._alert()
            case First.TWO:
                ci.held = True
                await alice.comment(self.scene.offending, "/revert")
                await self.until(self._hotfix)
                await self._speak(bob)
            case First.TWICE:
                ci.held = way is Way.BUTTON
                await alice.comment(self.scene.offending, "/revert")
                await self.until(self._hotfix if way is Way.BUTTON else self.is_safe)
                await self._speak(alice)
        if ci.held:
            await self.until(self._nothing)
            await ci.let_go()

    async def _nothing(self) -> bool:
        """What is waited for where only the bot's rest is."""
        return False

    async def is_safe(self) -> bool:
        self.safe_at = self.safe_at or (time.monotonic() if self.scene.is_safe else None)
        return self.safe_at is not None

    async def _alert(self) -> None:
        """A monitor says that the pull request is bad."""
        number, name = self.scene.offending, self.shop.name
        body = {
            "specversion": "1.0", "id": f"event-{name}", "source": "/slo", "type": "slo.breach",
            "subject": "checkout", "data": {
                "repository": name, "pull_request": number, "severity": "high",
                "summary": "Totals are zero",
            },
        }  # fmt: skip
        await self._post("/alerts/cloudevents", body, "application/cloudevents+json")

    async def _post(self, path: str, body: Any, content_type: str = "application/json") -> None:
        url = f"http://127.0.0.1:{self.town.bot.port}{path}"
        headers = {"Authorization": f"Bearer {API_TOKEN}", "Content-Type": content_type}
        async with self.town.session.post(url, json=body, headers=headers) as answer:
            said = await answer.json(content_type=None)
            if answer.status < 400:
                return
        words = " ".join(str(said.get(part, "")) for part in ("title", "detail")) + str(
            said.get("errors") or said.get("fields") or ""
        )
        self.spoken.answered(self.scene.offending, words)

    async def _speak(self, person: Person) -> None:
        """Say it by the way of this cell; where there is nothing to say it on, say nothing."""
        offending, way = self.scene.offending, self.scene.cell.way
        match way:
            case Way.PULL:
                await person.comment(offending, "/revert")
            case Way.LABEL:
                await person.label(offending, "playbook:revert")
            case Way.API:
                body = {"repository": self.shop.name, "pull_request": offending, "reason": "SLO"}
                await self._post("/incidents/revert", body)
            case Way.ISSUE:
                await self._on_an_issue(person, offending)
            case Way.COCKPIT:
                await self._in_the_cockpit(person, offending)
            case Way.HOTFIX:
                hotfix = await self.until(self._hotfix)
                if hotfix is None:
                    self.result.notes.append("no hotfix to comment on")
                else:
                    await person.comment(hotfix["number"], f"/revert #{offending}")
            case Way.BUTTON:
                await self._press(person)

    async def _on_an_issue(self, person: Person, offending: int) -> None:
        if not self.shop.repository.has_issues:
            self.result.notes.append("issues were switched off before this could be said on one")
            return
        issues = self.shop.repository.issues
        theirs = [n for n, i in issues.items() if i.pull is None and i.app is not None]
        if theirs:
            number = max(theirs)
        else:
            number = await person.open_issue("Totals are zero")
        await person.comment(number, f"/revert #{offending}")

    async def _in_the_cockpit(self, person: Person, offending: int) -> None:
        login = "bob" if person is self.shop.bob else "alice"
        async with self.town.visitor(login) as visitor:
            await self._ask_the_cockpit(visitor, offending)

    async def _ask_the_cockpit(self, visitor: Visitor, offending: int) -> None:
        page = await visitor.get(f"/ui/start?repo={self.shop.name}")
        form = next((each for each in page.forms() if each["action"] == "/ui/plan"), None)
        if form is None:
            self.spoken.answered(offending, page.words)
            self.result.notes.append(f"the cockpit has no form: {page.status} {page.words[:300]}")
            return
        asked = {"repo": self.shop.name, "line": f"/revert #{offending}", "because": ""}
        plan = await visitor.post("/ui/plan", form | asked)
        try:
            await visitor.press(plan, "/revert")
        except AssertionError:
            self.spoken.answered(offending, plan.words)
            self.result.notes.append(f"the cockpit offers no start: {plan.words[:300]}")

    async def _press(self, person: Person) -> None:
        """Press what the check on the hotfix offers: approve, else look again."""
        run = await self.until(self._check)
        if run is None:
            self.result.notes.append("no check with a button")
            return
        offered = [action["identifier"] for action in run.actions]
        button = next((each for each in ("approve", "retry") if each in offered), None)
        if button is None:
            self.result.notes.append(f"only buttons {offered}")
            return
        user = self.town.staff["bob" if person is self.shop.bob else "alice"]
        with suppress(RequestRefused):
            checks.press(self.shop.github.world, self.shop.repository, run, button, user)

    # --- what is seen ---

    async def _hotfix(self) -> Any:
        issues = self.shop.repository.issues.values()
        found = [i for i in issues if i.pull and i.pull.head_ref.startswith("hotfix")]
        return {"number": found[-1].number, "issue": found[-1]} if found else None

    async def _check(self) -> Any:
        runs_ = self.shop.repository.check_runs.values()
        found = [r for r in runs_ if r.app.slug == "playbooks" and r.name == "hotfix" and r.actions]
        if self.scene.cell.first is First.BOT:
            found = [r for r in found if any(a["identifier"] == "approve" for a in r.actions)]
        return found[-1] if found else None

    async def _waits_for_a_person(self) -> bool:
        """Whether the bot, by itself, says that a person is needed."""
        return any("`/approve`" in words.text for words in self.spoken.now())

    async def is_over(self) -> bool:
        now = await self.town.under_way(self.shop.repository)
        return not now.busy and not now.waiting

    async def rests(self) -> bool:
        """Whether nothing is done here any more until somebody does something.

        Every Run has looked again, and found nothing new.
        """
        pulse, engine = self.town.pulse, self.town.bot.engine
        events, since = self.spoken.events, time.monotonic()
        before: dict[str, int] = {}
        while time.monotonic() - since < LONGEST_S:
            await asyncio.sleep(A_MOMENT)
            now = await self.town.under_way(self.shop.repository)
            if self.spoken.events != events:
                return False
            if now.busy:
                since = time.monotonic()
                continue
            if not now.waiting:
                if time.monotonic() - since >= SILENCE_S:
                    return True
                continue
            if before.keys() != now.waiting:
                before = {run: pulse.waits[run] for run in now.waiting}
            late = [run for run in now.waiting if pulse.waits[run] - before[run] < LOOKS]
            if not late:
                return True
            for run in late:
                await engine.wake(run, Signal(kind=SignalKind.HINT))
        return True

    async def until(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """Wait for something to be there; None when the bot rests and it is not."""
        while True:
            if found := await look():
                return found
            if await self.rests():
                return await look()

    async def ends(self) -> bool:
        """Wait for the recovery to be over."""
        ends = time.monotonic() + ENDS_S
        while time.monotonic() < ends:
            if await self.is_over():
                return True
            await asyncio.sleep(A_MOMENT)
        return False

    # --- what is done because the bot says so ---

    async def _follow_advice(self) -> None:
        """Do what the bot says until main is safe."""
        ends = time.monotonic() + LONGEST_S
        while time.monotonic() < ends:
            if await self.is_safe():
                return
            if not await self.rests():
                continue
            read = self.spoken.now()
            advice = self.next_advice(read)
            if advice is None or len(self.result.advice) >= MOST_ADVICE:
                if not waits(read):
                    return
                if not self.may_forward:
                    self.result.time_wanted = True
                    return
                self.town.clock.forward(seconds=CHECKS_MAY_TAKE.total_seconds())
                self.result.notes.append("it waited for a time-out")
                continue
            self.result.advice.append(f"{advice.deed} {advice.of} (#{advice.where})".strip())
            try:
                await self.do(advice)
            except Rejected as refused:
                self.result.notes.append(f"could not {advice.deed}: {refused}"[:300])
        self.result.notes.append(f"nothing settled in {LONGEST_S:.0f} s")

    def next_advice(self, read: list[Words]) -> Advice | None:
        """What is to be done now: a command again only where it was asked for anew since."""
        for advice in advices(read):
            done = self.done.get((advice.deed, advice.of))
            if done is None or (advice.deed == "comment" and advice.seq > done):
                self.done[advice.deed, advice.of] = len(self.spoken.said)
                return advice
        return None

    async def do(self, advice: Advice) -> None:
        shop, repository = self.shop, self.shop.repository
        where = advice.where or self.scene.offending
        match advice.deed:
            case "comment" | "status":
                await shop.alice.comment(where, advice.of)
            case "merge":
                hotfix = await self._hotfix()
                number = int(advice.of) if advice.of else hotfix["number"]
                await shop.olivia.merge(number, "squash")
            case "bypass":
                for ruleset in repository.rulesets.values():
                    ruleset.bypass_actors.append({
                        "actor_id": self.town.app.id, "actor_type": "Integration",
                        "bypass_mode": "always",
                    })  # fmt: skip
            case "delete branch":
                await shop.olivia.delete(f"git/refs/heads/{advice.of}")
            case "unlock":
                await shop.olivia.delete(f"issues/{self.scene.offending}/lock")
            case "run again":
                hotfix = await self._hotfix()
                if hotfix is not None:
                    await self.scene.ci.report(hotfix["issue"].pull.head_sha, landed=False)
            case "resolve":
                await self._resolve()

    async def _resolve(self) -> None:
        """Resolve the conflict as its author would, and say that it is ready."""
        hotfix = await self._hotfix()
        if hotfix is None:
            return
        pull = hotfix["issue"].pull
        if self.scene.cell.trouble is Trouble.NO_DRAFTS:
            await self.shop.bob.push(pull.head_ref, {"shop.py": RESOLVED}, "Resolve the conflict")
        if pull.draft:
            shown = await self.shop.bob.get(f"pulls/{hotfix['number']}")
            await self.shop.bob.graphql(
                "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id})"
                " { pullRequest { isDraft } } }",
                id=shown["node_id"],
            )


def _short(text: str) -> str:
    return " ".join(text.split())[:400]
