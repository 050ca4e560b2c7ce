"""Does our revert equal git's own? Random commits of a repository, undone both ways.

    python benchmarks/revert_equality.py REPO [--commits 300] [--seed 1] [--full-tree]

C is random on the first-parent line (a merge is undone as `-m 1`), H lies 1 to 2,000 first-parent
commits after it. Git's side is `git revert --no-commit` in a disposable work tree; compared are
the tree, or the very paths git leaves unmerged. The work tree is sparse (only what git itself
has to write there is checked out), which saves time and not a step of the revert; `--full-tree`
checks everything out. REPO itself is not written to. Exits 1 on any mismatch.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bot.git.revert import ComputedRevert, revert_report

# Both sides see no configuration but git's defaults.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ADVICE": "0",
    "LC_ALL": "C",
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench",
}
# Where a directory takes a file's place, git lists the file as `path~SIDE`.
ASIDE = re.compile(r"~(?:HEAD|parent of [0-9a-f]+ \(.*\))(?:_\d+)?$", re.DOTALL)
FARTHEST = 2000


class RealGit:
    """Git's own revert in a disposable work tree that shares REPO's objects."""

    def __init__(self, repo: Path, scratch: Path, full_tree: bool) -> None:
        """Make the work tree under `scratch`, with all files or with those of the root only."""
        self.tree = scratch / "clone"
        git("clone", "--quiet", "--shared", "--no-checkout", str(repo), str(self.tree))
        if not full_tree:
            git("-C", str(self.tree), "sparse-checkout", "set", "--cone")

    def is_merge(self, commit: str) -> bool:
        """Tell whether a commit has several parents."""
        return len(git("-C", str(self.tree), "rev-list", "--parents", "-1", commit).split()) > 2

    def revert(self, commit: str, onto: str) -> ComputedRevert:
        """Undo `commit` on `onto` as a person would."""
        here = ("-C", str(self.tree))
        git(*here, "checkout", "--quiet", "--force", "--detach", onto)
        base = git(*here, "rev-parse", "HEAD^{tree}").strip()
        mainline = ("-m", "1") if self.is_merge(commit) else ()
        code = run(*here, "revert", "--no-commit", "--no-edit", *mainline, commit).returncode
        entries = git(*here, "ls-files", "--unmerged", "-z").split("\0")
        names = (entry.partition("\t")[2] for entry in entries if entry)
        unmerged = sorted({ASIDE.sub("", name) for name in names})
        if code and not unmerged:
            raise RuntimeError(f"git revert of {commit} on {onto} ended with {code}, no conflict")
        result = "" if unmerged else git(*here, "write-tree").strip()
        git(*here, "reset", "--quiet", "--hard")
        git(*here, "clean", "--quiet", "-ffdx")
        if unmerged:
            return ComputedRevert(status="conflict", tree="", conflicts=tuple(unmerged))
        return ComputedRevert(status="empty" if result == base else "clean", tree=result)


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git and return how it ended."""
    argv = ["git", *arguments]
    return subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=False)  # noqa: S603 - an argv list


def git(*arguments: str) -> str:
    """Run git, which must work, and return what it printed; unclean bytes are shown escaped."""
    said = run(*arguments)
    if said.returncode:
        raise RuntimeError(f"git {arguments}: {said.stderr.decode(errors='replace')}")
    return said.stdout.decode("utf-8", "backslashreplace")


def samples(repo: Path, commits: int, seed: int) -> list[tuple[str, str]]:
    """Draw pairs (C, H) from the first-parent line of REPO's HEAD."""
    line = git("-C", str(repo), "rev-list", "--first-parent", "HEAD").split()
    chance = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
    places = chance.sample(range(1, len(line)), min(commits, len(line) - 1))
    return [(line[i], line[i - chance.randint(1, min(FARTHEST, i))]) for i in places]


def main() -> int:
    """Compare, print the table, and tell by the exit code whether all were equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repo", type=Path, nargs="?", default=Path())
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full-tree", action="store_true")
    options = parser.parse_args()
    os.environ |= {k: v for k, v in ENVIRONMENT.items() if k.startswith("GIT_CONFIG")}
    counts: Counter[str] = Counter()
    seconds = {"ours": 0.0, "git": 0.0}
    mismatches = []
    merges = 0
    with tempfile.TemporaryDirectory(prefix="revert-equality-") as scratch:
        real = RealGit(options.repo.resolve(), Path(scratch), options.full_tree)
        pairs = samples(options.repo, options.commits, options.seed)
        for number, (commit, onto) in enumerate(pairs, 1):
            started = time.perf_counter()
            ours = asyncio.run(revert_report(real.tree, commit, onto))
            between = time.perf_counter()
            theirs = real.revert(commit, onto)
            seconds["ours"] += between - started
            seconds["git"] += time.perf_counter() - between
            counts[theirs.status] += 1
            merges += real.is_merge(commit)
            if not same(ours, theirs):
                mismatches.append((commit, onto, ours, theirs))
            print(f"\r{number}/{len(pairs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_table(len(pairs), merges, counts, seconds, mismatches)
    return 1 if mismatches else 0


def same(ours: ComputedRevert, theirs: ComputedRevert) -> bool:
    """Tell whether two reports agree: a conflict by its paths, all else by the tree."""
    if "conflict" in (ours.status, theirs.status):
        return ours.status == theirs.status and sorted(ours.conflicts) == list(theirs.conflicts)
    return (ours.status, ours.tree) == (theirs.status, theirs.tree)


def print_table(
    total: int,
    merges: int,
    counts: Counter[str],
    seconds: dict[str, float],
    mismatches: list[tuple[str, str, ComputedRevert, ComputedRevert]],
) -> None:
    """Print counts, times and each mismatch."""
    print(f"{'commits':<12}{total:>6}   of which merges: {merges}")
    for status in ("clean", "conflict", "empty"):
        print(f"{status:<12}{counts[status]:>6}   {counts[status] / total:>6.1%}")
    for who, spent in seconds.items():
        print(f"{who:<12}{1000 * spent / total:>6.0f} ms each")
    print(f"equal to git revert: {total - len(mismatches)} of {total}")
    for commit, onto, ours, theirs in mismatches:
        print(f"MISMATCH {commit} onto {onto}\n  ours   {ours}\n  theirs {theirs}")


if __name__ == "__main__":
    sys.exit(main())
