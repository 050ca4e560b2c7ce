"""Words that people read: no line of them is one that a native reader stumbles over.

`packaging/manual/words.py` reads every text from the code, and the manual shows them on one page.
Each rule has its reason, and the few places where the word is right.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cache

import pytest

from tests.house.manual_items import ROOT, documents

sys.path.insert(0, str(ROOT / "packaging/manual"))

import words  # type: ignore[import-not-found]

PLACES = ROOT / "docs/develop/texts.md"


@dataclass(frozen=True)
class Rule:
    """What is not written, what to write instead, and texts where it is right all the same."""

    pattern: str
    instead: str
    right: tuple[str, ...] = ()


_SAID = {
    "a doubled word": Rule(r"(?i)\b([A-Za-z]{2,}) \1\b", "the word once", ("/revert SHA SHA",)),
    "an opening that says no state": Rule(
        r"(?i)^\W*nothing (?:to do|to revert|to search)\b", "Done:, In progress:, Stopped:, Merged:"
    ),
    "an opening by a gerund": Rule(
        r"^(?!Everything|Something|Nothing|Missing|Warning)[A-Z][a-z]{2,}ing\b",
        "what is so, or what to do",
        # Subjects of a sentence that names what they need.
        ("Resolving an incident by", "Taking up an incident by", "Logging in: "),
    ),
    "a word of another century": Rule(
        r"(?i)\b(?:mend(?:s|ed|ing)?|hence|thus|whilst|shall|hitherto|nigh)\b",
        "fix, so, while, will",
    ),
    "an archaic adverb": Rule(
        r"(?i)\b(?:anew|afresh|therefor|thereof|wherein|whereof|lest)\b", "again, of it, in which"
    ),
    "a promise without will": Rule(
        r"\bI (?:carry on|never|ask you|notice|merge it as soon|keep looking)\b",
        "I will, I won't",
    ),
    "a word that adds nothing": Rule(
        r"(?i)\b(?:simply|obviously|basically|very|please note|of course|in order to)\b", "nothing"
    ),
    "a plea": Rule(r"\b[Pp]lease\b", "the imperative", ("please report it",)),
    "an abbreviation of Latin": Rule(r"(?i)\b(?:e\.g\.|i\.e\.|etc\.|resp\.)", "such as, that is"),
    "a false friend": Rule(
        r"(?i)\b(?:informations|advices|eventual|actual|until the latest|the same like)\b",
        "its English",
    ),
    "a shout": Rule(r"\w!(?:\s|$)", "a full stop", ("GitHub!",)),
}
"""Of every text that the product says."""

_WRITTEN = (
    "an archaic adverb",
    "a word of another century",
    "a doubled word",
    "an abbreviation of Latin",
    "a false friend",
    "a word that adds nothing",
)
"""Of documents too."""

_MISSPELT = re.compile(
    r"\b(?:teh|recieve[ds]?|seperate(?:ly)?|occured|occurence|succesful(?:ly)?|neccessary|wich|"
    r"existant|dependan(?:t|cy)|adress(?:es)?|lenght|thier|untill|begining|refered|prefered|"
    r"priviledge|publically|accomodate|acknowledgement|commited|mergable|overriden|transfered|"
    r"arbitary|consistant|definately|enviroment|explicitely|garantee|harmfull|independant|"
    r"maintainance|occassion|paramter|persistant|reccomend|responsability|similiar|suceed|"
    r"supress|thresold|unkown|useable|writting)\b",
    re.IGNORECASE,
)
"""What codespell finds most often; CI runs codespell itself, which is none of our dependencies."""


@cache
def said() -> list[tuple[str, str]]:
    """Each text of the product: where it stands, and its words."""
    return [
        (f"{each.path}:{each.line}", each.words)
        for found in words.texts().values()
        for each in found
    ]


@cache
def written() -> list[tuple[str, str]]:
    """Each line of the documents outside code, links and tables of names."""
    fenced = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
    return [
        (f"{path.relative_to(ROOT)}", re.sub(r"`[^`]*`", "x", line))
        for path in documents()
        for line in fenced.sub("", path.read_text("utf-8")).splitlines()
    ]


def broken(rule: Rule, texts: list[tuple[str, str]]) -> list[str]:
    """The texts that break a rule, with what to write instead."""
    pattern = re.compile(rule.pattern)
    return [
        f"{where}: {text[:120]!r}: write {rule.instead}"
        for where, text in texts
        if pattern.search(text) and not any(right in text for right in rule.right)
    ]


def test_no_text_breaks_a_rule() -> None:
    assert [(name, found) for name in _SAID if (found := broken(_SAID[name], said()))] == []


def test_no_document_breaks_a_rule() -> None:
    assert [(name, found) for name in _WRITTEN if (found := broken(_SAID[name], written()))] == []


def test_nothing_is_misspelt_in_texts_documents_or_code() -> None:
    texts = [*said(), *written()]
    texts += [
        (path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
        for room in ("bot", "demo", "fakegithub", "packaging")
        for path in (ROOT / room).rglob("*.py")
    ]
    assert [(where, found[0]) for where, text in texts if (found := _MISSPELT.search(text))] == []


def test_the_page_of_every_text_has_them_all() -> None:
    shown = words.page()
    assert len(said()) > 2000
    assert shown.count("\n- ") == len(said())
    assert "Done: {done} ({commit linked})." in shown
    # Built, the manual lies among the cockpit's pages: its page of every text holds no page of it.
    assert "bot/cockpit/manual" not in shown


def test_the_page_that_says_where_each_text_stands_is_of_today() -> None:
    page = words.places()
    if os.environ.get("PLAYBOOKS_TEXTS") == "write":
        PLACES.write_text(page)
    assert PLACES.read_text() == page, "PLAYBOOKS_TEXTS=write writes it"


def test_transcripts_in_the_documents_are_of_words_that_are_said_today() -> None:
    """`make pictures` writes them anew."""
    heads = [
        re.escape(re.split(r"[{<`#]", text)[0].strip("* "))
        for _, text in said()
        if text[0].isupper()
    ]
    known = re.compile("|".join(sorted({each for each in heads if len(each) > 4}, key=len)))
    lines = [
        (path.name, line)
        for path in documents()
        for block in re.findall(
            r"<!-- transcript: \w+ -->\n\n```text\n(.*?)```", path.read_text(), re.S
        )
        for line in block.splitlines()
    ]
    told = [(name, found[1]) for name, line in lines
            if (found := re.match(r"bot +on #\d+: (?:@\w+ |`\w+`: )?([^`@].+)", line))]  # fmt: skip
    assert len(told) > 10
    assert [each for each in told if not known.match(each[1])] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a doubled word", "It is is over."),
        ("an opening that says no state", "Nothing to do: #4 is reverted."),
        ("an opening that says no state", "**Nothing to do for you yet.**"),
        ("an opening by a gerund", "Verifying the hotfix"),
        ("a word of another century", "Mend the cause."),
        ("a promise without will", "I carry on by myself."),
        ("a plea", "Please try again."),
        ("an archaic adverb", "`/retry` begins anew."),
        ("a shout", "It is done!"),
    ],
)
def test_a_text_that_breaks_a_rule_is_found(name: str, text: str) -> None:
    assert broken(_SAID[name], [("here", text)]) != []
