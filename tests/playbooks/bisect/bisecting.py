"""A shop with a history to search: commits made by the hundred, results of CI made at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from bot.app import Bot
from demo.person import Person
from fakegithub.changes import checks, pushes, statuses
from fakegithub.git.bare import Signature
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeRepository
from tests.config_approvals import approved_ahead
from tests.looks import Looks
from tests.shop import Answer, Shop

TRIAL = """name: trial
run-name: trial ${{ inputs.trial_id }}
on:
  workflow_dispatch:
    inputs:
      sha: {required: true}
      trial_id: {required: true}
permissions:
  contents: read
jobs:
  smoke:
    steps:
      - uses: actions/checkout@v4
        with: {ref: "${{ inputs.sha }}"}
      - name: build
        run: test ! -e broken-build
      - name: smoke
        run: COMMAND
"""
GOOD_TRIAL = "test ! -e bug"
FLAKY_TRIAL = 'test ! -e bug && test "$(( GITHUB_RUN_ID % 10 ))" != 3'
UNHURRIED_TRIAL = "sleep 1.5; test ! -e bug"
LATENCY = """|
          level=100
          if test -e bug; then level=160; fi
          latency=$((level + GITHUB_RUN_ID * 7919 % 17))
          echo "::notice title=playbooks-metrics::{\\"latency\\": $latency}"
"""
"""Some 100, and 60 more with the bug; both passes."""
CONFIG = """bisect:
  workflow: playbooks-trial.yml
  parallel: 4
"""


@dataclass
class History:
    """Commits on main, oldest first, beginning with the one before the first change."""

    shop: Shop
    commits: list[str]

    async def says_ci(
        self, culprit: int, *, twice: bool = False, name: str = "smoke", app: FakeApp | None = None
    ) -> None:
        """CI reports on every commit: failure from number `culprit` on."""
        world, repository = self.shop.github.world, self.shop.repository
        creator = repository.owner
        for number, sha in enumerate(self.commits):
            bad = number >= culprit
            statuses.create(world, repository, sha, "failure" if bad else "success", name, creator)
            if twice:
                runner = app or self.shop.github.runner.app
                conclusion = {"conclusion": "failure" if bad else "success"}
                checks.create(world, repository, runner, name, sha, conclusion)

    async def says_ci_on_the_end(self, state: str, name: str = "smoke") -> None:
        """CI reports on main's head."""
        await self.shop.alice.set_status(self.commits[-1], state, name)

    async def bisected(self, words: str = "", number: int | None = None) -> tuple[int, Answer]:
        """Alice opens an issue and asks there for a bisect of the whole history."""
        words = words or f"/bisect {self.commits[0][:12]}..main check smoke"
        number = number or await self.shop.alice.open_issue("main is red")
        return number, await self.shop.says(number, words)


def bare_shop(github: DemoGitHub, repository: FakeRepository, person: Person) -> Shop:
    """A repository where one person does everything, and whatever bot it has is not the shop's."""
    return Shop(github, cast(Bot, None), cast(Looks, None), repository, *([person] * 5))


async def approved(shop: Shop, text: str) -> None:
    """A Founder has approved the protected parts of this configuration."""
    now = shop.bot.clock()
    await approved_ahead(shop.bot.records, shop.repository.id, text, now)


async def history(
    shop: Shop,
    count: int,
    culprit: int,
    *,
    trial: str | None = GOOD_TRIAL,
    more: dict[int, dict[str, str | None]] | None = None,
) -> History:
    """Put `count` commits on main, straight into the repository; number `culprit` brings a bug.

    Args:
        shop: whose main.
        count: how many commits.
        culprit: from 1; 0 for none.
        trial: the trial workflow's command; None: no trials.
        more: further files by commit number.
    """
    setup: dict[str, str | None] = {"start.txt": "here\n"}
    if trial is not None:
        setup[".github/workflows/playbooks-trial.yml"] = TRIAL.replace("COMMAND", trial)
        setup[".github/playbooks.yml"] = CONFIG
    if shop.bot is not None:
        # How commits are tried counts only as a Founder approved it.
        for files in (setup, *(more or {}).values()):
            if text := files.get(".github/playbooks.yml"):
                await approved(shop, text)
    verdicts, shop.verdicts = shop.verdicts, {}
    first = await shop.alice.push("main", setup, "Begin")
    commits = put_commits(shop.github, shop.repository, first, count, culprit, more)
    await asyncio.sleep(0)  # CI hears of them while it has nothing to say.
    shop.verdicts = verdicts
    return History(shop, commits)


def put_commits(
    github: DemoGitHub,
    repository: FakeRepository,
    first: str,
    count: int,
    culprit: int,
    more: dict[int, dict[str, str | None]] | None = None,
) -> list[str]:
    """Put `count` commits on main after `first`, and push them at once; all, `first` included."""
    git = repository.git
    commits = [first]
    tree = git.commit(first).tree
    who = Signature("Bob", "bob@example.com", github.world.now())
    for number in range(1, count + 1):
        files: dict[str, str | None] = {f"file-{number}.txt": f"{number}\n"}
        if number == culprit:
            files["bug"] = "here\n"
        files |= (more or {}).get(number, {})
        changes = {
            path: None if text is None else ("100644", git.write("blob", text.encode()))
            for path, text in files.items()
        }
        tree = git.write_tree(tree, changes)
        commits.append(git.write_commit(tree, [commits[-1]], f"Change {number}\n", who))
    pushes.push(github.world, repository, "refs/heads/main", commits[-1], repository.owner)
    return commits


async def fixes(shop: Shop) -> list[Any]:
    """The fix pull requests, newest first."""
    pulls = await shop.alice.get("pulls", state="all", per_page="100")
    return [pull for pull in pulls if pull["head"]["ref"].startswith("fix/bisect-")]


def dispatched(shop: Shop) -> list[Any]:
    """Every run of the trial workflow."""
    runs = shop.github.runner.runs.values()
    return [
        run
        for run in runs
        if run.repository is shop.repository and run.cause.event == "workflow_dispatch"
    ]


def tried(shop: Shop) -> Sequence[str]:
    """The commits that were tried, in order."""
    return [run.cause.inputs["sha"] for run in dispatched(shop)]


def hidden_refs(shop: Shop) -> list[str]:
    """What is left of refs that are neither branch nor tag nor pull request."""
    refs = shop.repository.git.refs("refs/")
    shown = ("refs/heads/", "refs/tags/", "refs/pull/")
    return [name for name in refs if not name.startswith(shown)]


async def committed(shop: Shop, fix: Any, what: str) -> str:
    """A record file as the fix's branch has it."""
    ref = fix["head"]["ref"]
    identity = await shop.incident_of(fix)
    path = f"apps/orchestrator/orchestrator/incidents/{what}-{identity}.json"
    return await shop.alice.file(path, ref) or ""


async def running(shop: Shop) -> list[Any]:
    """The trials that have not ended."""
    return [run for run in dispatched(shop) if run.status != "completed"]


def measured(what: str) -> None:
    """Print a figure, to be seen with `pytest -s`."""
    print(what)  # noqa: T201  the figure is what the test is run for
