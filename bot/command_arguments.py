"""What may stand after each slash command, and the sentence a person gets when it cannot be read.

Each `read_…` takes what was typed and returns what is asked for, or raises NotUnderstood with a
sentence that names the field and what is allowed there.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from bot.names import CAPABILITY, LONGEST, NUMERIC, PROVIDER, is_revision, unwrapped
from bot.triggers import (
    SELF_WORK,
    ApproveRequest,
    BisectRequest,
    CancelRequest,
    CommitTarget,
    PauseRequest,
    PullRequestTarget,
    RampRequest,
    RejectRequest,
    RetryRequest,
    RevertRequest,
    RollbackRequest,
    RulingRequest,
    Severity,
    SeverityRequest,
    ShadowRequest,
    Target,
    UnpauseRequest,
)

MOST_TARGETS = 20
LONGEST_CHECK = 255
LONGEST_METRIC = 255
STAGES = (5, 25, 50, 100)

_PULL_REQUEST = re.compile(r"(?:([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+))?#([1-9][0-9]{0,9})")
_ADDRESS = re.compile(
    r"(https?://[^/?#]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)"
    r"/(?:pull/([1-9][0-9]{0,9})|commit/([0-9A-Fa-f]{7,40}))(?:[/?#].*)?"
)
_SHA = re.compile(r"[0-9A-Fa-f]{7,40}")
_QUOTES = "`\"'"
_DIRECTION = r"(?::[A-Za-z]*)?"
_QUOTED_METRIC = {
    quote: re.compile(rf"{quote}([^{quote}]+){quote}({_DIRECTION}),?(?: |$)") for quote in _QUOTES
}
_BARE_METRIC = re.compile(r"(\S+?),?(?: |$)")
_APPROVAL = re.compile(r"[0-9A-Za-z]{4,26}|[0-9A-Fa-f]{27,64}")


class NotUnderstood(Exception):
    """What was typed cannot be read; the message is Markdown that is safe to post."""


@dataclass(frozen=True)
class CommentPlace:
    """The repository a comment stands in: `owner/name`, and its web address.

    `subject` is the issue or pull request, if it stands on one.
    """

    full_name: str
    url: str
    subject: int | None = None


@dataclass(frozen=True)
class Typed:
    """What stands after a command: its words, and the reason after `because`.

    `words` are without the backticks, brackets and commas around them; `raw` are as typed, since
    names of refs and checks may hold those.
    """

    command: str
    words: tuple[str, ...]
    reason: str
    here: CommentPlace
    raw: tuple[str, ...]


def shown(text: str, most: int = 40) -> str:
    """Return a stranger's text as a Markdown code span: shortened, nothing in it takes effect."""
    safe = "".join(char if char.isprintable() and char != "`" else "·" for char in text[:most])
    return f"`{safe}{'…' if len(text) > most else ''}`"


def read_revert(typed: Typed) -> RevertRequest:
    """Read pull requests and commits, each once, in their order."""
    if len(typed.words) > MOST_TARGETS:
        raise NotUnderstood(
            f"`/revert` names {len(typed.words)} things. One command reverts at most "
            f"{MOST_TARGETS}: split it."
        )
    targets = tuple(dict.fromkeys(_target(word, typed.here) for word in typed.words))
    if not targets and typed.here.subject is None:
        raise NotUnderstood(
            "`/revert` must name what to revert here: `/revert #12` or `/revert SHA`."
        )
    # On an issue it means what the incident of that issue is about.
    here = (PullRequestTarget(number=typed.here.subject),) if typed.here.subject else ()
    return RevertRequest(targets=targets or here, reason=typed.reason)


