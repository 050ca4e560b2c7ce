"""The repository's own configuration: everything has a default, every mistake is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import LARGEST_CONFIG, Config, InvalidConfig, parse_config
from bot.triggers import Autonomy


def _fault(text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# nothing yet\n", "---\n", "{}\n", *(f"{name}:\n" for name in Config.model_fields)],
)
def test_an_empty_file_or_section_is_all_defaults(text: str) -> None:
    assert parse_config(text) == Config()


def test_every_section_can_be_set() -> None:
    config = parse_config(
        """
        artifacts: {root: reports/}
        adr: {directory: adr}
        checks: {smoke: [build, unit tests], evals: [quality], timeout_minutes: 5}
        revert: {merge_method: rebase}
        """
    )
    assert config.artifacts.root == "reports"
    assert config.checks.smoke == ("build", "unit tests")
    assert config.checks.timeout_minutes == 5
    assert config.revert.merge_method == "rebase"
    assert config.adr.directory == "adr"


def test_a_misspelt_section_is_named_with_its_line_and_what_is_allowed() -> None:
    said = _fault("adr:\n  directory: adr\nartefacts:\n  root: reports\n")
    assert said.startswith(".github/playbooks.yml line 3: 'artefacts' is not known.")
    assert "Did you mean 'artifacts'?" in said
    assert "Allowed here: artifacts, adr, checks, " in said


def test_a_misspelt_field_is_named_with_its_section() -> None:
    said = _fault("checks:\n  smoke: [a]\n  timeout: 5\n")
    assert "line 3: 'checks.timeout' is not known. Did you mean 'timeout_minutes'?" in said


def test_a_wrong_value_says_what_is_allowed() -> None:
    assert "'squash', 'merge' or 'rebase'" in _fault("revert:\n  merge_method: fast-forward\n")
    assert "less than or equal to 1440" in _fault("checks:\n  timeout_minutes: 100000\n")


def test_all_mistakes_are_told_at_once() -> None:
    assert len(_fault("adr: {dir: a}\nchecks: {smok: [a]}\n").splitlines()) == 2


@pytest.mark.parametrize("root", ["/etc", "../outside", "a/../../b", "a\\b", '"a\\0b"'])
def test_a_path_never_leaves_the_repository(root: str) -> None:
    assert "inside the repository" in _fault(f"artifacts:\n  root: {root}\n")


@pytest.mark.parametrize("root", [".git/reports", "a/.Git", "GIT~1", "a\u202eb", "a\u200db"])
def test_a_path_that_git_cannot_hold_is_refused(root: str) -> None:
    # GitHub refused it in each hotfix, so that nothing could be reverted any more.
    assert "that git can hold" in _fault(f'artifacts:\n  root: "{root}"\n')


def test_broken_yaml_is_named_with_its_line() -> None:
    assert "line 2: not valid YAML" in _fault("adr: {}\nchecks: [a: }\nrevert: {}\n")


def test_a_list_or_a_word_is_no_configuration() -> None:
    assert "expected sections" in _fault("- a\n- b\n")
    assert "expected sections" in _fault("hello\n")


def test_aliases_that_expand_without_end_are_refused() -> None:
    said = _fault("checks: &a\n  smoke: [x]\nadr: *a\n")
    assert "anchors and aliases are not allowed" in said


def test_a_file_that_is_too_large_is_refused_unread() -> None:
    assert "larger than 32 KiB" in _fault("#" * (LARGEST_CONFIG + 1))


def test_deep_nesting_is_refused_in_words() -> None:
    assert _fault("[" * 5000)


@given(st.text(max_size=200))
def test_whatever_it_holds_it_is_read_or_refused_in_words(text: str) -> None:
    try:
        said = str(parse_config(text))
    except InvalidConfig as invalid:
        said = str(invalid)
    assert said


CAPABILITY = "capabilities:\n  llm.summarize:\n    baseline: a\n    candidates: [b]\n"


def test_a_capability_needs_only_its_providers() -> None:
    config = parse_config(CAPABILITY)
    found = config.capabilities["llm.summarize"]
    assert [phase.percent for phase in found.policy.phases] == [5, 25, 50, 95, 100]
    assert config.flags.path == "flags/flagd.json"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    stages: [{percent: 5}]\n", "stages must grow, and end with 100 percent"),
        ("    candidates_: [c]\n", "line 5: 'capabilities.llm.summarize.candidates_' is not known"),
        ("    shadow: {rate: 1}\n", "Allowed here: sample_rate, min_pairs"),
        ("    stages: [{procent: 5}]\n", "Did you mean 'percent'?"),
        ("    metrics: {error: {slo: 1}}\n", "Allowed here: alpha, tolerance, margin_ratio"),
        ("    max_silence: 10\n", "a number and a unit"),
    ],
)
def test_a_mistake_in_a_capability_is_named(more: str, said: str) -> None:
    assert said in _fault(CAPABILITY + more)


COUNTED = CAPABILITY + "    prometheus: {successes: a, failures: b, cost: c}\n"


def test_with_counters_return_on_spend_is_left_out_unless_somebody_wants_it() -> None:
    found = parse_config(COUNTED).capabilities["llm.summarize"]
    assert found.metrics.roas is None
    assert found.metrics.cost is not None
    again = parse_config(COUNTED + "    metrics: {error: {alpha: 0.01}}\n")
    assert again.capabilities["llm.summarize"].metrics.roas is None
    # As a plan keeps it over a restart.
    written = found.model_dump_json()
    assert type(found).model_validate_json(written) == found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    metrics: {roas: {}}\n", "with prometheus, metrics.roas must be null: revenue comes"),
        ("    metrics: {roas: {}}\n", "To judge ROAS leave prometheus out"),
        ("    metrics: {cost: null}\n", "prometheus.cost is read for metrics.cost, which is null"),
        ("    unit: key\n", "with prometheus, unit must be request"),
        ("    metrics: [roas]\n", "metrics"),
    ],
)
def test_what_counters_cannot_judge_is_refused_with_why(more: str, said: str) -> None:
    assert said in _fault(COUNTED + more)


def test_the_flags_file_is_a_json_file_of_the_repository() -> None:
    assert parse_config("flags: {path: null}").flags.path is None
    assert "ends with .json" in _fault("flags: {path: flags.yml}")
    assert "inside the repository" in _fault("flags: {path: ../flags.json}")


def test_a_bare_off_is_the_word_it_looks_like() -> None:
    assert parse_config("triggers: {autonomy: off}").triggers.autonomy is Autonomy.OFF
