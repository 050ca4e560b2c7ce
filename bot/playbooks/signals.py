"""Listening for people and deliveries while a Run waits."""

from __future__ import annotations

from collections.abc import Sequence

from bot.playbooks.run import Run, Signal, SignalKind
from bot.playbooks.steps import WaitPoint


async def heard(run: Run, seconds: float, at: WaitPoint) -> list[Signal]:
    """Wait up to `seconds` for a Signal, then take all that have come: one look answers many."""
    signals: list[Signal] = []
    signal = await run.wait(seconds, at)
    while signal is not None:
        signals.append(signal)
        signal = await run.wait(0, at)
    return signals


def first(signals: Sequence[Signal], *kinds: SignalKind) -> Signal | None:
    """The first Signal of one of these kinds."""
    return next((signal for signal in signals if signal.kind in kinds), None)
