"""Actions of the repository itself, and tokens that tell others which workflow runs."""

from __future__ import annotations

import re

import aiohttp
import jwt
import pytest

from fakegithub.actions.id_tokens import ISSUER
from fakegithub.actions.workflow_runs import FakeWorkflowRun
from fakegithub.actions.workflows import WorkflowError, read, read_action
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository

ACTION = """
name: Greet
inputs: {whom: {default: nobody}, how: {required: true}}
outputs: {said: {value: "${{ steps.say.outputs.words }}"}}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      env: {WHOM: "${{ inputs.whom }}", HOW: "${{ inputs.how }}"}
      run: |
        test -d "$GITHUB_ACTION_PATH" && test -z "${{ inputs.outer }}${{ steps.first.outputs.x }}"
        printf 'words<<END\\n%s %s\\nEND\\n' "$HOW" "$WHOM" >> "$GITHUB_OUTPUT"
"""
USES = """
on: [push]
%s
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - {id: first, run: "echo x=hello >> $GITHUB_OUTPUT"}
      - {id: greet, uses: ./tools/greet, with: {whom: you, how: "${{ steps.first.outputs.x }}"}}
      - run: test "${{ steps.greet.outputs.said }}" = "hello you"
      - run: |
          echo "asks <$ACTIONS_ID_TOKEN_REQUEST_URL> <$ACTIONS_ID_TOKEN_REQUEST_TOKEN>"
          curl -s -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
            "${ACTIONS_ID_TOKEN_REQUEST_URL:-$GITHUB_SERVER_URL%s/request?job=1}&audience=me"
"""


async def ran(github: DemoGitHub, repository: FakeRepository, permissions: str) -> FakeWorkflowRun:
    files = {
        "tools/greet/action.yml": ACTION,
        ".github/workflows/one.yml": USES % (permissions, ISSUER),
    }
    sha = github.commit(repository, files, "Greet")
    await github.runner.settle()
    (found,) = [run for run in github.runner.runs.values() if run.cause.sha == sha]
    return found


async def test_a_job_with_the_permission_gets_a_token_that_the_published_key_verifies(
    github: DemoGitHub, repository: FakeRepository
) -> None:
    run = await ran(github, repository, "permissions: {id-token: write}")
    log = run.jobs["one"].log
    assert run.conclusion == "success", log
    token = re.findall(r'"value": "([^"]+)"', log)[0]
    async with aiohttp.ClientSession() as http:
        url = f"{github.url}{ISSUER}/.well-known/openid-configuration"
        keys = (await (await http.get(url)).json())["jwks_uri"]
        published = await (await http.get(keys)).json()
        kid = jwt.get_unverified_header(token)["kid"]
        key = jwt.PyJWKSet.from_dict(published)[kid]
        issuer = f"{github.url}{ISSUER}"
        claims = jwt.decode(token, key, ["RS256"], audience="me", issuer=issuer)
        assert claims["repository_id"] == str(repository.id)
        assert claims["ref"] == f"refs/heads/{repository.default_branch}"
        assert claims["event_name"] == "push"
        assert claims["job_workflow_ref"].endswith("/one.yml@" + claims["ref"])
        # The job is over: what it asked with is good for nothing.
        address, secret = re.findall(r"asks <(http[^>]+)> <([^>]+)>", log)[-1]
        headers = {"Authorization": f"bearer {secret}"}
        assert (await http.get(address, headers=headers)).status == 403


@pytest.mark.parametrize("permissions", ["", "permissions: {id-token: read, contents: write}"])
async def test_a_job_without_it_has_no_address_and_is_refused(
    github: DemoGitHub, repository: FakeRepository, permissions: str
) -> None:
    run = await ran(github, repository, permissions)
    log = run.jobs["one"].log
    assert "asks <> <>" in log
    assert "no permission id-token: write" in log
    assert '"value"' not in log


def test_permissions_of_a_job_take_the_place_of_those_of_the_workflow() -> None:
    text = USES % ("permissions: {id-token: write}", ISSUER)
    one = read("a.yml", text).jobs[0]
    other = read("a.yml", text.replace("  one:\n", "  one:\n    permissions: {}\n")).jobs[0]
    assert (one.may_ask_for_tokens, other.may_ask_for_tokens) == (True, False)


@pytest.mark.parametrize(
    "text", ["", "runs: {using: node20, main: x.js}", ACTION.replace("      shell: bash\n", "")]
)
def test_another_sort_of_action_is_refused(text: str) -> None:
    with pytest.raises(WorkflowError):
        read_action("action.yml", text)
