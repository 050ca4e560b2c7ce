"""Regressions of public Python projects, found in their histories: ours beside `git bisect run`.

Each was reported and mended by its project; none was planted. The script downloads nothing; it
takes a folder that holds a full clone of each project under the project's name:

    python benchmarks/real_regressions.py --clones FOLDER
    python benchmarks/real_regressions.py --clones FOLDER --only pytest --kept FILE

First, each program as it is: both must name the commit that the project itself names. Then the
same disturbed at random 15% of the time (a failure, or a number up to twice as bad), repeated: how
often is each still right? A number is compared with a limit for `git bisect run`, halfway between
what one run at either end gave, as a person would set it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from simulated.kept import KeptResults, fingerprint

PYTHON = sys.executable
ROOT = Path(__file__).parent.parent
PROGRAMS = Path(__file__).parent / "regressed"
DISTURBED = PROGRAMS / "disturbed.py"


@dataclass(frozen=True)
class Number:
    """What a program measures, and which side of it is worse."""

    name: str
    worse: str


@dataclass(frozen=True)
class Regression:
    """One regression: where it lies, the program that shows it, and who is guilty.

    `culprit` is what the fix, its issue or its commit message names.
    """

    program: str
    project: str
    good: str
    bad: str
    culprit: str
    source: str
    number: Number | None = None


SECONDS, SCORE = Number("seconds", "higher"), Number("score", "lower")

REGRESSIONS = (
    Regression("click_stdin", "click", "8.1.0", "8.2.1", "80efdf6c", "issue 2939"),
    Regression("packaging_key", "packaging", "24.0", "26.0rc1", "39b0432b", "pull request 1048"),
    Regression("pytest_skip", "pytest", "7.4.0.dev0", "8.0.0", "15524f34", "issue 11907"),
    Regression("pytest_static", "pytest", "7.4.0.dev0", "8.1.0", "c8792bd0", "issue 12065"),
    Regression(
        "pyparsing_word", "pyparsing", "pyparsing_3.0.9", "pyparsing_3.1.0a1", "7ec34f49",
        "issue 502, bisected there",
    ),
    Regression(
        "pyparsing_skip_to", "pyparsing", "pyparsing_3.0.9", "54b39a5^", "9d789cbc", "issue 500"
    ),
    Regression("sqlparse_extract", "sqlparse", "0.3.0", "0.3.1", "7168e5ce", "issue 562"),
    Regression("werkzeug_scheme", "werkzeug", "2.2.0", "2.3.3", "c3b26d08", "issue 2691"),
    Regression(
        "werkzeug_upload", "werkzeug", "2.2.3", "2.3.0", "082e0e5b", "its fix, for issue 2658",
        SECONDS,
    ),
    Regression(
        "pytest_session", "pytest", "8.3.0", "8.4.0", "4b32e7cc", "issue 13482, bisected there",
        SECONDS,
    ),
    Regression(
        "pyparsing_import", "pyparsing", "29d2d8e", "pyparsing_3.0.0", "aab37b6",
        "issue 362, measured there", SECONDS,
    ),
    Regression(
        "charset_normalizer_score", "charset_normalizer", "3.0.0", "3.3.1", "66966f1", "issue 371",
        SCORE,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Whom a tool named (None: nobody), after how many trials and seconds, and all it said."""

    culprit: str | None
    trials: int
    seconds: float
    said: str


def ours(clone: Path, regression: Regression, rate: float, seed: int) -> Answer:
    """Run `python -m bot bisect` on the clone, which it does not touch."""
    number = regression.number
    asked = ["--numeric", f"{number.name}:{number.worse}"] if number else []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own words
            [
                PYTHON, "-m", "bot", "bisect", "--repo", str(clone), "--good", regression.good,
                "--bad", regression.bad, "--seed", str(seed), "--json", *asked,
                "--log", f"{folder}/log.jsonl", "--", *command(regression, rate),
            ],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
    if not done.stdout:
        raise SystemExit(f"bisect failed: {done.stderr}")
    verdict = json.loads(done.stdout)
    return Answer(verdict["culprit"], verdict["trials"], seconds, done.stderr + done.stdout)


