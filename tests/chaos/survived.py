"""Which instants of a play were survived already: a matrix that was stopped goes on there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ROOT / "var" / "chaos"


def code_as_it_is() -> str:
    """Name today's code and its tests, committed or not."""
    told = _git("rev-parse", "HEAD:bot", "HEAD:tests")
    told += _git("diff", "HEAD", "--", "bot", "tests")
    return hashlib.sha256(told).hexdigest()[:12]


class Survived:
    """The instants of one play, in a file of its own, as long as the code is the same."""

    def __init__(self, play: str) -> None:
        """Read what there is of today's code."""
        self._path, self._code = _KEPT / f"{play}.txt", code_as_it_is()
        known = self._path.read_text("utf-8").splitlines() if self._path.exists() else []
        self.points = set(known[1:]) if known[:1] == [self._code] else set[str]()

    def note(self, point: str) -> None:
        """Keep one more."""
        self.points.add(point)
        _KEPT.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join([self._code, *sorted(self.points)]) + "\n", "utf-8")


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603, S607
