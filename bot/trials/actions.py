"""What a run of the trial workflow says about its commit. Pure: jobs and steps in, outcome out.

A step or job called like the check decides; else the whole run does. A failure of a build step
says that the commit cannot be tried, and whatever GitHub did itself (no runner, cancelled, timed
out, no checkout) says nothing about the commit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field, field_validator

from bot.culprit.evidence import TrialOutcome
from bot.github.calls.workflows import JobAnnotation, WorkflowJob, WorkflowRun
from bot.github.transport.redaction import redact
from bot.triggers import Value

_OURSELVES = re.compile(r"set up job|complete job|(run |post )*actions/", re.IGNORECASE)
_PASSED = {"success", "neutral"}
_INFRA = {"cancelled", "timed_out", "startup_failure", "stale", "action_required", "skipped"}


class TrialJudgement(Value):
    """The outcome of one trial and, in words, why. `seconds` is how long its jobs took."""

    outcome: TrialOutcome
    reason: str
    seconds: float | None = None
    fingerprint: tuple[str, ...] | None = None
    metrics: dict[str, float] = Field(default_factory=dict)

    @field_validator("reason")
    @classmethod
    def _reason_without_secrets(cls, reason: str) -> str:
        # What a trial says reaches reports, issues, logs and the cockpit.
        return redact(reason)

    @field_validator("fingerprint")
    @classmethod
    def _names_without_secrets(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else tuple(map(redact, names))

    @field_validator("metrics")
    @classmethod
    def _metrics_without_secrets(cls, metrics: dict[str, float]) -> dict[str, float]:
        return {redact(name): value for name, value in metrics.items()}


def judge_workflow_run(
    run: WorkflowRun, jobs: Sequence[WorkflowJob], *, check: str | None, build: Sequence[str]
) -> TrialJudgement:
    """Say what a completed run means.

    Args:
        run: it, completed.
        jobs: the jobs of its latest attempt.
        check: the name of the check that is searched for; None: the whole run.
        build: names of jobs and steps whose failure makes a commit untestable.
    """
    outcome, reason = _judge(run, jobs, check, {name.lower() for name in build})
    return TrialJudgement(outcome=outcome, reason=reason, seconds=_seconds(jobs))


def fingerprint_of(annotations: Sequence[JobAnnotation]) -> tuple[str, ...] | None:
    """Name the failure by the titles that problem matchers gave it; None where there is none."""
    titles = {
        each.title.strip()
        for each in annotations
        if each.annotation_level == "failure" and each.title and each.title.strip()
    }
    return tuple(sorted(titles)) or None


def _judge(
    run: WorkflowRun, jobs: Sequence[WorkflowJob], check: str | None, build: set[str]
) -> tuple[TrialOutcome, str]:
    steps = [(step.name, step.conclusion) for job in jobs for step in job.steps]
    parts = [(job.name, job.conclusion) for job in jobs] + steps
    broken = [name for name, conclusion in parts if conclusion == "failure"]
    named = [conclusion for name, conclusion in parts if check is not None and name == check]
    if (check, "failure") in steps:
        return TrialOutcome.FAIL, f"{check} failed"
    if any(_is_ours(name) for name in broken):
        return TrialOutcome.INFRA, "the checkout or the runner failed"
    if any(name.lower() in build for name in broken):
        return TrialOutcome.UNTESTABLE, "it does not build"
    if "failure" in named:
        return TrialOutcome.FAIL, f"{check} failed"
    if named and set(named) <= _PASSED:
        return TrialOutcome.PASS, f"{check} passed"
    if run.conclusion in _INFRA or run.conclusion is None:
        return TrialOutcome.INFRA, f"the run was {run.conclusion or 'lost'}"
    if run.conclusion in _PASSED:
        return TrialOutcome.PASS, "the run passed"
    return TrialOutcome.FAIL, f"{broken[-1] if broken else 'the run'} failed"


def _is_ours(name: str) -> bool:
    return _OURSELVES.match(name) is not None


def _seconds(jobs: Sequence[WorkflowJob]) -> float | None:
    spans = [
        (job.completed_at - job.started_at).total_seconds()
        for job in jobs
        if job.started_at and job.completed_at
    ]
    return round(sum(spans), 3) if spans else None
