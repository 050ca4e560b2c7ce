"""The pure parts of the bisect command, and its picture in a terminal."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.local.command import deletes, named_in, readable, resolved
from bot.local.messages import printable
from bot.local.session import thinned
from bot.local.view import spark
from tests.local.kit import Person, history
from tests.trials.kit import Repository


def test_of_many_releases_ever_older_ones_are_tried() -> None:
    history = [str(number) for number in range(100)]
    tagged = {str(number) for number in range(0, 100, 5)}
    assert thinned(history, tagged) == ["0", "5", "15", "35", "75"]
    assert thinned(history, set()) == []
    assert thinned(history, {"7"}) == ["7"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(1, 80))
def test_the_row_of_bars_fits(chances: list[float], width: int) -> None:
    assert len(spark(chances, width)) == min(width, len(chances))


def test_the_likeliest_commit_has_the_highest_bar() -> None:
    assert spark([0.0, 0.9, 0.1], 3) == " █▁"


@given(st.text(max_size=300))
def test_no_text_of_others_moves_the_cursor(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) <= 200


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("mine.sh", "tracked.sh", "python"):
        (tmp_path / name).write_text("")
    (tmp_path / "tests").mkdir()
    return tmp_path


def test_words_that_name_files_of_the_checkout_are_read_where_trials_start(here: Path) -> None:
    words = ["python", "mine.sh", "tracked.sh", "tests", "-x", "", "none"]
    assert resolved(words, here, here, "") == tuple(words)
    found = resolved(["./mine.sh", "mine.sh"], here, here, "tests")
    assert found == ("../mine.sh", "../mine.sh")


def test_outside_of_the_clone_every_file_is_the_persons(here: Path) -> None:
    found = resolved(["sh", "tracked.sh"], here, here / "tests", "")
    assert found == ("sh", str(here / "tracked.sh"))


def test_a_shells_text_of_any_length_names_the_files_in_it(here: Path) -> None:
    text = f"x='{'y' * 300}'; . ./mine.sh && rm -rf tests"
    assert resolved(["sh", "-c", text], here, here, "") == ("sh", "-c", text)
    assert named_in(["sh", "-c", text, "tests"], here, here) == ("mine.sh", "tests")
    assert named_in(["sh", "-c", text], here, here) == ("mine.sh",)


@pytest.mark.parametrize(
    ("text", "is_deleted"),
    [
        ("rm -rf node_modules && npm ci", True),
        ("rm -rf build packages/a/node_modules", True),
        ("rm -rf build; ls node_modules", False),
        ("rm -rf old_node_modules", False),
        ("npm test", False),
    ],
)
def test_a_command_that_makes_its_own_dependencies_is_seen(text: str, is_deleted: bool) -> None:
    assert deletes(["sh", "-c", text], "node_modules") is is_deleted
    assert deletes(text.split(), "node_modules") is is_deleted


def test_a_sandbox_shows_what_lies_beside_the_commands_files(here: Path) -> None:
    assert here in readable(["sh", str(here / "mine.sh"), "/no/such/file"])
    assert Path("/tmp") not in readable(["/tmp"])  # noqa: S108 - never shown whole


@pytest.mark.thorough
def test_in_a_terminal_a_picture_is_drawn_and_the_verdict_stays_apart(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 8, broken_from=5)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - the test's own words
        [
            sys.executable, "-m", "bot.local", "--good", commits[0], "--confidence", "0.9",
            "--json", "--", "grep", "-q", "good", "state",
        ],
        cwd=clone.folder, env={**person.environment, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE, stderr=theirs, text=True,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            drawn += chunk
    except OSError:  # what Linux answers once the other side is closed
        pass
    out, _ = process.communicate()
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert commits[5] in out
    assert out.count("\n") == 1
    assert "7 commits · " in text
    assert "change number 5" in text
    assert "old " in text
