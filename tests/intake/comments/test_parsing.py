"""What people write, and what we read in it."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.command_arguments import CommentPlace
from bot.intake.comment_parser import MOST_COMMANDS, Command, Mistake, parse
from bot.names import NUMERIC, typed_numeric
from bot.slash_commands import COMMANDS, ENTRIES
from bot.triggers import (
    ApproveRequest,
    BisectRequest,
    CancelRequest,
    CommitTarget,
    HelpRequest,
    PauseRequest,
    PullRequestTarget,
    RampRequest,
    RejectRequest,
    Request,
    RetryRequest,
    RevertRequest,
    RollbackRequest,
    RulingRequest,
    Severity,
    SeverityRequest,
    ShadowRequest,
    StatusRequest,
    UnpauseRequest,
)

HERE = CommentPlace("acme/app", "https://github.com/acme/app", 7)
SHA = "3f2a9c1d" * 5


def pr(number: int) -> PullRequestTarget:
    return PullRequestTarget(number=number)


def read(body: str) -> Command:
    (found,) = parse(body, HERE)
    assert isinstance(found, Command), found
    return found


def mistake(body: str) -> Mistake:
    (found,) = parse(body, HERE)
    assert isinstance(found, Mistake), found
    return found


def reverts(*targets: PullRequestTarget | CommitTarget, reason: str = "") -> RevertRequest:
    return RevertRequest(targets=targets or (pr(7),), reason=reason)


READ: list[tuple[str, Request]] = [
    ("/revert", reverts()),
    ("/REVERT", reverts()),
    ("/playbooks revert", reverts()),
    ("/Playbooks /Revert #12", reverts(pr(12))),
    ("/revert because it broke #12", reverts(reason="it broke #12")),
    ("/revert #12 Because: logins fail", reverts(pr(12), reason="logins fail")),
    ("/revert #12, #13 #12", reverts(pr(12), pr(13))),
    ("/revert Acme/App#12", reverts(pr(12))),
    ("/revert https://github.com/acme/app/pull/12/files#r1", reverts(pr(12))),
    ("/revert <https://github.com/acme/app/pull/12>", reverts(pr(12))),
    ("/revert `3F2A9C1`", reverts(CommitTarget(sha="3f2a9c1"))),
    ("/revert 1234567", reverts(CommitTarget(sha="1234567"))),
    (f"/revert https://github.com/acme/app/commit/{SHA}", reverts(CommitTarget(sha=SHA))),
    ("/bisect v1.4..main", BisectRequest(good="v1.4", bad="main")),
    ("/bisect ..main", BisectRequest(bad="main")),
    ("/bisect v1.4.. check unit", BisectRequest(good="v1.4", check="unit")),
    (
        "/bisect abc1234..def5678 check CI / unit tests (3.11) because flaky",
        BisectRequest(
            good="abc1234", bad="def5678", check="CI / unit tests (3.11)", reason="flaky"
        ),
    ),
    ('/bisect a..b check "unit tests"', BisectRequest(good="a", bad="b", check="unit tests")),
    ("/bisect a..b numeric latency", BisectRequest(good="a", bad="b", numeric="latency")),
    (
        "/bisect a..b Numeric latency:Higher because it is slow",
        BisectRequest(good="a", bad="b", numeric="latency:higher", reason="it is slow"),
    ),
    (
        "/bisect a..b numeric score:lower check CI / evals (3.11)",
        BisectRequest(good="a", bad="b", numeric="score:lower", check="CI / evals (3.11)"),
    ),
    (
        "/bisect a.. numeric `p95 latency`:higher, check bench",
        BisectRequest(good="a", numeric="p95 latency:higher", check="bench"),
    ),
    (
        '/bisect a..b numeric "p95 latency:higher"',
        BisectRequest(good="a", bad="b", numeric="p95 latency:higher"),
    ),
    (
        "/bisect `a..b` numeric `p95 latency`",
        BisectRequest(good="a", bad="b", numeric="p95 latency"),
    ),
    ("/bisect `a..b numeric p95`", BisectRequest(good="a", bad="b", numeric="p95")),
    (
        "/bisect a..b check bench numeric latency",
        BisectRequest(good="a", bad="b", check="bench numeric latency"),
    ),
    ("/skip 3F2A9C1", RulingRequest(command="skip", sha="3f2a9c1")),
    ("/good 3f2a9c1", RulingRequest(command="good", sha="3f2a9c1")),
    ("/bad 3f2a9c1", RulingRequest(command="bad", sha="3f2a9c1")),
    (
        "/shadow llm.summarize acme/model-2:beta",
        ShadowRequest(capability="llm.summarize", candidate="acme/model-2:beta"),
    ),
    ("/ramp llm.summarize", RampRequest(capability="llm.summarize")),
    ("/ramp llm.summarize 25%", RampRequest(capability="llm.summarize", stage=25)),
    ("/rollback llm because empty", RollbackRequest(capability="llm", reason="empty")),
    ("/pause because evals are red", PauseRequest(reason="evals are red")),
    ("/pause Self-Work because x", PauseRequest(reason="x")),
    ("/pause llm.summarize because x", PauseRequest(scope="llm.summarize", reason="x")),
    ("/unpause", UnpauseRequest()),
    ("/unpause llm because fixed", UnpauseRequest(scope="llm", reason="fixed")),
    ("/approve", ApproveRequest()),
    ("/approve 7K2M", ApproveRequest(approval="7k2m")),
    ("/reject 7k2m because no", RejectRequest(approval="7k2m", reason="no")),
    ("/retry", RetryRequest()),
    ("/cancel", CancelRequest()),
    ("/severity HIGH", SeverityRequest(severity=Severity.HIGH)),
    ("/status", StatusRequest()),
    ("/help me please", HelpRequest()),
    ("/playbooks", HelpRequest()),
]


@pytest.mark.parametrize(("body", "expected"), READ, ids=[body for body, _ in READ])
def test_it_is_read(body: str, expected: Request) -> None:
    assert read(body).request == expected


def test_a_name_of_nothing_names_no_check() -> None:
    assert "a name must follow" in mistake("/bisect a..b check ' '").message


def test_every_example_in_the_help_is_understood() -> None:
    for definition in ENTRIES:
        for example in definition.examples:
            assert read(example).name == definition.name


MISTAKES = [
    "/revert 12",
    "/revert PR12",
    "/revert #0",
    "/revert abc123",
    "/revert #12 and #13",
    "/revert other/app#12",
    "/revert https://github.com/other/app/pull/12",
    "/revert https://evil.example/acme/app/pull/12",
    "/revert https://github.com/acme/app/issues/12",
    "/revert " + " ".join(f"#{number}" for number in range(1, 23)),
    "/revert `code` @mona <b>",
    "/revert \u202e#12",
    "/bisect",
    "/bisect main",
    "/bisect a...b",
    "/bisect ..",
    "/bisect --exec..b",
    "/bisect a..b unit tests",
    "/bisect a..b check",
    "/bisect a..b numeric",
    "/bisect a..b numeric because it is slow",
    "/bisect a..b numeric p95 latency",
    "/bisect a..b numeric `p95 latency check unit",
    "/bisect a..b numeric latency: higher",
    "/bisect a..b numeric latency:slower",
    "/bisect a..b numeric :lower",
    "/bisect a..b numeric latency check",
    "/bisect a..b numeric " + "x" * 256,
    "/skip",
    "/skip main",
    "/good a b",
    "/shadow llm",
    "/shadow llm $(reboot)",
    "/ramp",
    "/ramp llm 30",
    "/rollback ../../etc",
    "/pause",
    "/pause self-work",
    "/unpause a b",
    "/approve a b",
    "/approve #12",
    "/retry now",
    "/cancel it",
    "/severity",
    "/severity hgih",
    "/revrt",
    "/revret #12",
    "/revert.",
    "/sever\u0131ty high",
    "/playbooks rewind",
    "/playbooks rever",
]


def test_mistakes_say_what_is_allowed(snapshot: Any) -> None:
    said = {body if len(body) < 80 else body[:79] + "…": mistake(body) for body in MISTAKES}
    assert {
        body: f"{each.message} [did you mean {each.did_you_mean}?]"
        if each.did_you_mean
        else each.message
        for body, each in said.items()
    } == snapshot


@pytest.mark.parametrize(
    "body",
    [
        "", "/", "//", "/ revert", "\\/revert", "/12", "/lgtm", "/hold", "/test all", "/retest",
        "/assign @mona", "/merge", "/rebase", "/label bug", "/ship", "/etc/passwd", "/usr",
        "/usr/bin/revert", "/revert/", "/help/", "/dev", "/home", "please /revert", "//revert",
        "/rewind", "/revertall", "/\u0455kip abc1234 \u0455", "\uff0frevert", "/re\u200bve\u200brt",
        "/re vert", "/statusquo",
    ],
)  # fmt: skip
def test_it_is_not_ours_and_stays_unanswered(body: str) -> None:
    assert [each for each in parse(body, HERE) if isinstance(each, Command)] == []
    if "\u0455" not in body:
        assert parse(body, HERE) == []


def test_a_letter_that_only_looks_like_ours_never_runs() -> None:
    # Kelvin sign, long s, dotless i: their lower or upper case would be k, s and i.
    for body in ("/s\u212aip abc1234", "/\u017fkip abc1234", "/sk\u0131p abc1234"):
        assert mistake(body).did_you_mean == "/skip"


def test_several_commands_keep_their_order_and_places() -> None:
    found = parse("/severity high\nhello\n> /revert\n\n/revret\n/revert #12\n", HERE)
    assert [(type(each), each.index, each.line) for each in found] == [
        (Command, 0, 1),
        (Mistake, 1, 5),
        (Command, 2, 6),
    ]


def test_an_eleventh_command_is_refused_with_the_reason(snapshot: Any) -> None:
    found = parse("/retry\n" * 500, HERE)
    assert len(found) == MOST_COMMANDS + 1
    assert all(isinstance(each, Command) for each in found[:-1])
    assert isinstance(found[-1], Mistake)
    assert found[-1].message == snapshot


def test_a_reason_becomes_one_clean_line_of_bounded_length() -> None:
    dirty = read("/revert because\t it \x00broke\u202e  all\u2028of\u200f it")
    assert dirty.request == reverts(reason="it broke all of it")
    long = read("/revert because " + "x" * 60_000).request
    assert isinstance(long, RevertRequest)
    assert len(long.reason) == 2_000


@given(
    st.text(max_size=400) | st.text(alphabet="/revtplaybooks #12`~<!->\n\t>be\u202e", max_size=400)
)
def test_any_text_is_read_without_an_error(body: str) -> None:
    for place, each in enumerate(parse(body, HERE)):
        assert each.index == place
        assert 1 <= each.line <= len(body) + 1
        if isinstance(each, Mistake):
            assert len(each.message) < 1_000


METRICS = st.text(
    st.characters(exclude_characters=":", exclude_categories=("C", "Z")) | st.just(" "),
    min_size=1,
    max_size=60,
).filter(lambda name: "because" not in name.lower() and name == " ".join(name.split()) != "")


@given(METRICS, st.sampled_from(["", ":lower", ":higher"]), st.sampled_from(["", "unit tests"]))
def test_every_metric_can_be_typed_whatever_its_name(name: str, worse: str, check: str) -> None:
    is_bare = " " not in name and name[0] not in "\"`'" and name[-1] != ","
    assume(is_bare or not set("\"`'") <= set(name))
    typed = f"/bisect a..b numeric {typed_numeric(name + worse)}"
    asked = read(f"{typed} check {check}" if check else typed).request
    assert asked == BisectRequest(good="a", bad="b", numeric=name + worse, check=check or None)


@given(st.text(alphabet="ab \"'`:,lowerhigh\u202e", max_size=40))
def test_whatever_follows_numeric_is_read_or_refused_by_the_same_rule_as_elsewhere(
    typed: str,
) -> None:
    for each in parse(f"/bisect a..b numeric {typed}", HERE):
        if isinstance(each, Command):
            assert isinstance(each.request, BisectRequest)
            assert re.fullmatch(NUMERIC, each.request.numeric or "")
        else:
            assert each.message.count("`") % 2 == 0


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.text(alphabet=st.characters(exclude_characters="\n\r"), max_size=80),
)
def test_whatever_is_quoted_never_runs(name: str, rest: str) -> None:
    line = f"/{name} {rest}"
    for body in (f"> {line}", f"    {line}", f"~~~\n{line}\n~~~", f"```\n{line}\n```"):
        assert parse(body, HERE) == []


@pytest.mark.parametrize(
    ("body", "runs"),
    [
        # The end of a fence stands at most three spaces further in than its beginning.
        ("```\n    ```\n/cancel\n```", False),
        ("   ```\n   ```\n/cancel", True),
        ("1. x\n   ```\n     ```\n/cancel", True),
        ("- ```\n  ```\n/cancel", True),
        ("  ```\n    ```\n/cancel\n```", False),
        # What a backslash stands before begins no code and no comment, and yet it ends them.
        ("\\` is a backtick\n/cancel\nand ` too", True),
        ("\\` and `code\n/cancel\n`", False),
        ("\\\\`code\n/cancel\n`", False),
        ("\\`` is one and `\n/cancel\n`", True),
        ("`code\\`\n/cancel\n`", True),
        ("x \\<!-- \n/cancel\n-->", True),
    ],
)
def test_where_code_ends_is_as_github_shows_it(body: str, *, runs: bool) -> None:
    assert bool(parse(body, HERE)) is runs


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=30))
def test_what_a_mistake_repeats_cannot_leave_its_code_span(word: str) -> None:
    for each in parse(f"/severity {word}", HERE):
        if isinstance(each, Mistake):
            assert each.message.count("`") % 2 == 0
            assert "\n" not in each.message


SHAPES = {
    "slashes": "/",
    "short lines": "/a\n",
    "commands": "/retry\n",
    "near misses": "/revrt\n",
    "one command, many words": "/revert " + "#1 ",
    "words": "because ",
    "backticks": "`",
    "backticks in pairs": "a `` b ",
    "backticks of growing runs": "",
    "open comments": "a <!-- ",
    "closed comments": "a <!-- --> ",
    "comment ends": "-->",
    "fences": "```\n",
    "open fences in lists": "- ```\n",
    "quotes": "> ",
    "deep quotes": ">",
    "raw blocks": "<pre>\n",
    "blanks": " ",
    "line ends": "\r",
    "null bytes": "/\x00\n",
    "marks": "\u202e/",
    "backslashes": "\\",
    "escaped": "\\`",
    "lists": "- ",
    "numbers": "1. ",
    "quotes that go on": "> a\nb\n",
    "quotes in lists": "- > a\n",
    "tags": "<details>",
    "tags nobody ends": "<a ",
    "lone tags": "<br>\n",
    "addresses": "](",
    "definitions": "[a]:\n",
}


def _text(shape: str, size: int) -> str:
    if shape == "backticks of growing runs":
        runs, length = [], 0
        while sum(map(len, runs)) < size:
            length += 1
            runs.append("`" * length + " ")
        return "".join(runs)[:size]
    unit = SHAPES[shape]
    return (unit * (size // len(unit) + 1))[:size]


def _work(body: str) -> int:
    """Count the lines of Python that run, whatever the machine's speed and load."""
    steps = 0

    def count(_frame: FrameType, _event: str, _arg: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        parse(body, HERE)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_text_is_at_most_twice_the_work(shape: str) -> None:
    half, whole = _work(_text(shape, 8_192)), _work(_text(shape, 16_384))
    assert whole <= 2.2 * half + 500, f"{half} steps became {whole}"
    parse(_text(shape, 65_536), HERE)
