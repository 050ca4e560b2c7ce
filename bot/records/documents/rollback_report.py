"""`incidents/rollback-<id>.json`: what went wrong with a candidate, and what was done about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bot.canary.report import MetricReport
from bot.records.documents.artifacts import HotfixRefs, IncidentReport, ReportPart
from bot.records.tables.columns import Instant

Percent = Annotated[int, Field(ge=0, le=100)]


class Anomaly(ReportPart):
    """What was odd.

    Attributes:
        kind: a limit that evidence crossed, an alert from outside, or a person's word.
        metric: the metric, `sample_ratio`, a limit such as `error_slo`, or `silence`; None where
            nothing was measured.
        said: one plain sentence.
        log_e: the evidence when it reached the limit, nats.
        limit: what it reached, nats.
        also: whatever else crossed its limit.
    """

    kind: Literal["breach", "alert", "person"]
    metric: str | None
    said: str
    log_e: float | None = None
    limit: float | None = None
    also: tuple[str, ...] = ()


class TrafficChange(ReportPart):
    """Who was served by the candidate before and after, in percent.

    `generation`: of the flag document that serves the baseline only.
    """

    before: Percent
    after: Literal[0] = 0
    generation: int
    at: Instant


class Reshadow(ReportPart):
    """What has to happen before the candidate may be ramped again.

    Attributes:
        needed: whether it has to be shadowed anew.
        reason: why, or why not.
        failing_metric: what it failed by.
        min_pairs: so many pairs show an effect as large as the one observed.
        salt: of the next split, so that it is drawn anew.
        command: exactly what to comment.
    """

    needed: bool
    reason: str
    failing_metric: str | None
    min_pairs: int | None
    salt: str
    command: str


class RollbackReport(IncidentReport):
    """`incidents/rollback-<id>.json`."""

    schema_: Literal["incident-playbooks/rollback/1"] = Field(
        default="incident-playbooks/rollback/1", alias="schema"
    )
    capability: str
    baseline: str
    candidate: str | None
    paused: bool
    anomaly: Anomaly
    traffic: TrafficChange
    diffs: dict[str, MetricReport]
    ramp_report: str | None
    shadow_diff: str | None
    reshadow: Reshadow
    refs: HotfixRefs | None
