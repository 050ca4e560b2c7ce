"""What a shadow does next: wait, ask, propose a ramp or stop. Pure: what is seen in, a move out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict
from bot.canary.policy import Policy


@dataclass(frozen=True, slots=True)
class ShadowWaits:
    """Nothing to do yet. `missing`: a sentence each."""

    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskAboutShadow:
    """Something keeps the shadow from a verdict; it goes on by itself once that is mended.

    `may_insist`: enough was compared for a person to want the ramp all the same.
    """

    reasons: tuple[str, ...]
    may_insist: bool


@dataclass(frozen=True, slots=True)
class ProposeRamp:
    """Within bounds: a ramp may be asked for."""


@dataclass(frozen=True, slots=True)
class StopShadow:
    """Mirror nothing more. `reasons`: a sentence each."""

    how: Literal["out of bounds", "too dear"]
    reasons: tuple[str, ...]


Move = ShadowWaits | AskAboutShadow | ProposeRamp | StopShadow


def next_move(policy: Policy, verdict: Verdict, extra_cost: float, pairs: int) -> Move:
    """Decide what follows from a verdict.

    Args:
        policy: the one the shadow started with.
        verdict: of the evidence so far.
        extra_cost: of the candidate's mirrored answers so far, USD.
        pairs: compared so far.
    """
    match verdict:
        case Breach():
            return StopShadow("out of bounds", (verdict.evidence,))
        case Promote():
            return ProposeRamp()
        case Hold(reasons) if extra_cost > policy.shadow.max_extra_cost_usd:
            # The cap is a cap: what is not mirrored costs nothing.
            return StopShadow("too dear", reasons)
        case Hold(reasons):
            return AskAboutShadow(reasons, may_insist=pairs >= policy.shadow.min_pairs)
        case Continue(waiting):
            return ShadowWaits(waiting)
