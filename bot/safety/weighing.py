"""A playbook's plan before the admission: the same decision, with what its steps cannot undo."""

from __future__ import annotations

from collections.abc import Sequence

from bot.playbooks.planning.weighing import Ruling
from bot.playbooks.steps import PlannedStep, worst
from bot.safety.admission import Admitted, Facts, NeedsApproval, Refused, admit


def weigh(facts: Facts, steps: Sequence[PlannedStep]) -> Ruling:
    """Admit a plan, or say whose yes it needs.

    Args:
        facts: what the request was admitted on.
        steps: of the plan.
    """
    match admit(facts.model_copy(update={"reversibility": worst(steps)})):
        case Admitted(may_merge=may_merge):
            return Ruling(may_merge=may_merge)
        case NeedsApproval(of=of, reason=reason, remedy=remedy):
            return Ruling(of=of, may_merge=False, reason=reason, remedy=remedy)
        case Refused(reason=reason, remedy=remedy):
            return Ruling(refused=True, may_merge=False, reason=reason, remedy=remedy)
