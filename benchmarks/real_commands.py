"""Regressions of public projects in C, JavaScript and Python, searched as their developers would.

Each was reported and mended by its project; none was planted. The commands
are a developer's: they need what is installed in the checkout, a test that is not committed yet, a
cache in the home, a build. `git bisect run` and `python -m bot bisect` are given the same.

The script takes clones as arguments, each with its dependencies installed, and downloads nothing:

    click: python -m venv .venv && .venv/bin/pip install -e . pytest
    qs:    npm install side-channel es-define-property tape
    cjson: nothing; jq: nothing but autoconf, automake and libtool on the machine

    python benchmarks/real_commands.py --click PATH --qs PATH --cjson PATH --jq PATH

`git bisect run` checks out commits in those clones and goes back afterwards. The second table is of
a good end that is not good and of a program that is missing: what does each tool say?
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SEED = 0


@dataclass(frozen=True)
class Regression:
    """One regression: where it lies, how it is shown, and who is guilty.

    Attributes:
        project: its name.
        language: what it is written in.
        good, bad: the range.
        culprit: the commit that the fix names, unless the command shows another.
        mended: the fix.
        about: what went wrong.
        files: files the developer has just written, not committed.
        command: the command.
        build: what is run before it, where the two are apart.
    """

    project: str
    language: str
    good: str
    bad: str
    culprit: str
    mended: str
    about: str
    files: Mapping[str, str]
    command: tuple[str, ...]
    build: str | None = None


REGRESSIONS = (
    Regression(
        "click", "Python", "8.1.0", "8.2.1", "80efdf6c", "2a0e3ba9",
        "a File argument cannot read standard input to its end in CliRunner",
        {
            "tests/test_whole_input.py": """import click
from click.testing import CliRunner


def test_standard_input_is_read_to_its_end():
    @click.command()
    @click.argument("source", type=click.File())
    def count(source):
        click.echo(len(list(source)))

    result = CliRunner().invoke(count, ["-"], input="one\\ntwo\\n")
    assert (result.exit_code, result.output) == (0, "2\\n")
""",
        },
        (".venv/bin/python", "-m", "pytest", "-q", "tests/test_whole_input.py"),
    ),
    Regression(
        "cjson", "C", "v1.0.0", "ee0c920d^", "b182ced1", "ee0c920d",
        "a \\\\u sequence in a string is refused",
        {
            "unicode.c": """#include <string.h>
#include "cJSON.h"

int main(void)
{
    cJSON *item = cJSON_Parse("\\"\\\\u00fc\\"");
    return item && !strcmp(item->valuestring, "\\xc3\\xbc") ? 0 : 1;
}
""",
        },
        ("sh", "-c", "cc -I. -o unicode unicode.c cJSON.c -lm || exit 125; ./unicode"),
    ),
    Regression(
        # The fix names 04eac8d8, which brought the lines that throw; they are reached, and the
        # command fails, from 4c4b23d2 on.
        "qs", "JavaScript", "v6.9.0", "21f80b33^", "4c4b23d2", "21f80b33",
        "stringify throws for a null in a list with arrayFormat comma and encodeValuesOnly",
        {
            "test/comma-null.js": """'use strict';

var test = require('tape');
var qs = require('../');

test('null in a list joined by commas', function (t) {
    t.doesNotThrow(function () {
        qs.stringify({ a: [null, 'b'] }, { arrayFormat: 'comma', encodeValuesOnly: true });
    });
    t.end();
});
""",
        },
        ("node_modules/.bin/tape", "test/comma-null.js"),
    ),
    Regression(
        "jq", "C, built by autotools", "8c61ebad", "e615bdc4", "6306ac89", "88b45771",
        "a string times a number between 0 and 1 is null",
        {},
        ("sh", "-c", """test "$(./jq -n '"ab" * 0.5')" = '"ab"'"""),
        "sh -c 'autoreconf -i && ./configure --disable-docs --disable-maintainer-mode "
        "--disable-shared --without-oniguruma CFLAGS=-O0 && make'",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a tool answered.

    Attributes:
        verdict: in one word, by its own words.
        culprit: whom it named, if anybody.
        trials: how often the command was run.
        seconds: how long it took.
        said: the last of what it said.
    """

    verdict: str
    culprit: str | None
    trials: int
    seconds: float
    said: str


@contextmanager
def written(clone: Path, files: Mapping[str, str]) -> Iterator[None]:
    """Have the developer's new files in the checkout."""
    for path, text in files.items():
        (clone / path).write_text(text)
    try:
        yield
    finally:
        for path in files:
            (clone / path).unlink(missing_ok=True)


