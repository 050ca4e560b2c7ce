"""Documents hold: what they name is there, their commands are understood, and they are short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.house.manual_check import Checked, check, everything, metrics, reference, report
from tests.house.manual_items import ROOT, Item, documents

CODE = ("bot", "demo", "fakegithub", "tests", "benchmarks")


def texts() -> Iterator[tuple[str, str]]:
    """Each document and each file of the code: its path from the root, and its text."""
    code = (path for room in CODE for path in sorted((ROOT / room).rglob("*.py")))
    for path in (*documents(), *code):
        if path != Path(__file__).resolve():
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


@pytest.fixture(scope="session")
def checked() -> list[Checked]:
    return everything()


def test_whatever_the_documents_name_is_there_and_every_command_is_understood(
    checked: list[Checked],
) -> None:
    assert [f"{e.item.where}: {e.item.text}: {e.fault}" for e in checked if e.fault] == []


def test_of_what_the_documents_name_less_than_a_twentieth_is_not_tried(
    checked: list[Checked],
) -> None:
    assert len(checked) > 1500
    untried = [each for each in checked if each.untried]
    assert len(untried) < len(checked) / 20, report(checked)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("command", "playbooks bisect --god v1 -- make"),
        ("command", "playbooks revoke ci"),
        ("command", "make nothing"),
        ("sh", "if then"),
        ("yaml", "checks: {smok: [unit]}\n"),
        ("yaml", "steps: [{uses: incident-playbooks/incident-playbooks@v1, with: {doo: bisect}}]"),
        ("json", '{"uptime": {"id": "/monitor/id"}}'),
        ("python", "from bot.config import nothing"),
        ("python", "x = ("),
        ("link", "docs/nowhere.md"),
        ("link", "docs/data.md#nowhere"),
        ("link", "https://example.org/unread"),
        ("span", "bot/gone.py"),
        ("span", "tests/test_config.py::test_gone"),
        ("span", "playbooks_gone_total"),
        ("span", "PLAYBOOKS_GONE"),
        ("span", "--gone"),
        ("span", "POST /incidents/gone"),
        ("span", "/bisect GOOD..BAD chek NAME"),
        ("span", "/revert soon"),
        ("span", "founder.persons"),
        ("span", '{"pull_request": 12, "raeson": "…"}'),
        ("span", "GoneClass"),
        ("ruby", "puts 1"),
    ],
)  # fmt: skip
def test_a_document_that_is_wrong_is_found(kind: str, text: str) -> None:
    assert check(Item("README.md:1", kind, text)).fault


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


def test_the_table_of_metrics_says_what_the_code_publishes() -> None:
    """What `/metrics` itself says is held to that table by tests/deploy/test_dashboard.py."""
    row = re.compile(r"^\| `(playbooks_\w+)` \| (\w+) \| ?([^|]*?) ?\| (.+) \|$", re.MULTILINE)
    table = row.findall((ROOT / "docs/operating.md").read_text("utf-8"))
    made = [(m.name, m.type, ", ".join(m.labels), m.says) for m in metrics()]
    assert [each for each in table if each[0] != "playbooks_build_info"] == [
        each for each in made if each[0] != "playbooks_build_info"
    ]


def test_whatever_may_be_configured_or_set_says_what_it_is() -> None:
    """What the reference says of a key or a variable is what the code says of it."""
    mute = re.compile(r"^\| `(\w+)` \|.*\| +\|$", re.MULTILINE)
    pages = reference.pages()
    assert {name: mute.findall(pages[name]) for name in ("configuration", "settings")} == {
        "configuration": [],
        "settings": [],
    }
