"""What agents are told about the end of a pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.config import SelfWork
from bot.records.pauses import Pause, PauseKind
from bot.safety.self_work import told

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CONFIG = SelfWork(resume_after_minutes=30)
PAUSE = Pause(
    id="p", repository_id=1, scope="self-work", kind=PauseKind.THRESHOLD, state="paused",
    reason="evals dropped", set_by="bot", since=NOW, incident_id=None, green_since=None,
    canary=None, canary_merged=None, lifted_by=None, lifted_at=None, lifted_because=None, version=1,
)  # fmt: skip


def pause(**changed: object) -> Pause:
    return PAUSE.model_copy(update=changed)


def test_nobody_knows_when_a_red_branch_turns_green() -> None:
    now = told(PAUSE, CONFIG)
    assert (now.paused, now.until) == (True, None)
    assert "has been green for 30 minutes" in (now.ends or "")


def test_a_green_branch_lets_a_canary_through_after_its_time() -> None:
    now = told(pause(green_since=NOW), CONFIG)
    assert now.until == NOW + timedelta(minutes=30)
    assert "one canary pull request may be merged" in (now.ends or "")


def test_half_open_says_which_pull_request_goes_first() -> None:
    now = told(pause(state="half open", canary=7), CONFIG)
    assert (now.state, now.canary, now.until) == ("half open", 7, None)
    assert "after the canary #7 is merged" in (now.ends or "")


def test_a_merged_canary_on_a_green_branch_gives_the_moment_of_the_end() -> None:
    done = pause(state="half open", canary=7, canary_merged="c" * 40, green_since=NOW)
    now = told(done, CONFIG)
    assert now.until == NOW + timedelta(minutes=30)
    assert now.ends == (
        "It is lifted once the default branch has been green for 30 minutes with the canary #7 in "
        "it."
    )


def test_what_safety_holds_ends_by_a_person_only() -> None:
    now = told(pause(kind=PauseKind.SAFETY, green_since=NOW), CONFIG)
    assert now.until is None
    assert now.ends == "A person lifts it (/unpause self-work because …): it was set for safety."
