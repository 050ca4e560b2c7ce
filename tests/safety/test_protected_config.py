"""Which keys of the configuration need a Founder: every one that is not listed as free."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import FREE, PROTECTED, Config, parse_config
from bot.limits import Section
from bot.records.sensitive_config import ApprovedSections
from bot.safety.config_in_force import (
    counting_sections,
    digest_of,
    sensitive_sections,
    with_sections,
)
from bot.safety.founders import changed_sections
from bot.triggers import Autonomy
from tests.config_texts import GOOD

DEFAULTS = sensitive_sections(Config())


def keys(shape: type[Section] = Config, before: str = "") -> list[str]:
    """Every key of the file, down to the second level: `section` or `section.key`."""
    found = []
    for name, field in shape.model_fields.items():
        inner = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, Section)
        deeper = keys(inner, f"{name}.") if is_section and not before else []  # type: ignore[arg-type]
        found += deeper or [f"{before}{name}"]
    return found


def covers(names: frozenset[str] | tuple[str, ...], key: str) -> bool:
    return key in names or key.partition(".")[0] in names


def test_each_key_is_protected_or_listed_as_free_and_none_is_both() -> None:
    for key in keys():
        assert covers(PROTECTED, key) != covers(FREE, key), key
    assert {key for key in FREE if key not in keys() and key not in Config.model_fields} == set()


def test_what_the_design_protects_is_protected() -> None:
    for name in ("founder", "caps", "budgets", "triggers", "self_work", "commands"):
        assert name in PROTECTED
    for name in ("bisect.commands", "bisect.runner", "bisect.overlay", "bisect.workflow"):
        assert name in PROTECTED
    for name in ("adr", "artifacts", "flags.path"):
        assert name in PROTECTED
    # How many incidents hold self-work; a section of that name would need a Founder by being new.
    for key in ("self_work.incidents", "self_work.incidents_hours"):
        assert key in keys()
        assert covers(PROTECTED, key)
    assert "incidents" not in FREE


ANOTHER: dict[str, str] = {
    "artifacts": "artifacts: {root: elsewhere}",
    "adr": "adr: {directory: elsewhere}",
    "triggers": "triggers: {autonomy: off}",
    "self_work": "self_work: {label: robot}",
    "founder": "founder: {people: [bob]}",
    "budgets": "budgets: {llm: {unit: usd, limit: 1}}",
    "caps": "caps: {reverts_a_day: 1}",
    "commands": "commands: {revert: admin}",
    "callers": "callers: {workflows: [a/b/.github/workflows/c.yml@refs/heads/main]}",
    "bisect.runner": "bisect: {runner: sandbox, commands: {smoke: [a]}}",
    "bisect.commands": "bisect: {commands: {smoke: [a]}}",
    "bisect.overlay": "bisect: {overlay: [tools]}",
    "bisect.workflow": "bisect: {workflow: trial.yml}",
    "flags.path": "flags: {path: other.json}",
}


@pytest.mark.parametrize("key", PROTECTED)
def test_another_value_of_a_protected_key_waits_and_counts_once_approved(key: str) -> None:
    proposed = parse_config(ANOTHER[key])
    sections = sensitive_sections(proposed)
    assert key in changed_sections(sections, DEFAULTS)
    assert digest_of(sections) != digest_of(DEFAULTS)
    # Until then the defaults count, and afterwards what was approved, whatever else is proposed.
    assert with_sections(proposed, DEFAULTS) == Config()
    assert with_sections(Config(), sections) == proposed


@pytest.mark.parametrize(
    "text",
    [
        "checks: {smoke: [unit]}",
        "revert: {merge_method: merge}",
        "bisect: {trials: 7, minutes: 9, build: [compile], confidence: 0.9, parallel: 2}",
        "flags: {commits: end}",
        "capabilities: {llm.a: {baseline: a, candidates: [b]}}",
    ],
)
def test_what_is_free_changes_no_digest_and_counts_at_once(text: str) -> None:
    proposed = parse_config(text)
    assert digest_of(sensitive_sections(proposed)) == digest_of(DEFAULTS)
    assert with_sections(proposed, DEFAULTS) == proposed


def test_what_is_free_and_what_is_protected_in_one_section_are_told_apart() -> None:
    proposed = parse_config("flags: {path: other.json, commits: end}\n")
    kept = with_sections(proposed, DEFAULTS)
    assert (kept.flags.path, kept.flags.commits) == ("flags/flagd.json", "end")
    config = parse_config(GOOD)
    assert with_sections(Config(), sensitive_sections(config)).triggers.autonomy is Autonomy.OFF
    assert with_sections(config, sensitive_sections(config)) == config


def approved(sections: dict[str, Any]) -> ApprovedSections:
    return ApprovedSections.model_validate(
        {
            "repository_id": 1,
            "digest": "0" * 64,
            "sections": sections,
            "approved_by": "olivia",
            "approved_at": "2026-01-01T00:00:00Z",
            "in_force_at": "2026-01-01T00:00:00Z",
        }
    )


def test_what_an_older_release_approved_counts_and_what_it_did_not_know_is_default() -> None:
    older = approved({"caps": Config().caps.model_copy(update={"reverts_a_day": 3}).model_dump()})
    counting = counting_sections(older)
    assert changed_sections(counting, DEFAULTS) == ("caps",)
    same = parse_config("caps: {reverts_a_day: 3}")
    assert digest_of(sensitive_sections(same)) == digest_of(counting)


def test_a_section_that_this_release_cannot_read_is_default_and_the_others_count() -> None:
    newer = approved({"caps": {"reverts_a_day": 3, "new": 1}, "adr": {"directory": "a"}, "x": 1})
    assert changed_sections(counting_sections(newer), DEFAULTS) == ("adr",)
