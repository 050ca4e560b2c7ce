"""Which stage may be asked for now: none is skipped, none comes twice. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bot import markdown
from bot.canary.policy import Policy


@dataclass(frozen=True, slots=True)
class OutOfOrder:
    """This stage cannot be asked for now. Both texts are Markdown."""

    reason: str
    remedy: str


def check_stage(
    policy: Policy, capability: str, asked: int | None, serving: int | None
) -> OutOfOrder | None:
    """Say why a stage cannot be asked for now; None if it can.

    Args:
        policy: the capability's.
        capability: its name, for the sentence.
        asked: the stage that is wanted; None means whichever comes next.
        serving: the stage served now; None: nothing is ramped yet.
    """
    stages = [stage.percent for stage in policy.stages]
    coming = next_stage(policy, serving)
    if coming is None:
        return OutOfOrder(
            f"The last stage, {serving}%, is served already.",
            "It is promoted by itself once it has soaked; `/rollback` takes it back.",
        )
    if asked is None or asked == coming:
        return None
    command = markdown.code(f"/ramp {capability} {coming}")
    if asked not in stages:
        allowed = ", ".join(str(stage) for stage in stages)
        return OutOfOrder(
            f"{asked}% is not a stage of {markdown.code(capability)}. Its stages: {allowed}.",
            f"The next one is {coming}%: {command}.",
        )
    now = "Nothing is ramped yet" if serving is None else f"{serving}% is served now"
    what = "cannot come again" if serving is not None and asked <= serving else "would skip a stage"
    return OutOfOrder(
        f"{now}, so {asked}% {what}.",
        f"The next stage is {coming}%: {command}.",
    )


def next_stage(policy: Policy, serving: int | None) -> int | None:
    """Name the stage that follows; None after the last."""
    stages = [stage.percent for stage in policy.stages]
    if serving is None:
        return stages[0]
    return next((stage for stage in stages if stage > serving), None)
