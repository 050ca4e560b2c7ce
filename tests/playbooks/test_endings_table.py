"""Every ending and every wait of every playbook: its words, its one next step, and who follows it.

The factories of standings are found in the code. One that is not in the table fails, as does a row
whose step is not in the words, or whose test is not there. `PLAYBOOKS_ENDINGS=write` writes the
table for people: docs/develop/endings.md.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import bot.playbooks
from bot.playbooks.incident.phrases import STATES

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs/develop/endings.md"
GOOD = "(a good end)"
ITSELF = "(goes on by itself)"


@dataclass(frozen=True)
class Row:
    """What a person can do there, in our own words, and the conversation that does it."""

    step: str
    test: str


_BISECT, _REVERT = "playbooks/bisect", "playbooks/revert"
_ENDINGS, _AFTER = f"{_REVERT}/test_endings.py", f"{_REVERT}/test_afterwards.py"
_QUEUE = f"{_REVERT}/test_merge_queue.py"
_BRANCHES, _COMMANDS = f"{_REVERT}/test_branches.py", f"{_REVERT}/test_commands.py"
_BESIDE = (
    f"{_REVERT}/test_conflicts.py::test_a_hotfix_that_cannot_be_moved_is_made_once_more_beside"
)
_BESIDE += "_it"
_ALONE = f"{_BISECT}/test_without_a_runner.py"
_PEOPLE, _BAD = f"{_BISECT}/test_people.py", f"{_BISECT}/test_bad_input.py"
_RAMP, _SHADOW = "playbooks/ramp", "playbooks/shadow"
_MAKES_SAFE = f"{_REVERT}/test_playbook.py::test_revert_on_the_merged_pull_request_makes_main_safe"
_MAKES_SAFE += "_again"
_TRIALS = f"{_BISECT}/test_playbook.py::test_trials_find_the_culprit_though_the_check_flakes"
_STAGES = f"{_RAMP}/test_playbook.py::test_a_good_candidate_passes_every_stage_and_becomes_active"
_AGAIN = f"{_SHADOW}/test_again.py::test_the_commands_that_it_says_lead_to_a_proposed_ramp"
_ANOTHER = f"{_RAMP}/test_bad_input.py::test_a_person_may_end_a_ramp_and_begin_another"

TABLE: dict[str, Row] = {
    # --- a search ---
    "bisect.status_messages.starting": Row(ITSELF, _TRIALS),
    "bisect.status_messages.searching": Row(ITSELF, _TRIALS),
    "bisect.status_messages.verifying": Row(ITSELF, _TRIALS),
    "bisect.status_messages.proposing": Row(ITSELF, _TRIALS),
    "bisect.status_messages.paused": Row(
        "`/retry` to search further",
        f"{_BAD}::test_at_a_cap_it_reports_and_a_retry_goes_on_with_what_was_learnt",
    ),
    "bisect.status_messages.cannot_try": Row(
        "then comment `/retry`",
        f"{_ALONE}::test_once_a_workflow_is_there_a_retry_finds_the_culprit",
    ),
    "bisect.status_messages.green_again": Row(
        GOOD, f"{_ALONE}::test_it_resolves_when_the_check_is_green_again"
    ),
    "bisect.status_messages.indistinguishable": Row(
        "`/revert SHA`",
        f"{_BISECT}/test_benches.py::"
        "test_the_servers_sandbox_follows_a_number_past_a_commit_without_one",
    ),
    "bisect.status_messages.unconfirmed": Row(
        "`/retry` searches further", f"{_PEOPLE}::"
        "test_a_suspect_that_fresh_runs_contradict_is_not_blamed_and_a_retry_leads_on"
    ),
    "bisect.status_messages.not_to_revert": Row(
        GOOD, f"{_BAD}::test_a_culprit_that_a_force_push_took_away_meanwhile_needs_no_fix"
    ),
    "bisect.status_messages.only_named": Row(
        "Comment `/revert ",
        f"{_BISECT}/test_automatic.py::test_what_is_only_named_is_reverted_by_the_command_it_says",
    ),
    "bisect.status_messages.nobody": Row(
        GOOD, f"{_PEOPLE}::test_a_bad_end_that_passes_is_nobodys_fault"
    ),
    "bisect.status_messages.older": Row(
        "`/bisect OLDER..", f"{_PEOPLE}::test_a_good_end_that_fails_asks_for_an_older_one"
    ),
    "bisect.status_messages.nothing_older": Row(
        "`/bisect GOOD..", f"{_PEOPLE}::"
        "test_where_it_never_passed_it_is_mended_and_the_commit_that_passes_is_named"
    ),
    "bisect.status_messages.cancelled": Row(
        "{_start_over(case)}", f"{_ALONE}::test_what_ended_early_starts_anew_by_the_command_it_says"
    ),
    "bisect.status_messages.given_up": Row(
        "{_start_over(case)}", f"{_ALONE}::test_what_ended_early_starts_anew_by_the_command_it_says"
    ),
    # --- a proposal ---
    "pull_request.approval.may_it_begin": Row(
        "`/approve` or `/reject`",
        "safety/test_beginning.py::test_a_yes_has_it_begin_and_merge_and_the_plan_was_shown",
    ),
    "pull_request.approval.settled": Row(ITSELF, _MAKES_SAFE),
    "pull_request.messages.merged": Row(GOOD, _MAKES_SAFE),
    "pull_request.messages.confirming": Row(
        ITSELF, f"{_AFTER}::test_the_incident_is_resolved_once_the_branch_is_green_again"
    ),
    "pull_request.messages.run_again_after_merge": Row(
        ITSELF,
        f"{_REVERT}/test_checks.py::"
        "test_a_check_that_fails_once_by_chance_after_the_merge_wakes_nobody",
    ),
    "pull_request.messages.red_after_merge": Row(
        "Look at ", f"{_AFTER}::test_the_incident_is_resolved_once_the_branch_is_green_again"
    ),
    "pull_request.messages.recovered": Row(
        GOOD, f"{_AFTER}::test_the_incident_is_resolved_once_the_branch_is_green_again"
    ),
    "pull_request.messages.left_red": Row(
        "{case.to_resolve",
        f"{_REVERT}/test_closing.py::"
        "test_closing_the_issue_of_an_unwatched_incident_resolves_it_and_reopening_takes_it_up",
    ),
    "pull_request.messages.not_watched": Row(
        "{case.to_resolve",
        f"{_REVERT}/test_closing.py::"
        "test_closing_the_issue_of_an_unwatched_incident_resolves_it_and_reopening_takes_it_up",
    ),
    "pull_request.messages.merged_elsewhere": Row(
        "{case.to_resolve",
        f"{_BRANCHES}::"
        "test_a_hotfix_that_was_given_another_base_brings_nothing_of_it_to_the_broken_branch",
    ),
    "pull_request.messages.unread": Row(
        "then {case.to_resolve}",
        "playbooks/refusals/test_words.py::"
        "test_checks_that_cannot_be_read_after_the_merge_leave_it_reverted",
    ),
    "pull_request.messages.unmerged": Row(
        "by hand", "playbooks/undo/test_undoing.py::"
        "test_what_a_cancel_could_not_undo_is_undone_by_hand_as_it_says"
    ),
    "pull_request.messages._unmerged": Row(
        "{case.how_to_start_over}",
        f"{_AFTER}::test_what_ended_without_a_merge_begins_anew_by_the_command_it_says",
    ),
    "pull_request.approval.others_pushed": Row(
        "{command}",
        f"{_REVERT}/test_conflicts.py::"
        "test_a_person_resolves_it_marks_it_ready_and_another_answers_for_it",
    ),
    "pull_request.approval.founder_decides": Row(
        "`/approve` or `/reject`",
        "playbooks/joining/test_a_word.py::"
        "test_what_needs_a_founder_is_merged_on_a_founders_revert_only",
    ),
    "pull_request.messages.preview_failed": Row(
        "Look at the ",
        f"{_REVERT}/test_previews.py::"
        "test_a_preview_that_failed_is_never_merged_and_its_log_is_linked",
    ),
    "pull_request.messages.awaiting_review": Row(
        "Review ",
        f"{_BRANCHES}::test_a_missing_review_is_awaited_by_name_with_a_link_and_then_merged",
    ),
    "pull_request.messages.awaiting_code_owner": Row(
        "Review ", f"{_BRANCHES}::test_a_code_owner_whose_review_is_missing_is_named"
    ),
    "pull_request.messages.changes_wanted": Row(
        "Settle it with ", f"{_BRANCHES}::test_a_review_that_asks_for_changes_is_named"
    ),
    "pull_request.status_messages.starting": Row(ITSELF, _MAKES_SAFE),
    "pull_request.status_messages.verifying": Row(ITSELF, _MAKES_SAFE),
    "pull_request.status_messages.green": Row(ITSELF, _MAKES_SAFE),
    "pull_request.status_messages.in_queue": Row(
        ITSELF, f"{_QUEUE}::test_a_merge_queue_is_joined_and_followed"
    ),
    "pull_request.status_messages.conflicted": Row(
        "Resolve ",
        f"{_REVERT}/test_conflicts.py::"
        "test_a_person_resolves_it_marks_it_ready_and_another_answers_for_it",
    ),
    "pull_request.status_messages.not_cured": Row(
        "Look for another cause",
        f"{_BISECT}/test_automatic.py::"
        "test_a_hotfix_that_did_not_cure_has_the_real_cause_looked_for",
    ),
    "pull_request.status_messages.unstarted": Row(
        ": `/approve`, or find",
        f"{_REVERT}/test_checks.py::"
        "test_a_check_that_does_not_begin_can_be_waved_through_once_the_others_are_green",
    ),
    "pull_request.status_messages.red": Row(
        "Look at ", f"{_ENDINGS}::test_it_goes_on_by_itself_when_the_failed_check_turns_green"
    ),
    "pull_request.status_messages.red_otherwise": Row(
        "Look at ",
        f"{_ENDINGS}::test_a_check_that_fails_in_another_way_than_before_is_not_the_same_failure",
    ),
    "pull_request.status_messages.unrelated": Row(
        "with `/approve`",
        f"{_ENDINGS}::"
        "test_a_failure_that_is_older_than_the_incident_may_be_approved_by_the_requester",
    ),
    "pull_request.status_messages.broken_off": Row(
        "Run ", f"{_ENDINGS}::test_a_check_that_breaks_off_twice_asks_a_person"
    ),
    "pull_request.status_messages.nothing_counts": Row(
        "then `/approve` it",
        f"{_ENDINGS}::test_without_any_check_nothing_is_merged_until_a_person_approves",
    ),
    "pull_request.status_messages.no_evals": Row(
        "then `/approve` it",
        f"{_COMMANDS}::test_a_program_needs_a_persons_yes_where_there_are_no_evals",
    ),
    "pull_request.status_messages.person_decides": Row(
        "comment `/approve`",
        "playbooks/joining/test_a_word.py::"
        "test_a_persons_revert_is_the_yes_that_a_hotfix_waits_for",
    ),
    "pull_request.status_messages.timed_out": Row(
        "`/retry` waits once more",
        f"{_COMMANDS}::test_retry_waits_once_more_for_checks_that_did_not_report",
    ),
    "pull_request.status_messages.changed_by_others": Row(
        "yourself", f"{_REVERT}/test_conflicts.py::test_a_hotfix_a_person_merges_is_noticed_and"
        "_recorded",
    ),
    "pull_request.status_messages.left_the_queue": Row(
        "`/retry` puts it in again",
        f"{_QUEUE}::test_a_hotfix_thrown_out_of_the_queue_is_said_and_retry_puts_it_in_again",
    ),
    "pull_request.status_messages.merge_refused": Row(
        "Somebody who is allowed to can merge it by hand",
        f"{_BRANCHES}::test_restricted_pushes_leave_the_merge_to_a_person_and_notice_it",
    ),
    "pull_request.status_messages.update_refused": Row("at once after `/retry`", _BESIDE),
    "pull_request.status_messages.replaced": Row("takes the place of this", _BESIDE),
    "pull_request.status_messages.broke_off": Row(
        "then comment `/retry`",
        f"{_REVERT}/test_lies.py::"
        "test_a_permission_revoked_in_the_middle_is_named_and_retry_goes_on",
    ),
    # --- a candidate ---
    "ramp.messages.starting": Row(ITSELF, _STAGES),
    "ramp.messages.serving": Row(ITSELF, _STAGES),
    "ramp.messages.asking_to_begin": Row(
        "{_approve(", f"{_SHADOW}/test_again.py::"
        "test_a_ramp_that_nobody_answered_begins_again_by_the_command_it_says"
    ),
    "ramp.messages.asking": Row(
        "`/approve` goes on",
        f"{_RAMP}/test_limits.py::"
        "test_evidence_that_stays_unclear_is_held_and_a_person_says_how_to_go_on",
    ),
    "ramp.messages.promoted": Row(GOOD, _STAGES),
    "ramp.messages.rolled_back": Row(
        "{retry_command(case)}", _AGAIN
    ),
    "ramp.messages.cancelled": Row("`/ramp ", _ANOTHER),
    "ramp.messages.given_up": Row(
        "`/ramp ", f"{_SHADOW}/test_again.py::"
        "test_a_ramp_that_nobody_answered_begins_again_by_the_command_it_says"
    ),
    "rollback.messages.starting": Row(
        ITSELF,
        "playbooks/rollback/test_playbook.py::"
        "test_a_breach_ends_in_an_incident_a_fix_and_a_plan",
    ),
    "shadow.messages.mirroring": Row(
        ITSELF,
        f"{_SHADOW}/test_playbook.py::test_a_good_candidate_gets_a_ramp_proposed_with_its_report",
    ),
    "shadow.messages.held": Row(
        "Fix what is in the way",
        f"{_SHADOW}/test_held.py::test_a_mirror_that_falls_silent_is_held_and_goes_on_by_itself",
    ),
    "shadow.messages.insisted_on": Row(
        "`/ramp ",
        f"{_SHADOW}/test_held.py::"
        "test_where_nothing_ever_fails_a_person_may_want_the_ramp_all_the_same",
    ),
    "shadow.messages.within_bounds": Row("`/ramp ", _STAGES),
    "shadow.messages.out_of_bounds": Row(
        "`/shadow ", _AGAIN
    ),
    "shadow.messages.too_dear": Row(
        "`/shadow ", _AGAIN
    ),
    "shadow.messages.cancelled": Row(
        "`/shadow ", _AGAIN
    ),
    "shadow.messages.given_up": Row(
        "`/shadow ", _AGAIN
    ),
    "shadow.messages.rolled_back": Row(
        "{retry_command(case)}", _AGAIN
    ),
    # --- an alert ---
    "alerts.messages._headline": Row(
        "Look at what fires", "playbooks/alerts/test_conversation.py::"
        "test_a_group_of_alerts_is_one_incident_until_every_condition_has_cleared"
    ),
}  # fmt: skip

_CHOOSERS = {
    "pull_request.status_messages.standing_for",
    "pull_request.status_messages.with_reruns",
}
"""These only choose among the others, or add a sentence to one."""


def factories() -> dict[str, Callable[..., object]]:
    """Whatever makes a standing, by module and name."""
    found: dict[str, Callable[..., object]] = {}
    for module in pkgutil.walk_packages(bot.playbooks.__path__, "bot.playbooks."):
        for name, each in vars(importlib.import_module(module.name)).items():
            if not inspect.isfunction(each) or each.__module__ != module.name:
                continue
            if each.__annotations__.get("return") == "StatusMessage":
                found[f"{module.name.removeprefix('bot.playbooks.')}.{name}"] = each
    # An alert's standing takes its words from one place.
    triage = importlib.import_module("bot.playbooks.alerts.messages")
    found["alerts.messages._headline"] = vars(triage)["_headline"]
    del found["alerts.messages.standing"]
    return {name: each for name, each in found.items() if name not in _CHOOSERS}


class _Words(ast.NodeVisitor):
    """The sentences of a function, as templates: what is filled in stands in braces."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.found.append("".join(self._part(each) for each in node.values))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.append(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.found.append(f"{{{ast.unparse(node)}}}")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.found.append(f"{{{ast.unparse(node)}}}")
        self.generic_visit(node)

    def _part(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        return f"{{{ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)}}}"


def tree_of(factory: Callable[..., object]) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(factory)))


