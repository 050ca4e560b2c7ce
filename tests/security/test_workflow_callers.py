"""A workflow without a stored secret calls by `action.yml`, on the demo GitHub's own runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakegithub.actions.workflow_runs import FakeWorkflowRun
from tests.config_approvals import approved_ahead
from tests.shop import Shop

ACTION = (Path(__file__).parents[2] / "action.yml").read_text(encoding="utf-8")
ALLOWED = "permissions: {contents: read, id-token: write}"
NIGHTLY = ".github/workflows/nightly.yml"


def workflow(url: str, steps: str, permissions: str = ALLOWED) -> str:
    return f"""
name: Nightly
on: {{push: {{branches: [main]}}}}
{permissions}
jobs:
  nightly:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
{steps.replace("URL", url)}
"""


ASK = """
      - id: may
        uses: ./.github/playbooks
        with: {url: URL, do: self-work}
      - run: test "${{ steps.may.outputs.paused }}" = false
"""
DROP = r"""
      - id: drop
        uses: ./.github/playbooks
        with:
          url: URL
          do: eval-drop
          summary: 'It said "no" \ $(exit 3) `exit 4`'
      - run: test "${{ steps.drop.outputs.accepted }}" = 1
"""
BISECT = """
      - id: hunt
        uses: ./.github/playbooks
        with:
          url: URL
          do: bisect
          good: GOOD
          numeric: p95 latency:higher
          check: smoke
          reason: nightly is slow
      - run: test -n "${{ steps.hunt.outputs.run }}" && test -n "${{ steps.hunt.outputs.incident }}"
"""


@pytest.fixture
def url(shop: Shop) -> Iterator[str]:
    """The public address of the bot, for as long as the test takes."""
    address = f"http://127.0.0.1:{shop.bot.port}"
    shop.bot.workflow_tokens._audience = address
    yield address
    shop.bot.workflow_tokens._audience = None


async def run_of(shop: Shop, text: str, **more: str) -> FakeWorkflowRun:
    """Commit a workflow to the default branch, and wait until it has run."""
    files: dict[str, str | None] = {
        ".github/playbooks/action.yml": ACTION, NIGHTLY: text, **more,
    }  # fmt: skip
    before = set(shop.github.runner.runs)
    await shop.merged("Ask the bot every night", files)

    async def over() -> FakeWorkflowRun | None:
        new = [run for number, run in shop.github.runner.runs.items() if number not in before]
        ended = [run for run in new if run.conclusion and run.repository is shop.repository]
        return ended[0] if ended else None

    found: FakeWorkflowRun = await shop.eventually(over)
    return found


def log_of(run: FakeWorkflowRun) -> str:
    return "\n".join(job.log for job in run.jobs.values())


@pytest.mark.thorough
async def test_it_asks_about_self_work_and_reports_an_eval_drop(shop: Shop, url: str) -> None:
    run = await run_of(shop, workflow(url, ASK + DROP))
    assert run.conclusion == "success", log_of(run)

    async def reported() -> bool:
        return any('It said "no"' in str(each["title"]) for each in await shop.incidents())

    await shop.eventually(reported)
    (incident,) = await shop.incidents()
    assert "exit 3" in incident["title"]


async def test_to_act_its_workflow_must_be_named_and_a_founder_agree(shop: Shop, url: str) -> None:
    good = await shop.alice.head("main")
    await shop.broken()
    text = workflow(url, BISECT.replace("GOOD", good))
    run = await run_of(shop, text)
    assert run.conclusion == "failure"
    assert "403" in log_of(run)
    assert "callers.workflows" in log_of(run)

    named = f"{shop.name}/{NIGHTLY}@refs/heads/main"
    config = f"callers: {{workflows: ['{named}']}}\n"
    await approved_ahead(shop.bot.records, shop.repository.id, config, shop.bot.clock())
    await shop.merged("Name the workflow", {".github/playbooks.yml": config})

    async def in_force() -> bool:
        served = await shop.bot.served.served()
        [repository] = [each for each in served if each.id == shop.repository.id]
        return (await shop.bot.config.of(repository)).config.callers.workflows == (named,)

    await shop.eventually(in_force)
    shop.bot.workflow_tokens._policies.clear()
    run = await run_of(shop, text + "# again\n", **{"note.txt": "again\n"})
    assert run.conclusion == "success", log_of(run)

    async def begun() -> Any:
        return await shop.last_run()

    asked = (await shop.eventually(begun)).trigger["request"]
    assert (asked["good"], asked["numeric"], asked["check"]) == (
        good,
        "p95 latency:higher",
        "smoke",
    )


async def test_without_the_permission_it_says_which_one_is_missing(shop: Shop, url: str) -> None:
    run = await run_of(shop, workflow(url, ASK, "permissions: {contents: read}"))
    assert run.conclusion == "failure"
    assert "id-token: write" in log_of(run)


async def test_while_self_work_is_held_the_step_fails_and_says_why(shop: Shop, url: str) -> None:
    broken = await shop.broken()
    answer = await shop.says(broken, "/pause because the budget is gone")
    assert await answer.reaction() == "+1"
    run = await run_of(shop, workflow(url, ASK))
    assert run.conclusion == "failure"
    assert "Self-work is held: " in log_of(run)
    assert "the budget is gone" in log_of(run)
