"""The artifacts of a bisect, a rollback, and a spec.

It stands in the fix pull request, from the repository's root, and is shown as a table in its
description. Results cannot sit in the commit they judge: the committed file holds what was known
before, the description what checks say now, the incident's report the end.

The search's own log is part of it, so that the finding can be derived again from the report alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from bot import markdown
from bot.canary.report import MetricReport, RampReport, ShadowDiffReport
from bot.records.documents.artifacts import (
    ArtifactBase,
    HotfixRefs,
    IncidentReport,
    ReportPart,
    RevertReport,
    Sha,
)
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
        needed: whether it has to be shadowed again.
        reason: why, or why not.
        failing_metric: what it failed by.
        min_pairs: so many pairs show an effect as large as the one observed.
        salt: of the next split, so that it is drawn again.
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


SPEC_REPORT_PATH = "self/spec_report.json"


class Met(StrEnum):
    """Whether a requirement is met, as far as is known."""

    MET = "met"
    UNMET = "unmet"
    UNKNOWN = "unknown"


class Requirement(ReportPart):
    """One thing the fix must achieve. `evidence` is an address."""

    id: str
    statement: str
    kind: Literal["smoke", "eval", "slo", "regression"]
    check: str | None
    expectation: str
    observed: str | None
    verdict: Met
    evidence: str | None = None


class TrialMetric(ReportPart):
    """What one trial measured."""

    trial: str
    sha: Sha
    outcome: str | None
    seconds: float | None
    metrics: dict[str, float] = Field(default_factory=dict)


class Point(ReportPart):
    """A branch and, where it is known, its commit."""

    branch: str
    sha: Sha | None


class Summary(ReportPart):
    """How many requirements are in each state."""

    met: int
    unmet: int
    unknown: int


class SpecReport(ArtifactBase):
    """The whole report; `pull_request` and the head's SHA are not known in the commit itself."""

    schema_: Literal["incident-playbooks/spec/1"] = Field(
        default="incident-playbooks/spec/1", alias="schema"
    )
    pull_request: int | None
    base: Point
    head: Point
    spec: tuple[Requirement, ...]
    metrics: tuple[TrialMetric, ...]
    summary: Summary


def summary_of(spec: Sequence[Requirement]) -> Summary:
    """Count the requirements by verdict."""
    verdicts = [each.verdict for each in spec]
    return Summary(
        met=verdicts.count(Met.MET),
        unmet=verdicts.count(Met.UNMET),
        unknown=verdicts.count(Met.UNKNOWN),
    )


_MARKS = {Met.MET: "met", Met.UNMET: "**unmet**", Met.UNKNOWN: "not known yet"}


SPEC_TABLE_HEAD = "| | requirement | expected | observed | verdict |"
_ROWS_SHOWN = 50
_CELL_LIMIT = 200


def spec_table(report: SpecReport) -> str:
    """Show a spec report as a Markdown table; of very many requirements the first fifty."""
    lines = [SPEC_TABLE_HEAD, "|---|---|---|---|---|"]
    for each in report.spec[:_ROWS_SHOWN]:
        observed = markdown.text(each.observed or "nothing yet", limit=_CELL_LIMIT)
        if each.evidence and each.observed:
            observed = markdown.link(each.observed[:_CELL_LIMIT], each.evidence)
        cells = (
            markdown.text(each.id, limit=_CELL_LIMIT),
            markdown.text(each.statement, limit=_CELL_LIMIT),
            markdown.text(each.expectation, limit=_CELL_LIMIT),
            observed,
            _MARKS[each.verdict],
        )
        lines.append(f"| {' | '.join(cells)} |")
    more = len(report.spec) - _ROWS_SHOWN
    if more > 0:
        lines += ["", f"And {more} more requirements."]
    count = report.summary
    lines += ["", f"{count.met} met, {count.unmet} unmet, {count.unknown} not known yet."]
    return "\n".join(lines)


class Searched(ReportPart):
    """The range: everything reachable from `bad` and from none of `goods`."""

    base_branch: str
    bad: Sha
    goods: tuple[Sha, ...]
    check: str | None
    commits: int
    numeric: str | None = None


class Suspect(ReportPart):
    """A commit and the probability that it is the culprit."""

    sha: Sha
    probability: float


class NamedBoundary(ReportPart):
    """Where it broke, was fixed, or lies more or less from."""

    sha: Sha
    kind: Literal["broken", "fixed", "flaky_from", "fails_from"]


class MetricEffect(ReportPart):
    """By how much a number changed, in its own unit, with its 95% interval.

    `deviations`: the same in standard deviations of a single run.
    """

    metric: str
    effect: float
    low: float
    high: float
    deviations: float


class Finding(ReportPart):
    """What the search concludes. Probabilities are rounded to six digits.

    `cause` says what it was where no single commit is to blame; `boundaries` are all that were
    found, oldest first.
    """

    status: Literal[
        "searching", "culprit", "class", "no_culprit", "before_range", "budget", "infra"
    ]
    culprit: Sha | None
    suspects: tuple[Suspect, ...]
    confidence: float
    may_act: bool
    may_report: bool
    reason: str
    splitters: tuple[Sha, ...]
    trials: int
    rounds: int
    p_no_culprit: float
    p_before_range: float
    cause: (
        Literal[
            "flaky_from", "outage", "drift", "steps", "unchanged", "too_small", "better", "varies"
        ]
        | None
    ) = None
    boundaries: tuple[NamedBoundary, ...] = ()
    effect: MetricEffect | None = None


class TrialMade(ReportPart):
    """One trial of this bisect, with its metrics."""

    name: str
    sha: Sha
    why: str
    outcome: Literal["pass", "fail", "untestable", "infra"] | None
    reason: str
    seconds: float | None
    workflow_run: str
    url: str | None
    metrics: dict[str, float] = Field(default_factory=dict)


Checked = Literal["confirmed", "refuted", "undecided", "not made"]


class FreshRuns(ReportPart):
    """How the fresh runs of one commit ended; `role` says what was expected of it."""

    sha: Sha
    role: Literal["culprit", "parent", "revert"]
    passed: int
    failed: int


class Verification(ReportPart):
    """The suspect's check by fresh, interleaved runs, apart from the search that named it.

    `boundary`: the culprit fails and its parents pass. `revert`: the bad end passes once the
    culprit is reverted on it.
    """

    boundary: Checked
    revert: Checked
    runs: tuple[FreshRuns, ...] = ()
    note: str = ""


class BisectReport(IncidentReport):
    """The whole report."""

    schema_: Literal["incident-playbooks/bisect/1"] = Field(
        default="incident-playbooks/bisect/1", alias="schema"
    )
    searched: Searched
    known_results: int
    finding: Finding | None
    stopped: str | None
    trials: tuple[TrialMade, ...]
    verification: Verification | None
    fix: HotfixRefs | None
    spec: SpecReport | None
    log: tuple[str, ...]
    earlier_logs: tuple[tuple[str, ...], ...] = ()


REPORTS = (
    RevertReport,
    BisectReport,
    RollbackReport,
    ShadowDiffReport,
    RampReport,
    SpecReport,
)


def published_schemas() -> dict[str, dict[str, Any]]:
    """Describe every artifact in JSON Schema, by the name its `schema` field carries."""
    return {
        model.model_fields["schema_"].default: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **model.model_json_schema(mode="serialization"),
        }
        for model in REPORTS
    }
