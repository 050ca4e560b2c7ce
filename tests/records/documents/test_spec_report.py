"""The spec report: canonical, described, and shown as a table nothing can break out of."""

from __future__ import annotations

import json

import jsonschema_rs

from bot.records.documents.artifacts import canonical_bytes
from bot.records.documents.reports import (
    Met,
    Point,
    Requirement,
    SpecReport,
    published_schemas,
    spec_table,
    summary_of,
)

SPEC = (
    Requirement(
        id="check-1", statement="unit | passes <b>", kind="regression", check="unit",
        expectation="success", observed="success", verdict=Met.MET,
        evidence="https://example.com/1",
    ),
    Requirement(
        id="boundary", statement="it fails before", kind="regression", check=None,
        expectation="confirmed", observed=None, verdict=Met.UNKNOWN,
    ),
)  # fmt: skip
REPORT = SpecReport(
    incident="01kjx0000000000000000000aa",
    run="01kjx0000000000000000000bb",
    repository="acme/shop",
    repository_id="7",
    seed="1",
    pull_request=None,
    base=Point(branch="main", sha="a" * 40),
    head=Point(branch="fix/bisect-x", sha=None),
    spec=SPEC,
    metrics=(),
    summary=summary_of(SPEC),
)


def test_it_validates_against_the_published_schema() -> None:
    facts = json.loads(canonical_bytes(REPORT))
    assert facts["schema"] == "incident-playbooks/spec/1"
    jsonschema_rs.validate(published_schemas()[facts["schema"]], facts)


def test_the_table_counts_and_escapes() -> None:
    table = spec_table(REPORT)
    assert "1 met, 0 unmet, 1 not known yet." in table
    assert "unit \\| passes &lt;b&gt;" in table
    assert "[success](https://example.com/1)" in table
    assert "nothing yet" in table
