"""A person at a terminal: a clone with a planted regression, and the command they type."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from bot.local.command import bisect_command
from bot.trials.limits import marked
from tests.trials.kit import Repository

PROGRAM = (sys.executable, "-m", "bot.local")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Said:
    """What the command answered."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> dict[str, Any]:
        assert self.out, self.err
        return json.loads(self.out)


class Person:
    """Types `bisect …` in a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self.work = home.parent / "work"
        self.work.mkdir()
        self.environment = {
            **os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"),
            "PYTHONPATH": str(ROOT), "TMPDIR": str(self.work),
        }  # fmt: skip

    def left_behind(self) -> list[str]:
        """Name what trials left: folders, and processes still at work in them."""
        return [
            *(path.name for path in self.work.iterdir()),
            *(str(pid) for pid in marked(f"TMPDIR={self.work}")),
        ]

    def start(self, folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start it as a process of its own, to be interrupted."""
        return subprocess.Popen(  # noqa: S603 - the test's own words
            [*PROGRAM, *map(str, arguments)],
            cwd=folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def bisect(self, folder: Path, *arguments: str | Path) -> Said:
        """Type it and wait. Less sure than by default unless the test says how sure: quicker."""
        options = [str(argument) for argument in arguments]
        if not {"--confidence", "--replay", "--resume"} & set(options):
            options = ["--confidence", "0.95", *options]
        with contextlib.chdir(folder):
            done = CliRunner().invoke(bisect_command, options, env=self.environment)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)


def history(repository: Repository, count: int, broken_from: int) -> list[str]:
    """Commit `count` times; from number `broken_from` on (from 0) `state` says bad."""
    return [
        repository.commit(
            {"number": str(number), "state": "bad" if number >= broken_from else "good"},
            f"change number {number}",
        )
        for number in range(count)
    ]
