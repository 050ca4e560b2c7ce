"""Workflows really run, and are reported as GitHub Actions reports them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fakegithub.access import credentials
from fakegithub.actions.runner import ACTIONS_APP_ID
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeInstallation, FakeRepository
from tests.fakegithub.calling import Caller, as_installation

CI = """
name: CI
on: [push]
jobs:
  smoke:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: python3 check.py
  evals:
    needs: smoke
    runs-on: ubuntu-latest
    steps:
      - run: test -f check.py
"""
TRIAL = """
name: Trial
run-name: trial ${{ inputs.trial_id }}
on:
  workflow_dispatch:
    inputs:
      sha: {required: true, type: string}
      trial_id: {required: true, type: string}
      mode: {type: choice, options: [quick, whole], default: quick}
permissions:
  contents: read
jobs:
  trial:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with:
          ref: ${{ inputs.sha }}
      - run: test "$(cat version)" = "$WANTED" && test "${{ inputs.mode }}" = quick
        env:
          WANTED: "1"
"""


@pytest.fixture
def bot(github: DemoGitHub, installation: FakeInstallation, repository: FakeRepository) -> Caller:
    return as_installation(github, installation, repository)


def workflow(text: str, name: str = "ci") -> dict[str, str]:
    return {f".github/workflows/{name}.yml": text}


async def conclusions(github: DemoGitHub, bot: Caller, ref: str) -> dict[str, str]:
    await github.runner.settle()
    listed = (await bot.get(f"./commits/{ref}/check-runs")).body["check_runs"]
    return {run["name"]: run["conclusion"] for run in listed}


async def test_a_push_runs_its_workflow_and_reports_each_job(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    sha = github.commit(repository, {"check.py": "pass\n", **workflow(CI)}, "Add CI")
    assert await conclusions(github, bot, sha) == {"smoke": "success", "evals": "success"}
    listed = (await bot.get(f"./commits/{sha}/check-runs", app_id=ACTIONS_APP_ID)).body
    assert {run["app"]["slug"] for run in listed["check_runs"]} == {"github-actions"}


SAYS = """
name: CI
on: [push]
jobs:
  bench:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo '::notice title=playbooks-metrics::{"latency": 12.3, "share": "5%25"}'
          echo 'not a command ::notice::here'
          echo '::warning file=a.py,line=3,endLine=4,title=Old%2C very%3A old::Two%0Alines'
          for number in $(seq 12); do echo "::notice::$number"; done
      - run: echo ::error::Broken && exit 1
