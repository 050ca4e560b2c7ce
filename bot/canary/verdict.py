"""What is concluded of a candidate: a value, carried out elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bot.canary.eprocess import EProcess
from bot.canary.wording import chance


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on watching. `waiting`: what is missing for a promotion, a sentence each."""

    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Change nothing and ask a person; evidence goes on being gathered.

    `reasons`: a sentence each.
    """

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Breach:
    """The candidate must go.

    Attributes:
        metric: the metric, `sample_ratio`, a limit such as `error_slo`, or `silence`.
        evidence: one plain sentence.
        log_e: the evidence when it reached the limit, nats; None where no test is involved.
        limit: what it reached, nats.
        also: whatever else crossed its limit.
    """

    metric: str
    evidence: str
    log_e: float | None = None
    limit: float | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promote:
    """Good enough for the next split; `percent` is None where there is none left: now active."""

    percent: int | None


Verdict = Continue | Hold | Breach | Promote


class Crossed(NamedTuple):
    """A process that reached its limit, what it is evidence for, and of what it is made."""

    process: EProcess
    claim: str
    unit: str = "observation"


def crossing_breach(crossed: dict[str, Crossed]) -> Breach | None:
    """Make a breach of the processes that reached their limits; the first is the one named.

    Args:
        crossed: by name.
    """
    if not crossed:
        return None
    name, (process, claim, unit) = next(iter(crossed.items()))
    crossing = process.crossing
    if crossing is None:
        return None
    sentence = (
        f"{claim}. By chance alone that is seen at most {chance(crossing.log_e)} (the limit: "
        f"{chance(process.limit)}), here after {crossing.n:,} "
        f"{unit if crossing.n == 1 else f'{unit}s'}."
    )
    return Breach(name, sentence, crossing.log_e, process.limit, tuple(crossed)[1:])
