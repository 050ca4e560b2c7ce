"""Regressions of public Python projects, found in their histories: ours beside `git bisect run`.

Each was reported and mended by its project; none was planted. The script takes clones as
arguments and downloads nothing:

    python benchmarks/real_regressions.py --click PATH --packaging PATH --pytest PATH

First, the command as it is: both must name the commit that the project's own fix names. Then the
same command made to fail at random 15% of the time, repeated: how often is each still right?
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable
ROOT = Path(__file__).parent.parent

FLAKY = """import os, runpy, sys
if int.from_bytes(os.urandom(4), "big") < float(sys.argv[2]) * 2**32:
    sys.exit("failed at random")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@dataclass(frozen=True)
class Regression:
    """One regression: where it lies, a program that shows it, and who is guilty.

    `culprit` is what the fix, its issue or its commit message names.
    """

    project: str
    good: str
    bad: str
    culprit: str
    about: str
    program: str


REGRESSIONS = (
    Regression(
        "click", "8.1.0", "8.2.1", "80efdf6c",
        "a File argument cannot read stdin to its end in CliRunner (issue 2939, merged as 262bdf0)",
        """import sys
sys.path.insert(0, "src")
import click
from click.testing import CliRunner

@click.command()
@click.argument("source", type=click.File())
def count(source):
    click.echo(len(list(source)))

result = CliRunner().invoke(count, ["-"], input="one\\ntwo\\n")
sys.exit(0 if (result.exit_code, result.output) == (0, "2\\n") else 1)
""",
    ),
    Regression(
        "packaging", "24.0", "26.0rc1", "39b0432b",
        "a subclass of _BaseVersion cannot set its own _key (pull request 1048)",
        """import sys
sys.path.insert(0, "src")
from packaging.version import _BaseVersion

class Legacy(_BaseVersion):
    def __init__(self, version):
        self._key = (-1, version)

try:
    sys.exit(0 if Legacy("a") < Legacy("b") else 1)
except AttributeError:
    sys.exit(1)
""",
    ),
    Regression(
        "pytest", "7.4.0.dev0", "8.0.0", "15524f34",
        "pytest.skip inside pytest.warns is swallowed (issue 11907)",
        """import sys, types
sys.path.insert(0, "src")
version = sys.modules["_pytest._version"] = types.ModuleType("made by setuptools-scm, elsewhere")
version.version, version.version_tuple = "0", (0,)
try:
    import pytest
except ImportError:
    sys.exit(125)

try:
    with pytest.warns(UserWarning):
        pytest.skip("not here")
except pytest.skip.Exception:
    sys.exit(0)
except BaseException:
    sys.exit(1)
sys.exit(1)
""",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Whom a tool named (None: nobody), after how many trials and seconds, and all it said."""

    culprit: str | None
    trials: int
    seconds: float
    said: str


def ours(clone: Path, regression: Regression, command: Sequence[str], seed: int) -> Answer:
    """Run `python -m bot bisect` on the clone, which it does not touch."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own words
            [
                PYTHON, "-m", "bot", "bisect", "--repo", str(clone), "--good", regression.good,
                "--bad", regression.bad, "--seed", str(seed), "--json",
                "--log", f"{folder}/log.jsonl", "--", *command,
            ],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
    if not done.stdout:
        raise SystemExit(f"bisect failed: {done.stderr}")
    verdict = json.loads(done.stdout)
    return Answer(verdict["culprit"], verdict["trials"], seconds, done.stderr + done.stdout)


def git_bisect(clone: Path, regression: Regression, command: Sequence[str]) -> Answer:
    """Run `git bisect run` in a checkout of its own."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        git("clone", "--quiet", "--shared", "--no-checkout", str(clone), str(checkout))
        git("checkout", "--quiet", "--detach", regression.bad, cwd=checkout)
        started = time.monotonic()
        git("bisect", "start", regression.bad, regression.good, cwd=checkout)
        said = git("bisect", "run", *command, cwd=checkout, check=False)
        seconds = time.monotonic() - started
        trials = said.count("running ")
        named = [line.split()[0] for line in said.splitlines() if "is the first bad" in line]
    return Answer(named[0] if named else None, trials, seconds, said)


def git(*arguments: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own words
        ["git", *arguments],  # noqa: S607 - the machine's git
        cwd=cwd, capture_output=True, text=True, check=check,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout


def show(clones: dict[str, Path], repeats: int, rate: float) -> None:
    """Print one table for the command as it is, and one for the flaky command."""
    with tempfile.TemporaryDirectory() as folder:
        flaky = Path(folder) / "flaky.py"
        flaky.write_text(FLAKY)
        known = []
        print(f"{'project':10} {'commits':>7} {'culprit':12} {'named by fix':12} "
              f"{'git bisect':>16} {'ours':>16}")  # fmt: skip
        for regression in REGRESSIONS:
            clone = clones.get(regression.project)
            if clone is None:
                continue
            program = Path(folder) / f"{regression.project}.py"
            program.write_text(regression.program)
            command = [PYTHON, str(program)]
            count = git("rev-list", "--count", f"{regression.good}..{regression.bad}", cwd=clone)
            theirs = git_bisect(clone, regression, command)
            mine = ours(clone, regression, command, seed=0)
            named = "yes" if (theirs.culprit or "").startswith(regression.culprit) else "NO"
            same = "same" if mine.culprit == theirs.culprit else "OTHER"
            print(f"{regression.project:10} {count.strip():>7} {(theirs.culprit or '-')[:12]:12} "
                  f"{named:12} {theirs.trials:>4} in {theirs.seconds:5.1f} s "
                  f"{same:>5} {mine.trials:>3} in {mine.seconds:5.1f} s", flush=True)  # fmt: skip
            known.append((regression, clone, program, theirs.culprit))
        print(f"\nfailing at random {rate:.0%} of the time, {repeats} times each")
        print(f"{'project':10} {'git bisect':>22} {'ours':>22}")
        for regression, clone, program, culprit in known:
            command = [PYTHON, str(flaky), str(program), str(rate)]
            theirs_all = [git_bisect(clone, regression, command) for _ in range(repeats)]
            mine_all = [ours(clone, regression, command, seed) for seed in range(repeats)]
            print(f"{regression.project:10} {_score(theirs_all, culprit)} "
                  f"{_score(mine_all, culprit)}", flush=True)  # fmt: skip
            for seed, answer in enumerate(mine_all):
                if answer.culprit != culprit:
                    print(f"  seed {seed} was wrong:\n{answer.said}", flush=True)


def _score(answers: Sequence[Answer], culprit: str | None) -> str:
    right = sum(answer.culprit == culprit for answer in answers)
    trials = sum(answer.trials for answer in answers) / max(1, len(answers))
    return f"{right:>4} of {len(answers)}, {trials:5.1f} trials"


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description="Real regressions, ours beside git bisect run.")
    for project in dict.fromkeys(regression.project for regression in REGRESSIONS):
        parser.add_argument(f"--{project}", type=Path, help=f"a full clone of {project}")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.15, help="random failures")
    arguments = vars(parser.parse_args())
    repeats, rate = arguments.pop("repeats"), arguments.pop("rate")
    clones = {project: path.resolve() for project, path in arguments.items() if path}
    if not clones:
        print("No clones given; name them: --click PATH --packaging PATH --pytest PATH")
        return
    if not 0 <= rate < 1 or math.isnan(rate):
        raise SystemExit("--rate is a probability")
    show(clones, repeats, rate)


if __name__ == "__main__":
    main()
