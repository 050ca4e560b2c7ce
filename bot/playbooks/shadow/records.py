"""The decision record of a shadow, as a pure function of the facts."""

from __future__ import annotations

from datetime import datetime

from bot.canary.policy import Policy
from bot.playbooks.candidate.case import CandidateCase
from bot.playbooks.incidents.papers import pointers
from bot.playbooks.shadow.text import title
from bot.records.audit_chain.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, render


def decision(case: CandidateCase, policy: Policy, *, at: datetime, audit: Anchor) -> str:
    """Write the ADR of a shadow: proposed, its outcome pending."""
    candidate, shadow = case.candidate or "", policy.shadow
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=title(case.capability, candidate),
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=(
                f"{candidate} might provide {case.capability} as well as {case.baseline}, or "
                "better. Nobody knows yet.",
            ),
            drivers=(
                "No user may meet a candidate that is known to be worse.",
                f"It may cost {shadow.max_extra_cost_usd:g} USD at most.",
            ),
            options=(
                Option(
                    name="Shadow the candidate",
                    good=("users see nothing of it.", "both answer the very same requests."),
                    bad=("the mirrored requests are paid for twice.",),
                ),
                Option(
                    name="Trust the vendor's numbers",
                    good=("it costs nothing.",),
                    bad=("they were not measured on our requests.",),
                ),
                Option(
                    name="Forward fix",
                    good=("the baseline gets better, and nobody changes the provider.",),
                    bad=("nothing is learnt about the candidate.",),
                ),
                Option(
                    name="Do nothing",
                    good=("no request is paid for twice.",),
                    bad=("nobody knows whether the candidate is better.",),
                ),
            ),
            chosen="Shadow the candidate",
            because="it is the only way to know that costs no user anything.",
            consequences=Option(
                name="Shadow the candidate",
                good=("a ramp is proposed on evidence, or not at all.",),
                bad=(f"{shadow.sample_rate:.3g} of the requests are sent twice meanwhile.",),
            ),
            confirmation=f"At least {shadow.min_pairs} pairs, every metric shown to be within its "
            "margin, none beyond its limit.",
            more=pointers(case),
            seed=policy.seed,
            audit=audit,
        )
    )
