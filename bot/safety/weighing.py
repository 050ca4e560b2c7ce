"""A playbook's plan before the admission: the same decision, with what its steps cannot undo."""

from __future__ import annotations

from collections.abc import Sequence

from bot.playbooks.planning.weighing import Weighed
from bot.playbooks.steps import PlannedStep, worst
from bot.safety.admission import AdmissionFacts, Admitted, NeedsApproval, Refused, admit


def weigh(facts: AdmissionFacts, steps: Sequence[PlannedStep]) -> Weighed:
    """Admit a plan, or say whose yes it needs.

    Args:
        facts: what the request was admitted on.
        steps: of the plan.
    """
    match admit(facts.model_copy(update={"reversibility": worst(steps)})):
        case Admitted(may_merge=may_merge):
            return Weighed(may_merge=may_merge)
        case NeedsApproval(of=of, reason=reason, remedy=remedy):
            return Weighed(of=of, may_merge=False, reason=reason, remedy=remedy)
        case Refused(reason=reason, remedy=remedy):
            return Weighed(refused=True, may_merge=False, reason=reason, remedy=remedy)
