"""What the bot has said in one repository: every comment, issue, description and check.

Also what none of its words may say, whatever happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fakegithub.world.model import FakeCheckRun, FakeRepository
from fakegithub.world.world import Event

BOT = "playbooks[bot]"
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_MENTION = re.compile(r"(?<![\w/`])@[A-Za-z0-9]")
_AFTER_A_MERGE = re.compile(r"rolled back|\bfailed\b|I could not", re.IGNORECASE)
_LINK = re.compile(r"(?<![\w&])#\d+|\]\(http|(?<![\w`])[0-9a-f]{7,40}\b")
"""GitHub makes links of numbers and of bare SHAs."""
_NEXT = re.compile(
    r"`/[a-z]+|Nothing (?:to do|would be done)|\b(?:merge|close|look|resolve|open)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Words:
    """One text as it stood at one moment.

    Attributes:
        place: `comment`, `issue`, `description`, `check` or `answer` (over HTTP).
        number: of the issue or pull request on which one would answer.
        text: Markdown without hidden markers.
        merged: whether the hotfix was merged when it was said.
        new: whether it notified people (a new comment).
        seq: its place in the order of all words.
    """

    place: str
    number: int
    text: str
    merged: bool = False
    new: bool = False
    seq: int = 0

    @property
    def headline(self) -> str:
        """Its first paragraph."""
        return self.text.strip().split("\n\n")[0].strip("* ")


@dataclass
class Spoken:
    """Listens to one repository."""

    repository: FakeRepository
    said: list[Words] = field(default_factory=list)
    """Everything, in order; edited texts once for each edit."""
    newest: dict[tuple[str, int], Words] = field(default_factory=dict)
    """What stands there now, by place and id."""
    merges: int = 0
    """Hotfixes that were merged."""
    events: int = 0

    def hear(self, event: Event) -> None:
        """Take notice of what happened."""
        if event.repository is not self.repository:
            return
        self.events += 1
        payload, action = event.payload, event.action
        if event.name == "issue_comment" and action in ("created", "edited"):
            comment = payload["comment"]
            if comment["user"]["login"] == BOT:
                number = payload["issue"]["number"]
                self._note("comment", comment["id"], number, comment["body"], new=action[0] == "c")
        elif event.name == "issues" and payload["issue"]["user"]["login"] == BOT:
            self._issue("issue", payload["issue"])
        elif event.name == "pull_request" and payload["pull_request"]["user"]["login"] == BOT:
            pull = payload["pull_request"]
            if action == "closed" and pull["merged"] and "hotfix" in pull["head"]["ref"]:
                self.merges += 1
            self._issue("description", pull)

    def answered(self, number: int, text: str) -> None:
        """Note an answer over HTTP, or on a page."""
        self._note("answer", -len(self.said), number, text)

    def look_at_checks(self) -> None:
        """Note what the check-runs say now: edits of them are no events."""
        for run in self.repository.check_runs.values():
            if run.app.slug == "playbooks" and run.name == "hotfix":
                self._note("check", run.id, self._pull_of(run), _check_text(run.output))

    def _pull_of(self, run: FakeCheckRun) -> int:
        return next(
            (n for n, i in self.repository.issues.items() if i.pull and
             i.pull.head_sha == run.head_sha), 0,
        )  # fmt: skip

    def _issue(self, place: str, issue: dict[str, Any]) -> None:
        self._note(place, issue["number"], issue["number"], issue["body"] or "")

    def _note(self, place: str, of: int, number: int, body: str, *, new: bool = False) -> None:
        text = _HIDDEN.sub("", body).strip()
        before = self.newest.get((place, of))
        if before is not None and before.text == text:
            return
        words = Words(place, number, text, self.merges > 0, new, len(self.said))
        self.newest[place, of] = words
        self.said.append(words)

    def now(self) -> list[Words]:
        """What stands there now, the newest first."""
        self.look_at_checks()
        return sorted(self.newest.values(), key=lambda words: -words.seq)

    @property
    def comments(self) -> int:
        """How many comments the bot wrote."""
        return sum(words.new for words in self.said)


def wrong_words(said: list[Words]) -> Iterator[str]:
    """What no cell may say, each with the words themselves."""
    mentioning = [words for words in said if words.new and mentions(words.text)]
    if len(mentioning) > 2:
        heads = " | ".join(words.headline for words in mentioning)
        yield f"{len(mentioning)} comments mention somebody: {heads}"
    for words in said:
        plain = _CODE.sub("", words.text)
        if words.merged and (found := _AFTER_A_MERGE.search(plain)):
            yield f"after the merge it says {found[0]!r}: {_around(plain, found)}"
        if (found := re.search(r"\balready\b", plain)) and words.place in ("comment", "answer"):
            if not _LINK.search(words.text) and words.place == "comment":
                yield f"'already' without a link: {_around(words.text, None)}"
            if not _NEXT.search(words.text):
                yield f"'already' without a next step: {_around(words.text, None)}"


def mentions(text: str) -> bool:
    """Whether somebody is notified by it."""
    return _MENTION.search(_CODE.sub("", text)) is not None


def _around(text: str, found: re.Match[str] | None) -> str:
    start = max(found.start() - 80, 0) if found else 0
    return " ".join(text[start : start + 240].split())


def _check_text(output: dict[str, Any]) -> str:
    return f"{output.get('title') or ''}\n\n{output.get('summary') or ''}"
