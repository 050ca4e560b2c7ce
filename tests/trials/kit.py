"""What the tests of trials share: a repository to make, tight limits, a view by its name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.trials.limits import TrialLimits
from bot.trials.sandbox import (
    Bubblewrap,
    HostView,
    SandboxError,
    WritableFolders,
    require,
    server_view,
    terminal_view,
)

MIB = 1 << 20
TIGHT = TrialLimits(
    wall_seconds=20, memory_bytes=256 * MIB, disk_bytes=64 * MIB, processes=60, output_bytes=8 * MIB
)


class Repository:
    """A git repository made by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - the tests' own words
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments],  # noqa: S607 - the machine's git
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str] | None = None, message: str = "change") -> str:
        for name, content in (files or {}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def _refusal() -> str | None:
    """Say why bubblewrap cannot confine anything on this machine, if so."""
    try:
        folder = Path("/")
        require(Bubblewrap(server_view({})), WritableFolders(folder, folder, folder))
    except SandboxError as error:
        return str(error)
    return None


REFUSAL = _refusal()
needs_bubblewrap = pytest.mark.skipif(REFUSAL is not None, reason=REFUSAL or "")


def view_named(name: str, home: Path) -> HostView:
    if name == "server":
        return server_view(os.environ)
    return terminal_view({**os.environ, "HOME": str(home)}, home)