def git_bisect(clone: Path, regression: Regression, rate: float, _seed: int) -> Answer:
    """Run `git bisect run` in a checkout of its own."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        git("clone", "--quiet", "--shared", "--no-checkout", str(clone), str(checkout))
        started = time.monotonic()
        number = regression.number
        limit = [_limit(checkout, regression, number, rate)] if number else []
        git("checkout", "--quiet", "--detach", regression.bad, cwd=checkout)
        git("bisect", "start", regression.bad, regression.good, cwd=checkout)
        said = git("bisect", "run", *command(regression, rate), *limit, cwd=checkout, check=False)
        seconds = time.monotonic() - started
        trials = said.count("running ") + 2 * len(limit)
        named = [line.split()[0] for line in said.splitlines() if "is the first bad" in line]
    return Answer(named[0] if named else None, trials, seconds, said)


def command(regression: Regression, rate: float) -> list[str]:
    """Give the command of a trial; a person who bisects a number by hand adds a limit to it."""
    number = [regression.number.name, regression.number.worse] if regression.number else []
    return [PYTHON, str(DISTURBED), str(PROGRAMS / f"{regression.program}.py"), str(rate), *number]


def _limit(checkout: Path, regression: Regression, number: Number, rate: float) -> str:
    """Measure once at either end, as a person would, and give the middle."""
    values = []
    for end in (regression.good, regression.bad):
        git("checkout", "--quiet", "--detach", end, cwd=checkout)
        result = checkout.parent / "result.json"
        subprocess.run(  # noqa: S603 - our own words
            command(regression, rate), cwd=checkout, check=True, capture_output=True,
            env={**os.environ, "PLAYBOOKS_RESULT": str(result), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        values.append(json.loads(result.read_text())["metrics"][number.name])
    return str(sum(values) / 2)


def git(*arguments: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own words
        ["git", *arguments],  # noqa: S607 - the machine's git
        cwd=cwd, capture_output=True, text=True, check=check,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout


@dataclass(frozen=True)
class Measurement:
    """Clones, results that are kept, and how often each is repeated."""

    clones: Path
    kept: KeptResults
    repeats: int
    rate: float

    def answers(
        self,
        tool: Callable[[Path, Regression, float, int], Answer],
        regression: Regression,
        rate: float,
        repeats: int,
    ) -> list[Answer]:
        """Give what a tool answered each time, asking only what is not kept yet."""
        answers = []
        for seed in range(repeats):
            part = f"{tool.__name__} {regression.program} {rate} {seed}"
            answer = self.kept.of(part)
            if answer is None:
                answer = asdict(tool(self.clones / regression.project, regression, rate, seed))
                self.kept.keep(part, answer)
            answers.append(Answer(**answer))
        return answers

    def as_they_are(self, regressions: Sequence[Regression]) -> None:
        """Print the table of the programs as they are."""
        print(f"{'program':26} {'commits':>7} {'guilty':9} {'git bisect':>20} {'ours':>20}  source")
        for regression in regressions:
            span = f"{regression.good}..{regression.bad}"
            clone = self.clones / regression.project
            commits = git("rev-list", "--count", span, cwd=clone).strip()
            cells = [
                f"{_right(answer, regression):>5}, {answer.trials:>3}, {answer.seconds:5.1f} s"
                for tool in (git_bisect, ours)
                for answer in self.answers(tool, regression, 0, 1)
            ]
            print(f"{regression.program:26} {commits:>7} {regression.culprit:9} "
                  f"{cells[0]:>20} {cells[1]:>20}  {regression.source}", flush=True)  # fmt: skip

    def disturbed(self, regressions: Sequence[Regression]) -> None:
        """Print the table of the disturbed programs, and what was said where ours was wrong."""
        print(f"\ndisturbed {self.rate:.0%} of the time, {self.repeats} times each: right, runs")
        for regression in regressions:
            scores = []
            for tool in (git_bisect, ours):
                answers = self.answers(tool, regression, self.rate, self.repeats)
                right = sum(_right(answer, regression) == "right" for answer in answers)
                trials = sum(answer.trials for answer in answers) / max(1, len(answers))
                scores.append(f"{right:>4} of {len(answers)}, {trials:5.1f}")
            print(f"{regression.program:26} {scores[0]:>22} {scores[1]:>22}", flush=True)
            for seed, answer in enumerate(answers):
                if _right(answer, regression) != "right":
                    print(f"  seed {seed}: {answer.said}", flush=True)


def _right(answer: Answer, regression: Regression) -> str:
    if answer.culprit is None:
        return "-"
    return "right" if answer.culprit.startswith(regression.culprit) else "WRONG"


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description="Real regressions, ours beside git bisect run.")
    parser.add_argument("--clones", type=Path, help="a folder with full clones, named as projects")
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.15, help="random disturbances")
    parser.add_argument("--kept", type=Path, help="keep results here, and go on from them")
    arguments = parser.parse_args()
    projects = sorted({regression.project for regression in REGRESSIONS})
    if arguments.clones is None:
        print(f"No clones given; name their folder: --clones FOLDER (with {', '.join(projects)})")
        return
    if not 0 <= arguments.rate < 1 or math.isnan(arguments.rate):
        raise SystemExit("--rate is a probability below 1")
    asked = [
        regression
        for regression in REGRESSIONS
        if arguments.only in regression.program and (arguments.clones / regression.project).is_dir()
    ]
    if not asked:
        raise SystemExit(f"no clone of {', '.join(projects)} in {arguments.clones}")
    code = fingerprint((ROOT / "bot" / "culprit", ROOT / "bot" / "local", PROGRAMS))
    measurement = Measurement(
        arguments.clones.resolve(), KeptResults(arguments.kept, code),
        arguments.repeats, arguments.rate,
    )  # fmt: skip
    measurement.as_they_are(asked)
    measurement.disturbed(asked)


if __name__ == "__main__":
    main()
