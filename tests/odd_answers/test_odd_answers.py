"""Whole stories where GitHub's answers are odd: main is safe, or one next step is said.

`benchmarks/odd_answers.py` plays each thing that may be otherwise; here many of one kind are odd at
once, each of them in one story.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path

import pytest

from benchmarks.conversations.processes import hand_out
from benchmarks.odd_answers import Book
from tests.github.descriptions import described
from tests.odd_answers.answers import Mutation, OddAnswers, mutations
from tests.odd_answers.stories import SAFE, STORIES, Play
from tests.shop import GOOD, Shop

PLAYER = Path(__file__).parents[2] / "benchmarks/odd_answers.py"
PULL = "GET /repos/{owner}/{repo}/pulls/{pull_number}"
EVENTS = "GET /repos/{owner}/{repo}/issues/{issue_number}/events"
NEEDS_A_PERSON: dict[str, frozenset[str]] = {}
"""By story: what leaves main as it is until somebody does what the bot says."""


async def _played(book: Book, *plays: Play) -> None:
    """Play these in a process of their own: a bot is alone in its process."""
    waiting = deque(each.key for each in plays)
    worker = [sys.executable, str(PLAYER), "--worker"]
    await hand_out(waiting, worker, book.take, jobs=1, room=6)


@described
@pytest.mark.sampled("revert")
@pytest.mark.parametrize("story", STORIES)
async def test_with_all_of_one_kind_odd_at_once_main_is_safe(story: str) -> None:
    book, plain = Book(None), Play(story, ())
    await _played(book, plain)
    assert book.outcomes[plain.key].how == SAFE
    every = list(mutations(book.outcomes[plain.key].met))
    left_out = NEEDS_A_PERSON.get(story, frozenset())
    plays = [
        Play(story, tuple(e for e in every if e.kind == kind and e.key not in left_out))
        for kind in dict.fromkeys(each.kind for each in every)
    ]
    await _played(book, *plays)
    for each in plays:
        outcome = book.outcomes[each.key]
        assert outcome.well, (outcome.how, outcome.wrong, outcome.seen, outcome.odd)
        assert outcome.odd, "nothing was odd"


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
