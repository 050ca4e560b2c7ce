"""paused → half open → running: what moves a pause on, and what throws it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.records.pauses import Pause, PauseKind
from bot.safety.self_work import Lift, Note, PauseFacts, next_step

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)
GREEN = PauseFacts(branch="green", candidates=(7, 9))


def pause(**known: Any) -> Pause:
    base: dict[str, Any] = {
        "id": "p", "repository_id": 1, "scope": "self-work", "kind": PauseKind.THRESHOLD,
        "state": "paused", "reason": "eval drop", "set_by": "bot", "since": NOON,
        "incident_id": None, "green_since": None, "canary": None, "canary_merged": None,
        "lifted_by": None, "lifted_at": None, "lifted_because": None, "version": 1,
    }  # fmt: skip
    return Pause.model_validate(base | known)


def step(now: Pause, outlook: PauseFacts, minutes: float = 0) -> Any:
    return next_step(now, outlook, HALF_AN_HOUR, NOON + timedelta(minutes=minutes))


def test_the_first_green_starts_the_clock() -> None:
    assert step(pause(), GREEN) == Note(state="paused", green_since=NOON)
    assert step(pause(green_since=NOON), GREEN, 29) is None


def test_green_for_long_enough_opens_half_for_the_oldest() -> None:
    note = step(pause(green_since=NOON), GREEN, 30)
    assert (note.state, note.canary, note.said) == ("half open", 7, "half open")


@pytest.mark.parametrize(
    "outlook",
    [PauseFacts(branch="red"), PauseFacts(branch="green", trouble="a high incident is open")],
)
def test_red_or_trouble_starts_over(outlook: PauseFacts) -> None:
    assert step(pause(green_since=NOON), outlook, 60) == Note(state="paused", green_since=None)
    back = step(pause(state="half open", canary=7), outlook, 60)
    assert (back.state, back.canary) == ("paused", None)
    assert back.said.startswith("paused again")


def test_waiting_checks_neither_start_over_nor_open() -> None:
    assert step(pause(green_since=NOON), PauseFacts(branch="waiting"), 60) is None


def test_a_canary_that_will_not_be_merged_makes_room_for_another() -> None:
    unfit = PauseFacts(branch="green", candidates=(9,), canary="unfit")
    assert step(pause(state="half open", canary=7), unfit).canary == 9


def test_without_work_the_next_pull_request_is_the_canary() -> None:
    half = pause(state="half open")
    assert step(half, PauseFacts(branch="green")) is None
    assert step(half, GREEN).canary == 7


def test_the_canary_merged_and_green_again_lets_everything_go_on() -> None:
    merged = PauseFacts(branch="green", canary="merged", canary_merged="abc")
    half = pause(state="half open", canary=7)
    note = step(half, merged)
    assert (note.canary_merged, note.green_since, note.said) == ("abc", None, "canary merged")
    after = pause(state="half open", canary=7, canary_merged="abc")
    assert step(after, merged).green_since == NOON
    assert isinstance(step(after.model_copy(update={"green_since": NOON}), merged, 30), Lift)


_OUTLOOKS = st.builds(
    PauseFacts,
    branch=st.sampled_from(["green", "red", "waiting"]),
    trouble=st.none() | st.just("an incident"),
    candidates=st.lists(st.integers(1, 9), max_size=2).map(tuple),
    canary=st.none() | st.sampled_from(["open", "merged", "unfit"]),
    canary_merged=st.none() | st.just("abc"),
)


@given(_OUTLOOKS, st.sampled_from([PauseKind.MANUAL, PauseKind.SAFETY]), st.booleans())
def test_what_a_person_or_safety_holds_never_moves_by_itself(
    outlook: PauseFacts, kind: PauseKind, half: bool
) -> None:
    held = pause(kind=kind, state="half open" if half else "paused", green_since=NOON)
    assert step(held, outlook, 10_000) is None


@given(st.lists(_OUTLOOKS, max_size=12))
def test_nothing_is_lifted_without_a_merged_canary(outlooks: list[PauseFacts]) -> None:
    now = pause()
    for minute, outlook in enumerate(outlooks):
        taken = step(now, outlook, minute * 31)
        if isinstance(taken, Lift):
            assert now.canary_merged is not None
            return
        if taken is not None:
            now = now.model_copy(update=taken.model_dump(exclude={"action", "said"}))
