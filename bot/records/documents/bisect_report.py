"""`incidents/bisect-<id>.json`: what was searched, tried, found and done about it.

The search's own log is part of it, so that the finding can be derived again from the report alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bot.records.documents.artifacts import HotfixRefs, IncidentReport, ReportPart, Sha
from bot.records.documents.spec_report import SpecReport


class Searched(ReportPart):
    """The range: everything reachable from `bad` and from none of `goods`."""

    base_branch: str
    bad: Sha
    goods: tuple[Sha, ...]
    check: str | None
    commits: int


class Suspect(ReportPart):
    """A commit and the probability that it is the culprit."""

    sha: Sha
    probability: float


class Finding(ReportPart):
    """What the search concludes. Probabilities are rounded to six digits.

    `stopped` says, in words, why a search ended before it was sure: a cap, a person, a workflow
    that cannot be dispatched.
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
