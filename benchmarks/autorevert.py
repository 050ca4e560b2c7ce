"""Automatic reverts: are real breakages acted on, and is nobody's healthy change reverted?

A branch takes 1,000 healthy merges and 200 that break it: one of every six, anywhere among them.
Its check fails on healthy code in 5 of 100 runs. Broken code fails it always (7 of 10 breakages),
in 95 or in 80 of 100 runs. Now and then another merge lands before a verdict, and carries a
breakage on. Every revert is verified as the bot does it: the check must pass on the hotfix, or it
is not merged. All changes count as self-work, so that nothing but evidence stands between a change
and its revert.

The rules: ours is the bot's own policy (`bot.playbooks.autorevert.decide`), called as it stands;
"first failure reverts" and "two failures revert" (run again once) blame the commit that failed
where its parent had passed. A breakage is acted on when its revert is merged or waits for a person,
or when a bisect is started on a range that holds it. After six red commits in a row people mend the
rest.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from bot.playbooks.autorevert.decide import (
    BisectBetween,
    CheckEvidence,
    RevertCommit,
    RunAgain,
    SoleSuspect,
    TellPeople,
    decide,
)
from bot.playbooks.checks.streak import CommitRuns, find_streak
from bot.triggers import Autonomy

HEALTHY, BREAKAGES, FLAKE = 1000, 200, 0.05
FAILS = ((0.7, 1.0), (0.2, 0.95), (0.1, 0.8))
"""Shares of the breakages, and how often the check fails on each sort."""
WINDOW = 50
MORE_SEEDS = 10
MENDED_AFTER = 6
"""So many red commits in a row, and people stop and mend whatever no rule acted on."""


@dataclass
class Change:
    """One merge. `fails` is how often the check fails on it alone; 0: it is healthy."""

    name: str
    fails: float = 0.0
    gone: bool = False
    acted_on: bool = False
    hotfix: bool = False


@dataclass
class Commit:
    """A commit of the branch: the changes in it that are not gone, and the runs of the check."""

    change: Change
    broken_by: tuple[Change, ...]
    passes: int = 0
    failures: int = 0


@dataclass
class Tally:
    """What one rule did."""

    innocents_merged_away: int = 0
    innocents_opened: int = 0
    acted_on: int = 0
    merged_away: int = 0
    opened: int = 0
    bisected: int = 0
    reruns: int = 0
    delays: list[int] = field(default_factory=list)


class Branch:
    """The branch and its check."""

    def __init__(self, seed: int) -> None:
        """Begin with a green history."""
        self.rng = random.Random(seed)  # noqa: S311  a simulation
        self.line: list[Commit] = []
        self.tally = Tally()
        for number in range(WINDOW):
            self.land(Change(f"before-{number}"))

    def land(self, change: Change) -> Commit:
        """Merge a change and run the check once."""
        present = self.line[0].broken_by if self.line else ()
        present = tuple(each for each in present if not each.gone)
        if change.fails:
            present = (*present, change)
        commit = Commit(change, present)
        self.line.insert(0, commit)
        self.run(commit)
        return commit

    def run(self, commit: Commit) -> bool:
        """Run the check on a commit; whether it passed."""
        rate = max([FLAKE, *(each.fails for each in commit.broken_by)])
        passed = self.rng.random() >= rate
        commit.passes += passed
        commit.failures += not passed
        return passed

    def again(self, commit: Commit) -> bool:
        """Run it once more because a rule wants to know."""
        self.tally.reruns += 1
        return self.run(commit)

    def revert(self, change: Change) -> None:
        """Verify the revert of a change on the present branch and merge it when green."""
        if change.hotfix:
            return None
        change.hotfix = True
        left = [each for each in self.line[0].broken_by if each is not change and not each.gone]
        rate = max([FLAKE, *(each.fails for each in left)])
        if self.rng.random() < rate:
            return self.open(change)
        change.gone = True
        if change.fails:
            self.tally.merged_away += not change.acted_on
            self.act(change)
        else:
            self.tally.innocents_merged_away += 1
        healthy = Commit(Change("hotfix"), tuple(left))
        self.line.insert(0, healthy)
        self.run(healthy)
        return None

    def open(self, change: Change) -> None:
        """A hotfix stands there, unmerged: a person merges it where it is right."""
        change.hotfix = True
        if change.fails:
            self.tally.opened += not change.acted_on
            self.act(change)
        else:
            self.tally.innocents_opened += 1

    def bisect(self, changes: list[Change]) -> None:
        """A bisect is started on these; a person merges its fix."""
        for change in changes:
            if change.fails and not change.gone:
                self.tally.bisected += not change.acted_on
                self.act(change)

    def act(self, change: Change) -> None:
        """Note that a breakage was seen to; it leaves the branch."""
        change.gone = True
        if not change.acted_on:
            change.acted_on = True
            self.tally.acted_on += 1
            self.tally.delays.append(
                next((n for n, c in enumerate(self.line) if c.change is change), WINDOW)
            )


Rule = Callable[[Branch, Commit], None]


def first_failure(branch: Branch, commit: Commit) -> None:
    """Revert what failed, where the commit before had passed."""
    if commit.failures and branch.line[branch.line.index(commit) + 1].passes:
        branch.revert(commit.change)


def two_failures(branch: Branch, commit: Commit) -> None:
    """The same, if it fails again when run again."""
    passed_before = branch.line[branch.line.index(commit) + 1].passes
    if commit.failures and passed_before and not branch.again(commit):
        branch.revert(commit.change)


def ours(branch: Branch, commit: Commit) -> None:
    """Ask the bot's policy until it has nothing more to do."""
    if not commit.failures:
        return
    repeats = 0
    while True:
        # A commit is known by its place from the end, which nothing shifts while we ask.
        names = {str(len(branch.line) - n): c for n, c in enumerate(branch.line[:WINDOW])}
        line = [CommitRuns(sha=n, fails=c.failures, passes=c.passes) for n, c in names.items()]
        streak = find_streak(line)
        suspect = None
        if streak is not None and streak.suspect is not None:
            reverted = names[streak.suspect].change.gone
            age = timedelta(0)
            suspect = SoleSuspect(
                sha=streak.suspect, age=age, pull_request=1, is_self_work=True, is_reverted=reverted
            )
        decision = decide(CheckEvidence(streak=streak, suspect=suspect, repeats=repeats))
        match decision:
            case RunAgain(shas=shas):
                repeats += 1
                for sha in shas:
                    branch.again(names[sha])
                continue
            case RevertCommit(sha=sha, autonomy=Autonomy.MERGE):
                branch.revert(names[sha].change)
            case RevertCommit(sha=sha):
                branch.open(names[sha].change)
            case BisectBetween():
                assert streak is not None  # noqa: S101 - a bisect needs one
                branch.bisect([names[sha].change for sha in streak.suspects])
            case TellPeople() | _:
                pass
        return


