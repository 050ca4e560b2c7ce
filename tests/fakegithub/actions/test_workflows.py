"""What a workflow file says, read without running anything."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fakegithub.actions import workflows
from fakegithub.actions.workflows import WorkflowError, WorkflowTrigger

SMALL: dict[str, Any] = {"on": "push", "jobs": {"a": {"steps": [{"run": "true"}]}}}


def read(**changed: Any) -> workflows.Workflow:
    return workflows.read("ci.yml", yaml.safe_dump(SMALL | changed))


@pytest.mark.parametrize(
    ("patterns", "branch", "takes"),
    [
        (["main"], "main", True),
        (["main"], "mainline", False),
        (["releases/*"], "releases/1", True),
        (["releases/*"], "releases/1/a", False),
        (["releases/**"], "releases/1/a", True),
        (["*"], "hotfix/revert-1", False),
        (["**"], "hotfix/revert-1", True),
        (["**", "!hotfix/**"], "hotfix/revert-1", False),
        (["!hotfix/**", "**"], "hotfix/revert-1", True),
    ],
)
def test_branches_are_chosen_by_githubs_patterns(
    patterns: list[str], branch: str, takes: bool
) -> None:
    assert WorkflowTrigger(tuple(patterns)).takes(branch) is takes


def test_the_word_on_may_be_a_word_a_list_or_a_mapping() -> None:
    assert set(read(on="push").triggers) == {"push"}
    assert set(read(on=["push", "merge_group"]).triggers) == {"push", "merge_group"}
    bare = "on:\n  pull_request:\n    branches: [main]\njobs: {a: {steps: [{run: x}]}}\n"
    assert workflows.read("ci.yml", bare).triggers["pull_request"].branches == ("main",)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"on": "deployment"}, "knows no event deployment"),
        ({"jobs": {}}, "has no jobs"),
        ({"jobs": {"a": {"uses": "x"}}}, "job a has no steps"),
        ({"jobs": {"a": {"steps": [{"uses": "evil/action@v1"}]}}}, "must `run` something"),
        ({"jobs": {"a": {"steps": [], "container": "x"}}}, "knows no job key container"),
        ({"jobs": {"a": {"steps": [], "if": "github.actor == 'x'"}}}, "cannot decide `if:"),
        ({"jobs": {"a": {"steps": [], "needs": "b"}}}, "needs b, which is no job"),
        ({"jobs": {"a": {"steps": [], "needs": "a"}}}, "in a circle"),
    ],
)
def test_what_the_runner_cannot_do_is_refused_with_the_reason(
    changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(WorkflowError, match=says):
        read(**changed)


def test_expressions_are_filled_and_unknown_ones_are_empty() -> None:
    context = {"inputs.sha": "abc", "github.sha": "def"}
    assert workflows.fill("x ${{ inputs.sha }}-${{github.sha}}", context) == "x abc-def"
    assert workflows.fill("${{ github.event.inputs.sha }}", context) == "abc"
    assert workflows.fill("${{ inputs.none || 'default' }}", context) == "default"
    assert workflows.fill("${{ secrets.TOKEN }}", context) == ""


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        workflows.read("ci.yml", text)
    except WorkflowError:
        return


@given(st.text(alphabet="${} inputs.sha|'"), st.text())
def test_a_value_is_never_read_as_an_expression_again(text: str, value: str) -> None:
    once = workflows.fill("${{ inputs.sha }}", {"inputs.sha": text + value})
    assert once == text + value