"""


async def test_what_a_step_says_to_the_runner_is_an_annotation_of_its_job(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    sha = github.commit(repository, workflow(SAYS), "Add CI")
    assert await conclusions(github, bot, sha) == {"bench": "failure"}
    [check] = (await bot.get(f"./commits/{sha}/check-runs")).body["check_runs"]
    said = (await bot.get(f"./check-runs/{check['id']}/annotations", per_page=100)).body
    shown = [
        (each["annotation_level"], each["title"], each["message"], each["path"], each["end_line"])
        for each in said
    ]
    assert shown[:2] == [
        ("notice", "playbooks-metrics", '{"latency": 12.3, "share": "5%"}', ".github", 1),
        ("warning", "Old, very: old", "Two\nlines", "a.py", 4),
    ]
    assert [message for _, _, message, _, _ in shown[2:11]] == [str(n) for n in range(1, 10)]
    assert [(level, message) for level, _, message, _, _ in shown[11:]] == [
        ("failure", "Broken"),
        ("failure", "Process completed with exit code 1."),
    ]


async def test_a_failing_command_fails_its_job_and_skips_those_that_need_it(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    sha = github.commit(
        repository, {"check.py": "raise SystemExit('broken')\n", **workflow(CI)}, "Break it"
    )
    assert await conclusions(github, bot, sha) == {"smoke": "failure", "evals": "skipped"}
    run = (await bot.get("./actions/runs", head_sha=sha)).body["workflow_runs"][0]
    assert (run["status"], run["conclusion"], run["event"]) == ("completed", "failure", "push")
    jobs = (await bot.get(f"./actions/runs/{run['id']}/jobs")).body["jobs"]
    assert [step["conclusion"] for step in jobs[0]["steps"]] == ["success", "failure"]
    assert "broken" in github.runner.jobs[jobs[0]["id"]].log
    log = await bot.get(f"./actions/jobs/{jobs[0]['id']}/logs")
    assert (log.status, log.headers["Location"][-8:]) == (302, "/log.txt")


async def test_skip_ci_in_the_message_skips_it(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    files = {"check.py": "pass\n", **workflow(CI)}
    sha = github.commit(repository, files, "Write records [skip ci]")
    assert await conclusions(github, bot, sha) == {}


async def test_a_dispatched_run_gets_its_inputs_and_shows_them_in_its_name(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    good = github.commit(repository, {"version": "1", **workflow(TRIAL, "trial")}, "One")
    bad = github.commit(repository, {"version": "2"}, "Two")
    path = "./actions/workflows/trial.yml/dispatches"
    outcomes = {}
    for trial, sha in (("t-good", good), ("t-bad", bad)):
        inputs = {"sha": sha, "trial_id": trial}
        body = {"ref": "main", "inputs": inputs, "return_run_details": True}
        reply = await bot.post(path, body)
        assert reply.status == 200
        await github.runner.settle()
        run = (await bot.get(f"./actions/runs/{reply.body['workflow_run_id']}")).body
        assert (run["head_sha"], run["head_branch"]) == (bad, "main")
        outcomes[run["display_title"]] = run["conclusion"]
    assert outcomes == {"trial t-good": "success", "trial t-bad": "failure"}
    listed = (await bot.get("./actions/runs", event="workflow_dispatch")).body
    assert listed["total_count"] == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param({"ref": "SHA"}, "No ref found for: ", id="by SHA"),
        pytest.param({"ref": "nowhere"}, "No ref found for: nowhere", id="unknown branch"),
        pytest.param({"ref": "main"}, "Required input 'sha' not provided", id="input missing"),
        pytest.param(
            {"ref": "main", "inputs": {"sha": "1", "trial_id": "1", "more": "1"}},
            'Unexpected inputs provided: ["more"]', id="unknown input",
        ),
        pytest.param(
            {"ref": "main", "inputs": {"sha": "1", "trial_id": "1", "mode": "odd"}},
            "Provided value 'odd' for input 'mode' not in the list", id="not an option",
        ),
        pytest.param(
            {"ref": "main", "inputs": {str(n): "" for n in range(26)}}, "up to 25 `inputs`",
            id="26 inputs",
        ),
    ],
)  # fmt: skip
async def test_a_wrong_dispatch_is_refused(
    github: DemoGitHub, repository: FakeRepository, bot: Caller, body: dict[str, Any], says: str
) -> None:
    sha = github.commit(repository, workflow(TRIAL, "trial"), "Trial")
    body = {**body, "ref": body["ref"].replace("SHA", sha)}
    reply = await bot.post("./actions/workflows/trial.yml/dispatches", body)
    assert reply.status == 422
    assert says in reply.body["message"]


async def test_only_workflows_that_say_so_can_be_dispatched(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    github.commit(repository, {"check.py": "", **workflow(CI)}, "CI")
    reply = await bot.post("./actions/workflows/ci.yml/dispatches", {"ref": "main"})
    assert reply.body["message"] == "Workflow does not have 'workflow_dispatch' trigger"
    assert (await bot.post("./actions/workflows/no.yml/dispatches", {"ref": "main"})).status == 404
    named = (await bot.get("./actions/workflows")).body["workflows"]
    assert [each["name"] for each in named] == ["CI"]
    assert (await bot.get(f"./actions/workflows/{named[0]['id']}")).body["path"] == named[0]["path"]


async def test_a_job_can_be_run_again_and_its_new_result_counts(
    github: DemoGitHub, repository: FakeRepository, bot: Caller, tmp_path: Path
) -> None:
    flag = tmp_path / "second"
    flaky = CI.replace("python3 check.py", f"test -e {flag} || {{ touch {flag}; exit 1; }}")
    sha = github.commit(repository, {"check.py": "", **workflow(flaky)}, "Flaky")
    assert (await conclusions(github, bot, sha))["smoke"] == "failure"
    run = (await bot.get("./actions/runs", head_sha=sha)).body["workflow_runs"][0]
    jobs = (await bot.get(f"./actions/runs/{run['id']}/jobs")).body["jobs"]
    failed = next(job for job in jobs if job["name"] == "smoke")
    assert (await bot.post(f"./actions/jobs/{failed['id']}/rerun")).status == 201
    assert await conclusions(github, bot, sha) == {"smoke": "success", "evals": "success"}
    again = (await bot.get(f"./actions/runs/{run['id']}")).body
    assert (again["run_attempt"], again["conclusion"]) == (2, "success")
    everything = (await bot.get(f"./actions/runs/{run['id']}/jobs", filter="all")).body
    assert everything["total_count"] == 4


async def test_a_run_can_be_cancelled_and_what_it_started_dies(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    slow = CI.replace("python3 check.py", "sleep 60 & sleep 60")
    sha = github.commit(repository, {"check.py": "", **workflow(slow)}, "Slow")
    run = (await bot.get("./actions/runs", head_sha=sha)).body["workflow_runs"][0]
    began = time.monotonic()
    assert (await bot.post(f"./actions/runs/{run['id']}/cancel")).status == 202
    assert (await conclusions(github, bot, sha))["smoke"] == "cancelled"
    assert time.monotonic() - began < 10
    assert (await bot.post(f"./actions/runs/{run['id']}/cancel")).status == 409


async def test_a_job_over_its_time_is_stopped(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    slow = CI.replace("smoke:\n", "smoke:\n    timeout-minutes: 0.005\n").replace(
        "python3 check.py", "sleep 60"
    )
    sha = github.commit(repository, {"check.py": "", **workflow(slow)}, "Slow")
    assert (await conclusions(github, bot, sha))["smoke"] == "cancelled"


async def test_commands_see_nothing_of_the_servers_environment(
    github: DemoGitHub, repository: FakeRepository, bot: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_PRIVATE_KEY", "very secret")
    shown = CI.replace("python3 check.py", "env; test ! -e .git")
    sha = github.commit(repository, {"check.py": "", **workflow(shown)}, "Look around")
    assert (await conclusions(github, bot, sha))["smoke"] == "success"
    logs = [job.log for job in github.runner.jobs.values() if job.check.head_sha == sha]
    assert all("very secret" not in log for log in logs)
    assert any(f"GITHUB_SHA={sha}" in log for log in logs)


async def test_a_file_the_runner_cannot_read_is_told_not_guessed(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    strange = CI.replace("needs: smoke", "strategy: {matrix: {a: [1]}}")
    sha = github.commit(repository, workflow(strange), "Matrix")
    assert await conclusions(github, bot, sha) == {}
    assert "knows no job key strategy" in github.runner.errors[-1]


async def test_actions_need_their_permission(
    github: DemoGitHub, repository: FakeRepository, installation: FakeInstallation
) -> None:
    token = credentials.issue_token(github.world, installation, {"contents": "read"})
    reply = await Caller(github, token.token, repository).get("./actions/runs")
    assert (reply.status, reply.body["message"]) == (
        403, "Resource not accessible by integration",
    )  # fmt: skip
