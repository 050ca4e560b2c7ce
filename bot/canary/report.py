"""The reports of a shadow and of a ramp, and how they are put together from evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from bot.canary.baseline import QUANTILES, Arms, ArmSummary, FrozenBaseline
from bot.canary.eprocess import EProcess
from bot.canary.interval import (
    Interval,
    generator,
    mean_ratio,
    quantile_ratio,
    rate_ratio,
    return_ratio,
)
from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict
from bot.canary.messages import NAMES
from bot.canary.metrics import SlowAnswers, TotalCosts
from bot.canary.policy import Metrics, Policy, Seed, Sha256, Share, StrictValue
from bot.canary.ramp_evidence import Metered, RampEvidence
from bot.canary.sample_size import HASH
from bot.canary.shadow_evidence import ShadowEvidence
from bot.canary.units import ArmCounts

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


_INDEX = {name: index for index, name in enumerate(Metrics.model_fields)}


@dataclass(frozen=True, slots=True)
class ReportSubject:
    """What a report is about.

    Attributes:
        id: of the incident or run; names the file.
        capability: what is provided.
        candidate: by whom, perhaps.
        window: from when to when was watched.
        input_sha256: of the observations, as they were accepted.
    """

    id: str
    capability: str
    candidate: str
    window: WatchedSpan
    input_sha256: str


def shadow_report(
    subject: ReportSubject,
    evidence: ShadowEvidence,
    verdict: Verdict,
    *,
    curve: tuple[CurvePoint, ...] = (),
) -> ShadowDiffReport:
    """Describe a shadow: what was observed, and what is concluded from it.

    Args:
        subject: what the report is about, and from when to when was watched.
        evidence: what was learnt so far, and the policy that it is judged by.
        verdict: what is concluded from the evidence.
        curve: the evidence over time, oldest first; empty: the report shows none.
    """
    policy = evidence.policy
    alone = evidence.alone
    return ShadowDiffReport(
        id=subject.id,
        capability=subject.capability,
        baseline=policy.baseline,
        candidate=subject.candidate,
        policy=policy.digest,
        window=subject.window,
        metrics=_metrics(policy, evidence.metrics, evidence.arms),
        not_observed=_not_observed(policy, evidence.metrics),
        verdict=_name(verdict),
        reasons=_reasons(verdict),
        seed=policy.seed,
        input_sha256=subject.input_sha256,
        sampling=Sampling(rate=policy.shadow.sample_rate, seed=policy.seed, hash=HASH),
        coverage=evidence.coverage,
        pairs=Pairs(
            n=evidence.pairs,
            dropped=alone.baseline + alone.candidate,
            timeouts=evidence.timeouts,
        ),
        extra_cost_usd=evidence.extra_cost,
        sample_ratio=ArmShares(counts=alone.counts, evidence=_evidence(evidence.dropouts)),
        frozen=evidence.frozen,
        curve=curve,
    )


def ramp_report(
    subject: ReportSubject,
    evidence: RampEvidence,
    verdict: Verdict,
    *,
    shadow: str | None,
    salt: str,
    stages: tuple[StageReport, ...],
    curve: tuple[CurvePoint, ...],
) -> RampReport:
    """Describe a ramp: what was observed, how its stages went, and what is concluded from it.

    Args:
        subject: what the report is about, and from when to when was watched.
        evidence: what was learnt so far, and the policy that it is judged by.
        verdict: what is concluded from the evidence.
        shadow: the id of the shadow that it started from; None leaves it out of the report.
        salt: of the hash that decides which requests the candidate gets.
        stages: every split that was served, oldest first, with the one that is served now.
        curve: the evidence over time, oldest first; empty: the report shows none.
    """
    policy = evidence.policy
    return RampReport(
        id=subject.id,
        capability=subject.capability,
        baseline=policy.baseline,
        candidate=subject.candidate,
        policy=policy.digest,
        window=subject.window,
        metrics=_metrics(policy, evidence.metrics, evidence.arms, evidence.spent),
        not_observed=_not_observed(policy, evidence.metrics),
        verdict=_name(verdict),
        reasons=_reasons(verdict),
        seed=policy.seed,
        input_sha256=subject.input_sha256,
        shadow=shadow,
        salt=salt,
        stages=stages,
        sample_ratio=ArmShares(
            counts=evidence.assigned.counts, evidence=_evidence(evidence.sample_ratio)
        ),
        limits={
            name: LimitReport(
                bad=limit.bad,
                seen=limit.seen,
                share=limit.share,
                burn_rate=limit.burn_rate,
                evidence=_evidence(limit.process),
            )
            for name, limit in evidence.limits.items()
        },
        curve=curve,
    )


def _metrics(
    policy: Policy,
    metrics: Mapping[str, Metered],
    arms: Arms,
    spent: tuple[float, float] = (0.0, 0.0),
) -> dict[str, MetricReport]:
    return {name: _metric(policy, name, metric, arms, spent) for name, metric in metrics.items()}


def _metric(
    policy: Policy, name: str, metric: Metered, arms: Arms, spent: tuple[float, float]
) -> MetricReport:
    comparison = metric.comparison
    if isinstance(comparison, TotalCosts):
        # Only sums are known: means can be told, but not how far they might be off.
        found = None
        baseline, candidate = (
            total / count if count else None
            for total, count in zip(spent, metric.seen.counts, strict=True)
        )
    else:
        found = _interval(policy, name, arms)
        baseline, candidate = _value(name, arms.baseline), _value(name, arms.candidate)
    return MetricReport(
        n=metric.seen.counts,
        baseline=baseline,
        candidate=candidate,
        comparison=found,
        tau=comparison.threshold if isinstance(comparison, SlowAnswers) else None,
        worse=_evidence(metric.worse),
        within=_evidence(metric.within),
        verdict=_outcome(metric),
        bootstrap_seed=(policy.seed, _INDEX[name]) if found and found.resamples else None,
    )


def _value(name: str, arm: ArmSummary) -> float | None:
    """An arm's value of a metric; `latency` as a whole is told by its median."""
    match name:
        case "error":
            return arm.failed / arm.judged if arm.judged else None
        case "cost":
            return arm.cost.mean() if len(arm.cost) else None
        case "roas":
            return arm.roas
        case _:
            return arm.latency.quantile(QUANTILES.get(name, 0.5)) if len(arm.latency) else None


