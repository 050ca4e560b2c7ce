"""What is weighed before a shadow, for its decision record."""

from __future__ import annotations

from bot.canary.policy import Policy
from bot.playbooks.candidate.case import RolloutMessages
from bot.playbooks.candidate.records import WeighedCandidate
from bot.playbooks.shadow.text import title
from bot.records.documents.adr import Option

_NAME = "Shadow the candidate"


def weighed(case: RolloutMessages, policy: Policy) -> WeighedCandidate:
    """Why the candidate is shadowed, and what was passed over for it."""
    candidate, shadow = case.candidate or "", policy.shadow
    return WeighedCandidate(
        title=title(case.capability, candidate),
        problem=(
            f"{candidate} might provide {case.capability} as well as {case.baseline}, or "
            "better. Nobody knows yet.",
        ),
        drivers=(
            "No user may meet a candidate that is known to be worse.",
            f"It may cost {shadow.max_extra_cost_usd:g} USD at most.",
        ),
        chosen=Option(
            name=_NAME,
            good=("users see nothing of it.", "both answer the very same requests."),
            bad=("the mirrored requests are paid for twice.",),
        ),
        because="it is the only way to know that costs no user anything.",
        otherwise=Option(
            name="Trust the vendor's numbers",
            good=("it costs nothing.",),
            bad=("they were not measured on our requests.",),
        ),
        forgone="nothing is learnt about the candidate.",
        nothing=Option(
            name="Do nothing",
            good=("no request is paid for twice.",),
            bad=("nobody knows whether the candidate is better.",),
        ),
        consequences=Option(
            name=_NAME,
            good=("a ramp is proposed on evidence, or not at all.",),
            bad=(f"{100 * shadow.sample_rate:.3g}% of the requests are sent twice meanwhile.",),
        ),
        confirmation=f"At least {shadow.min_pairs:,} requests answered by both, every metric "
        "shown to be within its margin, none over its limit.",
    )
