"""Every fault of reading the configuration is said in words, with its line, in bounded time."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings

from bot.config import LARGEST_CONFIG, Config, InvalidConfig, parse_config, read_config_text
from tests.config_texts import sources

UTF_16 = "checks: {}\n".encode("utf-16")

FAULTS: list[tuple[str | bytes, str]] = [
    ("checks:\n  smoke: [2001-13-45]\n", "line 2: '2001-13-45' reads as a date, which nothing"),
    ("checks: {smoke: [2001-12-14]}", "line 1: '2001-12-14' reads as a date"),
    ("checks: {smoke: [2001-12-14t21:59:43.10-05:00]}", "reads as a date"),
    ("checks: {smoke: [0b_]}", "line 1: '0b_' reads as a number, but is none: put it in quotes"),
    ("caps: {reverts_a_day: 1:30}", "line 1: '1:30' reads as a number in base 60"),
    ("\ncaps: {reverts_a_day: " + "9" * 20_000 + "}", "line 2: '99999"),
    ("budgets: {b: {unit: usd, limit: .nan}}", "'.nan' is no finite number"),
    ("budgets: {b: {unit: usd, limit: -.inf}}", "'-.inf' is no finite number"),
    ("bisect: {confidence: 1.0e+999}", "is too large a number"),
    ("bisect: {confidence: 'nan'}", "'bisect.confidence': Input should be a finite number"),
    ("checks: &a\n  smoke: [x]\nadr: *a\n", "line 1: anchors and aliases are not allowed"),
    ("checks:\n  smoke: [*a]\n", "line 2: anchors and aliases are not allowed"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors and aliases are not allowed"),
    ("checks: {smoke: [!!str a]}", "line 1: tags are not allowed, found 'tag:yaml.org,2002:str'"),
    ("!!python/object/apply:os.system [true]", "tags are not allowed"),
    ("checks: !!set {a, b}", "tags are not allowed"),
    ("checks: !local {}", "tags are not allowed, found '!local'"),
    ("adr: {<<: {directory: a}}", "line 1: merge keys (<<) are not allowed"),
    ("adr: {}\nchecks: {}\nadr: {}\n", "line 3: 'adr' is there twice, first in line 1"),
    ("adr:\n  directory: a\n  'directory': b\n", "line 3: 'directory' is there twice, first in"),
    ("? [a, b]\n: c\n", "line 1: a key must be a word, not a list or mapping"),
    ("? {a: b}\n: c\n", "line 1: a key must be a word, not a list or mapping"),
    (".nan: 1\n.nan: 2\n", "line 2: '.nan' is there twice"),
    (".nan: 1\n", "line 1: '.nan' is not known. Allowed here: artifacts, adr, checks"),
    ("1: 2\n", "line 1: '1' is not known"),
    ("true: 2\n", "line 1: 'true' is not known"),
    ("? \n: 2\n", "line 1: '' is not known"),
    ("? " + "k" * 2000 + "\n: 2\n", "line 1: a key is longer than 256 characters"),
    ("adr: {directory: a\n---\n", "line 2: not valid YAML"),
    ("adr: {}\n---\nadr: {}\n", "line 2: a second document begins"),
    ("adr: {}\n\tchecks: {}\n", "not valid YAML"),
    ("[" * 5000, "line 1: nested too deeply: at most 20 levels"),
    ("a:\n" + "".join(" " * n + "-\n" for n in range(1, 200)), "line 21: nested too deeply"),
    ("checks: {smoke: [" + "a," * 12_000 + "]}", "more than 10,000 values"),
    ("adr: {}\nchecks: \0\n", "line 2: the character U+0000 is not allowed in YAML"),
    ("adr: {}\n\x1b[31m", "line 2: the character U+001B is not allowed"),
    ("adr: \ud800", "line 1: the character U+D800 is not allowed"),
    ('checks: {smoke: ["a\\0b"]}', "line 1: 'a�b' holds a character that nobody can see"),
    ('"a\\eb": 1', "line 1: the key 'a�b' holds a character that nobody can see"),
    (b"adr: {}\nchecks: \xff\n", "line 2: the byte 0xFF is not UTF-8; only UTF-8 is read"),
    (UTF_16, "line 1: it is written in UTF-16; only UTF-8 is read"),
    (UTF_16[2:], "line 1: the character U+0000 is not allowed"),
    ("#" * (LARGEST_CONFIG + 1), "is larger than 32 KiB"),
    (b"\xff" * (LARGEST_CONFIG + 1), "is larger than 32 KiB"),
    ("checks: {smoke: [3.11]}", "'checks.smoke.0': Input should be a valid string (put it in"),
    ("checks: {smoke: unit}", "'checks.smoke': must be a list, such as [one, another]."),
    ("adr: docs", "'adr': must hold keys with their values."),
    ("budgets: [a]", "'budgets': must hold keys with their values."),
    ("checks: {smoke: ['a', no]}", "'checks.smoke.1': Input should be a valid string (put it in"),
]


@pytest.mark.parametrize(("source", "said"), FAULTS, ids=lambda each: repr(each)[:50])
def test_a_fault_is_said_with_its_line_and_what_to_do(source: str | bytes, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(source)
    assert said in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_byte_order_mark_before_utf_8_does_no_harm() -> None:
    assert parse_config(b"\xef\xbb\xbfadr: {directory: a}\n").adr.directory == "a"


def test_at_most_twenty_faults_are_said_of_whatever_many_there_are() -> None:
    for text in (
        "".join(f"k{n}: 1\n" for n in range(3000)),
        "checks: {smoke: [" + "1," * 190 + "]}",
        "".join("adr: {}\n" for _ in range(3000)),
        "checks: {smoke: [" + "!x a," * 3000 + "]}",
        'checks: {smoke: ["\\e' + '", "\\e'.join("a" for _ in range(150)) + '"]}',
    ):
        with pytest.raises(InvalidConfig) as caught:
            parse_config(text)
        lines = str(caught.value).splitlines()
        assert 20 <= len(lines) <= 21
    assert lines[-1] == "… and 130 more."


def test_a_long_unknown_key_is_shown_in_short() -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config("k" * 250 + ": 1\n")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("checks: {smoke: [test (ubuntu-latest, py311)]}", '"test (ubuntu-latest, py311)"'),
        ("checks:\n  smoke: [a, test (x, y, z), b]\n", '"test (x, y, z)"'),
        ("bisect: {build: [compile (a (b, c), d)]}", '"compile (a (b, c), d)"'),
        ('checks: {smoke: [say "x" (a, b)]}', '"say \\"x\\" (a, b)"'),
    ],
)
def test_a_name_that_a_comma_cut_in_two_is_doubted_with_the_right_spelling(
    text: str, meant: str
) -> None:
    (doubt,) = read_config_text(text).doubts
    assert f"write it in quotes: {meant}" in doubt


def test_a_name_that_was_cut_into_a_word_and_a_number_is_named_with_the_fault() -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config("checks:\n  smoke: [test (ubuntu-latest, 3.11, x64)]\n")
    first, second = str(caught.value).splitlines()
    assert "line 2" in first
    assert 'write it in quotes: "test (ubuntu-latest, 3.11, x64)"' in first
    assert "'checks.smoke.1': Input should be a valid string" in second


@pytest.mark.parametrize(
    "text",
    [
        "checks: {smoke: ['test (ubuntu-latest, 3.11)', test (one), a]}",
        "checks:\n  smoke:\n  - test (ubuntu-latest, 3.11)\n",
        "checks: {smoke: [a (, b, c]}",
    ],
)
def test_nothing_else_is_doubted(text: str) -> None:
    assert read_config_text(text).doubts == ()


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(sources)
@example("checks: {smoke: [" + "(," * 9000 + "]}")
@example("".join(f"k{n}:\n" for n in range(5000)))
def test_whatever_it_holds_it_is_read_or_refused_in_few_words(source: str | bytes) -> None:
    fault = None
    try:
        config = parse_config(source)
    except InvalidConfig as invalid:
        fault = invalid
    if fault is None:
        written = config.model_dump(mode="json")
        assert Config.model_validate(written) == config
        return
    # What our own reading tripped over would be a fault of ours.
    assert fault.__cause__ is None
    assert 0 < len(str(fault).splitlines()) <= 21
    assert str(fault).encode()
