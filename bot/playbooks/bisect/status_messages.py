"""The words of where a bisect stands, and how long it takes yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot import markdown
from bot.playbooks.bisect.messages import (
    BisectMessages,
    boundaries_in_words,
    learnt,
    linked,
    verification_in_words,
)
from bot.playbooks.bisect.trials import TrialRow
from bot.playbooks.incident.phrases import StatusMessage, about, moment
from bot.records.documents.reports import Finding, Verification
from bot.triggers import Actor

_CHECKING = 2
"""Rounds at the end: the suspect, its parents and its revert are run again."""


def rounds_left(probabilities: Sequence[float], parallel: int) -> int:
    """How many rounds of trials are likely yet.

    Args:
        probabilities: of each commit in question.
        parallel: trials at once. So many split what is open into one part more, at best.
    """
    total = sum(probabilities)
    if total <= 0:
        return _CHECKING
    shares = [each / total for each in probabilities if each > 0]
    bits = -sum(share * math.log2(share) for share in shares)
    return math.ceil(bits / math.log2(parallel + 1)) + _CHECKING


def outlook(
    probabilities: Sequence[float], table: Sequence[TrialRow], parallel: int, until: datetime
) -> str:
    """Say about how long it takes yet, and when people are asked at the latest.

    Args:
        probabilities: of each commit in question.
        table: the trials so far.
        parallel: trials at once.
        until: when the search's minutes are over.
    """
    latest = f"I will ask you by {moment(until)}."
    each = _mean(table)
    if each is None:
        return f"How long it takes is known once a first trial has ended. {latest}"
    rounds = rounds_left(probabilities, parallel)
    return (
        f"{_yet(rounds * each)}: some {rounds} rounds of up to {parallel} trials at once, and a "
        f"trial takes {about(each)}. {latest}"
    )


def checking(left: int, table: Sequence[TrialRow], parallel: int) -> str:
    """Say about how long the check of a suspect takes yet; empty where no trial has ended.

    Args:
        left: fresh runs that have not ended.
        table: the trials so far.
        parallel: trials at once.
    """
    each = _mean(table)
    if each is None:
        return ""
    # How many are left is not named: the words would be edited at the end of every run.
    return (
        f"{_yet(math.ceil(left / parallel) * each)}: up to {parallel} of these runs are made at "
        f"once, and one takes {about(each)}."
    )


def _yet(span: timedelta) -> str:
    said = about(span)
    return f"{said[0].upper()}{said[1:]} yet"


def usual_length(table: Sequence[TrialRow]) -> timedelta:
    """How long a trial takes; a minute, where none has said."""
    return _mean(table) or timedelta(minutes=1)


def _mean(table: Sequence[TrialRow]) -> timedelta | None:
    took = [row.seconds for row in table if row.seconds]
    return timedelta(seconds=sum(took) / len(took)) if took else None


_TELLING = 0.05
"""Below this nobody is pointed at: every commit of a range is as likely."""
_LIKELY = 0.5
"""From this probability on a suspect is worth reverting by hand."""
_SETTINGS_OF_A_WORKFLOW = """bisect:
  workflow: trial.yml # tries one commit: inputs sha and trial_id, the latter in its run-name"""
_SETTINGS_OF_BOTH = f"""{_SETTINGS_OF_A_WORKFLOW}

# or, on this server:
bisect:
  runner: sandbox
  commands: {{smoke: [make, test]}}"""


def starting(case: BisectMessages) -> StatusMessage:
    """The incident is open."""
    return StatusMessage(
        state="working",
        headline=f"In progress: I am reading what is known of {case.signal}.",
    )


def searching(case: BisectMessages, finding: Finding, running: int, outlook: str) -> StatusMessage:
    """Trials are under way; `outlook` says how long yet."""
    return StatusMessage(
        state="working",
        headline=f"In progress: {_counted(running, 'trial')} running, "
        f"{finding.trials} {'has' if finding.trials == 1 else 'have'} ended.",
        details=(
            f"{case.commits} commits are in question; {case.known} results existed already, and "
            f"{case.trials_left} more trials are allowed.",
            outlook,
            *_likeliest(case, finding),
            _helping(case),
            *case.notes,
        ),
    )


def verifying(case: BisectMessages, culprit: str, running: int, outlook: str) -> StatusMessage:
    """A suspect is checked with fresh runs; `outlook` says how long yet."""
    return StatusMessage(
        state="working",
        headline=f"In progress: {running} fresh "
        f"{'run checks' if running == 1 else 'runs check'} the suspect {linked(case, culprit)} "
        "and its revert, before I blame anybody.",
        details=(outlook,) if outlook else (),
    )


