"""Somebody's spec report: read, brought up to date, or refused with the field that is wrong."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.models import CheckKind, CheckResult
from bot.records.documents.reports import Met, SpecReport
from bot.spec_reports import LARGEST_BYTES, LONGEST_TABLE, invalid, read_spec, table, with_results

ROW: dict[str, Any] = {
    "id": "R1", "statement": "unit passes", "kind": "smoke", "check": "unit",
    "expectation": "success", "observed": "success", "verdict": "met", "evidence": None,
}  # fmt: skip
REPORT: dict[str, Any] = {
    "schema": "incident-playbooks/spec/1", "incident": "INC-1", "run": "by hand",
    "repository": "acme/shop", "repository_id": "1", "seed": None, "pull_request": None,
    "base": {"branch": "main", "sha": None}, "head": {"branch": "mend", "sha": None},
    "spec": [ROW], "metrics": [], "summary": {"met": 99, "unmet": 0, "unknown": 0},
}  # fmt: skip
HEAD = "a" * 40
URL = "https://github.example/acme/shop/blob/x/self/spec_report.json"


def said(**changes: object) -> bytes:
    return json.dumps(REPORT | changes).encode()


def read(content: bytes) -> SpecReport:
    report = read_spec(content)
    assert isinstance(report, SpecReport)
    return report


def result(conclusion: str | None, name: str = "unit") -> CheckResult:
    return CheckResult(
        name=name,
        kind=CheckKind.CHECK_RUN,
        id=1,
        status="completed" if conclusion else "in_progress",
        conclusion=conclusion,
        url="https://ci.example/1",
    )


@pytest.mark.parametrize(
    ("conclusions", "verdict"),
    [
        ([], Met.UNKNOWN),
        (["success"], Met.MET),
        (["success", "failure"], Met.UNMET),
        (["success", None], Met.UNKNOWN),
        (["cancelled"], Met.UNKNOWN),
        (["skipped"], Met.UNKNOWN),
    ],
)
def test_the_check_decides_whatever_the_file_claims(
    conclusions: list[str | None], verdict: Met
) -> None:
    now = with_results(read(said()), [result(each) for each in conclusions])
    assert now.spec[0].verdict is verdict
    assert sum((now.summary.met, now.summary.unmet, now.summary.unknown)) == 1


def test_what_no_check_can_say_stands_as_the_file_says() -> None:
    row = ROW | {"expectation": "confirmed", "observed": "refuted", "verdict": "unmet"}
    now = with_results(read(said(spec=[row])), [result("success")])
    assert (now.spec[0].observed, now.spec[0].verdict) == ("refuted", Met.UNMET)


@pytest.mark.parametrize(
    ("content", "field", "what"),
    [
        (said(spec=[ROW | {"verdict": "perhaps"}]), "spec.0.verdict", "'met', 'unmet' or"),
        (said(schema="other/1"), "schema", "incident-playbooks/spec/1"),
        (said(more=1), "more", "Extra inputs are not permitted"),
        (said(base={"branch": "main", "sha": "abc"}), "base.sha", "pattern"),
        (b"{", "", "Invalid JSON: EOF"),
        (b"\xff\xfe", "", "Invalid JSON"),
        (b"[]", "", "object"),
        (b" " * (LARGEST_BYTES + 1), "", "larger than 32 KiB"),
    ],
)
def test_a_wrong_file_is_told_by_its_field(content: bytes, field: str, what: str) -> None:
    faults = read_spec(content)
    assert isinstance(faults, tuple)
    assert faults[0].field == field
    assert what in faults[0].what
    shown = invalid(faults, HEAD, URL)
    assert (f"`{field}`" if field else "- the file:") in shown


@given(st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    found = read_spec(content)
    assert isinstance(found, tuple)
    assert found


def test_words_of_strangers_stay_words_and_fit() -> None:
    evil = "<!-- playbooks:spec-end --> @everyone | [x](javascript:alert(1))\n# " + "&" * 100
    report = read(said(spec=[ROW | {"id": evil, "statement": evil}] * 60))
    shown = table(report, HEAD, URL)
    assert "<!--" not in shown
    assert "@everyone" not in shown
    assert len(shown) < LONGEST_TABLE + 1000


def test_a_report_that_requires_nothing_is_not_called_done() -> None:
    shown = table(with_results(read(said(spec=[])), []), HEAD, URL)
    assert shown.startswith("**Name what is required: this report has no requirement.**")


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    assert read(BOM_UTF8 + said()) == read(said())


def test_the_first_line_says_the_next_thing() -> None:
    unmet = with_results(read(said()), [result("failure")])
    assert table(unmet, HEAD, URL).splitlines()[:3] == [
        "**Look at the requirements below: 1 of 1 requirements are not met.**",
        "",
        f"From [self/spec\\_report.json]({URL}) at `aaaaaaa`, with what the checks say now.",
    ]
    met = with_results(read(said()), [result("success")])
    assert table(met, HEAD, URL).startswith("**Done: every requirement below is met.**")