def _interval(policy: Policy, name: str, arms: Arms) -> Interval | None:
    baseline, candidate = arms.baseline, arms.candidate
    rng = generator(policy.seed, _INDEX[name])
    match name:
        case "error":
            return rate_ratio(
                (baseline.failed, baseline.judged), (candidate.failed, candidate.judged), rng
            )
        case "cost":
            return mean_ratio(baseline.cost, candidate.cost)
        case "roas":
            return return_ratio(
                (baseline.revenue, baseline.spend), (candidate.revenue, candidate.spend)
            )
        case _:
            share = QUANTILES.get(name, 0.5)
            return quantile_ratio(baseline.latency, candidate.latency, share, rng)


def _outcome(metric: Metered) -> MetricOutcome:
    if metric.worse.crossed:
        return "breach"
    return "within margin" if metric.proven else "inconclusive"


def _evidence(process: EProcess) -> MetricEvidence:
    return MetricEvidence(
        log_e=process.log_e, alpha=process.alpha, limit=process.limit, crossed=process.crossed
    )


def _not_observed(policy: Policy, metrics: Mapping[str, Metered]) -> tuple[str, ...]:
    return tuple(name for name, _ in policy.metrics.chosen() if name not in metrics)


def _name(verdict: Verdict) -> Literal["continue", "hold", "breach", "promote"]:
    match verdict:
        case Continue():
            return "continue"
        case Hold():
            return "hold"
        case Breach():
            return "breach"
        case Promote():
            return "promote"


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    match verdict:
        case Continue(waiting):
            return waiting
        case Hold(reasons):
            return reasons
        case Breach(_, evidence, also=also):
            return (evidence, *(f"{NAMES.get(name, name)} crossed its limit too." for name in also))
        case Promote():
            return ("Every metric was shown to be within its margin.",)
