"""Whole stories in which GitHub's answers are odd: how does each end?

A revert, a bisect with trials, and a gate. While answers are odd, main is made safe, or the bot
says what is to be done now: exactly that is done (by then answers are as usual), and main is safe.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

from bot.records import pauses
from bot.records.lifecycle import RunState
from bot.records.pauses import PauseKind, Pausing
from bot.triggers import SELF_WORK
from tests.config_approvals import approved_ahead
from tests.first_minute.advice import advices, waits
from tests.first_minute.conversation import MOST_ADVICE, Conversation
from tests.first_minute.conversation import Result as Followed
from tests.first_minute.product import Cell, First, Moment, Trouble, Way
from tests.first_minute.scene import PREPARED_S, Scene, scene
from tests.first_minute.town import Town
from tests.first_minute.words import Spoken, Words, mentions, wrong_words
from tests.odd_answers.answers import Mutation, OddAnswers
from tests.playbooks.bisect.bisecting import CONFIG, GOOD_TRIAL, TRIAL, put_commits
from tests.shop import Shop

GATE = "self-work gate"
PLAIN = Cell(First.TWO, Way.PULL, Trouble.PLAIN, Moment.ALWAYS)
COMMITS, CULPRIT = 5, 3
LONGEST_S = 300.0
HEARD_S = 300.0
"""Seconds until the bot begins, also on a machine that has much else to do."""
ENDS_S = 600.0
"""Seconds until a Run that has done what it was asked for is over."""
GATE_WITHIN_S = 300.0
"""Seconds until the gate is right; once a minute every repository is looked at."""
QUIET_S = 20.0
"""Seconds in which the gate of a head is said, where it can be said."""
A_MOMENT = 0.2
RAW = re.compile(
    r"Traceback|pydantic|ValidationError|KeyError|TypeError|NoneType|AttributeError|IndexError"
    r"|has no attribute|object is not|unexpected keyword"
)

NOTHING = "nothing"
SAFE = "main is safe"
STEP = "one next step"
WAITS = "waited, went on by itself"


@dataclass
class Outcome:
    """What came of one story.

    Attributes:
        key: the story and what was odd, as `Play.key`.
        how: `SAFE`, `STEP`, `WAITS`, or empty where it did not end well.
        wrong: what is wrong.
        steps: what a person did because the bot said so.
        seen: the bot's newest words, where a person was needed or something is wrong.
        odd: what made an answer another one, of what was to be odd.
        met: the answers that it met.
        seconds: how long it took.
    """

    key: str
    how: str = ""
    wrong: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        """Whether it ended well."""
        return bool(self.how) and not self.wrong

    def as_line(self) -> str:
        """As one line of a file."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Play:
    """One story, and what is odd in it: one thing, or several at once."""

    story: str
    odd: tuple[Mutation, ...]

    @property
    def key(self) -> str:
        """What it is known by, in lists and files."""
        return f"{self.story}: " + ("; ".join(each.key for each in self.odd) or NOTHING)

    @classmethod
    def of(cls, key: str) -> Play:
        """The one of a key."""
        story, _, odd = key.partition(": ")
        return cls(story, tuple(Mutation.of(each) for each in odd.split("; ") if each != NOTHING))


async def play(town: Town, answers: OddAnswers, what: Play) -> Outcome:
    """Play one story to its end; `answers` is a fault of the town's GitHub."""
    outcome, began = Outcome(what.key), time.monotonic()
    try:
        await STORIES[what.story](town, answers, frozenset(what.odd), outcome)
    except Exception as fault:
        [*_, last] = traceback.extract_tb(fault.__traceback__)
        said = f"{type(fault).__name__} in {last.name}: {fault}"
        outcome.wrong.append(f"the story itself broke: {said}"[:500])
    outcome.seconds = round(time.monotonic() - began, 2)
    return outcome


@asynccontextmanager
async def odd_in(
    shop: Shop, answers: OddAnswers, odd: Collection[Mutation], outcome: Outcome
) -> AsyncIterator[None]:
    """Have the bot answered oddly in one repository."""
    name = shop.repository.name
    answers.odd[name] = frozenset(odd)
    try:
        yield
    finally:
        del answers.odd[name]
        outcome.met = sorted(answers.met.pop(name, ()))
        outcome.odd = sorted(each.key for each in answers.seen.pop(name, ()))


