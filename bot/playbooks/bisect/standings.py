"""Where a bisect stands: each stand and each need in its own words (Markdown out)."""

from __future__ import annotations

from bot import markdown
from bot.playbooks.bisect.case import BisectCase
from bot.playbooks.bisect.text import learnt, linked, verification_in_words
from bot.playbooks.words.standing import Standing
from bot.records.documents.bisect_report import Finding, Verification
from bot.triggers import Actor


def starting(case: BisectCase) -> Standing:
    """The incident is open."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you yet: I am reading what is known of {case.signal}.",
    )


def searching(case: BisectCase, finding: Finding, running: int) -> Standing:
    """Trials are under way."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you: {running} trials are running, "
        f"{finding.trials} have ended.",
        details=(
            f"{case.commits} commits are in question; {case.known} results existed already, and "
            f"{case.trials_left} more trials are allowed.",
            *_likeliest(case, finding),
            "What you know helps: `/good SHA`, `/bad SHA`, `/skip SHA`.",
            *case.notes,
        ),
    )


def verifying(case: BisectCase, culprit: str, running: int) -> Standing:
    """A suspect is checked with fresh runs."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you: {running} fresh runs check the suspect "
        f"{linked(case, culprit)} and its revert before I blame anybody.",
    )


def proposing() -> Standing:
    """The fix is being made."""
    return Standing(
        state="working",
        headline="Nothing to do for you yet: the culprit is found, and I am preparing the fix.",
    )


def paused(case: BisectCase, finding: Finding, why: str) -> Standing:
    """It stopped before it was sure, and a person can have it go on."""
    return Standing(
        state="needs you",
        headline="Comment `/retry` to search on, or say what you know of the commits below: "
        "the culprit is not certain yet.",
        details=(
            *((why,) if why != finding.reason else ()),
            *learnt(case, finding),
            "`/good SHA`, `/bad SHA` and `/skip SHA` count as evidence; `/cancel` ends it.",
            *case.notes,
        ),
    )


def unconfirmed(
    case: BisectCase, finding: Finding, culprit: str, verification: Verification
) -> Standing:
    """Fresh runs do not bear the search out."""
    said = "contradict it" if verification.boundary == "refuted" else "do not settle it"
    return Standing(
        state="needs you",
        headline=f"Look at {linked(case, culprit)}: the search names it, but fresh runs {said}.",
        details=(
            f"I blame nobody on that. {verification_in_words(verification)}",
            *learnt(case, finding),
            "`/retry` searches on; `/cancel` ends it.",
        ),
    )


def not_to_revert(case: BisectCase, finding: Finding, culprit: str) -> Standing:
    """The culprit is known, and reverting it would change nothing on the branch."""
    return Standing(
        state="stopped",
        headline=f"Look at {linked(case, culprit)}: it broke {case.signal}, but its change is not "
        f"on {markdown.code(case.base)} any more, so there is nothing to revert.",
        details=learnt(case, finding),
    )


def only_named(
    case: BisectCase, finding: Finding, culprit: str, verification: Verification
) -> Standing:
    """Nobody asked, and the configuration lets the bot name a culprit but propose nothing."""
    return Standing(
        state="needs you",
        headline=f"Comment `/revert {culprit[:12]}` if you agree: {linked(case, culprit)} broke "
        f"{case.signal} ({finding.confidence:.1%} sure).",
        details=(
            verification_in_words(verification),
            "Automatic action only proposes here, by `triggers: {autonomy: …}` or the label "
            "`playbook:off`, so I opened no fix.",
        ),
    )


def nobody(case: BisectCase, finding: Finding) -> Standing:
    """The bad end passes."""
    return Standing(
        state="stopped",
        headline=f"Nothing to revert: the bad end passes {case.signal} "
        f"({finding.confidence:.1%} sure).",
        details=(
            "The failure was a flake or came from its environment, so I blame no commit.",
            "If it comes back, run the check on the bad end again and start anew.",
        ),
    )


def older(case: BisectCase, finding: Finding) -> Standing:
    """The good end fails too."""
    return Standing(
        state="stopped",
        headline=f"Name an older good end: {linked(case, case.good)} fails {case.signal} too "
        f"({finding.confidence:.1%} sure).",
        details=(
            "The culprit is older than this range.",
            f"`/bisect OLDER..{case.bad[:12]}`, or leave the good end out to have one found.",
        ),
    )


def nothing_older(case: BisectCase) -> Standing:
    """There is no commit before the bad end that could be good."""
    return Standing(
        state="stopped",
        headline=f"Nothing to search: no commit before {linked(case, case.bad)} passes "
        f"{case.signal}.",
        details=("It has failed since the first commit, or the check is wrong everywhere.",),
    )


def cancelled(by: Actor | None) -> Standing:
    """Somebody said /cancel."""
    name = markdown.code(by.login) if by else "Somebody"
    return Standing(
        state="stopped",
        headline=f"{name} cancelled this bisect; no trial runs any more.",
        details=("`/bisect` starts anew; results that exist are used again.",),
    )


def given_up() -> Standing:
    """Nobody came."""
    return Standing(
        state="stopped",
        headline="I stopped waiting for an answer to this bisect.",
        details=("`/bisect` starts anew; results that exist are used again.",),
    )


def _likeliest(case: BisectCase, finding: Finding) -> tuple[str, ...]:
    if not finding.suspects:
        return ()
    first = finding.suspects[0]
    return (f"Likeliest by now: {linked(case, first.sha)} with {first.probability:.1%}.",)