def git(clone: Path, *arguments: str, check: bool = True) -> str:
    """Run git in a clone and return all that it printed."""
    done = subprocess.run(  # noqa: S603 - our own words
        ["git", *arguments],  # noqa: S607 - the machine's git
        cwd=clone, text=True, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def git_bisect(clone: Path, of: Regression, good: str, command: Sequence[str]) -> Answer:
    """Run `git bisect run` in the clone, and go back."""
    if of.build:
        command = ("sh", "-c", f"{of.build} || exit 125; {shlex.join(command)}")
    git(clone, "checkout", "--quiet", "--force", "--detach", of.bad)
    started = time.monotonic()
    git(clone, "bisect", "start", of.bad, good)
    said = git(clone, "bisect", "run", *command, check=False)
    seconds = time.monotonic() - started
    git(clone, "bisect", "reset")
    lines = [line for line in said.splitlines() if line.strip()]
    named = [line.split()[0] for line in lines if line.endswith("is the first bad commit")]
    failed = [line for line in lines if "bisect run failed" in line or line.startswith("error:")]
    trials = sum(line.startswith("running ") for line in lines)
    words = f"{named[0][:12]} is the first bad commit" if named else " ".join(failed or lines[-2:])
    verdict = "culprit" if named else "error"
    return Answer(verdict, named[0] if named else None, trials, seconds, words)


def ours(clone: Path, of: Regression, good: str, command: Sequence[str]) -> Answer:
    """Run `python -m bot bisect` as typed in the clone."""
    with tempfile.TemporaryDirectory() as folder:
        build = ["--build", of.build] if of.build else []
        log = f"{folder}/log.jsonl"
        asked = ["--good", good, "--bad", of.bad, "--seed", str(SEED), "--log", log, *build]
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-m", "bot", "bisect", *asked, "--", *command],
            cwd=clone, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        seconds = time.monotonic() - started
        trials = done.stderr.count("\ntrial ") + done.stderr.count("\ncheck ")
        trials += done.stderr.startswith("trial ")
        verdict, culprit = "error", None
        if done.returncode != 1:
            replayed = subprocess.run(  # noqa: S603 - our own words
                [sys.executable, "-m", "bot", "bisect", "--replay", log, "--json"],
                cwd=clone, capture_output=True, text=True, check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            answer = json.loads(replayed.stdout)
            verdict, culprit, trials = answer["status"], answer["culprit"], answer["trials"]
    return Answer(verdict, culprit, trials, seconds, (done.stdout or done.stderr).strip())


def row(name: str, of: Regression, answer: Answer, count: str) -> str:
    """One line of the table."""
    right = "right" if (answer.culprit or "").startswith(of.culprit) else "WRONG"
    shown = (answer.culprit or "-")[:12]
    return (
        f"{of.project:6} {of.language:21} {count:>7} {name:10} {answer.verdict:12} {shown:12} "
        f"{right:5} {answer.trials:>6} {answer.seconds:>8.1f}"
    )


def show(clones: Mapping[str, Path]) -> None:
    """Print both tables, and the words of each tool wherever it did not find the culprit."""
    print(f"seed {SEED}")
    print(f"{'':6} {'':21} {'commits':>7} {'':10} {'verdict':12} {'named':12} {'':5} "
          f"{'trials':>6} {'seconds':>8}")  # fmt: skip
    for of in REGRESSIONS:
        if (clone := clones.get(of.project)) is None:
            continue
        git(clone, "checkout", "--quiet", "--force", "--detach", of.bad)
        count = git(clone, "rev-list", "--count", f"{of.good}..{of.bad}").strip()
        with written(clone, of.files):
            for name, tool in (("git bisect", git_bisect), ("ours", ours)):
                answer = tool(clone, of, of.good, of.command)
                print(row(name, of, answer, count), flush=True)
                if not (answer.culprit or "").startswith(of.culprit):
                    print(f"    {answer.said}", flush=True)
    print("\nwhere the good end is not good, and where the program is missing")
    for of in REGRESSIONS:
        if of.build or (clone := clones.get(of.project)) is None:
            continue
        git(clone, "checkout", "--quiet", "--force", "--detach", of.bad)
        mistakes = ((of.culprit, of.command), (of.good, ("./run-tests-that-are-not-there",)))
        with written(clone, of.files):
            for good, command in mistakes:
                print(f"\n{of.project}: --good {good} -- {shlex.join(command)}")
                for name, tool in (("git bisect", git_bisect), ("ours", ours)):
                    answer = tool(clone, of, good, command)
                    print(f"  {name}: {answer.verdict} after {answer.trials} trials in "
                          f"{answer.seconds:.1f} s")  # fmt: skip
                    print("\n".join(f"    {line}" for line in answer.said.splitlines()), flush=True)


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description="Real regressions by their developers' commands.")
    for of in REGRESSIONS:
        parser.add_argument(f"--{of.project}", type=Path, help=f"a full clone of {of.project}")
    arguments = vars(parser.parse_args())
    clones = {project: path.resolve() for project, path in arguments.items() if path}
    if not clones:
        print("No clones given; name them: --click PATH --qs PATH --cjson PATH --jq PATH")
        return
    show(clones)


if __name__ == "__main__":
    main()
