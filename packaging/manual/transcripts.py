"""Writes into the documents what the demo says: `python packaging/manual/transcripts.py [PLAY …]`.

A document has a line `<!-- transcript: PLAY -->` where it belongs; the block below it is written
again. Addresses and times are left out, since they are those of one machine; of many trials in a
row the first and the last are shown.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^ *\d+\.\d+s  (.*)$")
_BLOCK = re.compile(r"(<!-- transcript: (\w+) -->\n\n)```text\n.*?```", re.DOTALL)
_BEGINS = "Now something goes wrong:"
_SPAN = re.compile(r"\b\d+\.\d s\b")
_LONGEST = 110
_SAME = ("trial", "traffic", "checks")
"""What may come many times in a row."""


def documents() -> list[Path]:
    """Where transcripts stand."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def plays() -> set[str]:
    """The plays that documents show."""
    return {found[2] for path in documents() for found in _BLOCK.finditer(path.read_text("utf-8"))}


def transcript(play: str) -> str:
    """Play it to its end, and give what it said.

    Raises:
        subprocess.CalledProcessError: the play did not end as the specification says.
    """
    order = [sys.executable, "-m", "bot", "demo", "--play", play, "--exit"]
    # What goes wrong is said where it is seen: on standard error, which is not taken.
    said = subprocess.run(order, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - our own words
    told = [found[1].rstrip() for line in said.splitlines() if (found := _LINE.match(line))]
    return "\n".join(_shortened(without_beginning(told)))


def without_beginning(told: list[str]) -> list[str]:
    """What is worth reading: from where it becomes interesting, without times."""
    began = [number for number, line in enumerate(told, 1) if line.endswith(_BEGINS)]
    return [_SPAN.sub("… s", line) for line in told[began[0] if began else 0 :]]


def _shortened(lines: Iterable[str]) -> Iterator[str]:
    """Of lines of one kind in a row, the first and the last; each cut where it gets too wide."""
    row: list[str] = []
    for line in [*lines, ""]:
        kind = line.split(" ", 1)[0]
        if row and not row[0].startswith(f"{kind} "):
            yield row[0]
            if len(row) > 2:
                yield f"{row[0].split(' ', 1)[0]:<6} … {len(row) - 2} more"
            yield from row[1:][-1:]
            row = []
        line = line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"
        if kind in _SAME:
            row.append(line)
        elif line:
            yield line


def main(wanted: set[str]) -> None:
    """Write each transcript wherever it belongs, as soon as it was played."""
    for play in sorted(wanted or plays()):
        block = f"```text\n{transcript(play)}\n```"
        for path in documents():
            text = path.read_text("utf-8")
            new = _BLOCK.sub(
                lambda found, play=play, block=block: (
                    found[1] + block if found[2] == play else found[0]
                ),
                text,
            )
            if new != text:
                path.write_text(new, "utf-8")


if __name__ == "__main__":
    main({*sys.argv[1:]})
