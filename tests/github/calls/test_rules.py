"""Rulesets and classic protection are read as one."""

from __future__ import annotations

from typing import Any

import pytest

from bot.github.calls.repository import merged_rules
from bot.github.models import BranchRules, MergeMethod, RepositoryFacts, RequiredCheck


def facts(**methods: bool) -> RepositoryFacts:
    owner: Any = {"login": "octo", "id": 1}
    return RepositoryFacts(
        id=1, name="r", full_name="octo/r", owner=owner, default_branch="main", **methods
    )


def rules(
    *rule: dict[str, Any],
    about: dict[str, Any] | None = None,
    protection: dict[str, Any] | None = None,
    complete: bool = True,
    **methods: bool,
) -> BranchRules:
    return merged_rules(
        "main",
        rule,
        about or {},
        protection,
        facts(**methods),
        app_slug="playbooks",
        complete=complete,
    )


def test_a_branch_without_rules_asks_for_nothing() -> None:
    free = rules()
    assert free == BranchRules(branch="main")
    assert free.allows_direct_commits


def test_required_checks_come_from_everywhere_and_pins_are_kept() -> None:
    ruleset = {
        "type": "required_status_checks",
        "parameters": {
            "strict_required_status_checks_policy": True,
            "required_status_checks": [
                {"context": "test"},
                {"context": "gate", "integration_id": 7},
            ],
        },
    }
    classic = {
        "required_status_checks": {
            "contexts": ["lint", "legacy"],
            "checks": [{"context": "lint", "app_id": -1}, {"context": "evals", "app_id": 9}],
        }
    }
    found = rules(ruleset, protection=classic)
    assert found.required_checks == (
        RequiredCheck(name="evals", integration_id=9),
        RequiredCheck(name="gate", integration_id=7),
        RequiredCheck(name="legacy"),
        RequiredCheck(name="lint"),
        RequiredCheck(name="test"),
    )
    assert found.strict
    assert not found.allows_direct_commits


def test_without_the_permission_the_branch_itself_names_its_required_checks() -> None:
    about = {"protection": {"required_status_checks": {"contexts": ["test"], "checks": []}}}
    found = rules(about=about, complete=False)
    assert found.required_checks == (RequiredCheck(name="test"),)
    assert not found.complete


def test_the_strictest_review_rule_wins() -> None:
    ruleset = {
        "type": "pull_request",
        "parameters": {"required_approving_review_count": 1, "require_code_owner_review": True},
    }
    classic = {"required_pull_request_reviews": {"required_approving_review_count": 2}}
    found = rules(ruleset, protection=classic)
    assert found.required_reviews == 2
    assert found.code_owner_review
    assert found.pull_request_required


def test_merge_methods_are_what_repository_and_rules_both_allow() -> None:
    linear = {"type": "required_linear_history"}
    only = {
        "type": "pull_request",
        "parameters": {"allowed_merge_methods": ["merge", "rebase"]},
    }
    assert rules(linear).merge_methods == (MergeMethod.SQUASH, MergeMethod.REBASE)
    assert rules(only).merge_methods == (MergeMethod.MERGE, MergeMethod.REBASE)
    assert rules(only, linear, allow_rebase_merge=False).merge_methods == ()


def test_a_push_restriction_that_names_the_app_does_not_restrict_it() -> None:
    assert not rules(
        protection={"restrictions": {"apps": [{"slug": "playbooks"}]}}
    ).restricted_pushes
    assert rules(protection={"restrictions": {"apps": [{"slug": "other"}]}}).restricted_pushes


@pytest.mark.parametrize(
    ("rule", "protection", "flag"),
    [
        ({"type": "merge_queue", "parameters": {}}, None, "merge_queue"),
        ({"type": "required_signatures"}, None, "signatures"),
        ({"type": "update"}, None, "restricted_pushes"),
        ({"type": "deletion"}, {"required_signatures": {"enabled": True}}, "signatures"),
        ({"type": "deletion"}, {"required_linear_history": {"enabled": True}}, "linear_history"),
        ({"type": "deletion"}, {"restrictions": {"users": [], "apps": []}}, "restricted_pushes"),
        ({"type": "deletion"}, {"lock_branch": {"enabled": True}}, "locked"),
        (
            {"type": "deletion"},
            {"required_conversation_resolution": {"enabled": True}},
            "conversation_resolution",
        ),
        ({"type": "some_future_rule", "parameters": None}, {"x": 1}, "other_rules"),
    ],
)
def test_each_rule_is_recognized(
    rule: dict[str, Any], protection: dict[str, Any] | None, flag: str
) -> None:
    assert getattr(rules(rule, protection=protection), flag)
