"""The plan that people are shown before they say yes, and what a Founder reads of it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Literal

import rfc8785

from bot import markdown
from bot.playbooks.checks.green import Tally
from bot.playbooks.incidents.case import Case
from bot.playbooks.undo.reversibility import PlannedStep, planned
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.wording import commit_linked, proposal_linked
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
        """SHA-256 of the canonical JSON of all of it, except for how long the question stands."""
        plan = self.model_dump(mode="json", exclude={"expires_after"})
        return hashlib.sha256(rfc8785.dumps(plan)).hexdigest()

    def shown(self) -> str:
        """Its steps, each with how it is undone; Markdown."""
        steps = [
            f"{n}. {step.name}: **{step.undo.reversibility}**"
            + (f" ({step.undo.how})" if step.undo.how else "")
            for n, step in enumerate(self.steps, start=1)
        ]
        return "The plan:\n\n" + "\n".join(steps)


def founders_plan(
    case: Case, commit: str, irreversible: tuple[str, ...], expires_after: timedelta
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


def founder_decides(case: Case, plan: AskedPlan, tally: Tally) -> Standing:
    """It is green, and what it does cannot be undone."""
    shown = [f"- {markdown.code(path)}" for path in plan.irreversible[:_PATHS_SHOWN]]
    if len(plan.irreversible) > _PATHS_SHOWN:
        shown.append(f"- … and {len(plan.irreversible) - _PATHS_SHOWN} more")
    hours = plan.expires_after.total_seconds() / 3600
    return Standing(
        state="needs you",
        headline=f"A Founder decides: read {proposal_linked(case)}, then `/approve` or `/reject` "
        "it. It cannot be undone.",
        details=(
            "It touches what another revert does not bring back:\n\n" + "\n".join(shown),
            plan.shown(),
            f"An approval holds for {commit_linked(case, plan.commit)} alone (plan "
            f"{markdown.code(plan.digest[:12])}); another push voids it. The question stands for "
            f"{hours:g} hours, then `/retry` asks anew.",
        ),
        checks=tally.shown,
        approvable=True,
    )
