"""The decision record of a shadow or a ramp, as a pure function of the facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.canary.policy import Policy
from bot.playbooks.candidate.case import RolloutMessages
from bot.playbooks.incidents.papers import pointers
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, Pointer, render


@dataclass(frozen=True, slots=True)
class WeighedCandidate:
    """What a shadow and a ramp say differently.

    Attributes:
        title: of the record.
        problem: sentences.
        drivers: sentences.
        chosen: what is done.
        because: why, the end of a sentence.
        otherwise: what was passed over for it, beside a better baseline and doing nothing.
        forgone: what is lost by a better baseline instead.
        nothing: doing nothing.
        consequences: of what is done.
        confirmation: when it counts as right, a sentence.
        more: further pointers.
    """

    title: str
    problem: tuple[str, ...]
    drivers: tuple[str, ...]
    chosen: Option
    because: str
    otherwise: Option
    forgone: str
    nothing: Option
    consequences: Option
    confirmation: str
    more: tuple[Pointer, ...] = ()


def decision(
    case: RolloutMessages, policy: Policy, weighed: WeighedCandidate, *, at: datetime, audit: Anchor
) -> str:
    """Write the ADR: proposed, its outcome pending."""
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=weighed.title,
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=weighed.problem,
            drivers=weighed.drivers,
            options=(
                weighed.chosen,
                weighed.otherwise,
                Option(
                    name="Forward fix",
                    good=("the baseline gets better, and nobody changes the provider.",),
                    bad=(weighed.forgone,),
                ),
                weighed.nothing,
            ),
            chosen=weighed.chosen.name,
            because=weighed.because,
            consequences=weighed.consequences,
            confirmation=weighed.confirmation,
            more=(*pointers(case), *weighed.more),
            seed=policy.seed,
            audit=audit,
        )
    )
