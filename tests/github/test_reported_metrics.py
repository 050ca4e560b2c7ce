"""Which numbers are read from what a check-run says, and how little of it is believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.reported_metrics import LONGEST_TEXT, in_output

REPORT = '{"metrics": {"latency": 12.5}}'
FOUND = {"latency": 12.5}


@pytest.mark.parametrize(
    "text",
    [
        REPORT,
        f"\n  {REPORT}\n",
        '{"seed": [1, {"a": null}], "metrics": {"latency": 12.5}, "by": "bench"}',
        f"# Results\n\n```json\n{REPORT}\n```\nThat is all.",
        f"One\r\n```JSON\r\n{REPORT}\r\n```\r\n",
        f"```json\n{REPORT}\n```\n```json\n{{}}\n```",
        f"```\nno\n```\n```json\n{REPORT}\n```",
        f"```json\n{REPORT}\n```\n" + "x" * LONGEST_TEXT,
    ],
)
def test_an_object_with_metrics_is_read_alone_or_in_the_first_block(text: str) -> None:
    assert in_output((text,)) == FOUND
    assert in_output((None, text)) == FOUND
    assert in_output(("Fine.", text)) == FOUND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Fine.",
        REPORT + " and more",
        f"Well: {REPORT}",
        f"```\n{REPORT}\n```",
        f"```json\n{REPORT}",
        f"```json\n{{}}\n```\n```json\n{REPORT}\n```",
        "x" * LONGEST_TEXT + f"\n```json\n{REPORT}\n```",
        REPORT[:-1] + ', "more": "' + "x" * LONGEST_TEXT + '"}',
        "{}",
        "[]",
        '{"latency": 12.5}',
        '{"metrics": 12.5}',
        '{"metrics": [12.5]}',
        '{"metrics": {"latency": true}}',
        '{"metrics": {"latency": "12.5"}}',
        '{"metrics": {"latency": NaN}}',
        '{"metrics": {"latency": 1e999}}',
        '{"metrics": {"latency": {"p50": 1}}}',
        '{"metrics": {"' + "x" * 1_001 + '": 1}}',
        '{"metrics": {"latency": 1}, "deep": ' + "[" * 60_000 + "}",
        '{"a":' * 10_000,
        json.dumps({"metrics": {f"n{n}": 1 for n in range(1_001)}}),
        "```json\n" * 8_000,
        "\ud800",
    ],
)
def test_anything_else_is_no_number(text: str) -> None:
    assert in_output((text,)) == {}
    assert in_output((text, REPORT)) == FOUND


def test_half_a_character_is_no_fault() -> None:
    found = in_output(('{"metrics": {"a\ud800": 1}}',))
    assert found == {"a?": 1.0}


def test_a_secret_in_a_name_goes_nowhere() -> None:
    name = "ghs_" + "a" * 40
    assert in_output((json.dumps({"metrics": {name: 1}}),)) == {"[redacted]": 1.0}


@given(st.text(alphabet='{}[]"`:,.0123456789eEjsonmetrics\n ', max_size=200))
def test_no_text_is_a_fault(text: str) -> None:
    assert in_output((text, f"```json\n{text}\n```")) in ({}, in_output((text,)))


names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)


@given(st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_numbers_come_back_as_they_were_written(metrics: dict[str, float]) -> None:
    assert in_output((json.dumps({"metrics": metrics}),)) == metrics
