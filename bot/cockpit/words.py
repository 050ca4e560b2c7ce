"""What the pages say about incidents and Runs: pure, from records to plain English."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot import markdown
from bot.records.audit.chain import AuditEntry
from bot.records.audit.verify import Altered, CannotCheck, Intact, Truncated, Verdict
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.runs import StoredRun, ToldStanding
from bot.records.steps import Reversibility
from bot.triggers import Severity

SEVERITY_SIGNS = {
    Severity.CRITICAL: "‼",
    Severity.HIGH: "▲",
    Severity.MEDIUM: "◆",
    Severity.LOW: "●",
}
"""Severities are told apart by word and sign, never by colour alone."""

_LONGEST_WHY = 300
_SHA = re.compile(r"[0-9a-f]{40}")

STAGES = ("queued", "checking", "acting", "verifying", "done")
_STAGE_OF = {
    RunState.QUEUED: 0,
    RunState.PREFLIGHT: 1,
    RunState.AWAITING_APPROVAL: 2,
    RunState.RUNNING: 2,
    RunState.VERIFYING: 3,
    RunState.COMPENSATING: 3,
}

_SAID = {
    "approval.asked": "asked for an approval",
    "approval.given": "the approval was given",
    "approval.void": "the approval is not needed any more",
    "fix.merged": "fix merged",
    "fix.opened": "fix pull request opened",
    "fix.recomputed": "fix computed again on the newest base",
    "hotfix.merged": "hotfix merged",
    "hotfix.opened": "hotfix pull request opened",
    "hotfix.recomputed": "hotfix computed again on the newest base",
    "incident.joined": "a second request joined",
    "plan.overtaken": "another one ended while this was planned",
    "incident.opened": "incident opened",
    "incident.resolved": "incident resolved",
    "incident.severity": "severity changed",
    "issue.opened": "incident issue opened",
    "run.failed": "the run broke off",
    "run.finished": "the run ended",
}


_WAITS_FOR = {
    "founder": "it changes files that another revert cannot restore",
    "unrelated": "checks fail that failed before it as well",
    "nothing counts": "no check tells whether it is good",
    "unstarted": "a check does not begin, and all others are green",
    "no evals": "no evals are configured, and nobody asked for it in person",
    "person": "nobody asked for it in person",
    "approval": "the next stage needs an approval",
    "inconclusive": "the evidence is inconclusive",
}
"""Why a Run waits, by the word that playbooks record."""


@dataclass(frozen=True)
class Next:
    """The one next thing to do about an incident.

    Attributes:
        text: Markdown, the words of others escaped.
        is_yours: whether a person has to act.
        since: since when it is so, where that is known.
        details: what happened and what can be done, in paragraphs of Markdown.
    """

    text: str
    is_yours: bool = False
    since: datetime | None = None
    details: tuple[str, ...] = ()


def leading(runs: Sequence[StoredRun]) -> StoredRun | None:
    """Which Run of an incident says where it stands (`runs`: oldest first)?

    The one at work. Of those that are over, the newest that told people something.
    """
    return max(
        runs, key=lambda each: (each.is_live, each.standing is not None, each.created_at, each.id),
        default=None,
    )  # fmt: skip


def what_next(
    incident: Incident, runs: Sequence[StoredRun], asked_a_founder: Collection[str]
) -> Next:
    """Say the one next thing, as people were told it; `asked_a_founder`: Runs only they decide."""
    last = leading(runs)
    if not incident.is_open:
        return Next("Nothing to do.")
    if last is None:
        return Next("Nobody works on it: start a playbook.", is_yours=True)
    told = last.standing
    if told is not None and _holds(told, last):
        return Next(told.headline, last.needs_somebody, told.at, told.details)
    return _by_state(incident, last, asked_a_founder)


def _holds(told: ToldStanding, run: StoredRun) -> bool:
    """Whether what was told is not behind: the state of a Run changes a moment before."""
    if told.state in ("needs you", "stopped"):
        return True
    return run.is_live and not run.needs_somebody


def _by_state(incident: Incident, last: StoredRun, asked_a_founder: Collection[str]) -> Next:
    """Say the one next thing where nobody was told anything yet, or what was told is over."""
    match last.state:
        case RunState.AWAITING_APPROVAL:
            why = markdown.text(waits_for(last) or "it waits for a person", limit=_LONGEST_WHY)
            who = "As a Founder, approve" if last.id in asked_a_founder else "Approve"
            said = f"{who} or reject the {last.playbook}: {why}"
            return Next(said, is_yours=True, since=last.updated_at)
        case RunState.FAILED | RunState.TIMED_OUT | RunState.ROLLBACK_FAILED:
            why = markdown.text(last.reason or last.state, limit=_LONGEST_WHY)
            said = f"The {last.playbook} broke off ({why}). Mend it, then retry."
            return Next(said, is_yours=True, since=last.finished_at)
        case RunState.CANCELLED | RunState.ROLLED_BACK:
            said = f"The {last.playbook} was stopped: decide what to do."
            return Next(said, is_yours=True, since=last.finished_at)
        case RunState.SUCCEEDED:
            return Next(f"The {last.playbook} is done; the outcome is being confirmed.")
        case RunState.VERIFYING if incident.status is IncidentStatus.MITIGATED:
            return Next("Nothing yet. The change is merged, and its checks are awaited.")
        case _:
            return Next(f"Nothing yet: the {last.playbook} is {doing(last)}.")


def waits_for(run: StoredRun) -> str:
    """Why a Run stands where it does, in a sentence's words; empty where nothing is known."""
    return _WAITS_FOR.get(run.reason or "", run.reason or "")


