"""What a run of the trial workflow, or a result that exists already, says about a commit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.culprit.evidence import TrialOutcome
from bot.github.models import JobAnnotation, JobStep, KnownCheck, WorkflowJob, WorkflowRun
from bot.trials.outcome import (
    counted,
    evidence,
    fingerprint_of,
    green,
    ignored_of,
    judge_workflow_run,
    metrics_of,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def run(conclusion: str | None) -> WorkflowRun:
    return WorkflowRun(id=1, status="completed", conclusion=conclusion, head_sha="a" * 40)


def job(name: str, conclusion: str, *steps: tuple[str, str]) -> WorkflowJob:
    return WorkflowJob(
        id=1,
        name=name,
        status="completed",
        conclusion=conclusion,
        started_at=NOON,
        completed_at=NOON + timedelta(seconds=4),
        steps=tuple(JobStep(name=step, conclusion=said) for step, said in steps),
    )


@pytest.mark.parametrize(
    ("conclusion", "jobs", "outcome"),
    [
        ("success", [job("trial", "success", ("unit", "success"))], TrialOutcome.PASS),
        ("failure", [job("trial", "failure", ("unit", "failure"))], TrialOutcome.FAIL),
        ("failure", [job("trial", "failure", ("unit", "success"), ("e2e", "failure"))],
         TrialOutcome.PASS),
        ("failure", [job("trial", "failure", ("build", "failure"), ("unit", "skipped"))],
         TrialOutcome.UNTESTABLE),
        ("failure", [job("unit", "failure", ("Build", "failure"), ("pytest", "skipped"))],
         TrialOutcome.UNTESTABLE),
        ("failure", [job("unit", "failure", ("pytest", "failure"))], TrialOutcome.FAIL),
        ("failure", [job("trial", "failure", ("Run actions/checkout@v4", "failure"))],
         TrialOutcome.INFRA),
        ("failure", [job("trial", "failure", ("install", "failure"), ("unit", "skipped"))],
         TrialOutcome.UNTESTABLE),
        ("failure", [job("unit", "failure", ("install", "failure"), ("unit", "skipped"))],
         TrialOutcome.UNTESTABLE),
        ("failure", [job("setup", "failure", ("install", "failure")), job("unit", "skipped")],
         TrialOutcome.UNTESTABLE),
        ("failure", [job("3.11", "success", ("unit", "success")),
                     job("3.12", "failure", ("install", "failure"), ("unit", "skipped"))],
         TrialOutcome.UNTESTABLE),
        ("success", [job("3.11", "success", ("unit", "success")),
                     job("3.12", "success", ("unit", "skipped"))], TrialOutcome.PASS),
        ("success", [job("trial", "success", ("unit", "skipped"))], TrialOutcome.UNTESTABLE),
        ("failure", [job("3.11", "failure", ("unit", "failure")),
                     job("3.12", "cancelled", ("unit", "cancelled"))], TrialOutcome.FAIL),
        ("cancelled", [job("trial", "cancelled", ("unit", "skipped"))], TrialOutcome.INFRA),
        # No runner came, as where the account has spent its limit; or it was lost on the way.
        ("failure", [job("unit", "failure")], TrialOutcome.INFRA),
        ("failure", [job("unit", "failure", ("Set up job", "success"), ("unit", "cancelled"))],
         TrialOutcome.INFRA),
        ("failure", [job("unit", "failure", ("Initialize containers", "failure"),
                         ("unit", "skipped"))], TrialOutcome.INFRA),
        ("cancelled", [job("trial", "cancelled")], TrialOutcome.INFRA),
        ("timed_out", [], TrialOutcome.INFRA),
        ("startup_failure", [], TrialOutcome.INFRA),
        (None, [], TrialOutcome.INFRA),
    ],
)  # fmt: skip
def test_a_run_is_judged_by_the_step_or_job_called_like_the_check(
    conclusion: str | None, jobs: list[WorkflowJob], outcome: TrialOutcome
) -> None:
    judged = judge_workflow_run(run(conclusion), jobs, check="unit", build=("build",))
    assert judged.outcome is outcome


def test_without_a_check_the_whole_run_decides_and_its_seconds_are_summed() -> None:
    jobs = [job("a", "success"), job("b", "failure", ("x", "failure"))]
    judged = judge_workflow_run(run("failure"), jobs, check=None, build=("build",))
    assert (judged.outcome, judged.reason, judged.seconds) == (TrialOutcome.FAIL, "x failed", 8.0)


@pytest.mark.parametrize("status", ["unknown", "something_new"])
@pytest.mark.parametrize(
    ("jobs", "outcome"),
    [
        ([job("a", "success"), job("b", "skipped")], TrialOutcome.PASS),
        ([job("a", "success"), job("b", "failure", ("x", "failure"))], TrialOutcome.FAIL),
        ([job("a", "cancelled")], TrialOutcome.INFRA),
        ([job("a", "skipped")], TrialOutcome.INFRA),
    ],
)
def test_a_run_of_which_github_says_nothing_is_known_by_its_jobs(
    status: str, jobs: list[WorkflowJob], outcome: TrialOutcome
) -> None:
    silent = WorkflowRun(id=1, status=status, head_sha="a" * 40)
    assert silent.is_over(jobs)
    assert judge_workflow_run(silent, jobs, check=None, build=()).outcome is outcome
    assert not silent.is_over([])
    assert not silent.is_over([*jobs, jobs[0].model_copy(update={"status": "in_progress"})])


@pytest.mark.parametrize("status", ["queued", "in_progress", "requested", "waiting", "pending"])
def test_a_run_that_is_not_over_is_waited_for(status: str) -> None:
    going = WorkflowRun(id=1, status=status, head_sha="a" * 40)
    assert not going.is_untold
    assert not going.is_over([job("a", "success")])


def test_a_run_with_a_conclusion_is_over_whatever_its_status() -> None:
    ended = WorkflowRun(id=1, status="unknown", conclusion="failure", head_sha="a" * 40)
    assert not ended.is_untold
    assert ended.is_over([])


def test_a_fingerprint_is_made_of_titles_and_of_nothing_else() -> None:
    said = (
        JobAnnotation(annotation_level="failure", title=" test_b ", message="x"),
        JobAnnotation(annotation_level="failure", title="test_a"),
        JobAnnotation(annotation_level="failure", message="Process completed with exit code 1."),
        JobAnnotation(annotation_level="warning", title="old"),
    )
    assert fingerprint_of(said) == ("test_a", "test_b")
    assert fingerprint_of(said[2:]) is None


def numbers(message: str | None, title: str = "playbooks-metrics", level: str = "notice") -> Any:
    return JobAnnotation(annotation_level=level, title=title, message=message)


def test_numbers_are_read_from_notices_with_their_title_and_the_last_of_a_name_counts() -> None:
    said = (
        numbers('{"latency": 12.3, "size": 4}'),
        numbers('{"size": 1}', title="Playbooks-Metrics"),
        numbers('{"size": 2}', title="playbooks-metrics "),
        numbers('{"size": 3}', level="warning"),
        numbers('{"size": 5, "Größe (µs)": -1e-9}'),
    )
    assert metrics_of(said) == {"latency": 12.3, "size": 5.0, "Größe (µs)": -1e-9}
    assert ignored_of(said) == ()
    assert metrics_of(()) == {}


@pytest.mark.parametrize(
    "message",
    [
        None,
        "",
        "12.3",
        "[1]",
        "{",
        '{"x": NaN}',
        '{"x": Infinity}',
        '{"x": 1e999}',
        '{"x": 1' + "0" * 400 + "}",
        '{"x": ' + "1" * 10_000 + "}",
        '{"x": true}',
        '{"x": "3"}',
        '{"x": null}',
        '{"x": [1]}',
        '{"x": ' + "[" * 50_000 + "}",
        '{"": 1}',
        '{"a\\u0000b": 1}',
        '{"\\ud800": 1}',
        '{"' + "x" * 1_001 + '": 1}',
        '{"fine": 1, "x": false}',
        "{" + ",".join(f'"n{n}": 1' for n in range(1_001)) + "}",
        '{"x": 1}' + " " * (64 << 10),
    ],
)
def test_a_notice_with_anything_wrong_in_it_is_left_out_with_a_reason(message: str | None) -> None:
    said = (numbers('{"x": 1}'), numbers(message), numbers('{"y": 2}'))
    assert metrics_of(said) == {"x": 1.0, "y": 2.0}
    [reason] = ignored_of(said)
    assert reason.startswith("A notice titled playbooks-metrics does not count: ")
    assert len(reason) < 500


def test_a_thousand_names_are_the_most_of_all_notices_together() -> None:
    first = "{" + ",".join(f'"n{n}": 1' for n in range(999)) + "}"
    said = (numbers(first), numbers('{"a": 1, "b": 1}'), numbers('{"n3": 4, "c": 5}'))
    found = metrics_of(said)
    assert (len(found), found["n3"], found["c"]) == (1_000, 4.0, 5.0)
    assert "more than 1,000 names" in ignored_of(said)[0]
    assert len(ignored_of([numbers("{")] * 50)) == 10


def test_a_secret_in_the_name_of_a_number_goes_nowhere() -> None:
    secret = "ghs_" + "a" * 40
    assert metrics_of([numbers(f'{{"{secret} ms": 1}}')]) == {"[redacted] ms": 1.0}
    assert secret not in ignored_of([numbers(f'{{"{secret}": "x"}}')])[0]


def known(sha: str, conclusion: str, **more: object) -> KnownCheck:
    return KnownCheck.model_validate({"sha": sha, "conclusion": conclusion, "where": "ci", **more})


def test_our_own_dispatched_and_unfinished_results_say_nothing() -> None:
    said = (
        known("a", "success"),
        known("b", "failure", app_id=7),
        known("c", "failure", event="workflow_dispatch"),
        known("d", "cancelled"),
        known("e", "timed_out"),
        known("f", "error"),
    )
    assert [each.sha for each in counted(said, ours=7)] == ["a"]


def test_a_failure_of_the_bad_end_alone_is_selected_and_proves_nothing() -> None:
    [_, alone] = evidence((known("a", "success"), known("z", "failure")), bad="z")
    assert alone.selected
    further = evidence((known("y", "failure"), known("z", "failure")), bad="z")
    assert not any(each.selected for each in further)


def test_a_commit_that_passed_and_failed_is_not_green() -> None:
    assert green((known("a", "success"), known("a", "failure"), known("b", "success"))) == {"b"}
