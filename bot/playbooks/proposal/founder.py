"""The plan a Founder is shown before something that cannot be undone, and the words around it."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import rfc8785

from bot import markdown
from bot.playbooks.case import Case
from bot.playbooks.checks import Tally
from bot.playbooks.standing import Standing
from bot.playbooks.undo import MERGE_IRREVERSIBLE, Undo, declared
from bot.playbooks.wording import commit_linked, proposal_linked
from bot.triggers import Value

_PATHS_SHOWN = 20


class PlannedStep(Value):
    """One step, with how it is undone."""

    name: str
    undo: Undo


class FoundersPlan(Value):
    """What is going to be done, down to the commit. Another push is another plan."""

    incident: str
    base: str
    commit: str
    irreversible: tuple[str, ...]
    steps: tuple[PlannedStep, ...]
    expires_after: timedelta

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of all of it, except for how long the question stands."""
        plan = self.model_dump(mode="json", exclude={"expires_after"})
        return hashlib.sha256(rfc8785.dumps(plan)).hexdigest()


def founders_plan(
    case: Case, commit: str, irreversible: tuple[str, ...], expires_after: timedelta
) -> FoundersPlan:
    """Lay out what is done so far and what a yes would do."""
    done = (f"publish the {case.proposal}", f"open the {case.proposal} pull request")
    steps = [PlannedStep(name=name, undo=undo) for name in done if (undo := declared(name))]
    merge = PlannedStep(name=f"merge the {case.proposal}", undo=MERGE_IRREVERSIBLE)
    return FoundersPlan(
        incident=case.incident,
        base=case.base,
        commit=commit,
        irreversible=irreversible,
        steps=(*steps, merge),
        expires_after=expires_after,
    )


def founder_decides(case: Case, plan: FoundersPlan, tally: Tally) -> Standing:
    """It is green, and what it does cannot be undone."""
    shown = [f"- {markdown.code(path)}" for path in plan.irreversible[:_PATHS_SHOWN]]
    if len(plan.irreversible) > _PATHS_SHOWN:
        shown.append(f"- … and {len(plan.irreversible) - _PATHS_SHOWN} more")
    steps = [
        f"{n}. {step.name}: **{step.undo.reversibility}**"
        + (f" ({step.undo.how})" if step.undo.how else "")
        for n, step in enumerate(plan.steps, start=1)
    ]
    hours = plan.expires_after.total_seconds() / 3600
    return Standing(
        state="needs you",
        headline=f"A Founder decides: read {proposal_linked(case)}, then `/approve` or `/reject` "
        "it. It cannot be undone.",
        details=(
            "It touches what another revert does not bring back:\n\n" + "\n".join(shown),
            "The plan:\n\n" + "\n".join(steps),
            f"An approval holds for {commit_linked(case, plan.commit)} alone (plan "
            f"{markdown.code(plan.digest[:12])}); another push voids it. The question stands for "
            f"{hours:g} hours, then `/retry` asks anew.",
        ),
        checks=tally.rows,
        approvable=True,
    )
