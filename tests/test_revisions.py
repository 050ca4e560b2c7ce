"""What can name a commit: git itself is asked."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.command_arguments import CommentPlace
from bot.config import Config
from bot.github.models import CheckKind, CheckResult
from bot.intake.comment_parser import Command, parse
from bot.names import is_ref_name, is_revision, split_steps
from bot.playbooks.bisect.plan import which_check
from bot.playbooks.checks.results import meant
from bot.triggers import BisectRequest

HERE = CommentPlace("acme/shop", "https://github.example/acme/shop")
NAMES = st.text("ab9-._/@{}~^:?*[\\ \x7f,;<>`'\"#%&+=()|!$é日", min_size=1, max_size=8)
NEAR_NAMES = st.from_regex(r"[a-z@.]{1,3}(/|\.|\.lock|@|\{)?[a-z@./]{0,4}(\.lock)?", fullmatch=True)


def git_allows(name: str) -> bool:
    # A branch's name begins with no dash: `git check-ref-format --branch` would expand others.
    asked = ["git", "check-ref-format", f"refs/heads/{name}"]
    allowed = subprocess.run(asked, check=False).returncode == 0  # noqa: S603 - names as arguments
    return allowed and not name.startswith("-") and name != "@"


@settings(max_examples=300, deadline=None)
@given(st.one_of(NAMES, NEAR_NAMES))
def test_a_name_is_one_where_git_says_so(name: str) -> None:
    assert is_ref_name(name) == git_allows(name)


@pytest.mark.parametrize(
    "words",
    ["HEAD", "@", "HEAD~3", "v1^2~4", "v1^{commit}", "refs/tags/v1", "release@2", "fix/#12,(b)",
     "a" * 255],
)  # fmt: skip
def test_what_names_a_commit_is_a_revision(words: str) -> None:
    assert is_revision(words)
    [command] = parse(f"/bisect {words}..main", HERE)
    assert isinstance(command, Command)
    assert command.request == BisectRequest(good=words, bad="main")


@pytest.mark.parametrize(
    "words", ["", "~3", "main~x", "main@{1}", "main:file", "-x", "a b", "a.lock", "v1^{/fix}"]
)
def test_what_names_none_is_refused(words: str) -> None:
    assert not is_revision(words)


@settings(max_examples=300, deadline=None)
@given(st.one_of(NAMES, NEAR_NAMES).filter(is_ref_name), st.sampled_from(["", "~3", "^2", "~"]))
def test_every_name_can_be_typed_as_it_is(name: str, steps: str) -> None:
    for written in (f"/bisect {name}{steps}..main", f"/bisect v1..{name}{steps}"):
        [command] = parse(written, HERE)
        assert isinstance(command, Command), written
        assert isinstance(command.request, BisectRequest)
        ends = (command.request.good, command.request.bad)
        assert f"{name}{steps}" in ends
    assert split_steps(f"{name}{steps}") == (name, steps)


def test_a_name_that_was_parted_so_that_nobody_is_mentioned_is_read_whole() -> None:
    [command] = parse("/bisect v1..release@\u200b2", HERE)
    assert isinstance(command, Command)
    assert command.request == BisectRequest(good="v1", bad="release@2")


REPORTED = ["lint", "Lint", "test (ubuntu-latest, 3.11)", "test (ubuntu-latest, 3.12)", "build 🏗️",
            "fails because slow", "e2e / chrome", 'say "hi"', '"all"', "<b>slow</b>"]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("test (ubuntu-latest, 3.11)", "test (ubuntu-latest, 3.11)"),
        ("Test  (Ubuntu-latest, 3.11)", "test (ubuntu-latest, 3.11)"),
        ("CI / test (ubuntu-latest, 3.12) (pull_request)", "test (ubuntu-latest, 3.12)"),
        ("e2e / chrome", "e2e / chrome"),
        ("Nightly / e2e / chrome (schedule)", "e2e / chrome"),
        ("lint", "lint"),
        ("Lint", "Lint"),
        ("e2e / chrome.", "e2e / chrome"),
        ("build 🏗", "build 🏗️"),
        ("all", '"all"'),
        ("<b>Slow</b>", "<b>slow</b>"),
        ("te\u200bst (ubuntu-latest, 3.11)", "test (ubuntu-latest, 3.11)"),
    ],
)
def test_a_check_is_meant_as_github_shows_it(typed: str, name: str) -> None:
    assert meant(typed, REPORTED) == [name]


def test_what_stands_for_several_checks_or_for_none_is_told_apart() -> None:
    assert meant("LINT", REPORTED) == ["Lint", "lint"]
    assert meant("test", REPORTED) == []


@pytest.mark.parametrize(
    ("typed", "check", "reason"),
    [
        ("check test (ubuntu-latest, 3.11)", "test (ubuntu-latest, 3.11)", ""),
        ("check `test (ubuntu-latest, 3.11)`", "test (ubuntu-latest, 3.11)", ""),
        ('check say "hi"', 'say "hi"', ""),
        ("check <b>, bold", "<b>, bold", ""),
        ('check "all"', "all", ""),
        ("check <b>slow</b>", "<b>slow</b>", ""),
        ("check <slow>", "slow", ""),
        ('check `"one" or "two"`', '"one" or "two"', ""),
        ("check fails because slow", "fails", "slow"),
        ("check because", None, ""),
        ("check because it fails", "because it fails", "it fails"),
        ("check a\u200eb", "a\u200eb", ""),
    ],
)
def test_a_checks_name_is_the_rest_of_the_line(typed: str, check: str | None, reason: str) -> None:
    [command] = parse(f"/bisect v1..main {typed}", HERE)
    if check is None:
        assert not isinstance(command, Command)
        return
    assert isinstance(command, Command)
    assert isinstance(command.request, BisectRequest)
    assert (command.request.check, command.request.reason) == (check, reason)


@pytest.mark.parametrize("written", ["fails because slow", "`fails because slow`"])
def test_a_name_that_holds_the_word_because_is_read_whole(written: str) -> None:
    [command] = parse(f"/bisect v1..main check {written}", HERE)
    assert isinstance(command, Command)
    request = command.request
    assert isinstance(request, BisectRequest)
    results = [
        CheckResult(
            name=each, kind=CheckKind.CHECK_RUN, id=1, status="completed", conclusion="failure"
        )
        for each in REPORTED
    ]
    chosen = which_check(request.check, results, Config(), reason=request.reason)
    assert chosen == "fails because slow"
