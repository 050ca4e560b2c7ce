"""What a candidate is held to: stages, metrics and their limits, as the configuration says.

One entry of `capabilities` in `.github/playbooks.yml`. Everything has a default except the
providers. A policy is known by its digest: a ramp is judged by the one it started with.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from math import fsum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]


class StrictValue(BaseModel):
    """An immutable value; unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON: sorted keys, no spaces, UTF-8."""
        written = json.dumps(
            self.model_dump(mode="json"),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return hashlib.sha256(written.encode()).hexdigest()


ALPHA_LIMIT = 0.05
"""The chance that a whole ramp of a candidate as good as the baseline is rolled back."""
GATE_ALPHA = 0.10
"""The chance, per metric, that a candidate beyond its margin passes the promote gate."""
SAMPLE_RATIO_ALPHA = 0.001
SLO_ALPHA = 0.001

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        if found is None:
            raise ValueError("must be a number and a unit (s, m, h or d), such as 10m")
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if isinstance(value, timedelta):
        return value
    raise ValueError("must be text: a number and a unit (s, m, h or d), such as 10m")


def _written(value: timedelta) -> str:
    return f"{int(value.total_seconds())}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, str),
    PlainSerializer(_written),
    Field(ge=timedelta(0), le=timedelta(days=365)),
]
"""Written as `10m`, `6h`; units s, m, h, d; a year at most."""

Share = Annotated[float, Field(ge=0, le=1)]
Provider = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}$")]
CapabilityName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Shadow(StrictValue):
    """How long the candidate is run beside the baseline, unseen by users.

    Attributes:
        sample_rate: share of requests that are mirrored.
        min_pairs: so many complete pairs before a verdict.
        max_hours: after so long without a verdict, a person is asked.
        min_coverage: share of mirrored requests of which both answers arrived.
        max_extra_cost_usd: what the candidate's mirrored answers may cost together.
    """

    sample_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    min_pairs: Annotated[int, Field(ge=100, le=1_000_000)] = 2000
    max_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24
    min_coverage: Share = 0.98
    max_extra_cost_usd: Annotated[float, Field(ge=0)] = 50


class RampStage(StrictValue):
    """One step of a ramp.

    Attributes:
        percent: of traffic for the candidate.
        min_bake: at least so long.
        max_bake: after so long without enough evidence, a person is asked.
        min_n: so many observations of each arm in this stage.
        holdback: at 100%: so many percent stay with the baseline while the candidate soaks.
        soak: how long.
    """

    percent: Annotated[int, Field(ge=1, le=100)]
    min_bake: Duration = timedelta(minutes=10)
    max_bake: Duration = timedelta(hours=6)
    min_n: Annotated[int, Field(ge=1)] = 500
    holdback: Annotated[int, Field(ge=0, le=50)] | None = None
    soak: Duration | None = None

    @model_validator(mode="after")
    def _fits(self) -> RampStage:
        if self.max_bake < self.min_bake:
            raise ValueError("max_bake must not be shorter than min_bake")
        if self.percent < 100 and (self.holdback is not None or self.soak is not None):
            raise ValueError("holdback and soak belong to the stage of 100 percent only")
        return self


class Phase(StrictValue):
    """A stretch of a ramp with one split. The stage of 100% has two: held back, then whole.

    Attributes:
        stage: the stage's percentage, as people name it.
        percent: what the candidate really gets.
        min_bake: at least so long.
        max_bake: after so long without enough evidence, a person is asked.
        min_n: so many observations of each arm that gets traffic.
    """

    stage: int
    percent: int
    min_bake: Duration
    max_bake: Duration
    min_n: int

    @property
    def controlled(self) -> bool:
        """Whether the baseline still serves, so that there is something to compare with."""
        return self.percent < 100


class ErrorMetric(StrictValue):
    """Failed requests.

    Attributes:
        alpha: the chance of a false breach over the whole ramp.
        tolerance: the failure rate may be so much higher (.1: a tenth) before it is a breach.
        margin_ratio: to be promoted, the rate must be shown to be less than so many times.
        slo_max: the highest failure rate once nothing is left to compare with; left out: odds
            of `margin_ratio` times the baseline's in the stages before.
    """

    alpha: Annotated[float, Field(gt=0, le=ALPHA_LIMIT)] = 0.015
    tolerance: Annotated[float, Field(ge=0, le=10)] = 0.0
    margin_ratio: Annotated[float, Field(gt=1, le=100)] = 2.0
    slo_max: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> ErrorMetric:
        if 1 + self.tolerance >= self.margin_ratio:
            raise ValueError("margin_ratio must be above 1 + tolerance")
        return self


class RatioMetric(StrictValue):
    """A metric that may be `tolerance` worse before it is a breach (.05: five percent).

    Attributes:
        alpha: the chance of a false breach over the whole ramp.
        tolerance: how much worse is still as good.
        margin: to be promoted, it must be shown to be less than so much worse.
    """

    alpha: Annotated[float, Field(gt=0, le=ALPHA_LIMIT)] = 0.005
    tolerance: Annotated[float, Field(ge=0, le=10)] = 0.05
    margin: Annotated[float, Field(gt=0, le=10)] = 0.15

    @model_validator(mode="after")
    def _fits(self) -> RatioMetric:
        if self.margin < self.tolerance:
            raise ValueError("margin must not be below tolerance")
        return self


class QuantileMetric(RatioMetric):
    """A latency quantile.

    Attributes:
        slo_max: seconds, once nothing is left to compare with; left out: what is slow there may
            have twice the odds that it had in the stages before.
    """

    slo_max: Annotated[float, Field(gt=0)] | None = None


class RoasMetric(RatioMetric):
    """Revenue per spend.

    Attributes:
        direction: more is better.
        maturity: younger cohorts are not counted yet.
    """

    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.05
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    direction: Literal["higher"] = "higher"
    maturity: Duration = timedelta(hours=24)


Metric = ErrorMetric | RatioMetric


class Metrics(StrictValue):
    """What is compared. Write `null` for what is not."""

    error: ErrorMetric | None = ErrorMetric()
    latency: RatioMetric | None = RatioMetric(alpha=0.01, margin=0.20)
    latency_p50: QuantileMetric | None = None
    latency_p95: QuantileMetric | None = QuantileMetric(alpha=0.01, margin=0.20)
    latency_p99: QuantileMetric | None = QuantileMetric(alpha=0.005, margin=0.50)
    cost: RatioMetric | None = RatioMetric(alpha=0.005, margin=0.15)
    roas: RoasMetric | None = RoasMetric()

    @model_validator(mode="after")
    def _together(self) -> Metrics:
        total = fsum(metric.alpha for _, metric in self.chosen())
        if total == 0:
            raise ValueError("at least one metric must be compared")
        if total > ALPHA_LIMIT + 1e-12:
            raise ValueError(
                f"the alphas add up to {total:.4g}; together at most {ALPHA_LIMIT} is allowed: "
                "lower some, or set a metric that is not needed to null"
            )
        return self

    def chosen(self) -> Iterator[tuple[str, Metric]]:
        """Go through the metrics that are compared, by name, in the order of this model."""
        for name in type(self).model_fields:
            metric = getattr(self, name)
            if metric is not None:
                yield name, metric


def _seed_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_STAGES = (
    RampStage(percent=5),
    RampStage(percent=25),
    RampStage(percent=50),
    RampStage(percent=100, holdback=5, soak=timedelta(hours=1)),
)


class Policy(StrictValue):
    """How a candidate for one capability is shadowed, ramped, promoted and rolled back.

    Attributes:
        baseline: the provider that serves now.
        candidates: providers that might take over.
        unit: what the split decides on: each request, or a key (then only the first event of a
            key counts, since a key's requests resemble each other).
        seed: makes sampling and intervals repeatable.
        stages: the steps of a ramp, each with `percent`, `min_bake` (`10m`), `max_bake` (`6h`) and
            `min_n` (500 observations of each arm); that of 100 may have `holdback` and `soak`.
        on_breach: what follows when a limit is crossed.
        on_inconclusive: what follows when a stage ends without enough evidence: `hold` asks a
            person.
        max_silence: without any observation for so long, and for far longer than is usual here, a
            ramp is rolled back; a shadow is held after so long.
        approvals: by stage: how many people, or `founder`.
    """

    baseline: Provider
    candidates: Annotated[tuple[Provider, ...], Field(min_length=1)]
    unit: Literal["request", "key"] = "request"
    seed: Annotated[Seed, BeforeValidator(_seed_text)] = "0"
    shadow: Shadow = Shadow()
    stages: Annotated[tuple[RampStage, ...], Field(min_length=1, max_length=20)] = _STAGES
    metrics: Metrics = Metrics()
    on_breach: Literal["rollback"] = "rollback"
    on_inconclusive: Literal["hold", "rollback"] = "hold"
    max_silence: Duration = timedelta(minutes=10)
    approvals: dict[int, Annotated[int, Field(ge=1, le=20)] | Literal["founder"]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _together(self) -> Policy:
        if self.baseline in self.candidates:
            raise ValueError(f"the baseline {self.baseline} is also a candidate")
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("a candidate is named twice")
        percents = [stage.percent for stage in self.stages]
        if percents != sorted(set(percents)) or percents[-1] != 100:
            raise ValueError("stages must grow, and end with 100 percent")
        unknown = sorted(set(self.approvals) - set(percents))
        if unknown:
            raise ValueError(f"approvals name {unknown[0]}, but the stages are {percents}")
        if self.max_silence < timedelta(seconds=1):
            raise ValueError("max_silence must be at least 1s")
        return self

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The splits of a ramp in order; the last one gives everything to the candidate."""
        found: list[Phase] = []
        for stage in self.stages:
            if stage.holdback:
                soak = stage.min_bake if stage.soak is None else stage.soak
                found.append(
                    Phase(
                        stage=stage.percent,
                        percent=stage.percent - stage.holdback,
                        min_bake=soak,
                        max_bake=max(soak, stage.max_bake),
                        min_n=stage.min_n,
                    )
                )
            found.append(
                Phase(
                    stage=stage.percent,
                    percent=stage.percent,
                    min_bake=stage.min_bake,
                    max_bake=stage.max_bake,
                    min_n=stage.min_n,
                )
            )
        return tuple(found)
