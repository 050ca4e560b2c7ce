"""What agents are told before they spend: may self-work go on, and if not, what ends the pause."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from bot.config import SelfWork
from bot.records.pauses import Pause, PauseKind
from bot.records.tables.columns import Instant
from bot.triggers import Value


class AgentFlags(Value):
    """How self-work stands.

    Attributes:
        paused: whether agents should stop; half open is paused for all but the canary.
        state: where the pause stands.
        reason: why it is paused.
        since: since when.
        until: when it goes one step on, if all stays green until then; None where nobody knows.
        ends: what ends it, or what happens at `until`, in words.
        canary: the one pull request that goes on while it is half open.
    """

    paused: bool
    state: Literal["running", "paused", "half open"] = "running"
    reason: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    ends: str | None = None
    canary: int | None = None


def told(pause: Pause | None, config: SelfWork) -> AgentFlags:
    """Say how self-work stands.

    Args:
        pause: the one in force.
        config: how long the default branch has to be green before a pause lifts itself.
    """
    if pause is None:
        return AgentFlags(paused=False)
    green_for = timedelta(minutes=config.resume_after_minutes)
    until = None
    if pause.lifts_itself and pause.green_since is not None:
        until = pause.green_since + green_for
    return AgentFlags(
        paused=True,
        state="half open" if pause.state == "half open" else "paused",
        reason=pause.reason,
        since=pause.since,
        until=until,
        ends=_ends(pause, config.resume_after_minutes),
        canary=pause.canary,
    )


def _ends(pause: Pause, minutes: int) -> str:
    by_hand = "/unpause self-work because …"
    if pause.kind is PauseKind.SAFETY:
        return f"A person lifts it ({by_hand}): it was set for safety."
    if pause.kind is PauseKind.MANUAL:
        return f"A person lifts it ({by_hand}): {pause.set_by} set it."
    green = f"the default branch has been green for {minutes} minutes"
    if pause.state == "paused":
        return (
            f"Once {green}, with no high or critical incident open, no revert under way and no "
            f"budget used up, one canary pull request may be merged; or a person lifts it "
            f"({by_hand})."
        )
    if pause.canary_merged is not None:
        return f"It is lifted once {green} with the canary #{pause.canary} in it."
    canary = f"#{pause.canary}" if pause.canary else "the next self-work pull request"
    return f"It is lifted after the canary {canary} is merged and {green}."
