"""The flag document, read by flagd's own resolver."""

from __future__ import annotations

import json
from typing import Any

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from bot.traffic.flagd import (
    InvalidFlags,
    Split,
    cbor_text,
    check_flags,
    flag_document,
    is_candidate,
    murmur3,
    written,
)
from tests.traffic.trials import CAPABILITY, ramping, serving, shadowing

KEYS = [f"user-{number}" for number in range(20_000)]


def flagd(split: Split) -> FlagdCore:
    core = FlagdCore()
    core.set_flags(written(flag_document([serving(split, 7)])))
    return core


def resolved(core: FlagdCore, key: str | None) -> str:
    context = EvaluationContext(targeting_key=key)
    return str(core.resolve_string_value(CAPABILITY, "the caller's default", context).value)


@given(st.binary(max_size=100))
def test_our_hash_is_murmur3(data: bytes) -> None:
    assert murmur3(data) == mmh3.hash(data, signed=False)


@pytest.mark.parametrize("length", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_text_of_any_length_is_encoded_as_flagd_does(length: int) -> None:
    cbor2 = pytest.importorskip("cbor2")
    assert cbor_text("ü" * length) == cbor2.dumps("ü" * length, canonical=True)


@given(st.text(min_size=1, max_size=60), st.integers(0, 100), st.sampled_from(["0", "7", "x-9"]))
def test_every_key_goes_where_flagd_sends_it(key: str, percent: int, salt: str) -> None:
    split = ramping(percent, salt=salt)
    ours = "provider-b" if is_candidate(CAPABILITY, split, key) else "provider-a"
    assert resolved(flagd(split), key) == ours


def test_the_split_is_the_configured_one_and_no_key_flips_back() -> None:
    before: set[str] = set()
    for percent in (5, 25, 50, 95, 100):
        split = ramping(percent)
        candidates = {key for key in KEYS if is_candidate(CAPABILITY, split, key)}
        assert abs(100 * len(candidates) / len(KEYS) - percent) <= 1
        assert before <= candidates
        before = candidates


def test_another_salt_draws_the_keys_anew() -> None:
    first, second = (
        {key for key in KEYS if is_candidate(CAPABILITY, ramping(25, salt=salt), key)}
        for salt in ("7", "8")
    )
    assert 0.2 < len(first & second) / len(first) < 0.3


@pytest.mark.parametrize("percent", [5, 50, 100])
@pytest.mark.parametrize("key", [None, ""])
def test_without_a_targeting_key_the_baseline_serves(percent: int, key: str | None) -> None:
    assert resolved(flagd(ramping(percent)), key) == "provider-a"


def test_the_generation_that_decided_travels_with_every_answer() -> None:
    core = flagd(shadowing())
    found = core.resolve_string_value(CAPABILITY, "", EvaluationContext("k"))
    assert found.value == "provider-a"
    assert found.flag_metadata == {
        "generation": 7,
        "mode": "shadow",
        "mirrorTo": "provider-b",
        "mirrorRate": 0.1,
        "mirrorSeed": "20260101",
    }


def test_a_paused_capability_says_so() -> None:
    document = flag_document([serving(Split(baseline="provider-a"), 9, paused="errors")])
    assert document["flags"][CAPABILITY]["metadata"] == {
        "generation": 9,
        "mode": "steady",
        "paused": True,
    }
    assert "targeting" not in document["flags"][CAPABILITY]


@given(st.integers(0, 100), st.integers(1, 2**40))
def test_what_is_built_is_valid(percent: int, generation: int) -> None:
    document = flag_document([serving(ramping(percent), generation)])
    check_flags(document)
    check_flags(json.loads(written(document)))


def test_an_empty_document_is_valid() -> None:
    check_flags(flag_document([]))


def _broken(change: str) -> Any:
    document = json.loads(written(flag_document([serving(ramping(5))])))
    flag = document["flags"][CAPABILITY]
    rule = flag["targeting"]["if"]
    arms = rule[1]["fractional"]
    match change:
        case "no generation":
            del document["metadata"]
        case "disabled":
            flag["state"] = "DISABLED"
        case "unknown default":
            flag["defaultVariant"] = "basline"
        case "no guard":
            flag["targeting"] = rule[1]
        case "sum":
            arms[2][1] = 90
        case "float":
            arms[1][1], arms[2][1] = 5.5, 94.5
        case "negative":
            arms[1][1], arms[2][1] = -5, 105
        case "truth":
            arms[1][1], arms[2][1] = True, 99
        case "misspelt":
            arms[1][0] = "canditate"
        case "order":
            arms[1], arms[2] = ["baseline", 95], ["candidate", 5]
        case "another flag's keys":
            arms[0]["cat"][0] = "other:7:"
        case "fallback":
            rule[2] = "nobody"
        case "no provider":
            flag["variants"]["candidate"] = ""
        case _:
            return change
    return document


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no generation", "metadata.generation must be a whole number"),
        ("disabled", "state must be ENABLED"),
        ("unknown default", "defaultVariant must be one of baseline, candidate"),
        ("no guard", "guarded by"),
        ("sum", "the weights must sum to 100; they sum to 95"),
        ("float", "a whole weight"),
        ("negative", "a whole weight"),
        ("truth", "a whole weight"),
        ("misspelt", "'canditate' is no variant; allowed are baseline, candidate"),
        ("order", "the candidate comes first"),
        ("another flag's keys", "must begin with llm.summarize:"),
        ("fallback", "must get one of baseline, candidate"),
        ("no provider", "every variant must be a provider's name"),
        ("text", "needs 'flags'"),
    ],
)
def test_a_document_that_would_not_split_as_meant_is_refused(change: str, said: str) -> None:
    with pytest.raises(InvalidFlags) as caught:
        check_flags(_broken(change))
    assert said in str(caught.value)
