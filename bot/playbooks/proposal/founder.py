"""The plan that people are shown before they say yes, and what a Founder reads of it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Literal

import rfc8785

from bot import markdown
from bot.playbooks.checks.green import CheckTally
from bot.playbooks.incidents.case import IncidentContext
from bot.playbooks.proposal.merging import PullRequestSnapshot
from bot.playbooks.proposal.ownership import SHOWN, Foreign
from bot.playbooks.steps import PlannedStep, planned
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.wording import commit_linked, how_to_cancel, proposal_linked
from bot.triggers import Value

_PATHS_SHOWN = 20


class AskedPlan(Value):
    """What is going to be done, down to the commit. Another push is another plan.

    Attributes:
        of: whose yes it needs.
        incident: the incident's id.
        base: the branch.
        commit: the proposal's; before there is one, the newest commit that is undone.
        reverts: every commit that is undone.
        conflicts: paths that a person will have to resolve.
        irreversible: paths it touches that nothing brings back.
        steps: what is done, in this order.
        expires_after: how long the question stands.
    """

    of: Literal["founder", "person"]
    incident: str
    base: str
    commit: str
    reverts: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    irreversible: tuple[str, ...] = ()
    steps: tuple[PlannedStep, ...]
    expires_after: timedelta

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of what is done, without words and the time to answer."""
        plan = self.model_dump(
            mode="json",
            exclude={"expires_after": True, "steps": {"__all__": {"label": True, "undo": {"how"}}}},
        )
        return hashlib.sha256(rfc8785.dumps(plan)).hexdigest()

    def shown(self) -> str:
        """Its steps, each with how it is undone; Markdown."""
        steps = [
            f"{n}. {step.label}: **{step.undo.reversibility}**"
            + (f" ({step.undo.how})" if step.undo.how else "")
            for n, step in enumerate(self.steps, start=1)
        ]
        return "The plan:\n\n" + "\n".join(steps)


def founders_plan(
    case: IncidentContext, commit: str, irreversible: tuple[str, ...], expires_after: timedelta
) -> AskedPlan:
    """Lay out what is done so far and what a Founder's yes would do."""
    return AskedPlan(
        of="founder",
        incident=case.incident,
        base=case.base,
        commit=commit,
        irreversible=irreversible,
        steps=planned(case.kind, irreversible),
        expires_after=expires_after,
    )


def plan_of_others(case: IncidentContext, foreign: Foreign, expires_after: timedelta) -> AskedPlan:
    """Lay out what a yes to a commit that we did not make would do."""
    return AskedPlan(
        of=foreign.of,
        incident=case.incident,
        base=case.base,
        commit=foreign.head,
        irreversible=foreign.irreversible,
        steps=planned(case.kind, foreign.irreversible),
        expires_after=expires_after,
    )


def others_pushed(
    case: IncidentContext, plan: AskedPlan, view: PullRequestSnapshot
) -> StatusMessage:
    """The head holds commits that we did not make: somebody else answers for just this one."""
    makers = view.foreign.makers if view.foreign else ()
    command = markdown.code(f"/approve {plan.commit[:SHOWN]}")
    by = ", ".join(markdown.code(each) for each in makers) or "somebody whom GitHub does not name"
    who = "A Founder may" if plan.of == "founder" else "Anyone with write access may"
    if makers:
        who += f", but not {by}: nobody answers for their own commits"
    shown = [f"- {markdown.code(path)}" for path in plan.irreversible[:_PATHS_SHOWN]]
    if len(plan.irreversible) > _PATHS_SHOWN:
        shown.append(f"- … and {len(plan.irreversible) - _PATHS_SHOWN} more")
    hours = plan.expires_after.total_seconds() / 3600
    return StatusMessage(
        state="needs you",
        headline=f"Read {commit_linked(case, plan.commit)} on {proposal_linked(case)}, then "
        f"comment {command}: it holds commits that I did not make.",
        details=(
            f"They are by {by}. I merge it on that approval alone, once the checks that count are "
            f"green. {who}. The approval holds for this commit; the next push voids it. The "
            f"question is open for {hours:g} hours, then `/retry` asks anew.",
            *(
                ("It changes what only a Founder may change:\n\n" + "\n".join(shown),)
                if shown
                else ()
            ),
            "Whoever merges it by hand, or sets it to auto-merge, answers for it; I notice, and "
            "finish the records. " + how_to_cancel(case),
        ),
        checks=view.tally.shown,
        approvable=True,
        withheld=True,
    )


def founder_decides(case: IncidentContext, plan: AskedPlan, tally: CheckTally) -> StatusMessage:
    """It is green, and what it does cannot be undone."""
    shown = [f"- {markdown.code(path)}" for path in plan.irreversible[:_PATHS_SHOWN]]
    if len(plan.irreversible) > _PATHS_SHOWN:
        shown.append(f"- … and {len(plan.irreversible) - _PATHS_SHOWN} more")
    hours = plan.expires_after.total_seconds() / 3600
    return StatusMessage(
        state="needs you",
        headline=f"A Founder decides: read {proposal_linked(case)}, then `/approve` or `/reject` "
        "it. It cannot be undone.",
        details=(
            "It touches files that another revert cannot restore:\n\n" + "\n".join(shown),
            plan.shown(),
            f"An approval holds for {commit_linked(case, plan.commit)} alone (plan "
            f"{markdown.code(plan.digest[:12])}); another push voids it. The question is open for "
            f"{hours:g} hours, then `/retry` asks anew.",
        ),
        checks=tally.shown,
        approvable=True,
    )