def read_bisect(typed: Typed) -> BisectRequest:
    """Read `GOOD..BAD [numeric NAME] [check NAME]`.

    The check's name is the rest of the line, whatever stands in it: so a metric comes before it.
    """
    if not typed.raw:
        raise NotUnderstood(
            "`/bisect` needs a range: the last good and the first bad commit, "
            "as in `/bisect v1.4..main`."
        )
    # Quotes around the range alone are no quotes around all that was typed.
    is_alone = unwrapped(typed.raw[0]) != typed.raw[0]
    words = list(typed.raw) if is_alone else unwrapped(" ".join(typed.raw)).split(" ")
    good, dots, bad = unwrapped(words[0]).partition("..")
    named = [end for end in (good, bad) if end]
    if not dots or not named or not all(map(is_revision, named)):
        raise NotUnderstood(
            f"{shown(words[0], LONGEST)} is not a range. Write the last good and the first bad "
            "commit, tag or branch with two dots between, as in `/bisect v1.4..main`."
        )
    numeric, rest = _metric(words[1:])
    # What splits a reason off may stand in a name too; which it is, the checks reported there tell.
    unnamed = len(rest) == 1 and not typed.reason
    if rest and (rest[0].lower() != "check" or unnamed):
        raise NotUnderstood(_only_a_check(rest, numeric))
    check = unwrapped(" ".join(rest[1:]))
    if rest and not check:
        if not typed.reason:
            raise NotUnderstood("After `check` a name must follow, as GitHub shows the check's.")
        check = f"because {typed.reason}"
    if len(check) > LONGEST_CHECK:
        raise NotUnderstood(f"The check's name is too long: at most {LONGEST_CHECK} characters.")
    return BisectRequest(
        good=good or None,
        bad=bad or None,
        check=check or None,
        numeric=numeric,
        reason=typed.reason,
    )


def _metric(words: list[str]) -> tuple[str | None, list[str]]:
    """Take `numeric NAME[:lower|:higher]` off the words that follow the range, if it is there."""
    if not words or words[0].lower() != "numeric":
        return None, words
    typed = " ".join(words[1:])
    if not typed:
        raise NotUnderstood(
            "After `numeric` the name of a metric must follow, as in `numeric latency:higher`."
        )
    quoted = _QUOTED_METRIC.get(typed[0])
    found = (quoted or _BARE_METRIC).match(typed)
    if found is None:
        raise NotUnderstood(
            f"{shown(typed)} is not a metric's name in quotes. Write it as in "
            '`numeric "p95 latency"`, or `numeric "p95 latency":higher`.'
        )
    name, colon, worse = "".join(found.groups()).partition(":")
    numeric = f"{name.strip()}{colon}{worse.lower()}"
    if len(numeric) > LONGEST_METRIC:
        raise NotUnderstood(f"The metric's name is too long: at most {LONGEST_METRIC} characters.")
    if not (re.match(NUMERIC, numeric) and numeric.isprintable()):
        raise NotUnderstood(
            f"{shown(found[0].strip())} is not a metric. Write its name, and if you like which "
            "direction is worse: `latency`, `latency:higher` or `score:lower`."
        )
    rest = typed[found.end() :].strip()
    return numeric, rest.split(" ") if rest else []


def _only_a_check(rest: list[str], numeric: str | None) -> str:
    """Say what may follow the range, or the metric, where something else does."""
    found = shown(" ".join(rest))
    if numeric is None:
        return (
            f"{found} is not understood after the range. Only `numeric NAME`, with the name of a "
            "metric, and `check NAME`, with the name of a check-run, may follow, in this order."
        )
    return (
        f"{found} is not understood after the metric {shown(numeric)}. Only `check NAME` may "
        'follow. A metric of several words stands in quotes: `numeric "p95 latency"`.'
    )


def read_ruling(typed: Typed) -> RulingRequest:
    """Read exactly one commit."""
    (word,) = _count(typed, 1, "One commit SHA must follow it")
    if not _SHA.fullmatch(word):
        raise NotUnderstood(
            f"{shown(word)} is not a commit. Write 7 to 40 hexadecimal digits of its SHA."
        )
    return RulingRequest.model_validate({"command": typed.command, "sha": word.lower()})


def read_shadow(typed: Typed) -> ShadowRequest:
    """Read a capability and who might take it over."""
    capability, candidate = _count(typed, 2, "A capability and a candidate must follow it")
    if not re.fullmatch(PROVIDER, candidate):
        raise NotUnderstood(
            f"Candidate {shown(candidate)} is not a name. Allowed are up to 100 letters, digits "
            "and `_ . : / @ -`."
        )
    return ShadowRequest(capability=_capability(capability), candidate=candidate)


def read_ramp(typed: Typed) -> RampRequest:
    """Read a capability and, perhaps, a stage with or without its percent sign."""
    if len(typed.words) not in (1, 2):
        raise NotUnderstood(
            "`/ramp` needs a capability and, if you like, a stage: `/ramp llm.summarize 25`."
        )
    stage = None
    if len(typed.words) == 2:
        stages = {str(stage): stage for stage in STAGES}
        stage = stages.get(typed.words[1].removesuffix("%"))
        if stage is None:
            raise NotUnderstood(
                f"Stage {shown(typed.words[1])} is not allowed. {_one_of(list(stages))}"
            )
    return RampRequest(capability=_capability(typed.words[0]), stage=stage)


