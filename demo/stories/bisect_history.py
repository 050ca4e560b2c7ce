"""The past of a check that broke at some time: hundreds of commits with merges, made in a blink.

They go straight into the bare repository, as if they had been pushed long ago: no check has run
on them. The check fails on the culprit and on everything after it, and by chance once in ten runs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from fakegithub.changes import pushes
from fakegithub.git.bare import BareRepository, Signature
from fakegithub.world.model import FakeRepository, FakeUser
from fakegithub.world.world import World

CHECK = "unit"
COMMITS = 220
CULPRIT = 147
_MERGE_EVERY = 9
_ON_A_BRANCH = 3

_UNIT = '''"""Do the prices add up? One run in ten fails for no reason."""

import os
import sys

from shop.prices import gross

chance = os.environ.get("GITHUB_RUN_ID", "0") + os.environ.get("GITHUB_RUN_ATTEMPT", "1")
if int(chance) * 2654435761 % 2**32 % 10 == 3:
    sys.exit("connection reset by peer")
if gross(100) != 119:
    sys.exit("wrong: test_gross_adds_the_tax")
'''
_PRICES = "TAX = 0.19\n\n\ndef gross(net):\n    return round(net * (1 + TAX), 2)\n"
_BROKEN = _PRICES.replace("(1 + TAX)", "TAX")
_WORKFLOW = """name: checks
on: [push, pull_request]
jobs:
  unit:
    steps:
      - uses: actions/checkout@v4
      - name: unit
        run: python unit.py
"""
_TRIAL = """name: playbooks trial
run-name: trial ${{ inputs.trial_id }}
on:
  workflow_dispatch:
    inputs:
      sha: {required: true}
      trial_id: {required: true}
permissions:
  contents: read
jobs:
  trial:
    steps:
      - uses: actions/checkout@v4
        with: {ref: "${{ inputs.sha }}"}
      - name: build
        run: python -m compileall -q shop
      - name: price
        run: python price.py
      - name: unit
        run: python unit.py
"""
_PRICE = '''"""The price of 100, for `/bisect … numeric price`."""

import json

from shop.prices import gross

print("::notice title=playbooks-metrics::" + json.dumps({"price": gross(100)}))
'''
_CONFIG = """checks:
  smoke: [unit]
bisect:
  workflow: playbooks-trial.yml
  trials: 150
  parallel: 4
triggers:
  autonomy: off
"""
"""Nothing is done by itself: however slow somebody is, it waits for them."""
SET_UP: Mapping[str, str | None] = {
    "unit.py": _UNIT,
    "price.py": _PRICE,
    "shop/prices.py": _PRICES,
    ".github/workflows/checks.yml": _WORKFLOW,
    ".github/workflows/playbooks-trial.yml": _TRIAL,
    ".github/playbooks.yml": _CONFIG,
}
MENDED = _PRICES


@dataclass(frozen=True)
class Past:
    """What was made: the commit before, the culprit, the head, and how many there are."""

    good: str
    culprit: str
    head: str
    commits: int
    merges: int


def make(
    world: World,
    repository: FakeRepository,
    start: str,
    author: FakeUser,
    seed: int,
    *,
    commits: int = COMMITS,
    culprit: int = CULPRIT,
) -> Past:
    """Put a history on the default branch and tell everyone of the push.

    Args:
        world: where.
        repository: whose.
        start: the commit on top of which it is put.
        author: who pushes.
        seed: of what the commits change.
        commits: how many there are, merges left out.
        culprit: the one from which on the check fails.
    """
    rng = random.Random(seed)  # noqa: S311  a history, not a secret
    git = repository.git
    who = Signature(author.login.capitalize(), author.email, world.now())
    line, count, merges, broke = start, 0, 0, ""
    while count < commits:
        if count and count % _MERGE_EVERY == 0:
            tip = line
            for _ in range(_ON_A_BRANCH):
                count += 1
                tip = _commit(git, tip, _change(count, rng), f"Topic {count}", who)
            line = _merge(git, line, tip, f"Merge topic {count}", who)
            merges += 1
            continue
        count += 1
        changes, title = _change(count, rng), f"Change {count}"
        if not broke and count >= culprit:
            changes, title = {"shop/prices.py": _BROKEN}, "Simplify the tax"
        line = _commit(git, line, changes, title, who)
        broke = broke or (line if count >= culprit else "")
    pushes.push(world, repository, f"refs/heads/{repository.default_branch}", line, author)
    return Past(start, broke, line, count + merges, merges)


def _change(number: int, rng: random.Random) -> dict[str, str]:
    return {f"shop/part_{number}.py": f"VALUE = {rng.randrange(1000)}\n"}


def _commit(
    git: BareRepository, parent: str, files: Mapping[str, str], title: str, who: Signature
) -> str:
    changes = {path: ("100644", git.write("blob", text.encode())) for path, text in files.items()}
    tree = git.write_tree(git.commit(parent).tree, changes)
    return git.write_commit(tree, [parent], f"{title}\n", who)


def _merge(git: BareRepository, ours: str, theirs: str, title: str, who: Signature) -> str:
    merged = git.merge_trees(ours, theirs)
    if merged is None:
        raise ValueError("topics of this history never conflict")
    return git.write_commit(merged, [ours, theirs], f"{title}\n", who)
