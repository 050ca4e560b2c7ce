"""What a trial says of its commit: from an exit code, a result file, or a workflow run.

A step or job called like the check decides; else the whole run does. A failure of a build step
says that the commit cannot be tried, and so does one before the check's step, which is then never
begun. Whatever GitHub did itself (no runner, cancelled, timed out, no checkout) says nothing about
the commit.
"""

from __future__ import annotations

import codecs
import os
import re
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bot.culprit.evidence import FreeResult, TrialOutcome, TrialReport
from bot.github import reported_metrics
from bot.github.models import JobAnnotation, KnownCheck, WorkflowJob, WorkflowRun
from bot.github.reported_metrics import MOST_METRICS, MetricName, MetricValue
from bot.github.transport.redaction import redact
from bot.triggers import Value

RESULT_VARIABLE = "PLAYBOOKS_RESULT"
RESULT_LIMIT_BYTES = 1 << 20


class CommandNotFoundError(Exception):
    """The command itself cannot be run, so no commit can be judged by it."""


class ResultFileError(Exception):
    """The command wrote a result file that cannot be read."""


class ResultFile(BaseModel):
    """What a command may write to the file named in `$PLAYBOOKS_RESULT`, as JSON.

    `fingerprint` says which failure this is, best by the names of the failing tests: one string
    or a list of them. A failure that shares none with the one looked for is no evidence.
    `metrics` are numbers to compare over commits.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    fingerprint: Annotated[frozenset[MetricName], Field(max_length=10_000)] | None = None
    metrics: dict[MetricName, MetricValue] = Field(default_factory=dict, max_length=MOST_METRICS)

    @field_validator("fingerprint", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


@dataclass(frozen=True)
class Judgement:
    """The outcome of one trial and, in words, why; `unread`: its result file cannot be read."""

    outcome: TrialOutcome
    reason: str
    fingerprint: frozenset[str] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    unread: bool = False


_SIGNALS = {128 + each: each.name for each in signal.Signals}
_CRASHES = (132, 134, 135, 136, 139)
_KILLS = (137, 143)
"""Ended from outside: by whoever lacks memory, or shuts the machine down."""


def judge(exit_status: int) -> Judgement:
    """Map a shell's exit status (128 + n where signal n killed) to an outcome.

    Raises:
        CommandNotFoundError: 126 and 127, what POSIX shells answer when a command cannot be
            executed or found.
    """
    if exit_status == 0:
        return Judgement(TrialOutcome.PASS, "exit status 0")
    if exit_status == 125:
        return Judgement(TrialOutcome.UNTESTABLE, "exit status 125")
    if exit_status in (126, 127):
        raise CommandNotFoundError(
            f"command not found: it ended with {exit_status}, which shells use for a command that "
            "is missing or not executable. Check its name and path; relative paths start in the "
            "folder that it runs in."
        )
    if exit_status in _CRASHES:
        return Judgement(TrialOutcome.FAIL, f"crashed with {_SIGNALS[exit_status]}")
    if exit_status in _KILLS:
        return Judgement(TrialOutcome.INFRA, f"killed by {_SIGNALS[exit_status]}")
    # Above 128 many programs answer numbers of their own: ssh and PHP, for example, 255.
    known = f" ({_SIGNALS[exit_status]})" if exit_status in _SIGNALS else ""
    return Judgement(TrialOutcome.FAIL, f"exit status {exit_status}{known}")


def read_result(path: Path) -> ResultFile | None:
    """Read the result file a trial left behind; None where it wrote none.

    The file comes from untrusted code: links are not followed, a pipe does not block, and no
    more than 1 MiB is read.

    Raises:
        ResultFileError: there is something, but not a valid result.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResultFileError(f"${RESULT_VARIABLE} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ResultFileError(f"${RESULT_VARIABLE} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(RESULT_LIMIT_BYTES + 1)
    if len(content) > RESULT_LIMIT_BYTES:
        raise ResultFileError(f"${RESULT_VARIABLE} is larger than {RESULT_LIMIT_BYTES} bytes")
    # Windows' shells begin a file they write with it.
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content:
        return None
    try:
        result = ResultFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ResultFileError(
            f"${RESULT_VARIABLE} is not valid: {where}: {first['msg']}"
        ) from error
    return result


def with_result(judgement: Judgement, path: Path) -> Judgement:
    """Add fingerprint and metrics from the result file; an unreadable one makes it untestable."""
    if judgement.outcome not in (TrialOutcome.PASS, TrialOutcome.FAIL):
        return judgement
    try:
        result = read_result(path)
    except ResultFileError as error:
        return Judgement(TrialOutcome.UNTESTABLE, redact(str(error)), unread=True)
    if result is None:
        return judgement
    names = result.fingerprint
    return Judgement(
        judgement.outcome,
        judgement.reason,
        None if names is None else frozenset(map(redact, names)),
        {redact(name): value for name, value in result.metrics.items()},
    )


_OURSELVES = re.compile(
    r"set up job|complete job|initialize containers|(run |post )*actions/", re.IGNORECASE
)
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


def metrics_of(annotations: Sequence[JobAnnotation]) -> dict[str, float]:
    """Read the numbers that a trial's jobs reported; what is wrong with others, see `ignored_of`.

    A job reports them by `::notice title=playbooks-metrics::{"latency": 12.3}`: a JSON object of
    finite numbers, in their own units. Several add up; of one name the last counts.
    """
    return reported_metrics.in_annotations(annotations).metrics


def ignored_of(annotations: Sequence[JobAnnotation]) -> tuple[str, ...]:
    """Say in a sentence each which annotations were meant to report numbers and do not count."""
    return reported_metrics.in_annotations(annotations).ignored


def _judge(
    run: WorkflowRun, jobs: Sequence[WorkflowJob], check: str | None, build: set[str]
) -> tuple[TrialOutcome, str]:
    steps = [(step.name, step.conclusion) for job in jobs for step in job.steps or ()]
    parts = [(job.name, job.conclusion) for job in jobs] + steps
    broken = [name for name, conclusion in parts if conclusion == "failure"]
    is_told = any(job.steps is None for job in jobs) or any(
        conclusion == "failure" for _, conclusion in steps
    )
    # A job fails for all of its steps: one that is called like the check says more.
    named = _conclusions(check, steps) or _conclusions(check, parts)
    ran = [conclusion for conclusion in named if conclusion != "skipped"]
    if (check, "failure") in steps:
        return TrialOutcome.FAIL, f"{check} failed"
    if any(_is_ours(name) for name in broken):
        return TrialOutcome.INFRA, "the checkout or the runner failed"
    if any(name.lower() in build for name in broken):
        return TrialOutcome.UNTESTABLE, "it does not build"
    if "failure" in named and is_told:
        return TrialOutcome.FAIL, f"{check} failed"
    if ran and set(ran) <= _PASSED and not (is_told and "skipped" in named):
        return TrialOutcome.PASS, f"{check} passed"
    conclusion = run.conclusion or _conclusion_of(jobs)
    if conclusion in _INFRA or conclusion is None:
        return TrialOutcome.INFRA, _was(conclusion or "lost")
    if "skipped" in named:
        why = f": {broken[-1]} failed" if broken else ""
        return TrialOutcome.UNTESTABLE, f"{check} was skipped{why}"
    if conclusion in _PASSED:
        return TrialOutcome.PASS, "the run passed"
    if jobs and not is_told:
        return TrialOutcome.INFRA, "no step of the run failed: it had no runner, or lost it"
    return TrialOutcome.FAIL, f"{broken[-1] if broken else 'the run'} failed"


def _was(conclusion: str) -> str:
    return f"the run was {conclusion}"


CANCELLED = _was("cancelled")
"""Why a run says nothing that somebody, or GitHub, cancelled."""


def _conclusions(check: str | None, parts: Sequence[tuple[str, str | None]]) -> list[str | None]:
    return [conclusion for name, conclusion in parts if check is not None and name == check]


def _conclusion_of(jobs: Sequence[WorkflowJob]) -> str | None:
    """What a run concludes by its jobs; None where one of them says nothing."""
    said = [job.conclusion for job in jobs]
    if not said or None in said:
        return None
    # A job that its condition left out fails nothing.
    counted = [each for each in said if each != "skipped"] or ["skipped"]
    return next((each for each in counted if each not in _PASSED), "success")


def _is_ours(name: str) -> bool:
    return _OURSELVES.match(name) is not None


def _seconds(jobs: Sequence[WorkflowJob]) -> float | None:
    spans = [
        (job.completed_at - job.started_at).total_seconds()
        for job in jobs
        if job.started_at and job.completed_at
    ]
    return round(sum(spans), 3) if spans else None


_OUTCOMES = {"success": TrialOutcome.PASS, "failure": TrialOutcome.FAIL}
"""Everything else (cancelled, timed out, skipped, error …) says nothing about the commit."""


def counted(known: Sequence[KnownCheck], *, ours: int) -> tuple[KnownCheck, ...]:
    """Leave out what says nothing about the commit it is listed on.

    Those are our own check-runs, dispatched runs (what they try stands in their inputs), and
    conclusions that are neither a pass nor a failure.

    Args:
        known: what GitHub lists.
        ours: our App's id.
    """
    return tuple(
        each
        for each in known
        if each.conclusion in _OUTCOMES
        and each.app_id != ours
        and each.event not in ("workflow_dispatch", "repository_dispatch", "schedule")
    )


def green(known: Sequence[KnownCheck]) -> frozenset[str]:
    """Name the commits whose results all passed."""
    passed = {each.sha for each in known if each.conclusion == "success"}
    return frozenset(passed - {each.sha for each in known if each.conclusion == "failure"})


def evidence(known: Sequence[KnownCheck], *, bad: str) -> tuple[FreeResult, ...]:
    """Turn results into evidence.

    A failure seen on the bad end alone is why anybody looks, so it is selected and proves
    nothing; once another commit fails too, it is evidence like any other.
    """
    elsewhere = any(each.conclusion == "failure" and each.sha != bad for each in known)
    return tuple(
        FreeResult(
            each.sha,
            TrialReport(_OUTCOMES[each.conclusion]),
            environment=each.where,
            selected=each.sha == bad and each.conclusion == "failure" and not elsewhere,
        )
        for each in known
    )
