"""The README sends its readers to places that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_where_things_are_names_only_what_is_there() -> None:
    _, map_of_it = (ROOT / "README.md").read_text(encoding="utf-8").split("## Where things are")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?|[a-z_]+\.py)`", map_of_it)
    lost = [path for path in named if not any((at / path).exists() for at in (ROOT, ROOT / "bot"))]
    assert named
    assert lost == []