def proposing() -> StatusMessage:
    """The fix is being made."""
    return StatusMessage(
        state="working",
        headline="In progress: the culprit is found, and I am preparing the fix.",
    )


def paused(case: BisectMessages, finding: Finding, why: str) -> StatusMessage:
    """It stopped before it was sure, and a person can have it go on."""
    known = "" if case.numeric else ", or say what you know of the commits below"
    return StatusMessage(
        state="needs you",
        headline=f"Comment `/retry` to search further{known}: the culprit is not certain yet.",
        details=(
            *((why,) if why != finding.reason else ()),
            *learnt(case, finding),
            _helping(case) + " " + _until_green(case),
            *case.notes,
        ),
    )


def indistinguishable(case: BisectMessages, finding: Finding) -> StatusMessage:
    """One of several commits is guilty, and no trial tells which."""
    helping = "Take the guilty one back with `/revert SHA`."
    if case.numeric is None:
        helping = (
            "Say what you know of them (`/good SHA`, `/bad SHA`), or take the guilty one back with "
            "`/revert SHA`."
        )
    return StatusMessage(
        state="needs you",
        headline="Look at the commits below: one of them is to blame, and no trial tells which.",
        details=(
            *learnt(case, finding),
            f"{helping} `/retry` tries them once more. {_until_green(case)}",
            *case.notes,
        ),
    )


def cannot_try(
    case: BisectMessages, finding: Finding, culprit: str | None, *, why: str, has_sandbox: bool
) -> StatusMessage:
    """What is known does not decide, and no commit can be tried.

    Args:
        case: the facts.
        finding: what is known.
        culprit: the commit it points to, where it points to one.
        why: why the configured runner tries nothing (Markdown); empty where there is none.
        has_sandbox: whether this server could try commits.
    """
    ways = "`bisect.workflow` or `bisect.runner: sandbox`" if has_sandbox else "`bisect.workflow`"
    likeliest = finding.suspects[0] if finding.suspects else None
    suspect = culprit
    if suspect is None and likeliest is not None and likeliest.probability >= _LIKELY:
        suspect = likeliest.sha
    settings = _SETTINGS_OF_BOTH if has_sandbox else _SETTINGS_OF_A_WORKFLOW
    return StatusMessage(
        state="needs you",
        headline=f"I cannot try commits here: set {ways}, then comment `/retry`.",
        details=(
            *((why,) if why else ()),
            f"The {case.known} results there are do not settle which of {case.commits} commits "
            f"{case.did} {case.signal}. In `.github/playbooks.yml` of the default branch:",
            markdown.fence(settings, language="yaml"),
            "A Founder has to approve once how commits are tried; I will ask when the lines "
            "are there.",
            *learnt(case, finding, reason=False),
            *(
                (f"If you agree that it is this one: {markdown.code(f'/revert {suspect[:12]}')}.",)
                if suspect is not None
                else ()
            ),
            _helping(case) + " " + _until_green(case),
            *case.notes,
        ),
    )


def green_again(case: BisectMessages, head: str) -> StatusMessage:
    """Somebody mended the branch while the search waited."""
    return StatusMessage(
        state="done",
        headline=f"Done: {case.signal} passes on {markdown.code(case.base)} again "
        f"({linked(case, head)}).",
        details=(
            "I stopped searching. To find the culprit anyway: "
            + markdown.code(case.to_start_over)
            + ".",
        ),
    )


def unconfirmed(
    case: BisectMessages, finding: Finding, culprit: str, verification: Verification
) -> StatusMessage:
    """Fresh runs do not bear the search out."""
    said = "contradict it" if verification.boundary == "refuted" else "do not settle it"
    return StatusMessage(
        state="needs you",
        headline=f"Look at {linked(case, culprit)}: the search names it, but fresh runs {said}.",
        details=(
            f"That is not enough to blame anybody. {verification_in_words(case, verification)}",
            *learnt(case, finding),
            "`/retry` searches further. " + _until_green(case),
        ),
    )


def not_to_revert(case: BisectMessages, finding: Finding, culprit: str) -> StatusMessage:
    """The culprit is known, and reverting it would change nothing on the branch."""
    return StatusMessage(
        state="stopped",
        headline=f"Look at {linked(case, culprit)}: it {case.did} {case.signal}, but its change is "
        f"not on {markdown.code(case.base)} any more, so there is nothing to revert.",
        details=learnt(case, finding),
    )


