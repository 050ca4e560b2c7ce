"""Which checks count, and what they say together."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.config import ChecksConfig
from bot.github.models import CheckKind, CheckResult
from bot.playbooks.checks.green import Counting, State, failing, tally, which_count

AT = datetime(2026, 5, 1, tzinfo=UTC)


def result(name: str, conclusion: str | None, app: int | None = 1) -> CheckResult:
    done = conclusion is not None
    return CheckResult(
        name=name,
        kind=CheckKind.CHECK_RUN,
        id=1,
        app_id=app,
        status="completed" if done else "in_progress",
        conclusion=conclusion,
        completed_at=AT if done else None,
    )


BEFORE = [result("build", "success"), result("lint", "failure"), result("docs", "skipped")]


def test_configured_checks_come_first() -> None:
    counting = which_count(ChecksConfig(smoke=("a",), evals=("b",)), ["c"], BEFORE)
    assert (counting.smoke, counting.smoke_from, counting.evals) == (("a",), "configured", ("b",))


def test_else_the_required_ones() -> None:
    counting = which_count(ChecksConfig(evals=("b",)), ["c", "b", "a"], BEFORE)
    assert (counting.smoke, counting.smoke_from) == (("a", "c"), "required")


def test_else_all_that_passed_before_the_incident() -> None:
    counting = which_count(ChecksConfig(), [], BEFORE)
    assert (counting.smoke, counting.smoke_from) == (("build",), "passed before")


def test_a_check_that_also_failed_before_did_not_pass() -> None:
    before = [result("build", "success"), result("build", "failure", app=2)]
    assert which_count(ChecksConfig(), [], before).smoke == ()


def test_what_the_branch_requires_by_now_counts_as_well() -> None:
    configured = Counting(smoke=("a",), smoke_from="configured", evals=("e",))
    assert configured.with_required(["b", "e"]).smoke == ("a", "b")
    from_rules = Counting(smoke=("old",), smoke_from="required", evals=())
    assert from_rules.with_required(["new"]).smoke == ("new",)
    assert from_rules.with_required([]).smoke == ("old",)


COUNTING = Counting(smoke=("build", "lint"), smoke_from="configured", evals=("quality",))
TALLIES: dict[str, tuple[dict[str, str | None], str]] = {
    "all passed": ({"build": "success", "lint": "success", "quality": "success"}, "green"),
    "skipped passes beside a pass": (
        {"build": "success", "lint": "skipped", "quality": "neutral"},
        "green",
    ),
    "skipped alone is no pass": (
        {"build": "skipped", "lint": "skipped", "quality": "skipped"},
        "nothing counts",
    ),
    "an absent one is awaited": ({"build": "success", "lint": "success"}, "waiting"),
    "a running one is awaited even beside a failure": (
        {"build": "failure", "lint": None, "quality": "success"},
        "waiting",
    ),
    "a failure is red": ({"build": "failure", "lint": "success", "quality": "success"}, "red"),
    "evals count like smoke": (
        {"build": "success", "lint": "success", "quality": "failure"},
        "red",
    ),
    "a time-out is not green": (
        {"build": "timed_out", "lint": "success", "quality": "success"},
        "red",
    ),
    "an unheard-of conclusion is a failure": (
        {"build": "exploded", "lint": "success", "quality": "success"},
        "red",
    ),
}


@pytest.mark.parametrize("case", TALLIES.values(), ids=TALLIES.keys())
def test_tally(case: tuple[dict[str, str | None], str]) -> None:
    results, verdict = case
    assert tally(COUNTING, [result(*each) for each in results.items()]).verdict == verdict


def test_the_worst_of_two_results_with_one_name_counts() -> None:
    counting = Counting(smoke=("build",), smoke_from="configured", evals=())
    both = [result("build", "success"), result("build", "failure", app=2)]
    assert tally(counting, both).named(State.FAILED) == ("build",)


def test_where_the_branch_pins_a_check_to_an_app_only_its_check_runs_count() -> None:
    named = Counting(smoke=("build",), smoke_from="configured", evals=())
    pinned = named.with_required(["build"], pins=[("build", 1)])
    others = [result("build", "success", app=2)]
    assert tally(named, others).verdict == "green"
    assert tally(pinned, others).named(State.MISSING) == ("build",)
    both = [*others, result("build", "success"), result("build", "failure", app=2)]
    assert tally(pinned, both).verdict == "green"
    # A status does not say which App wrote it: GitHub decides about it at the merge.
    status = result("build", "success").model_copy(
        update={"kind": CheckKind.STATUS, "app_id": None}
    )
    assert tally(pinned, [status]).verdict == "green"


def test_no_check_at_all_is_never_green() -> None:
    nothing = Counting(smoke=(), smoke_from="passed before", evals=())
    assert tally(nothing, [result("build", "success")]).verdict == "nothing counts"


def test_failing_names_every_failed_check() -> None:
    assert failing(BEFORE) == ("lint",)
