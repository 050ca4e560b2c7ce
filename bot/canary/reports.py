"""What the reports of shadows and ramps contain. They are written elsewhere, canonically."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from bot.canary.facts import Seed, Sha256, StrictValue
from bot.canary.frozen import FrozenBaseline
from bot.canary.interval import Interval
from bot.canary.policy import Share
from bot.canary.tally import ArmCounts

MetricOutcome = Literal["breach", "within margin", "inconclusive"]


class WatchedSpan(StrictValue):
    """From when to when was watched."""

    start: AwareDatetime
    end: AwareDatetime


class Sampling(StrictValue):
    """Which requests were mirrored."""

    rate: float
    seed: Seed
    hash: str


class Pairs(StrictValue):
    """Complete pairs, and answers that stayed alone; `timeouts` are those that waited in vain."""

    n: int
    dropped: int
    timeouts: int


class MetricEvidence(StrictValue):
    """An e-process and its limit: a breach if `log_e` ever reached `limit`, `-log(alpha)`, nats."""

    log_e: float
    alpha: float
    limit: float
    crossed: bool


class ArmShares(StrictValue):
    """Whether each arm got its share. Counts: of the baseline, of the candidate."""

    counts: ArmCounts
    evidence: MetricEvidence


class MetricReport(StrictValue):
    """One metric in both arms.

    Attributes:
        n: observations of the baseline and of the candidate.
        baseline: the value: a rate, seconds, USD, or a ratio. None: not observed.
        candidate: the same.
        comparison: the ratio with its interval, for people.
        tau: seconds: the frozen threshold, if the metric has one.
        worse: evidence that the candidate is worse than tolerated.
        within: evidence that it is not as bad as the margin.
        verdict: what the two say.
        bootstrap_seed: `seed` and the metric's index; None where nothing was drawn.
    """

    n: ArmCounts
    baseline: float | None
    candidate: float | None
    comparison: Interval | None
    tau: float | None
    worse: MetricEvidence
    within: MetricEvidence
    verdict: MetricOutcome
    bootstrap_seed: tuple[Seed, int] | None


class LimitReport(StrictValue):
    """An absolute limit: bad requests of all, and how fast the error budget burns."""

    bad: int
    seen: int
    share: float
    burn_rate: float | None
    evidence: MetricEvidence


class CurvePoint(StrictValue):
    """The evidence for a breach at one time, by metric, nats."""

    at: AwareDatetime
    log_e: dict[str, float]


class _Report(StrictValue):
    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    schema_: str = Field(alias="schema")
    id: str
    capability: str
    baseline: str
    candidate: str
    policy: Sha256
    window: WatchedSpan
    metrics: dict[str, MetricReport]
    not_observed: tuple[str, ...]
    verdict: Literal["continue", "hold", "breach", "promote"]
    reasons: tuple[str, ...]
    seed: Seed
    input_sha256: Sha256
    curve: tuple[CurvePoint, ...] = ()


class ShadowDiffReport(_Report):
    """`provider_shadow_diffs/<id>.json`. `input_sha256`: of the observations, as they came."""

    schema_: Literal["incident-playbooks/shadow/1"] = Field(
        default="incident-playbooks/shadow/1", alias="schema"
    )
    sampling: Sampling
    coverage: Share | None
    pairs: Pairs
    extra_cost_usd: float
    sample_ratio: ArmShares
    frozen: FrozenBaseline | None


class StageReport(StrictValue):
    """One split of the ramp: when it was served, how many requests, and how it ended."""

    stage: int
    percent: int
    entered: AwareDatetime
    left: AwareDatetime | None
    n: ArmCounts
    ended: Literal["promote", "breach", "cancelled"] | None


class RampReport(_Report):
    """`ramp_reports/<id>.json`. `salt`: of the split; `shadow`: the report it started from."""

    schema_: Literal["incident-playbooks/ramp/1"] = Field(
        default="incident-playbooks/ramp/1", alias="schema"
    )
    shadow: str | None
    salt: str
    stages: tuple[StageReport, ...]
    sample_ratio: ArmShares
    limits: dict[str, LimitReport]
