from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PASSING = """
from fakegithub.contract.description import Violation
from fakegithub.contract.openapi import PROCESS


def test_one():
    PROCESS.add([])


def test_two():
    PROCESS.add([Violation("GET /x → 200", "response body", "wrong")])
"""


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "1"]], ids=["alone", "xdist"])
def test_a_violation_fails_a_run_whose_tests_all_pass(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(PASSING, encoding="utf-8")
    # This test may itself run inside a worker, whose variables would confuse the inner run.
    outer = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(  # noqa: S603 - a list argv
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.plugins.openapi_tally",
         "-c", os.devnull, f"--rootdir={tmp_path}", *workers, str(tmp_path)],
        cwd=ROOT, env=outer | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "2 passed" in done.stdout
    assert "2 requests checked, 1 violation" in done.stdout
    assert "GET /x → 200: response body: wrong" in done.stdout
    assert done.returncode == 1