def only_named(
    case: BisectMessages, finding: Finding, culprit: str, verification: Verification
) -> StatusMessage:
    """Nobody asked, and the configuration lets the bot name a culprit but propose nothing."""
    return StatusMessage(
        state="needs you",
        headline=f"Comment `/revert {culprit[:12]}` if you agree: {linked(case, culprit)} "
        f"{case.did} {case.signal} ({finding.confidence:.1%} sure).",
        details=(
            verification_in_words(case, verification),
            "Automatic action only proposes here, by `triggers: {autonomy: …}` or the label "
            "`playbook:off`, so I opened no fix.",
            _until_green(case),
        ),
    )


def nobody(case: BisectMessages, finding: Finding) -> StatusMessage:
    """The bad end passes or fails only now and then; or a number has no one change to blame."""
    again = f"If it comes back: {markdown.code(case.to_start_over)}."
    if case.numeric is not None:
        return StatusMessage(
            state="stopped",
            headline=f"Done: no single commit is to blame for {case.signal}.",
            details=(markdown.text(finding.reason), *boundaries_in_words(case, finding), again),
        )
    if finding.cause == "flaky_from":
        return StatusMessage(
            state="stopped",
            headline=f"Done: no commit is to blame; {case.signal} became flaky "
            f"({finding.confidence:.1%} sure).",
            details=(
                *boundaries_in_words(case, finding),
                "It passes and fails on the same commits, so a revert would prove nothing.",
            ),
        )
    why = "The failure was a flake or came from its environment."
    if finding.cause == "outage":
        why = "What failed was an outage, which is over: commits known to be good failed too."
    return StatusMessage(
        state="stopped",
        headline=f"Done: no commit is to blame; the bad end passes {case.signal} "
        f"({finding.confidence:.1%} sure).",
        details=(why, again),
    )


def older(case: BisectMessages, finding: Finding) -> StatusMessage:
    """The good end fails too, or has the number that was to be explained."""
    said = "fails" if case.numeric is None else "has the same"
    return StatusMessage(
        state="stopped",
        headline=f"Name an older good end: {linked(case, case.good)} {said} {case.signal} too "
        f"({finding.confidence:.1%} sure).",
        details=(
            "The culprit is older than this range.",
            f"`/bisect OLDER..{case.bad[:12]}`, or leave the good end out to have one found."
            if case.numeric is None
            else f"`/bisect OLDER..{case.bad[:12]} numeric {case.typed_metric}`.",
        ),
    )


def nothing_older(case: BisectMessages) -> StatusMessage:
    """There is no commit before the bad end that could be good."""
    return StatusMessage(
        state="stopped",
        headline=f"Stopped: no commit before {linked(case, case.bad)} passes {case.signal}.",
        details=(
            "It has failed since the first commit, or the check is wrong everywhere: fix it with a "
            "new change. If you know a commit where it passed, name it: "
            f"`/bisect GOOD..{case.bad[:12]}`.",
        ),
    )


def cancelled(case: BisectMessages, by: Actor | None) -> StatusMessage:
    """Somebody said /cancel."""
    name = markdown.code(by.login) if by else "Somebody"
    return StatusMessage(
        state="stopped",
        headline=f"Stopped: {name} cancelled this bisect; no trial is running.",
        details=(_start_over(case),),
    )


def given_up(case: BisectMessages) -> StatusMessage:
    """Nobody came."""
    return StatusMessage(
        state="stopped",
        headline="Stopped: nobody answered this bisect in time.",
        details=(_start_over(case),),
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def _start_over(case: BisectMessages) -> str:
    return (
        f"To start again: {markdown.code(case.to_start_over)}. Results that exist are used again."
    )


def _helping(case: BisectMessages) -> str:
    """What people may say of commits."""
    if case.numeric is not None:
        return "`/skip SHA` leaves out a commit."
    return "What you know helps: `/good SHA`, `/bad SHA`, `/skip SHA`."


def _until_green(case: BisectMessages) -> str:
    """How it ends without anybody's word."""
    if case.check is None or case.numeric is not None:
        return "`/cancel` ends it."
    return (
        f"Once {case.signal} is green on {markdown.code(case.base)} again, this incident is "
        "resolved; `/cancel` ends it."
    )


def _likeliest(case: BisectMessages, finding: Finding) -> tuple[str, ...]:
    if not finding.suspects:
        return ()
    first = finding.suspects[0]
    if first.probability < _TELLING:
        return ()
    return (f"Likeliest by now: {linked(case, first.sha)} with {first.probability:.1%}.",)
