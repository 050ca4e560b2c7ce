"""The product of the first minute: what it leaves out, how it is sampled, what counts as advice."""

from __future__ import annotations

from tests.first_minute.advice import advices, waits
from tests.first_minute.product import (
    REFUSALS,
    WORLDS,
    First,
    Way,
    every_cell,
    pairs_met,
    possible,
    sample,
)
from tests.first_minute.words import Words, wrong_words


def test_few_cells_cannot_exist_and_every_key_is_another() -> None:
    cells = list(every_cell())
    assert len(cells) == len(First) * len(Way) * len(WORLDS)
    assert len({cell.key for cell in cells}) == len(cells)
    impossible = [cell for cell in cells if cell.impossible]
    assert len(impossible) < 0.15 * len(cells)


def test_a_sample_has_every_value_and_a_large_one_every_pair() -> None:
    few = sample(len(WORLDS), 3)
    for dimension in range(3):
        wanted = {cell.values[dimension] for cell in possible()}
        assert {cell.values[dimension] for cell in few} == wanted
    assert few == sample(len(WORLDS), 3)
    refused = [cell for cell in possible() if cell.trouble in REFUSALS[:4]]
    every = sample(1000, 3, refused)
    assert pairs_met(every, refused) == 1
    assert len(every) < len(refused) / 2


def _said(text: str, **more: object) -> Words:
    return Words("comment", 7, text, **more)  # type: ignore[arg-type]


def _advised(*texts: str) -> list[tuple[str, str]]:
    return [(each.deed, each.of) for each in advices([_said(text) for text in texts])]


def test_advice_is_what_the_words_say_literally() -> None:
    both = "**Merge hotfix #4, or comment `/approve` and I will: it is green.**"
    assert _advised(both)[0] == ("comment", "/approve")
    assert ("merge", "4") in _advised(both)
    refused = (
        "**Fix the cause, then comment `/retry`: it did not work.**\n\nAdd the App to the bypass "
        "list of the ruleset. `/cancel` closes the hotfix."
    )
    assert [deed for deed, _ in _advised(refused)[:2]] == ["bypass", "comment"]
    assert ("comment", "/cancel") not in _advised(refused)
    assert _advised("Perhaps revert those too, as in `/revert #1 #…`.") == []
    assert _advised("To take the hotfix back: `/revert #4`.") == []
    assert _advised("**Done: #1 is reverted.** `/retry`") == []


def test_waiting_is_told_from_needing_somebody() -> None:
    assert waits([_said("**In progress: I am waiting for `smoke`.**")])
    assert not waits([_said("**Merge hotfix #4.**")])


def test_some_words_are_never_said() -> None:
    late = _said("It was rolled back.", merged=True)
    assert len(list(wrong_words([late]))) == 1
    assert list(wrong_words([_said("It was rolled back.")])) == []
    bare = _said("This is already being reverted.", new=True)
    assert len(list(wrong_words([bare]))) == 2
    good = _said("#1 is already being reverted, as #4: `/approve` it.", new=True)
    assert list(wrong_words([good])) == []
    calls = [_said(f"@alice look at #{n}", new=True) for n in range(3)]
    assert len(list(wrong_words(calls))) == 1
