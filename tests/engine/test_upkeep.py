"""Who goes on with a Run that nobody executes: a decision about every mix of releases."""

from __future__ import annotations

import pytest
from dbos import _scheduler, _workflow_commands
from dbos._sys_db_postgres import BACKGROUND_JOB_LOCK_IDLE_TIMEOUT_MS

from bot.engine.engine import _IN_A_SESSION_EVERY
from bot.engine.reconciliation import BEFORE_CODES, PendingExecution, fate, replayable
from bot.playbooks.steps import Patch, Step
from bot.playbooks.stored_steps import CODE, label_of, prose_of, step_named

OLD, NEW, NEWER = BEFORE_CODES, "steps-new", "steps-newer"


@pytest.mark.parametrize(
    ("executor", "code", "living", "known", "expected"),
    [
        # This replica, restarted under other code: its own Runs of before.
        ("us", OLD, {"us": NEW}, True, "take up"),
        ("us", NEW, {"us": NEW}, True, "ours"),
        ("us", NEWER, {"us": NEW}, False, "park"),
        ("us", NEWER, {"us": NEW}, True, "take up"),
        # It left a Run that a sibling of its former code can go on with.
        ("us", OLD, {"us": NEW, "old": None}, True, "take up"),
        # A sibling that lives looks after its own.
        ("old", OLD, {"us": NEW, "old": None}, True, "leave"),
        ("twin", NEW, {"us": NEW, "twin": NEW}, True, "leave"),
        ("newer", NEWER, {"us": NEW, "newer": NEWER}, True, "leave"),
        # It is restarted under our code, and has not taken up what it left yet.
        ("twin", OLD, {"us": NEW, "twin": NEW}, True, "leave"),
        # A sibling is gone: its twin by code goes on with its Runs, else whoever can.
        ("gone", OLD, {"us": NEW, "old": None}, True, "leave"),
        ("gone", OLD, {"us": NEW}, True, "take up"),
        ("gone", NEW, {"us": NEW}, True, "take up"),
        ("gone", NEWER, {"us": NEW, "newer": NEWER}, False, "leave"),
        ("gone", NEWER, {"us": NEW}, False, "park"),
        ("gone", NEWER, {"us": NEW}, True, "take up"),
    ],
)
def test_a_pending_run_is_taken_up_by_whoever_can_replay_it_and_by_nobody_else(
    executor: str, code: str, living: dict[str, str | None], known: bool, expected: str
) -> None:
    pending = PendingExecution(run="one", executor=executor, code=code, status="PENDING")
    assert fate(pending, us="us", code=NEW, living=living, known=known) == expected


@pytest.mark.parametrize(
    ("code", "living", "known", "expected"),
    [
        (NEW, {"us": NEW}, True, "leave"),
        (OLD, {"us": NEW, "old": None}, True, "leave"),
        (OLD, {"us": NEW}, True, "take up"),
        (NEWER, {"us": NEW}, False, "park"),
    ],
)
def test_what_waits_in_a_queue_of_another_code_is_taken_up_once_nobody_has_that_code(
    code: str, living: dict[str, str | None], known: bool, expected: str
) -> None:
    queued = PendingExecution(run="one", executor="", code=code, status="ENQUEUED")
    assert fate(queued, us="us", code=NEW, living=living, known=known) == expected


def test_a_journal_is_replayable_if_every_step_and_patch_in_it_is_known() -> None:
    known = ["follow-patches:short-branch-names,one-yes", "react:eyes", "DBOS.recv", "DBOS.sleep"]
    assert replayable(known)
    assert replayable(["react with eyes", "look at the pull request", "read the clock"])
    assert not replayable([*known, "teleport-hotfix"])
    assert not replayable(["follow-patches:short-branch-names,of-next-year", "react:eyes"])


def test_every_step_is_found_by_its_id_and_by_the_prose_of_before() -> None:
    for step in Step:
        each = step.of("an item") if "{item}" in step.label else step
        assert "{" not in step.words
        assert step_named(each.id) == each
        prose = prose_of(each)
        assert prose is None or step_named(prose) == each


def test_words_of_steps_are_no_identity() -> None:
    assert label_of("publish-hotfix") == label_of("publish the hotfix") == "publish the hotfix"
    assert label_of("a step of next year") == "a step of next year"
    assert len({step.id for step in Step}) == len(Step)
    assert all(set(step.id) <= set("abcdefghijklmnopqrstuvwxyz-") for step in Step)
    assert all(" " not in patch for patch in Patch)
    assert CODE.startswith("steps-")


def test_what_the_engine_does_by_itself_is_done_seldom_and_ends_no_session() -> None:
    # Names of dbos that nobody promised to keep: setting one that is gone would change nothing.
    assert hasattr(_workflow_commands, "_BACKGROUND_JOBS_INTERVAL_SEC")
    assert hasattr(_scheduler, "_STARTUP_FAST_POLL_DURATION_SEC")
    assert _IN_A_SESSION_EVERY * 1000 < BACKGROUND_JOB_LOCK_IDLE_TIMEOUT_MS
