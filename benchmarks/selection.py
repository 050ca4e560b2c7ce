"""Time to choose the next four trials on a long real history, beside `git rev-list --bisect`.

    python benchmarks/selection.py --repository PATH [--range GOOD..BAD]

Without a repository a history of 85,000 commits with merges is generated, and git is left out.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from simulated.world import merged

from bot.culprit.evidence import SearchSettings, TrialOutcome, TrialReport
from bot.culprit.graph import CommitGraph
from bot.culprit.search import Search

STEPS = 6


def rev_list(repository: Path, *arguments: str) -> str:
    """Run `git rev-list`."""
    return subprocess.run(  # noqa: S603 (a fixed program; the arguments are a list)
        ["git", "-C", str(repository), "rev-list", *arguments],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def load(repository: Path, revisions: str) -> CommitGraph:
    """Read a range, which may be all of a revision's history, from a repository."""
    rows = [
        line.split()
        for line in rev_list(repository, "--topo-order", "--parents", revisions).splitlines()
    ]
    return CommitGraph.build({row[0]: row[1:] for row in rows}, rows[0][0])


def spent_by_children() -> float:
    """CPU seconds of finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit 1 if a step of ours took a second or more of CPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path)
    parser.add_argument("--range", default="HEAD")
    parser.add_argument("--commits", type=int, default=85_000, help="of a generated history")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    started = time.process_time()
    if chosen.repository:
        graph = load(chosen.repository, chosen.range)
    else:
        graph = merged(chosen.commits, chosen.commits // 5, chosen.seed).graph
    search = Search(graph, SearchSettings(check_ends=False, seed=chosen.seed))
    print(f"{len(graph):,} commits, read in {time.process_time() - started:.1f} s. CPU seconds:\n")
    print("| step | seconds |")
    print("|---|---|")
    if chosen.repository:
        before = spent_by_children()
        rev_list(chosen.repository, "--bisect", chosen.range)
        print(f"| `git rev-list --bisect` (one commit) | {spent_by_children() - before:.2f} |")
    # The hidden culprit: two thirds up the history.
    culprit = len(graph) * 2 // 3
    slowest = 0.0
    for step in range(1, STEPS + 1):
        started = time.process_time()
        trials = search.next_trials(4)
        seconds = time.process_time() - started
        slowest = max(slowest, seconds)
        started = time.process_time()
        for trial in trials:
            bad = bool(search.ancestry.of(graph.number[trial.commit])[culprit])
            search.record(trial, TrialReport(TrialOutcome.FAIL if bad else TrialOutcome.PASS))
        search.verdict()
        learning = time.process_time() - started
        print(
            f"| ours, next four, step {step} | {seconds:.2f} (learning the last: {learning:.2f}) |"
        )
    print(f"\nSlowest choice: {slowest:.2f} s ({'met' if slowest < 1 else 'MISSED'}: < 1 s)")
    return slowest >= 1


if __name__ == "__main__":
    raise SystemExit(main())
