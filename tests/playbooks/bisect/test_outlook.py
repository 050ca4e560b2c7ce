"""How long a search takes yet is said, and follows what is learnt."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.culprit.evidence import TrialOutcome
from bot.playbooks.bisect.status_messages import checking, outlook, rounds_left
from bot.playbooks.bisect.trials import TrialRow
from tests.playbooks.bisect.bisecting import UNHURRIED_TRIAL, history, running
from tests.shop import Shop

UNTIL = datetime(2026, 3, 1, 15, 30, tzinfo=UTC)


def trial(minutes: float | None) -> TrialRow:
    seconds = None if minutes is None else minutes * 60
    outcome = None if minutes is None else TrialOutcome.PASS
    return TrialRow(name="1", sha="a" * 40, why="split", run_id=1, outcome=outcome, seconds=seconds)


@pytest.mark.parametrize(
    ("commits", "parallel", "rounds"), [(1, 4, 2), (4, 4, 3), (244, 4, 6), (244, 1, 10)]
)
def test_rounds_follow_from_what_is_open(commits: int, parallel: int, rounds: int) -> None:
    assert rounds_left([1 / commits] * commits, parallel) == rounds


def test_a_certain_suspect_only_has_to_be_checked() -> None:
    assert rounds_left([1.0, 0.0, 0.0], 4) == 2


def test_244_commits_with_four_jobs_of_15_minutes() -> None:
    said = outlook([1 / 244] * 244, [trial(15), trial(None)], 4, UNTIL)
    assert said == (
        "About 90 minutes yet: some 6 rounds of up to 4 trials at once, and a trial takes about 15 "
        "minutes. I will ask you by 15:30 UTC on 1 March."
    )


def test_before_any_trial_has_ended_the_latest_moment_is_said() -> None:
    said = outlook([0.5, 0.5], [trial(None)], 4, UNTIL)
    assert said.startswith(
        "How long it takes is known once a first trial has ended. I will ask you by 15:30 UTC"
    )


def test_a_check_of_the_suspect_takes_its_runs() -> None:
    assert checking(9, [trial(15), trial(None)], 4) == (
        "About 45 minutes yet: up to 4 of these runs are made at once, and one takes about 15 "
        "minutes."
    )
    assert checking(9, [trial(None)], 4) == ""


@pytest.mark.thorough
async def test_a_search_says_how_long_it_takes_yet(shop: Shop) -> None:
    past = await history(shop, 12, 6, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.eventually(lambda: running(shop))
    await shop.standing(issue, "I will ask you by")
    await shop.standing(issue, "yet: some ")
