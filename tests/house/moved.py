"""Where does each paragraph of an older README stand now? `python -m tests.house.moved [COMMIT]`.

Text moves from README.md into docs/ unchanged. This reads README.md as it was at COMMIT, and looks
for each of its paragraphs, and each row of its tables, in README.md and docs/ as they are in the
work tree. Ends with 1 where one is nowhere.

What does not count: line breaks, the level of a heading, the number of a list's item, and from
where a relative link is written.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOVED = "docs/commands.md"
"""A file that the move made."""
_LINK = re.compile(r'(?P<before>\]\(|src=")(?P<target>[^)"\s]+)')
_FOLDED = re.compile(r"</?(?:details|summary)>")


def git(*arguments: str) -> str:
    """What git says in this repository."""
    order = ["git", *arguments]
    said = subprocess.run(order, cwd=ROOT, capture_output=True, check=True, text=True)  # noqa: S603 - our own words
    return said.stdout


def paragraphs(text: str, at: str = "README.md") -> Iterator[str]:
    """The paragraphs of a Markdown file, and the rows of its tables, as they can be compared.

    Args:
        text: the file.
        at: its path from the root: relative links are read from there.
    """
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines()]
        is_table = all(line.startswith("|") for line in lines)
        for part in lines if is_table else [" ".join(lines)]:
            bare = _FOLDED.sub("", part).strip()
            bare = re.sub(r"^(?:#+|\d+\.) +", "", bare)
            if plain := " ".join(_LINK.sub(lambda link: _from_root(link, at), bare).split()):
                yield plain


def _from_root(link: re.Match[str], at: str) -> str:
    target = link["target"]
    if re.match(r"[a-z]+:|#", target):
        return link[0]
    return link["before"] + posixpath.normpath(posixpath.join(posixpath.dirname(at), target))


def now() -> dict[str, str]:
    """Each paragraph of README.md and docs/ and the first file that has it."""
    found: dict[str, str] = {}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        at = path.relative_to(ROOT).as_posix()
        for paragraph in paragraphs(path.read_text("utf-8"), at):
            found.setdefault(paragraph, at)
    return found


def before_the_move() -> str:
    """The commit before README.md was divided; HEAD while that is not committed."""
    made = git("log", "--diff-filter=A", "--format=%H", "--", MOVED).split()
    return f"{made[-1]}~1" if made else "HEAD"


def main() -> int:
    """List where each paragraph stands, then how many stand where."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("commit", nargs="?", help="default: the commit before the move")
    commit = parser.parse_args().commit or before_the_move()
    here, counts = now(), Counter[str]()
    for paragraph in paragraphs(git("show", f"{commit}:README.md")):
        at = here.get(paragraph, "NOWHERE")
        counts[at] += 1
        print(f"{at:24} {paragraph[:70]}")  # noqa: T201
    print(f"\n{counts.total()} paragraphs and rows of README.md at {commit}:")  # noqa: T201
    for at, count in sorted(counts.items()):
        print(f"{count:5} {at}")  # noqa: T201
    return 1 if counts["NOWHERE"] else 0


if __name__ == "__main__":
    sys.exit(main())
