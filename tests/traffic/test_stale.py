"""Which documents in a repository may stay as they are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.traffic.flagd import Split, flag_document, what_is_wrong, written
from tests.traffic.trials import ramping, serving, shadowing

BASELINE = Split(baseline="provider-a", salt="7")
PROMOTED = Split(baseline="provider-b", salt="7")


def wrong(there: Split, served: Split, there_at: int = 5, served_at: int = 9) -> str | None:
    text = written(flag_document([serving(there, there_at)]))
    return what_is_wrong(text, flag_document([serving(served, served_at)]))


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_document_never_gives_a_candidate_more_than_is_decided(there: int, served: int) -> None:
    said = wrong(ramping(there), ramping(served))
    assert (said is not None) == (there > served)


def test_what_is_served_may_stay() -> None:
    for split in (BASELINE, PROMOTED, ramping(25), shadowing()):
        assert wrong(split, split, 9, 9) is None


def test_an_older_document_that_favours_nobody_may_stay() -> None:
    assert wrong(BASELINE, ramping(25)) is None
    assert wrong(ramping(5), ramping(25)) is None


def test_a_ramp_that_was_taken_back_does_not_come_back() -> None:
    assert wrong(ramping(25), BASELINE) == (
        "it gives provider-b 25% of llm.summarize, and 0% is decided"
    )


def test_a_provider_that_was_replaced_does_not_come_back() -> None:
    assert wrong(ramping(50), PROMOTED) == (
        "it gives provider-a 50% of llm.summarize, and 0% is decided"
    )
    assert wrong(BASELINE, PROMOTED) == (
        "it gives provider-a 100% of llm.summarize, and 0% is decided"
    )


def test_a_shadow_that_is_over_does_not_mirror_again() -> None:
    assert "mirrors requests" in str(wrong(shadowing(), BASELINE))
    assert wrong(shadowing(0.1), shadowing(0.2)) is None


def test_no_document_may_claim_to_be_newer_than_what_is_served() -> None:
    assert wrong(BASELINE, BASELINE, 40, 9) == "it claims generation 40, and 9 is served"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"flags": {}}', "[" * 10_000])
def test_a_document_that_cannot_be_used_is_replaced(text: str) -> None:
    assert "it cannot be used" in str(what_is_wrong(text, flag_document([serving(BASELINE)])))


def test_a_flag_that_nobody_decided_is_no_flag_of_ours() -> None:
    document = json.loads(written(flag_document([serving(BASELINE, 5)])))
    document["flags"]["llm.other"] = document["flags"]["llm.summarize"]
    said = what_is_wrong(json.dumps(document), flag_document([serving(BASELINE, 9)]))
    assert said == "it gives provider-a 100% of llm.other, and 0% is decided"
