"""Documents lead somewhere: links, cited decisions, and a README that is short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("bot", "demo", "fakegithub", "tests", "benchmarks")
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r'\]\(([^)\s]+)\)|src="([^"]+)"')
_NOT_IN_A_SLUG = re.compile(r"[^\w\- ]")


def documents() -> list[Path]:
    """The Markdown files for people: of the root, and of docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def texts() -> Iterator[tuple[str, str]]:
    """Each document and each file of the code: its path from the root, and its text."""
    code = (path for room in CODE for path in sorted((ROOT / room).rglob("*.py")))
    for path in (*documents(), *code):
        if path != Path(__file__).resolve():
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def anchors(document: str) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown document."""
    headings = re.findall(r"^#+ +(.+)$", _FENCED.sub("", document), re.MULTILINE)
    return {_NOT_IN_A_SLUG.sub("", each.lower()).strip().replace(" ", "-") for each in headings}


def broken_links(path: Path) -> Iterator[str]:
    """The relative links of a document that lead nowhere."""
    for found in _LINK.finditer(_FENCED.sub("", path.read_text("utf-8"))):
        link = found[1] or found[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            yield f"{path.relative_to(ROOT)}: {link}"


def test_every_relative_link_leads_somewhere() -> None:
    assert [link for path in documents() for link in broken_links(path)] == []


def test_every_decision_that_is_cited_is_a_file() -> None:
    there = {path.name[:4] for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    cited = {
        f"{at}: {number}": number
        for at, text in texts()
        for number in re.findall(r"docs/decisions/(\d{4})\b", text)
    }
    assert len(cited) > 20
    assert [at for at, number in cited.items() if number not in there] == []


def test_no_decision_is_cited_by_a_number_alone() -> None:
    alone = re.compile(r"\bDecisions?,? \d")
    assert [at for at, text in texts() if alone.search(text)] == []


def test_the_index_of_decisions_names_each() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert set(re.findall(r"\]\(([0-9][^)]+)\)", index)) == files


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_the_glossary_is_in_alphabetical_order_and_has_each_word_once() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M)
    words = [row.strip("`").lower() for row in rows[1:]]
    assert [(one, two) for one, two in pairwise(words) if one >= two] == []