class _Asked(Conversation):
    """A person asks for one thing, and then does what the bot says."""

    def __init__(self, made: Scene, words: str, outcome: Outcome) -> None:
        super().__init__(made, Followed(outcome.key))
        self.words, self.outcome = words, outcome

    async def play_oddly(self, answers: OddAnswers, odd: Collection[Mutation]) -> None:
        """Ask while answers are odd; once they are as usual, follow what is said."""
        outcome = self.outcome
        async with odd_in(self.shop, answers, odd, outcome):
            await self.shop.alice.comment(self.scene.offending, self.words)
            await self._within(HEARD_S, self._is_heard)
            await self.until(self.is_safe_or_merged)
            by_itself = self.scene.is_safe
            if by_itself:
                await self._within(ENDS_S, self.is_over)
            else:
                self._is_told()
        if by_itself:
            outcome.how = SAFE
            await self._ended_well()
        else:
            await self._follow()
        outcome.steps = self.result.advice
        outcome.wrong += self.scene.unsafe()
        outcome.wrong += [f"says {each}" for each in wrong_words(self.spoken.said)]
        outcome.wrong += _raw(self.spoken.said)
        if outcome.wrong or outcome.how != SAFE:
            read = self.spoken.now()
            outcome.seen += [f"{w.place} on #{w.number}: {_short(w.text)}" for w in read[:5]]

    async def _is_heard(self) -> bool:
        """Whether a Run was begun, or something was said."""
        return bool(self.spoken.said) or await self.shop.last_run() is not None

    async def _is_heard_anew(self) -> bool:
        return await self.shop.last_run() is not None

    async def _within(self, seconds: float, look: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is so, or for too long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not await look():  # noqa: ASYNC110  seen from outside
            await asyncio.sleep(A_MOMENT)

    async def is_safe_or_merged(self) -> bool:
        """Merge a fix that the bot asks to merge: of a bisect that is its end, odd or not."""
        if self.scene.is_safe:
            return True
        for words in self.spoken.now():
            if found := re.match(r"Merge fix #(\d+)", words.headline):
                await self.shop.olivia.merge(int(found[1]), "squash")
                return self.scene.is_safe
        return False

    def _is_told(self) -> None:
        """Somebody knows what to do now."""
        read = self.spoken.now()
        self.outcome.seen = [f"while odd, on #{w.number}: {_short(w.text)}" for w in read[:4]]
        if _goes_on(read):
            return
        if next(advices(read), None) is None and not _asks_for_commit(read):
            self.outcome.wrong.append("no next step is said")
        if not any(mentions(words.text) for words in self.spoken.said):
            self.outcome.wrong.append("nobody is called")

    async def _follow(self) -> None:
        """Do what is said, one thing after the other, and no more than that."""
        ends = time.monotonic() + LONGEST_S
        while time.monotonic() < ends:
            if self.scene.is_safe:
                break
            if not await self.rests():
                continue
            read = self.spoken.now()
            if _asks_for_commit(read) and not self.result.advice:
                self.result.advice.append(f"comment /revert {self.scene.bad}")
                await self.shop.alice.comment(self.scene.offending, f"/revert {self.scene.bad}")
                await self._within(HEARD_S, self._is_heard_anew)
                continue
            advice = None if _goes_on(read) else self.next_advice(read)
            if advice is None and _goes_on(read):
                await asyncio.sleep(A_MOMENT)
                continue
            if advice is None or len(self.result.advice) >= MOST_ADVICE:
                break
            self.result.advice.append(f"{advice.deed} {advice.of} (#{advice.where})".strip())
            await self.do(advice)
        if self.scene.is_safe:
            self.outcome.how = STEP if self.result.advice else WAITS
            await self._within(ENDS_S, self.is_over)
            await self._ended_well()

    async def _ended_well(self) -> None:
        run = await self.shop.last_run()
        if run is None or run.state is not RunState.SUCCEEDED:
            state = "none" if run is None else f"{run.state}: {run.reason}"
            self.outcome.wrong.append(f"main is safe, and the Run is {state}")


async def _revert(
    town: Town, answers: OddAnswers, odd: Collection[Mutation], outcome: Outcome
) -> None:
    async with scene(town, PLAIN) as made:
        await _Asked(made, "/revert", outcome).play_oddly(answers, odd)


class _Regression(Scene):
    """A history in which one commit brought a bug; a trial shows it."""

    async def prepare(self) -> None:
        """Bring the commits to main, and have somebody see that a check is red."""
        shop = self.shop
        await self.town.known(shop.repository)
        shop.verdicts.clear()
        first = await shop.alice.head("main")
        self.commits = put_commits(shop.github, shop.repository, first, COMMITS, CULPRIT)
        self.bad = self.commits[CULPRIT]
        theirs = ("bug", f"file-{CULPRIT}.txt")
        self.expected = {path: text for path, text in self.files().items() if path not in theirs}
        await shop.alice.set_status(self.commits[-1], "failure", "smoke")
        shop.verdicts["smoke"] = "success"
        self.offending = await shop.alice.open_issue("main is red")
        await shop.github.deliveries.settle(PREPARED_S)

    def unsafe(self) -> list[str]:
        """What is wrong with main, in words."""
        found = self.files()
        return [
            f"{path} is not as it should be"
            for path in found.keys() | self.expected.keys()
            if found.get(path) != self.expected.get(path)
        ]


async def _bisect(
    town: Town, answers: OddAnswers, odd: Collection[Mutation], outcome: Outcome
) -> None:
    files = {
        "README.md": "# Shop\n",
        ".github/playbooks.yml": CONFIG,
        ".github/workflows/playbooks-trial.yml": TRIAL.replace("COMMAND", GOOD_TRIAL),
    }
    async with town.shop(files) as (shop, ci), _listened_to(shop) as spoken:
        await approved_ahead(town.bot.records, shop.repository.id, CONFIG, town.clock())
        made = _Regression(town, PLAIN, shop, ci, spoken)
        await made.prepare()
        words = f"/bisect {made.commits[0][:12]}..main check smoke"
        await _Asked(made, words, outcome).play_oddly(answers, odd)


@asynccontextmanager
async def _listened_to(shop: Shop) -> AsyncIterator[Spoken]:
    spoken = Spoken(shop.repository)
    shop.github.world.listen(spoken.hear)
    try:
        yield spoken
    finally:
        shop.github.world.listeners.remove(spoken.hear)


async def _gate(
    town: Town, answers: OddAnswers, odd: Collection[Mutation], outcome: Outcome
) -> None:
    """Self-work is held and people's is not; never is a held one green, whatever is odd."""
    async with town.shop({"README.md": "# Shop\n"}) as (shop, _), _listened_to(shop) as spoken:
        await town.known(shop.repository)
        held = await _opened(shop, "agent", label="self-work")
        await _opened(shop, "person")
        await _gated(shop, held, "success")
        await _paused(town, shop)
        await _gated(shop, held, "failure")
        async with odd_in(shop, answers, odd, outcome):
            late = await _opened(shop, "late", label="self-work")
            pushed = await shop.bob.push("agent", {"more.txt": "y\n"}, "More")
            by_hand = await shop.bob.push("person", {"more.txt": "y\n"}, "More")
            right = {pushed: "failure", late: "failure", by_hand: "success"}
            told = await _looked(shop, right)
            green = [sha for sha in (held, pushed, late) if _gate_of(shop, sha) == "success"]
            outcome.wrong += [f"green, though held: {sha[:9]}" for sha in green]
        # Nobody does anything now: the bot looks again by itself.
        try:
            for sha, wanted in right.items():
                await _gated(shop, sha, wanted)
        except TimeoutError:
            stands = {sha[:9]: _gate_of(shop, sha) for sha in right}
            outcome.wrong.append(f"not right once answers are as usual: {stands}")
        outcome.how = SAFE if told == right else WAITS
        outcome.wrong += _raw(spoken.said)


async def _opened(shop: Shop, branch: str, *, label: str = "") -> str:
    number = await shop.bob.open_pull_request(branch, {f"{branch}.txt": "x\n"}, branch=branch)
    if label:
        await shop.alice.label(number, label)
    return await shop.bob.head(branch)


async def _paused(town: Town, shop: Shop) -> None:
    wanted = Pausing(
        key=f"odd:{shop.name}", repository_id=shop.repository.id, scope=SELF_WORK,
        kind=PauseKind.MANUAL, reason="we look", by="alice", at=town.clock(),
    )  # fmt: skip
    async with town.bot.records.begin() as conn:
        await pauses.pause(conn, wanted)


def _gate_of(shop: Shop, sha: str) -> str | None:
    runs = [r for r in shop.repository.check_runs.values() if r.head_sha == sha and r.name == GATE]
    return runs[-1].conclusion if runs else None


async def _gated(shop: Shop, sha: str, conclusion: str) -> None:
    async with asyncio.timeout(GATE_WITHIN_S):
        while _gate_of(shop, sha) != conclusion:  # noqa: ASYNC110  seen from outside
            await asyncio.sleep(A_MOMENT)


async def _looked(shop: Shop, right: Mapping[str, str]) -> dict[str, str | None]:
    """Wait until the gate is right, or says nothing more; what it says of each."""
    since, before = time.monotonic(), dict[str, str | None]()
    while time.monotonic() - since < QUIET_S:
        await asyncio.sleep(A_MOMENT)
        now = {sha: _gate_of(shop, sha) for sha in right}
        if now != before:
            since, before = time.monotonic(), now
        if now == right:
            break
    return before


def _goes_on(read: Sequence[Words]) -> bool:
    """Whether the newest headline says that nobody has to do anything now."""
    heads = [words.headline for words in read if words.place in ("comment", "issue")]
    return waits(read) or (bool(heads) and heads[0].startswith("Nothing to do for you"))


def _asks_for_commit(read: Sequence[Words]) -> bool:
    """Whether the commit is to be named, which nobody knows but the person."""
    return bool(read) and "Name that commit" in read[0].text


def _raw(said: list[Words]) -> list[str]:
    return [f"raw words: {_short(words.text)}" for words in said if RAW.search(words.text)]


def _short(text: str) -> str:
    return " ".join(text.split())[:300]


STORIES = {"revert": _revert, "bisect": _bisect, "gate": _gate}
