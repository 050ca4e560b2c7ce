"""The map of the code sends its readers to places that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def is_there(path: str) -> bool:
    """Whether a path is there as it is written, in `bot`, or in the room of some playbook."""
    rooms = (ROOT, ROOT / "bot", *(ROOT / "bot/playbooks").iterdir())
    return any((room / path).exists() for room in rooms)


def test_the_architecture_names_only_what_is_there() -> None:
    map_of_it = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    a_path = r"`((?:[a-z_]+/)+[a-z_-]*(?:\.(?:py|md))?|[a-z_]+\.(?:py|toml))`"
    named = re.findall(a_path, map_of_it)
    assert len(named) > 50
    assert [path for path in named if not is_there(path)] == []