def read_rollback(typed: Typed) -> RollbackRequest:
    """Read exactly one capability."""
    (word,) = _count(typed, 1, "One capability must follow it")
    return RollbackRequest(capability=_capability(word), reason=typed.reason)


def read_pause(typed: Typed) -> PauseRequest:
    """Read what to pause, self-work if nothing is named, and insist on a reason."""
    if not typed.reason:
        raise NotUnderstood(
            "`/pause` needs a reason that others can act on: `/pause because the evals are red`."
        )
    return PauseRequest(scope=_scope(typed) or SELF_WORK, reason=typed.reason)


def read_unpause(typed: Typed) -> UnpauseRequest:
    """Read what to unpause, or None for the only pause here."""
    return UnpauseRequest(scope=_scope(typed), reason=typed.reason)


def read_approve(typed: Typed) -> ApproveRequest:
    """Read what is approved."""
    return ApproveRequest(approval=_approval(typed), reason=typed.reason)


def read_reject(typed: Typed) -> RejectRequest:
    """Read what is rejected."""
    return RejectRequest(approval=_approval(typed), reason=typed.reason)


def _approval(typed: Typed) -> str | None:
    """The id of an approval, or None for the only one pending here."""
    if not typed.words:
        return None
    (word,) = _count(typed, 1, "Only one id may follow it")
    if not _APPROVAL.fullmatch(word):
        raise NotUnderstood(
            f"{shown(word)} is not an id. Ids have 4 to 26 letters and digits; "
            "without one, the only approval pending here is meant."
        )
    return word.lower()


def read_retry(typed: Typed) -> RetryRequest:
    """Allow no argument."""
    _count(typed, 0, "Nothing may follow it")
    return RetryRequest()


def read_cancel(typed: Typed) -> CancelRequest:
    """Allow no argument; a reason is kept."""
    _count(typed, 0, "Nothing may follow it")
    return CancelRequest(reason=typed.reason)


def read_severity(typed: Typed) -> SeverityRequest:
    """Read one of the four severities."""
    levels = [str(level) for level in Severity]
    (word,) = _count(typed, 1, f"One level must follow it ({', '.join(levels)})")
    if word.lower() not in levels:
        raise NotUnderstood(f"Level {shown(word)} is not allowed. {_one_of(levels)}")
    return SeverityRequest(severity=Severity(word.lower()), reason=typed.reason)


def _count(typed: Typed, wanted: int, rule: str) -> tuple[str, ...]:
    if len(typed.words) != wanted:
        found = shown(" ".join(typed.words)) if typed.words else "nothing"
        raise NotUnderstood(f"`/{typed.command}`: {rule[0].lower()}{rule[1:]}, found {found}.")
    return typed.words


def _one_of(allowed: Collection[str]) -> str:
    return f"Allowed: {', '.join(f'`{value}`' for value in allowed)}."


def _capability(word: str) -> str:
    if not re.fullmatch(CAPABILITY, word):
        raise NotUnderstood(
            f"Capability {shown(word)} is not a name. Allowed are up to 100 letters, digits "
            "and `_ . -`, as in `llm.summarize`."
        )
    return word


def _scope(typed: Typed) -> str | None:
    if not typed.words:
        return None
    (word,) = _count(typed, 1, "Only `self-work` or one capability may follow it")
    return SELF_WORK if word.lower() == SELF_WORK else _capability(word)


def _target(word: str, here: CommentPlace) -> Target:
    if _SHA.fullmatch(word):
        return CommitTarget(sha=word.lower())
    if found := _PULL_REQUEST.fullmatch(word):
        repository, number = found.groups()
        if repository and repository.lower() != here.full_name.lower():
            raise NotUnderstood(_elsewhere(word, here))
        return PullRequestTarget(number=int(number))
    if found := _ADDRESS.fullmatch(word):
        repository, number, sha = found.groups()
        if repository.lower() != here.url.lower().rstrip("/"):
            raise NotUnderstood(_elsewhere(word, here))
        return PullRequestTarget(number=int(number)) if number else CommitTarget(sha=sha.lower())
    raise NotUnderstood(
        f"{shown(word)} is neither a pull request nor a commit. Write `#12` or 7 to 40 hexadecimal "
        "digits of a SHA, and a reason after the word `because`."
    )


def _elsewhere(word: str, here: CommentPlace) -> str:
    return (
        f"{shown(word, 100)} is in another repository. Comment there: "
        f"this one is {shown(here.full_name, 140)}."
    )
