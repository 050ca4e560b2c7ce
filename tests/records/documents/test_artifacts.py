"""Artifacts: the same facts give the same bytes, in the published shape."""

from __future__ import annotations

import json
import random
from datetime import timedelta, timezone

import jsonschema_rs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from bot.records.audit.anchors import sign
from bot.records.audit.chain import AuditHead
from bot.records.documents.artifacts import (
    ChecksVerdict,
    DecisionOutcome,
    HotfixRefs,
    MergeRecord,
    NumberedLink,
    Origin,
    ReportedCheck,
    Results,
    RevertedTarget,
    RevertReport,
    TimelineEvent,
    artifact_path,
    canonical_bytes,
)
from bot.records.documents.reports import published_schemas
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Severity
from tests.records.examples import NOON, REPOSITORY

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
REPORT = RevertReport(
    incident="01kjx0000000000000000000aa",
    run="01kjx0000000000000000000bb",
    repository=REPOSITORY.full_name,
    repository_id=str(REPOSITORY.id),
    trigger=Origin(source="issue_comment", object_id="1", received_at=NOON),
    requested_by="alice",
    reason="Login answers 500, “since #7”",
    severity=Severity.HIGH,
    status=IncidentStatus.RESOLVED,
    outcome=DecisionOutcome.CONFIRMED,
    targets=(RevertedTarget(kind="pull_request", number=7, commits=("a" * 40,)),),
    refs=HotfixRefs(
        base_branch="main",
        base="b" * 40,
        branch="hotfix/revert-01kjx0000000000000000000aa",
        commit="c" * 40,
        tree="d" * 40,
    ),
    results=Results(
        smoke=(ReportedCheck(name="smoke", conclusion="success"),),
        evals="not configured",
        verdict=ChecksVerdict.GREEN,
    ),
    merge=MergeRecord(sha="e" * 40, method="squash", at=NOON),
    timeline=(TimelineEvent(at=NOON, what="incident opened"),),
    adr="docs/decisions/x.md",
    issue=NumberedLink(number=8, url="https://github.example/issues/8"),
    pull_request=None,
    audit=sign(AuditHead(repository_id=REPOSITORY.id, seq=1, head_hash="0" * 64), KEY, NOON),
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: JsonValue, rng: random.Random) -> JsonValue:
    """The same value with the keys of every object in another order."""
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return value


@given(JSON, st.integers())
def test_the_order_in_which_facts_came_does_not_show(value: JsonValue, seed: int) -> None:
    written = canonical_bytes(value)
    assert canonical_bytes(shuffled(value, random.Random(seed))) == written  # noqa: S311 - a shuffle
    assert json.loads(written) == value


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_keys_are_sorted_at_every_level_and_one_newline_ends_it(
    value: dict[str, JsonValue],
) -> None:
    written = canonical_bytes(value).decode()

    def check_order(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
        return dict(pairs)

    json.loads(written, object_pairs_hook=check_order)
    assert written.endswith("}\n")
    assert not written.endswith("\n\n")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_bytes({"ratio": number})


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical_bytes({"title": "\ud800"})


def test_letters_beyond_ascii_stay_readable_and_lines_are_indented() -> None:
    assert (
        canonical_bytes({"b": ["é"], "a": 1})
        == '{\n  "a": 1,\n  "b": [\n    "é"\n  ]\n}\n'.encode()
    )


def test_a_report_is_read_back_as_it_was() -> None:
    assert RevertReport.model_validate_json(canonical_bytes(REPORT)) == REPORT


def test_the_same_moment_in_another_time_zone_gives_the_same_bytes() -> None:
    facts = json.loads(canonical_bytes(REPORT))
    facts["merge"]["at"] = NOON.astimezone(timezone(timedelta(hours=2))).isoformat()
    assert canonical_bytes(RevertReport.model_validate(facts)) == canonical_bytes(REPORT)


def test_a_report_is_valid_by_its_published_schema() -> None:
    facts = json.loads(canonical_bytes(REPORT))
    schema = published_schemas()[facts["schema"]]
    jsonschema_rs.validate(schema, facts)
    for wrong in ({"severity": "awful"}, {"seed": 5}, {"schema": "other"}, {"surprise": 1}):
        assert not jsonschema_rs.is_valid(schema, facts | wrong)
    del facts["reason"]
    assert not jsonschema_rs.is_valid(schema, facts)


def test_every_report_says_its_seed_and_null_when_nothing_was_sampled() -> None:
    facts = json.loads(canonical_bytes(REPORT))
    assert facts["seed"] is None
    seeded = REPORT.model_copy(update={"seed": str(2**64 - 1)})
    assert json.loads(canonical_bytes(seeded))["seed"] == "18446744073709551615"


def test_a_report_with_a_strange_number_or_field_is_refused() -> None:
    facts = json.loads(canonical_bytes(REPORT))
    with pytest.raises(ValueError, match="surprise"):
        RevertReport.model_validate({**facts, "surprise": 1})
    with pytest.raises(ValueError, match="seed"):
        RevertReport.model_validate({**facts, "seed": 7})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("revert", "apps/orchestrator/orchestrator/incidents/revert-01a.json"),
        ("bisect", "apps/orchestrator/orchestrator/incidents/bisect-01a.json"),
        ("rollback", "apps/orchestrator/orchestrator/incidents/rollback-01a.json"),
        ("shadow", "apps/orchestrator/orchestrator/provider_shadow_diffs/01a.json"),
        ("ramp", "apps/orchestrator/orchestrator/ramp_reports/01a.json"),
    ],
)
def test_every_artifact_has_its_place(kind: str, path: str) -> None:
    assert artifact_path("apps/orchestrator/orchestrator", kind, "01a") == path  # type: ignore[arg-type]


@pytest.mark.parametrize("root", ["/etc", "../elsewhere", "a/../../b"])
def test_an_artifact_never_leaves_the_repository(root: str) -> None:
    with pytest.raises(ValueError, match="inside the repository"):
        artifact_path(root, "revert", "01a")


def test_an_id_is_never_a_path() -> None:
    with pytest.raises(ValueError, match="not an incident id"):
        artifact_path("", "revert", "../x")
