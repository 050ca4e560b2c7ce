"""Whether a commit was reverted before, and by whom."""

from __future__ import annotations

import pytest

from bot.git.landed_changes import already_reverted
from bot.git.process import Git
from tests.git.history_builder import History

LINES = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture
def broken(history: History) -> str:
    history.commit({"a": LINES})
    return history.commit({"a": LINES.replace("line 3", "boom")})


async def test_a_commit_still_in_force_is_not_reverted(
    history: History, git: Git, broken: str
) -> None:
    assert await already_reverted(git, broken, history.commit({"b": "b\n"})) is None


async def test_the_commit_that_says_so_is_named(history: History, git: Git, broken: str) -> None:
    history.commit({"a": LINES}, f'Revert "work"\n\nThis reverts commit {broken}.')
    ours = await already_reverted(git, broken, history.commit({"b": "b\n"}))
    assert ours is not None
    assert ours.by is not None
    assert ours.by.subject == 'Revert "work"'


async def test_the_inverse_patch_is_found_where_nobody_said_so(
    history: History, git: Git, broken: str
) -> None:
    by = history.commit({"a": LINES}, "put it back")
    ours = await already_reverted(git, broken, history.commit({"a": LINES + "more\n"}))
    assert ours is not None
    assert ours.by is not None
    assert ours.by.sha == by


async def test_a_revert_that_was_reverted_does_not_count(
    history: History, git: Git, broken: str
) -> None:
    history.commit({"a": LINES}, f"This reverts commit {broken}.")
    again = history.commit({"a": LINES.replace("line 3", "boom")}, "once more")
    assert await already_reverted(git, broken, again) is None


async def test_an_empty_claim_does_not_count(history: History, git: Git, broken: str) -> None:
    lie = history.commit({"b": "b\n"}, f"This reverts commit {broken}.")
    assert await already_reverted(git, broken, lie) is None


async def test_an_effect_overwritten_by_many_is_gone_though_nobody_is_named(
    history: History, git: Git, broken: str
) -> None:
    history.commit({"a": LINES.replace("line 3", "half")})
    ours = await already_reverted(git, broken, history.commit({"a": LINES}))
    assert ours is not None
    assert ours.by is None


async def test_a_merge_reverted_by_its_inverse_is_found(history: History, git: Git) -> None:
    start = history.commit({"a": LINES})
    history.branch("topic", start)
    history.commit({"a": LINES.replace("line 3", "boom")})
    history.commit({"t": "t\n"})
    history.checkout("main")
    history.commit({"m": "m\n"})
    merged = history.merge("topic")
    by = history.commit({"a": LINES, "t": None})
    ours = await already_reverted(git, merged, by)
    assert ours is not None
    assert ours.by is not None
    assert ours.by.sha == by


async def test_a_first_commit_of_which_nothing_is_left_is_no_error(
    history: History, git: Git
) -> None:
    first = history.commit({"a": LINES})
    by = history.commit({"a": None, "b": "b\n"}, "all else")
    ours = await already_reverted(git, first, by)
    assert ours is not None
    assert ours.by is None