def simulate(rule: Rule, seed: int) -> Tally:
    """Play the whole history under one rule."""
    branch = Branch(seed)
    rng = random.Random(seed + 1)  # noqa: S311  a simulation
    rates = rng.choices([rate for _, rate in FAILS], [share for share, _ in FAILS], k=BREAKAGES)
    healthy = (Change(f"healthy-{n}") for n in range(HEALTHY))
    changes: list[Change] = []
    for number, rate in enumerate(rates):
        block = [Change(f"broken-{number}", fails=rate), *islice(healthy, HEALTHY // BREAKAGES)]
        rng.shuffle(block)
        changes += block
    queue = iter(changes)
    while batch := list(islice(queue, rng.choice((1, 1, 1, 2)))):
        # More than one: they landed before anybody had judged the first.
        commits = [branch.land(change) for change in batch]
        for commit in commits:
            rule(branch, commit)
        if all(commit.failures for commit in branch.line[:MENDED_AFTER]):
            for change in branch.line[0].broken_by:
                change.gone = True
    return branch.tally


def main(seed: int = 20) -> int:
    """Print the table; the exit code says whether our rule holds what it promises."""
    print(f"{HEALTHY} healthy merges at {FLAKE:.0%} flake and {BREAKAGES} breakages, seed {seed}\n")
    print(
        "| rule | innocent, reverted | innocent, hotfix left to a person | breakages acted on "
        "| reverted | left to a person | bisected | runs added | merges until acted on |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    rules: dict[str, Rule] = {
        "first failure reverts": first_failure,
        "two failures revert": two_failures,
        "the bot's policy": ours,
    }
    for name, rule in rules.items():
        tally = simulate(rule, seed)
        delay = sum(tally.delays) / max(len(tally.delays), 1)
        print(
            f"| {name} | {tally.innocents_merged_away} | {tally.innocents_opened} "
            f"| {tally.acted_on} of {BREAKAGES} | {tally.merged_away} | {tally.opened} "
            f"| {tally.bisected} | {tally.reruns} | {delay:.2f} |"
        )
    more = [simulate(ours, other) for other in range(1, MORE_SEEDS + 1)]
    print(
        f"\nThe bot's policy under seeds 1 to {MORE_SEEDS}: "
        f"{sum(each.innocents_merged_away for each in more)} of {MORE_SEEDS * HEALTHY:,} innocent "
        f"changes reverted, {min(each.acted_on for each in more)} to "
        f"{max(each.acted_on for each in more)} of {BREAKAGES} breakages acted on."
    )
    holds = tally.innocents_merged_away == 0 and tally.acted_on >= 190
    print(f"No innocent change merged away, at least 190 acted on: {'yes' if holds else 'NO'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
