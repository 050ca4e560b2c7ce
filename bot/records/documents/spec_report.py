"""`self/spec_report.json`: what a fix must achieve, and what was observed.

It stands in the fix pull request, from the repository's root, and is shown as a table in its
description. Results cannot sit in the commit they judge: the committed file holds what was known
before, the description what checks say now, the incident's report the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from bot import markdown
from bot.records.documents.artifacts import ArtifactBase, ReportPart, Sha

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
