"""What a job says to its runner is read from its check-run, and so are its numbers."""

from __future__ import annotations

from bot.github.client import RepositoryClient
from bot.trials.outcome import fingerprint_of, ignored_of, metrics_of
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository

TRIAL = """
on: [push]
jobs:
  bench:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo '::notice title=playbooks-metrics::{"latency": 12.3, "size": 4}'
          echo '::notice title=Other::{"size": 6}'
          echo '::notice title=playbooks-metrics::{"size": 5}'
          echo '::notice title=playbooks-metrics::{"size": "huge"}'
          echo '::error title=test_speed::Too slow'
          exit 1
"""


async def test_the_numbers_and_the_name_of_a_failure_are_read_from_one_job(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    github.commit(repository, {".github/workflows/trial.yml": TRIAL}, "Add trial")
    await github.runner.settle()
    [run] = [each for each in github.runner.runs.values() if each.repository is repository]
    [job] = await client.workflows.jobs(run.id)
    said = await client.workflows.annotations(job.id)
    assert metrics_of(said) == {"latency": 12.3, "size": 5.0}
    assert fingerprint_of(said) == ("test_speed",)
    [reason] = ignored_of(said)
    assert "size: Input should be a valid number" in reason
