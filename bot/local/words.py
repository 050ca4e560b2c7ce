"""Every word the bisect command says, in one place, and how text of others is made harmless."""

from __future__ import annotations

from collections.abc import Sequence

from bot.culprit.verdict import Status, Verdict
from bot.git.history import CommitInfo

SHORT = 12

NO_SANDBOX = (
    "Warning: trials run without a sandbox, with all your rights. {reason} "
    "Limits on time, memory, disk and processes still hold."
)
SUBMODULES = "Note: submodules stay empty in trials: {paths}."
INTERRUPTED = "Interrupted. Nothing finished is lost; continue with: {resume}"
FAILED = "{problem}\nNothing finished is lost; continue with: {resume}"
FOUND_GOOD = "Good end: {commit} passes."
NO_GOOD = "No good commit was found, back to the first one: the search covers the whole history."
UNFINISHED = "This log ends before a verdict. Continue with: {resume}"

CHECKED = {
    "confirmed": "Fresh runs of it and of what came before agree.",
    "undecided": "Fresh runs of it and of what came before were not clear: look closely.",
    "no budget": "The budget left no room to check it with fresh runs.",
}

EXIT_CODES = {
    Status.CULPRIT: 0,
    Status.CLASS: 3,
    Status.NO_CULPRIT: 4,
    Status.BEFORE_RANGE: 5,
    Status.BUDGET: 6,
}
ERROR = 1


def printable(text: str, most: int = 200) -> str:
    """Make text of others safe for a terminal: no control characters, one line, not too long."""
    clean = "".join(c if c.isprintable() else " " for c in text).strip()
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def not_an_ancestor(good: str, bad: str, base: str | None) -> str:
    """Say that the ends do not lie on one line of history, and which good end would do."""
    said = f"{good} is not an ancestor of {bad}, so nothing says that the change lies between. "
    if base is None:
        return said + "Their histories have nothing in common: choose another good end."
    return said + f"They part at {base[:SHORT]}: if that passes, use it as the good end."


def nothing_between(good: str, bad: str) -> str:
    """Say that the range is empty."""
    return f"Nothing lies between {good} and {bad}: there is no commit to blame."


def shallow() -> str:
    """Say that history is missing where it is needed."""
    return (
        "This clone is shallow, and the commits in question reach its edge: "
        "run `git fetch --unshallow` and try again."
    )


def infra(reason: str) -> str:
    """Say that trials could not run at all."""
    return (
        "Too many trials in a row could not run, so nothing can be said of the commits. "
        f"The last one: {printable(reason)}."
    )


def conclusion(verdict: Verdict, commits: Sequence[CommitInfo], goods: Sequence[str]) -> str:
    """Tell a verdict to a person: what was found, how sure that is, and what to do next."""
    sure = f"{verdict.confidence:.1%}"
    listed = "\n".join(f"  {_described(info, verdict)}" for info in commits)
    match verdict.status:
        case Status.CULPRIT:
            return f"{verdict.culprit} is the culprit ({sure} sure).\n{listed}"
        case Status.CLASS:
            return (
                f"One of these {len(verdict.candidates)} commits is the culprit ({sure} sure); "
                f"no commit that can be tried tells them apart.\n{listed}"
            )
        case Status.NO_CULPRIT:
            return (
                f"Bad passes: the bad end does not show the failure ({sure} sure). It was a flake "
                "or came from its environment. Check the command on the bad end."
            )
        case Status.BEFORE_RANGE:
            ends = ", ".join(good[:SHORT] for good in goods)
            return (
                f"Good fails: {ends} shows the failure too ({sure} sure), so the culprit is older. "
                "Name an older good end, or leave --good out to have one found."
            )
        case _:
            said = f"No verdict: {verdict.reason[:1].lower()}{verdict.reason[1:]}"
            splitters = ", ".join(sha[:SHORT] for sha in verdict.splitters)
            more = f"\nTrying these would tell more: {splitters}." if splitters else ""
            return f"{said}\n{listed}{more}"


def _described(info: CommitInfo, verdict: Verdict) -> str:
    probability = next((c.probability for c in verdict.candidates if c.sha == info.sha), 0.0)
    return (
        f"{info.sha[:SHORT]} {probability:6.1%}  {printable(info.subject, 100)} "
        f"({printable(info.author, 40)}, {info.committed_at:%Y-%m-%d})"
    )