def words_of(factory: Callable[..., object]) -> str:
    """Everything that a factory can say, in its order."""
    words, made = _Words(), tree_of(factory).body[0]
    assert isinstance(made, ast.FunctionDef)
    for each in made.body[1:] if ast.get_docstring(made) else made.body:
        words.visit(each)
    return "\n".join(words.found)


def headlines_of(factory: Callable[..., object]) -> list[str]:
    """What stands first, one for each way through it."""
    found = []
    for node in ast.walk(tree_of(factory)):
        if isinstance(node, ast.keyword) and node.arg == "headline":
            words = _Words()
            part = node.value
            if isinstance(part, ast.JoinedStr):
                found.append("".join(words._part(each) for each in part.values))
            else:
                found.append(ast.unparse(part).strip("'\""))
    return found


def test_every_ending_and_every_wait_is_in_the_table() -> None:
    assert set(factories()) == set(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_its_words_say_the_one_next_step(name: str) -> None:
    said, row = words_of(factories()[name]), TABLE[name]
    if row.step == ITSELF:
        assert any(f"{state}: " in said for state in STATES)
        assert "needs you" not in said
    elif row.step != GOOD:
        assert row.step in said


@pytest.mark.parametrize("test", sorted({row.test for row in TABLE.values()}))
def test_somebody_follows_it(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (TESTS / file).read_text()


def test_the_page_for_people_is_current() -> None:
    lines = [
        "# Every ending and every wait",
        "",
        "Written by `tests/playbooks/test_endings_table.py` from the code; "
        "`PLAYBOOKS_ENDINGS=write` writes it again. What is filled in stands in braces; "
        "the third column quotes the words of the comment that name it.",
        "",
        "| function | what is said first | the next step | the test that takes it |",
        "|---|---|---|---|",
    ]
    made = factories()
    for name, row in TABLE.items():
        said = "<br>".join(headlines_of(made[name])) or "see there"
        cells = (name, said, row.step, row.test.partition("::")[2])
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    page = "\n".join(lines) + "\n"
    if os.environ.get("PLAYBOOKS_ENDINGS") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
