"""What moved in a repository, by two looks at it: a decision, without any request."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.github.calls.activity import RepositoryActivity
from bot.intake.activity import KnownState, Moves, moves

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
QUIET = RepositoryActivity(
    pushed_at="2026-11-30T11:00:00Z",
    head="a" * 40,
    checks=("SUCCESS", "SUCCESS 3"),
    issues_at=NOON,
    pulls_at=NOON,
    open=1,
    heads=frozenset({"b" * 40}),
    config=None,
    records="c" * 40,
    groups=(),
)
KNOWN = KnownState(read_until=NOON, heads={"b" * 40}, records="c" * 40)
LATER = NOON + timedelta(minutes=1)


def test_after_a_start_a_repository_that_was_read_to_the_end_is_not_read_again() -> None:
    assert not moves(None, QUIET, KNOWN)


def test_nothing_moved_between_two_looks_that_are_equal() -> None:
    assert not moves(QUIET, QUIET, KNOWN)


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"issues_at": LATER}, Moves(issues=True)),
        ({"issues_at": LATER, "pulls_at": LATER}, Moves(issues=True, pulls=True)),
        ({"head": "d" * 40}, Moves(head=True)),
        ({"head": "d" * 40, "checks": ("FAILURE", "FAILURE 1")}, Moves(head=True, checks=True)),
        ({"checks": ("FAILURE", "FAILURE 1", "SUCCESS 2")}, Moves(checks=True)),
        ({"checks": ("PENDING", "PENDING 1")}, Moves()),
        ({"config": "e" * 40}, Moves(config=True)),
        ({"heads": frozenset({"f" * 40})}, Moves(gate=True)),
        ({"groups": (("refs/heads/gh-readonly-queue/main/pr-1", "f" * 40),)}, Moves(gate=True)),
        ({"records": "f" * 40}, Moves(records=True)),
        ({"records": None}, Moves(records=True)),
    ],
)
def test_each_thing_that_moves_has_somebody_look(changed: dict[str, Any], seen: Moves) -> None:
    assert moves(QUIET, replace(QUIET, **changed), KNOWN) == seen


def test_a_second_check_that_turns_red_on_a_red_head_is_seen() -> None:
    red = replace(QUIET, checks=("FAILURE", "FAILURE 1", "SUCCESS 2"))
    redder = replace(QUIET, checks=("FAILURE", "FAILURE 2", "SUCCESS 1"))
    assert moves(red, redder, KNOWN) == Moves(checks=True)


@pytest.mark.parametrize(
    ("known", "seen"),
    [
        (KnownState(read_until=NOON - timedelta(hours=1), heads={"b" * 40}, records="c" * 40),
         Moves(issues=True, pulls=True)),
        (KnownState(read_until=NOON, records="c" * 40), Moves(gate=True)),
        (KnownState(read_until=NOON, heads={"b" * 40}, records="9" * 40), Moves(records=True)),
        (KnownState(read_until=NOON, heads={"b" * 40}), Moves()),
    ],
)  # fmt: skip
def test_after_a_start_our_records_say_what_was_missed(known: KnownState, seen: Moves) -> None:
    assert moves(None, QUIET, known) == seen


def test_a_red_default_branch_is_read_after_a_start() -> None:
    red = replace(QUIET, checks=("FAILURE", "FAILURE 1"))
    assert moves(None, red, KNOWN) == Moves(checks=True)
