"""What exit statuses and result files mean."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit.evidence import TrialOutcome
from bot.trials.outcome import (
    CommandNotFoundError,
    Judgement,
    ResultFileError,
    judge,
    read_result,
    with_result,
)

FAILED = Judgement(TrialOutcome.FAIL, "exit status 1")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0, TrialOutcome.PASS),
        (1, TrialOutcome.FAIL),
        (124, TrialOutcome.FAIL),
        (125, TrialOutcome.UNTESTABLE),
        (132, TrialOutcome.FAIL),
        (134, TrialOutcome.FAIL),
        (135, TrialOutcome.FAIL),
        (136, TrialOutcome.FAIL),
        (137, TrialOutcome.INFRA),
        (139, TrialOutcome.FAIL),
        (143, TrialOutcome.INFRA),
        *((status, TrialOutcome.FAIL) for status in (128, 129, 130, 131, 133, 138, 140, 141, 142)),
        *((status, TrialOutcome.FAIL) for status in (144, 193, 255)),
    ],
)
def test_an_exit_status_has_one_meaning(status: int, outcome: TrialOutcome) -> None:
    assert judge(status).outcome is outcome


@pytest.mark.parametrize("status", [126, 127])
def test_a_missing_command_stops_everything(status: int) -> None:
    # In the terminal view that is the folder a person stands in, which need not be the root.
    with pytest.raises(CommandNotFoundError, match="start in the folder that it runs in"):
        judge(status)


@given(st.integers(0, 255).filter(lambda status: status not in (126, 127)))
def test_only_zero_passes(status: int) -> None:
    assert (judge(status).outcome is TrialOutcome.PASS) == (status == 0)


def test_a_result_file_names_the_failure_and_gives_numbers(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text('{"fingerprint": ["test_b", "test_a"], "metrics": {"accuracy": 0.5}}')
    judged = with_result(FAILED, file)
    assert judged.fingerprint == frozenset({"test_a", "test_b"})
    assert judged.metrics == {"accuracy": 0.5}


def test_one_string_is_a_fingerprint_too(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text('{"fingerprint": "test_a"}')
    assert with_result(FAILED, file).fingerprint == frozenset({"test_a"})


def test_a_byte_order_mark_as_windows_shells_write_it_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text('{"metrics": {"accuracy": 0.5}}', encoding="utf-8-sig")
    assert with_result(FAILED, file).metrics == {"accuracy": 0.5}


def test_no_result_file_changes_nothing(tmp_path: Path) -> None:
    assert with_result(FAILED, tmp_path / "none") is FAILED


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"metrics": {"x": NaN}}',
        '{"metrics": {"x": 1e999}}',
        '{"metrics": {"x": "fast"}}',
        '{"verdict": "pass"}',
        '{"fingerprint": 3}',
        " " * ((1 << 20) + 1),
    ],
)
def test_an_invalid_result_makes_the_commit_untestable(tmp_path: Path, content: str) -> None:
    file = tmp_path / "result.json"
    file.write_text(content)
    judged = with_result(FAILED, file)
    assert judged.outcome is TrialOutcome.UNTESTABLE
    assert "$PLAYBOOKS_RESULT" in judged.reason


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"fingerprint": "secret"}')
    (tmp_path / "result.json").symlink_to(secret)
    with pytest.raises(ResultFileError):
        read_result(tmp_path / "result.json")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(ResultFileError, match="regular"):
        read_result(tmp_path / "result.json")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ResultFileError):
        read_result(tmp_path / "result.json")
