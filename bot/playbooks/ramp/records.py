"""The decision record of a ramp, as a pure function of the facts."""

from __future__ import annotations

from datetime import datetime

from bot.canary.policy import Policy
from bot.playbooks.incidents.papers import pointers
from bot.playbooks.ramp.text import RampCase, title
from bot.records.audit_chain.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, Pointer, render


def decision(case: RampCase, policy: Policy, *, at: datetime, audit: Anchor) -> str:
    """Write the ADR of a ramp: proposed, its outcome pending."""
    candidate = case.candidate or ""
    stages = ", ".join(f"{phase.percent}%" for phase in policy.phases)
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=title(case.capability, candidate),
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=(
                f"{case.baseline} provides {case.capability}; {candidate} might do it as well or "
                "better.",
                "In its shadow it stayed within the policy's bounds, unseen by users.",
            ),
            drivers=(
                "Users must not meet a worse answer for longer than it takes to notice.",
                "The evidence may be looked at any time without inflating false alarms.",
                "Every step can be taken back while the baseline is callable.",
            ),
            options=(
                Option(
                    name="Ramp step by step",
                    good=(
                        f"few see it first: {stages}.",
                        "any anomaly gives all traffic back at once, without asking anybody.",
                    ),
                    bad=("it takes as long as the evidence needs.",),
                ),
                Option(
                    name="Switch at once",
                    good=("it is quick.",),
                    bad=("everybody meets what the shadow did not show.",),
                ),
                Option(
                    name="Forward fix",
                    good=("the baseline gets better, and nobody changes the provider.",),
                    bad=("what the shadow showed to be good stays unused meanwhile.",),
                ),
                Option(
                    name="Do nothing",
                    good=("users meet nothing new.",),
                    bad=("what the shadow showed to be good stays unused.",),
                ),
            ),
            chosen="Ramp step by step",
            because="what it costs is time, and what it saves is everybody's bad answers.",
            consequences=Option(
                name="Ramp step by step",
                good=(f"{candidate} becomes the active provider once it passed every stage.",),
                bad=("two providers are paid for until then.",),
            ),
            confirmation="Every metric is shown to be within its margin in every stage; none "
            "crosses its limit.",
            more=(*pointers(case), Pointer(label="Shadow", value=case.shadow_report)),
            seed=policy.seed,
            audit=audit,
        )
    )
