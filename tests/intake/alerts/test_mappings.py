"""Who runs the bot says where in a sender's JSON stands what; mistakes are named at the start."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.intake.alerts.formats import UnreadableAlert
from bot.intake.alerts.mappings import PRESETS, AlertMapping, read_mappings
from bot.settings import InvalidSettings
from bot.triggers import Repository
from tests.intake.alerts.published import pasted

REPOSITORY = Repository(id=1, owner="acme", name="shop", installation_id=2)
NOW = datetime(2026, 5, 1, 13, tzinfo=UTC)
NEEDED = {"id": "/id", "state": "/is", "firing": "down"}


def _mapping(**more: Any) -> AlertMapping:
    return read_mappings(json.dumps({"one": NEEDED | more}))["one"]


def _report(mapping: AlertMapping, **said: Any) -> Any:
    return mapping.report("one", {"id": 7} | said, REPOSITORY, NOW, firing=True)


@pytest.mark.parametrize("page", ["mapped.md", "sentry.md"])
def test_what_the_pages_tell_to_paste_is_read(page: str) -> None:
    assert read_mappings(pasted(page, "json"))


def test_what_the_page_for_datadog_tells_to_paste_is_read() -> None:
    line = pasted("datadog.md", "sh")
    value = line.partition("PLAYBOOKS_ALERT_MAPPINGS=")[2].strip().strip("'")
    assert set(read_mappings(value)) == {"datadog"}
    header = json.loads(pasted("datadog.md", "json", 1))
    assert header["Authorization"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a JSON object"),
        ('{"A b": {}}', "small letters"),
        ('{"a": 1}', "a: must be an object"),
        ('{"a": {"preset": "nagios"}}', "a.preset"),
        ('{"a": {"id": "/id", "state": "/s"}}', "a.firing"),
        ('{"a": {"id": "id", "state": "/s", "firing": "x"}}', "JSON pointer"),
        ('{"a": {"id": "/~2", "state": "/s", "firing": "x"}}', "JSON pointer"),
        ('{"a": {"preset": "datadog", "resolved": ["triggered"]}}', "both firing and resolved"),
        ('{"a": {"preset": "datadog", "repository": "shop"}}', "owner/name"),
        ('{"a": {"preset": "datadog", "secret": "between us"}}', "name the header"),
        ('{"a": {"preset": "sentry", "secret": "between us"}}', "which repositories it reaches"),
        ('{"a": {"preset": "sentry", "secret": "", "reaches": "*"}}', "secret is empty"),
        ('{"a": {"preset": "datadog", "severities": {"P1": "awful"}}}', "severities.P1"),
        ('{"a": {"preset": "datadog", "colour": "red"}}', "a.colour"),
    ],
)
def test_a_mistake_is_named_and_no_secret_is(text: str, named: str) -> None:
    with pytest.raises(InvalidSettings, match="PLAYBOOKS_ALERT_MAPPINGS") as caught:
        read_mappings(text)
    assert named in str(caught.value)
    assert "between us" not in str(caught.value)


def test_without_the_setting_there_are_none() -> None:
    assert read_mappings("") == {}


def test_every_preset_stands_by_itself() -> None:
    for name in PRESETS:
        assert read_mappings(json.dumps({name: {"preset": name}}))[name].preset == name


@pytest.mark.parametrize(
    ("time", "minutes_ago"),
    [
        ("2026-05-01T12:30:00Z", 30),
        ("2026-05-01T14:00:00+02:00", 60),
        (1777638600, 30),
        ("1777638600000", 30),
        (1777638600.0, 30),
        ("2026-05-01T15:00:00Z", 0),
        (9e99, 0),
        ("noon", 0),
        ("2026-05-01T12:30:00", 0),
        (None, 0),
    ],
)
def test_since_when_is_read_as_it_is_written_and_is_never_in_the_future(
    time: object, minutes_ago: int
) -> None:
    found = _report(_mapping(time="/at"), at=time)
    assert found.at == NOW - timedelta(minutes=minutes_ago)


def test_pointers_are_those_of_the_standard_and_the_first_with_something_counts() -> None:
    said = {"a/b": {"~": [{"": "found"}]}, "empty": " ", "null": "NULL"}
    mapping = _mapping(title=["/empty", "/null", "/nothing/0", "/a~1b/~0/0/"])
    assert _report(mapping, **said).said.title == "found"


@pytest.mark.parametrize(
    ("setting", "said", "found"),
    [
        ("acme/shop", {}, "acme/shop"),
        ("/r", {"r": "acme/cart"}, "acme/cart"),
        ("/r", {"r": "front-end"}, "acme/front-end"),
        (["/r", "/p"], {"p": 1}, "acme/one"),
        ("/r", {"r": "unknown"}, None),
        ("/r", {}, None),
        ([], {}, None),
    ],
)
def test_the_repository_is_named_pointed_at_or_told_by_a_project(
    setting: object, said: dict[str, object], found: str | None
) -> None:
    known = {"front-end": "acme/front-end", "1": "acme/one"}
    assert _mapping(repository=setting, repositories=known).repository_of(said) == found


def test_whom_it_blames_and_how_bad_it_is_are_told_by_pointers_too() -> None:
    mapping = _mapping(commit="/sha", severity="/how", severities={"AWFUL": "critical"}, url="/u")
    said = _report(mapping, sha="ABCDEF1", how="awful", u="https://up.test/1").said
    assert (said.commit, said.severity, said.url) == ("abcdef1", "critical", "https://up.test/1")
    said = _report(mapping, sha="HEAD; rm", how="warning", u="javascript:x").said
    assert (said.commit, said.severity, said.url) == (None, "medium", None)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
           ["id", "is", "action", "data", "event", "issue", "tags", "date", "title"]),
           inner, max_size=4), max_leaves=12))  # fmt: skip
def test_nonsense_is_told_apart_and_never_breaks_the_reader(said: object) -> None:
    mappings = {name: {"preset": name} for name in PRESETS} | {"one": NEEDED}
    for name, mapping in read_mappings(json.dumps(mappings)).items():
        mapping.is_test(said)
        mapping.repository_of(said)
        with suppress(UnreadableAlert):
            mapping.is_firing(said)
        with suppress(UnreadableAlert):
            mapping.report(name, said, REPOSITORY, NOW, firing=True)