def doing(run: StoredRun) -> str:
    """What a live Run is at."""
    if run.needs_somebody:
        return "waiting for a person"
    if run.playbook == "bisect" and run.state in (RunState.RUNNING, RunState.PREFLIGHT):
        return "searching"
    if run.playbook in ("shadow", "ramp") and run.state is RunState.VERIFYING:
        return "watching the candidate"
    return {
        RunState.QUEUED: "waiting for its turn",
        RunState.PREFLIGHT: "working out what to do",
        RunState.RUNNING: "preparing its change",
        RunState.VERIFYING: "waiting for checks",
        RunState.COMPENSATING: "being taken back",
    }.get(run.state, str(run.state))


_UNDO_SAID = {
    Reversibility.REVERSIBLE: "Can be undone",
    Reversibility.COMPENSATABLE: "Can be made good",
    Reversibility.IRREVERSIBLE: "Cannot be undone",
}


def undo_said(reversibility: Reversibility) -> str:
    """How far a step can be taken back."""
    return _UNDO_SAID[reversibility]


def stage_of(run: StoredRun) -> int:
    """How many of the stages of `STAGES` lie behind a Run."""
    return _STAGE_OF.get(run.state, len(STAGES) - 1)


def can_retry(incident: Incident, runs: Sequence[StoredRun]) -> bool:
    """Whether `/retry` would do something."""
    return incident.is_open and bool(runs) and runs[-1].state is not RunState.SUCCEEDED


def action_said(entry: AuditEntry) -> str:
    """An audit entry's action in words."""
    known = _SAID.get(entry.action)
    return known or entry.action.replace(".", " ").replace("_", " ")


_ABOUT = (
    "pull_request", "pull_requests", "issue", "capability", "budget", "check", "path", "step",
    "commit",
)  # fmt: skip


def about(entry: AuditEntry) -> str:
    """What an audit entry is about, such as `pull request 4`; nothing where it does not say."""
    name, value = next(((n, v) for n in _ABOUT if (v := entry.refs.get(n))), ("", None))
    if isinstance(value, list) and len(value) == 1:
        name = name.removesuffix("s")
    return f"{name.replace('_', ' ')} {ref_said(value)}" if name else ""


def ref_said(value: object) -> str:
    """What an audit entry refers to, as people write it: commits in twelve digits."""
    if isinstance(value, list | tuple):
        return ", ".join(ref_said(each) for each in value)
    text = str(value)
    return text[:12] if _SHA.fullmatch(text) else text


@dataclass(frozen=True)
class ChainSaid:
    """A verdict on an audit chain, for people. `is_bad`: somebody has to look, now."""

    text: str
    is_bad: bool = False


def chain_said(verdict: Verdict) -> ChainSaid:
    """Say what was found about a chain."""
    match verdict:
        case Intact():
            return ChainSaid(
                f"intact: {verdict.entries:,} entries, anchored in git up to {verdict.anchored:,}"
            )
        case CannotCheck():
            return ChainSaid(
                "unbroken; no signed copy lies in git yet, so a cut-off end would not show"
            )
        case Altered() | Truncated():
            return ChainSaid(f"{verdict}", is_bad=True)
