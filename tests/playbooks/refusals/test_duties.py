"""One place decides which step can fail a Run, and every step is taken accordingly."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bot
from bot.playbooks.steps import Duty, Step

SOURCES = sorted(Path(bot.__file__).parent.rglob("*.py"))


@pytest.mark.thorough
def test_no_step_beside_the_recovery_can_fail_a_run() -> None:
    """Each is an argument of `attempt`, never of `run.step`; variables are as their callers say."""
    found: list[str] = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == "step" and node.args:
                names = {name for each in ast.walk(node.args[0]) if (name := _step_of(each))}
                found += [
                    f"{path.name}:{node.lineno} {name}"
                    for name in sorted(names)
                    if Step[name].duty is not Duty.RECOVERY
                ]
    assert not found


def test_what_plans_publishes_verifies_and_merges_is_the_recovery() -> None:
    assert {
        Step.PLAN_REVERT,
        Step.PUBLISH_HOTFIX,
        Step.OPEN_HOTFIX_PULL_REQUEST,
        Step.REFIT_HOTFIX,
        Step.CHOOSE_CHECKS,
        Step.READ_PULL_REQUEST,
        Step.MERGE_PULL_REQUEST,
        Step.READ_BASE_AFTER_MERGE,
        Step.ROLL_BACK_TRAFFIC,
    } <= {step for step in Step if step.duty is Duty.RECOVERY}


def _step_of(node: ast.AST) -> str | None:
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return None
    return node.attr if node.value.id == "Step" else None
