"""Which deployments count for a proposal, and what they say together with its checks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.models import Deployment, DeploymentStatus
from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, State
from bot.playbooks.pull_request.snapshot import preview_rows, that_count

AT = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")


def deployment(number: int, environment: str, *, transient: bool = False) -> Deployment:
    return Deployment(
        id=number, sha="a" * 40, environment=environment, transient=transient, created_at=AT
    )


def said(*states: str) -> tuple[DeploymentStatus, ...]:
    """The newest first."""
    made: list[Any] = [
        {"id": len(states) - n, "state": state, "created_at": AT} for n, state in enumerate(states)
    ]
    return tuple(DeploymentStatus.model_validate(each) for each in made)


def test_the_newest_deployment_of_each_environment_counts() -> None:
    known = [deployment(3, "pr-1"), deployment(2, "PR-1"), deployment(1, "staging")]
    assert [each.id for each in that_count(("pr-*",), known)] == [3]
    assert [each.id for each in that_count(("*",), known)] == [3, 1]


def test_without_names_only_environments_made_for_the_commit_count() -> None:
    known = [deployment(2, "pr-1", transient=True), deployment(1, "production")]
    assert [each.id for each in that_count(None, known)] == [2]
    assert that_count((), known) == ()


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ((), State.RUNNING),
        (("queued",), State.RUNNING),
        (("in_progress", "queued"), State.RUNNING),
        (("success", "in_progress"), State.PASSED),
        (("inactive", "success"), State.PASSED),
        (("failure", "in_progress"), State.FAILED),
        (("error",), State.FAILED),
        (("inactive", "failure"), State.FAILED),
        (("in_progress", "failure"), State.RUNNING),
    ],
)
def test_what_a_deployment_says_is_its_newest_word_but_inactive(
    statuses: tuple[str, ...], state: State
) -> None:
    [row] = preview_rows(None, [deployment(1, "pr-1", transient=True)], {1: said(*statuses)})
    assert (row.name, row.kind, row.state) == ("pr-1", "preview", state)


def test_what_was_taken_down_before_it_came_to_anything_is_as_if_it_had_never_been() -> None:
    known = [deployment(1, "preview", transient=True)]
    assert preview_rows(None, known, {1: said("inactive", "inactive")}) == ()
    [row] = preview_rows(("preview",), known, {1: said("inactive")})
    assert (row.name, row.state) == ("preview", State.MISSING)


def test_a_pattern_that_nothing_fits_is_missing() -> None:
    rows = preview_rows(("web-*", "docs"), [deployment(1, "web-7")], {1: said("success")})
    assert [(row.name, row.state) for row in rows] == [
        ("docs", State.MISSING),
        ("web-7", State.PASSED),
    ]


def test_environments_that_the_branch_requires_are_waited_for_too() -> None:
    counting = Counting(smoke=("a",), smoke_from="required", evals=(), previews=None)
    assert counting.with_required(["a"]).previews is None
    found = counting.with_required(["b"], ["staging"])
    assert (found.smoke, found.previews) == (("b",), ("staging",))


VERDICTS = st.sampled_from(["green", "red", "waiting", "nothing counts"])
ROWS = st.lists(st.sampled_from(list(State)), max_size=4)


@given(verdict=VERDICTS, states=ROWS)
def test_previews_never_make_anything_better(verdict: Any, states: list[State]) -> None:
    rows = tuple(CheckRow(name=str(n), kind="preview", state=s) for n, s in enumerate(states))
    both = CheckTally(verdict=verdict, rows=()).with_previews(rows)
    if both.verdict == "green":
        assert verdict == "green"
        assert set(states) <= {State.PASSED, State.SKIPPED, State.INFRA}
    if State.FAILED in states:
        assert both.verdict in ("red", "waiting")


@given(st.lists(st.sampled_from(STATES), max_size=6))
def test_a_preview_passes_only_if_a_success_was_its_last_word(states: list[str]) -> None:
    rows = preview_rows(("p",), [deployment(1, "p")], {1: said(*states)})
    words = [state for state in states if state != "inactive"]
    assert (rows[0].state is State.PASSED) == (words[:1] == ["success"])
