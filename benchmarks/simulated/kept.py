"""Results of a long measurement, kept so that it goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def fingerprint(folders: Iterable[Path]) -> str:
    """Name the code in some folders: results of other code are not mixed with these."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


class KeptResults:
    """One JSON line for each part that was measured; without a file nothing is kept."""

    def __init__(self, path: Path | None, code: str) -> None:
        """Read what there is.

        Args:
            path: the file, made when the first part is there.
            code: `fingerprint` of what is measured; lines of other code are left alone.
        """
        self._path, self._code = path, code
        self._known: dict[str, Any] = {}
        lines = path.read_text().splitlines() if path and path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # cut off when it was stopped
                continue
            if entry["code"] == code:
                self._known[entry["part"]] = entry["result"]

    def of(self, part: str) -> Any | None:
        """Give a part's result, or None if it is not there."""
        return self._known.get(part)

    def keep(self, part: str, result: object) -> None:
        """Keep a part's result, which has to be JSON."""
        self._known[part] = result
        if self._path is not None:
            entry = {"code": self._code, "part": part, "result": result}
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
