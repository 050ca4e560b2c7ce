"""What is weighed before a ramp, for its decision record."""

from __future__ import annotations

from bot.canary.policy import Policy
from bot.playbooks.candidate.records import WeighedCandidate
from bot.playbooks.ramp.text import RampMessages, title
from bot.records.documents.adr import Option, Pointer

_NAME = "Ramp step by step"


def weighed(case: RampMessages, policy: Policy) -> WeighedCandidate:
    """Why the candidate is ramped, and what was passed over for it."""
    candidate = case.candidate or ""
    stages = ", ".join(f"{phase.percent}%" for phase in policy.phases)
    return WeighedCandidate(
        title=title(case.capability, candidate),
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
        chosen=Option(
            name=_NAME,
            good=(
                f"few users see it first: {stages}.",
                "any anomaly gives all traffic back at once, without asking anybody.",
            ),
            bad=("it takes as long as the evidence needs.",),
        ),
        because="it costs time, and spares most users any bad answer.",
        otherwise=Option(
            name="Switch at once",
            good=("it is quick.",),
            bad=("every user meets what the shadow did not show.",),
        ),
        forgone="what the shadow showed to be good stays unused meanwhile.",
        nothing=Option(
            name="Do nothing",
            good=("users meet nothing new.",),
            bad=("what the shadow showed to be good stays unused.",),
        ),
        consequences=Option(
            name=_NAME,
            good=(f"{candidate} becomes the active provider once it passed every stage.",),
            bad=("two providers are paid for until then.",),
        ),
        confirmation="Every metric is shown to be within its margin in every stage; none "
        "crosses its limit.",
        more=(Pointer(label="Shadow", value=case.shadow_report),),
    )
