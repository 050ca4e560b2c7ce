"""What a judgement says: the reason of what it asks for, and the one comment of a proposal."""

from __future__ import annotations

from bot import markdown
from bot.playbooks.judge.evidence import CheckLook
from bot.playbooks.judge.policy import TellPeople
from bot.playbooks.words.quoting import quoted

_SIGNALS = {
    "smoke": "smoke check",
    "evals": "eval",
    "slo": "SLO check",
    "safety": "safety check",
}


def reason(check: str, looked: CheckLook, seen: str) -> str:
    """Why a revert or a bisect is asked for, as plain text."""
    what = _SIGNALS.get(looked.purpose or "", "check")
    return f"{what} {quoted(check, limit=100)} on {quoted(looked.base)}: {seen}"


def hold_reason(check: str, looked: CheckLook) -> str:
    """Why self-work is paused, as plain text."""
    what = _SIGNALS.get(looked.purpose or "", "check")
    return f"{what} {quoted(check, limit=100)} fails on {quoted(looked.base)}"


def proposal(check: str, looked: CheckLook, decision: TellPeople, suspect: str) -> str:
    """The comment on the suspected pull request that leaves it to people.

    `suspect` is what to revert, `#12` or a SHA.
    """
    named = markdown.link(check, looked.url) if looked.url else markdown.code(check)
    return (
        f"Look at {named}: since this was merged it fails on {markdown.code(looked.base)}.\n\n"
        f"{_sentence(decision.reason)} I changed nothing by myself. If this is to blame, "
        f"comment `/revert {suspect}`; if the check is, run it again."
    )


def _sentence(words: str) -> str:
    said = markdown.text(words)
    return said[:1].upper() + said[1:] + "."
