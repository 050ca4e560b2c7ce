"""Verdicts as values that can be written down and read again."""

from __future__ import annotations

from typing import Literal

from bot.canary.verdict import Breach, Continue, Hold, Promote, Verdict
from bot.triggers import Value


class BreachFound(Value):
    """Why a candidate must go; see `Breach`."""

    metric: str
    evidence: str
    log_e: float | None = None
    limit: float | None = None
    also: tuple[str, ...] = ()

    @classmethod
    def of(cls, breach: Breach) -> BreachFound:
        """Write a breach down."""
        return cls(
            metric=breach.metric,
            evidence=breach.evidence,
            log_e=breach.log_e,
            limit=breach.limit,
            also=breach.also,
        )

    @property
    def verdict(self) -> Breach:
        """The breach as it was judged."""
        return Breach(self.metric, self.evidence, self.log_e, self.limit, self.also)


class Judged(Value):
    """A verdict.

    Attributes:
        kind: what is concluded.
        reasons: what is missing for a promotion, or why it is held; a sentence each.
        percent: the next split, where it is promoted; None: there is none left.
        breach: what was crossed.
    """

    kind: Literal["continue", "hold", "breach", "promote"]
    reasons: tuple[str, ...] = ()
    percent: int | None = None
    breach: BreachFound | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> Judged:
        """Write a verdict down."""
        match verdict:
            case Continue(waiting):
                return cls(kind="continue", reasons=waiting)
            case Hold(reasons):
                return cls(kind="hold", reasons=reasons)
            case Breach():
                found = BreachFound.of(verdict)
                return cls(kind="breach", reasons=(found.evidence,), breach=found)
            case Promote(percent):
                return cls(kind="promote", percent=percent)

    @property
    def verdict(self) -> Verdict:
        """The verdict as it was judged."""
        if self.breach is not None:
            return self.breach.verdict
        match self.kind:
            case "hold":
                return Hold(self.reasons)
            case "promote":
                return Promote(self.percent)
            case _:
                return Continue(self.reasons)
