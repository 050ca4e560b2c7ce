"""Whole stories where GitHub's answers are odd: main is safe, or one next step is said.

`benchmarks/odd_answers.py` finds out which one thing makes a difference; here all of one kind are
odd in every answer of a story, so that each value is met.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path

import pytest

from benchmarks.conversations.processes import hand_out
from benchmarks.odd_answers import Book
from tests.github.descriptions import described
from tests.odd_answers.answers import KINDS, Mutation, OddAnswers
from tests.odd_answers.stories import STORIES, Play
from tests.shop import GOOD, Shop

PLAYER = Path(__file__).parents[2] / "benchmarks/odd_answers.py"
PULL = "GET /repos/{owner}/{repo}/pulls/{pull_number}"
EVENTS = "GET /repos/{owner}/{repo}/issues/{issue_number}/events"


FEW = {
    ("revert", "null"), ("revert", "unknown"), ("bisect", "null"), ("bisect", "absent"),
    ("gate", "null"), ("gate", "more"),
}  # fmt: skip
"""Each story and each kind of oddity, and so each answer that a story meets."""


@described
@pytest.mark.sampled("few")
@pytest.mark.parametrize("which", ["few", "others"])
async def test_with_all_of_one_kind_odd_in_every_answer_a_story_ends_well(which: str) -> None:
    book = Book(None)
    every = [(story, kind) for story in STORIES for kind in KINDS]
    chosen = [each for each in every if (each in FEW) is (which == "few")]
    plays = [Play(story, (Mutation(kind),)) for story, kind in chosen]
    # In a process of its own: a bot is alone in its process.
    worker = [sys.executable, str(PLAYER), "--worker", "--side-by-side", "6"]
    await hand_out(deque(each.key for each in plays), worker, book.take, jobs=1, room=6)
    for each in plays:
        outcome = book.outcomes[each.key]
        assert outcome.well, (outcome.how, outcome.wrong, outcome.seen)
        assert outcome.odd, f"{each.key}: nothing was odd"
        print(f"{each.key}: {outcome.how}")  # noqa: T201 - for -rP


async def _odd(shop: Shop, answers: OddAnswers, *odd: Mutation) -> None:
    answers.odd[shop.repository.name] = frozenset(odd)
    shop.github.faults.add(answers, times=None)


@described
async def test_a_merged_pull_request_is_reverted_though_github_leaves_its_commit_out(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    await _odd(shop, OddAnswers(), Mutation("null", PULL, "merge_commit_sha"))
    await shop.says(broken, "/revert")
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD


@described
@pytest.mark.thorough
async def test_where_no_answer_has_the_commit_it_is_asked_for_and_then_reverted(shop: Shop) -> None:
    broken = await shop.broken()
    sha = await shop.alice.head("main")
    unsaid = Mutation("null", PULL, "merge_commit_sha"), Mutation("null", EVENTS, "commit_id")
    await _odd(shop, OddAnswers(), *unsaid)
    await shop.says(broken, "/revert")
    [said] = await shop.asked(broken, times=1)
    assert f"#{broken} is merged, but GitHub does not say with which commit." in said
    assert "`/revert SHA`" in said
    await shop.says(broken, f"/revert {sha}")
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD
