"""What a ramp does next: wait, ask, grow, finish or roll back. Pure: what is seen in, a move out.

Asked at every look, also while a person is being waited for, so that nothing is missed meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict
from bot.canary.policy import Phase, Policy
from bot.logs import explained
from bot.playbooks.run import Ask, Wait
from bot.triggers import Value

Needed = int | Literal["founder"] | None
Why = Literal["approval", "inconclusive"]


class StageApproval(Value):
    """A person agreed to a stage (percent)."""

    stage: int
    by: str
    founder: bool


class RampHeld(Wait):
    """It could go on, but somebody paused the capability."""


class AskAboutRamp(Ask):
    """Only a person can say how to go on.

    `stage`: what they are asked to agree to; `founder`: only a Founder can.
    """

    why: Why
    stage: int
    founder: bool = False


@dataclass(frozen=True, slots=True)
class Enter:
    """Serve this phase's split now."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class PromoteCandidate:
    """The candidate is good enough for everything: it becomes the active provider."""


@dataclass(frozen=True, slots=True)
class RollBackRamp:
    """An anomaly: traffic goes back at once."""

    breach: Breach


Move = Wait | AskAboutRamp | Enter | PromoteCandidate | RollBackRamp


@explained
def next_move(
    policy: Policy,
    phase: int,
    verdict: Verdict,
    *,
    approvals: Collection[StageApproval] = (),
    insisted: Collection[int] = (),
) -> Move:
    """Decide what follows from a verdict.

    Args:
        policy: the one the ramp started with.
        phase: the index, in `policy.phases`, of the phase served now.
        verdict: of the evidence so far.
        approvals: who agreed to which stage.
        insisted: indices of phases that a person wants to leave although they are inconclusive.
    """
    match verdict:
        case Breach():
            # Before anything else, whatever is being waited for.
            return RollBackRamp(verdict)
        case Continue(waiting):
            return Wait(missing=waiting)
        case Hold(reasons) if phase not in insisted:
            return AskAboutRamp(
                why="inconclusive", stage=stage_after(policy, phase), reasons=reasons
            )
        case Hold() | Promote():
            return _onward(policy, phase, approvals)


def needed(policy: Policy, stage: int) -> Needed:
    """Say who has to agree before this stage is entered."""
    return policy.approvals.get(stage)


def is_agreed(policy: Policy, stage: int, approvals: Collection[StageApproval]) -> bool:
    """Tell whether everybody who has to agree to a stage has done so; a person counts once."""
    wanted = needed(policy, stage)
    given = [each for each in approvals if each.stage == stage]
    if wanted is None:
        return True
    if wanted == "founder":
        return any(each.founder for each in given)
    return len({each.by for each in given}) >= wanted


def missing_agreement(
    policy: Policy, stage: int, approvals: Collection[StageApproval]
) -> AskAboutRamp:
    """Ask for the approvals that a stage still needs."""
    wanted = needed(policy, stage)
    if wanted == "founder":
        said = f"The stage of {stage}% needs a Founder's approval."
    else:
        given = len({each.by for each in approvals if each.stage == stage})
        approvals_needed = "1 approval" if wanted == 1 else f"{wanted} approvals"
        so_far = f"{given} given" if given else "none given"
        said = f"The stage of {stage}% needs {approvals_needed}; {so_far} so far."
    return AskAboutRamp(why="approval", stage=stage, reasons=(said,), founder=wanted == "founder")


def _onward(policy: Policy, phase: int, approvals: Collection[StageApproval]) -> Move:
    phases = policy.phases
    if phase == len(phases) - 1:
        return PromoteCandidate()
    following = phases[phase + 1]
    # Growing within a stage (from held back to whole) needs no further approval.
    if following.stage != phases[phase].stage and not is_agreed(policy, following.stage, approvals):
        return missing_agreement(policy, following.stage, approvals)
    return Enter(following)


def stage_after(policy: Policy, phase: int) -> int:
    """Name the stage that a yes given in this phase is to; after the last one only itself is left.

    Args:
        policy: the one the ramp started with.
        phase: the index, in `policy.phases`, of the phase served now; -1: none is yet.
    """
    phases = policy.phases
    return phases[min(phase + 1, len(phases) - 1)].stage
