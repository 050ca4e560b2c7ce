"""What `self-work gate` says on one head commit. Pure; the words people read are here too.

The check is required of everyone (docs/decisions/0002), so it passes at once whatever is not
self-work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Literal

from bot import markdown
from bot.config import SelfWork
from bot.names import is_among
from bot.records.pauses import Pause, PauseKind
from bot.triggers import Value


class GatedHead(Value):
    """A commit that the gate is asked about: a pull request's head, or a merge group's.

    Attributes:
        number: the pull request; None where it cannot be told.
        sha: the commit.
        ours: whether every commit of it is this App's: hotfixes, fixes and records.
        self_work: why it counts as self-work; None where it does not.
        exempted_by: who let this very commit through.
    """

    number: int | None
    sha: str
    ours: bool = False
    self_work: str | None = None
    exempted_by: str | None = None


class Gate(Value):
    """What is reported. `offers_approval`: a person with the right may let this one through."""

    conclusion: Literal["success", "failure"]
    title: str
    summary: str
    offers_approval: bool = False

    @property
    def digest(self) -> str:
        """The same for the same words: what was said already is not said again."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def gate(head: GatedHead, pause: Pause | None) -> Gate:
    """Decide whether one head may be merged.

    Args:
        head: the commit.
        pause: the pause of self-work in force, if there is one.
    """
    if head.ours:
        return _open("Never held: I opened it", "Only pull requests of other agents are held.")
    if head.self_work is None:
        return _open("Not self-work", "Only pull requests of autonomous agents are ever held.")
    if pause is None:
        return _open("Self-work is running", f"Self-work: {head.self_work}.")
    if head.exempted_by is not None:
        by = markdown.code(head.exempted_by)
        return _open("Let through by a person", f"{by} let this commit through; the next is held.")
    if pause.state == "half open" and head.number is not None and pause.canary == head.number:
        return _open(
            "The canary: first to go on",
            "Self-work was paused. This one pull request may be merged; when the default branch "
            "stays green after it, everything goes on.",
        )
    return Gate(
        conclusion="failure",
        title=f"Self-work is paused by {pause.set_by}",
        summary=held(pause) + f"\n\nSelf-work: {head.self_work}. Taking a label off lifts nothing.",
        offers_approval=True,
    )


def strictest(
    heads: Iterable[GatedHead], pause: Pause | None
) -> tuple[tuple[GatedHead, Gate], ...]:
    """Decide about each commit once, whatever pull requests have it as their head.

    Anybody may open one more upon a commit that is there: it opens no gate. What is ours stays so.

    Args:
        heads: by pull request and merge group; several may be of one commit.
        pause: the pause of self-work in force, if there is one.
    """
    decided: dict[str, tuple[GatedHead, Gate]] = {}
    for head in sorted(heads, key=lambda head: not head.ours):
        verdict = gate(head, pause)
        known = decided.setdefault(head.sha, (head, verdict))
        if not known[0].ours and verdict.conclusion == "failure" != known[1].conclusion:
            decided[head.sha] = (head, verdict)
    return tuple(decided.values())


def held(pause: Pause) -> str:
    """Say why, who, since when, and how to lift it (Markdown)."""
    since = pause.since.strftime("%Y-%m-%d %H:%M UTC")
    founder_or = "" if pause.kind is PauseKind.SAFETY else " or a person with maintain access"
    lines = [
        f"**Paused:** {markdown.text(pause.reason)}",
        f"By {markdown.code(pause.set_by)} since {since}.",
        f"**To lift it:** {_how_to_lift(pause)}",
        f"To let only this commit through: `/approve` here, by a Founder{founder_or}.",
    ]
    return "\n\n".join(lines)


def _how_to_lift(pause: Pause) -> str:
    who = "a Founder or a person with maintain access"
    if pause.kind is not PauseKind.SAFETY:
        who = "a person with write access"
    by_hand = f"`/unpause self-work because …`, by {who} who writes no self-work."
    if pause.state == "half open":
        canary = f"#{pause.canary}" if pause.canary else "the next self-work pull request"
        return f"it lifts itself when {canary} is merged and the branch stays green; or {by_hand}"
    if pause.lifts_itself:
        return (
            "it lifts itself when the default branch has been green for a while and no high or "
            f"critical incident is open; or {by_hand}"
        )
    return by_hand


def why_self_work(
    config: SelfWork, *, author: str, labels: Collection[str], seen: Collection[str] = ()
) -> str | None:
    """Say why a pull request is self-work; None if it is not.

    Args:
        config: the label and the authors.
        author: who opened it.
        labels: on it now.
        seen: labels that were on it at some time since we look.
    """
    if is_among(author, config.authors):
        return f"opened by {author}"
    if config.label.lower() in {each.lower() for each in (*labels, *seen)}:
        return f"label {config.label}"
    return None


def pushed_by_agent(config: SelfWork, makers: Collection[str]) -> str | None:
    """Say why a head that we did not make is self-work: an agent made it; None if none did.

    Args:
        config: the authors.
        makers: who wrote, committed or pushed what is not ours.
    """
    agent = next((login for login in makers if is_among(login, config.authors)), None)
    return None if agent is None else f"pushed to by {agent}"


def _open(title: str, summary: str) -> Gate:
    return Gate(conclusion="success", title=title, summary=summary)
