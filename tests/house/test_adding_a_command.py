"""The diff in docs/develop/adding-a-command.md is all that a new slash command takes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "develop" / "adding-a-command.md"
SHARED = ("demo", "fakegithub", "pyproject.toml", ".cache")


def test_a_command_is_an_entry_a_handler_and_a_test(tmp_path: Path) -> None:
    (diff,) = re.findall(r"```diff\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(re.findall(r"^\+\+\+ ", diff, re.MULTILINE)) == 3
    for folder in ("bot", "tests"):
        # What is compiled already comes along; what another process is about to write does not.
        half_written = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=half_written)
    for shared in SHARED:
        (tmp_path / shared).symlink_to(ROOT / shared)
    here = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
    }
    here.pop("PYTEST_XDIST_WORKER", None)
    apply = ["git", "apply", "--unidiff-zero", "-"]
    subprocess.run(apply, cwd=tmp_path, env=here, input=diff, text=True, check=True)  # noqa: S603
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    played = [*pytest, "tests/playbooks/test_ping.py"]
    done = subprocess.run(played, cwd=tmp_path, env=here, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stdout[-3000:]
