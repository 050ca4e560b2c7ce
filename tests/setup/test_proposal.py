"""What is proposed to repositories of different kinds: sensible, valid, with the right names.

The five are made after public ones: their trees, workflow files and checks, shortened.
"""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.config import parse_config
from bot.github.models import CheckKind, CheckResult
from bot.setup.proposal import (
    SeenRepository,
    TrialWorkflow,
    by_hand,
    migration_folders,
    on_each,
    owners_of_all,
    proposed,
    ruleset,
    trial_workflow,
)

PYTHON_LIBRARY = SeenRepository(
    branch="main",
    files=(
        "pyproject.toml", "src/flask/app.py", "tests/test_basic.py", "tox.ini",
        "examples/tutorial/migrations/0001.sql", ".github/workflows/tests.yaml",
    ),
    workflows={
        ".github/workflows/tests.yaml": """
name: Tests
on: {pull_request: {paths-ignore: ['docs/**']}, push: {branches: [main, stable]}}
jobs:
  tests:
    name: ${{ matrix.name || matrix.python }}
    strategy: {matrix: {include: [{python: '3.13'}, {name: Windows, os: windows-latest}]}}
    steps: [{uses: actions/checkout@v4}, {run: uv run tox}]
  typing: {steps: [{run: uv run tox -e typing}]}
""",
        ".github/workflows/pre-commit.yaml": "name: hooks\non: [pull_request, push]\njobs: {}\n",
    },
    on_pulls=("3.13", "3.12", "Windows", "typing", "tests", "docs/readthedocs.org:flask"),
    passed=("3.13", "typing"),
)  # fmt: skip

RAILS_APPLICATION = SeenRepository(
    branch="main",
    files=(
        "Gemfile", "app/models/user.rb", "db/migrate/20240101_create_users.rb", "db/schema.rb",
        "db/post_migrate/20240201_drop_old.rb", "spec/models/user_spec.rb", ".github/CODEOWNERS",
    ),
    workflows={
        ".github/workflows/test-ruby.yml": """
name: Ruby Testing
on: {merge_group: {}, push: {branches: [main]}, pull_request: {}}
jobs: {build: {steps: []}, test: {needs: [build], steps: [{run: bin/flatware rspec}]}}
""",
    },
    required=("test (.ruby-version)", "lint", "Haml Lint"),
    on_pulls=("build (test)", "test (.ruby-version)", "lint", "codecov/patch"),
    owners=("Gargron",),
)  # fmt: skip

NODE_MONOREPO = SeenRepository(
    branch="canary",
    files=(
        "package.json", "turbo.json", "apps/web/app/page.tsx", "packages/ui/index.ts",
        "packages/db/prisma/migrations/20240101/migration.sql", "pnpm-workspace.yaml",
    ),
    workflows={
        ".github/workflows/preview.yml": """
name: Preview
on: pull_request
jobs:
  deploy:
    environment: {name: 'preview-${{ github.event.number }}', url: x}
    steps: []
  prod: {environment: production, steps: []}
""",
        ".github/workflows/broken.yml": "on: [\n",
        ".github/workflows/evals.yml": "name: Evals\non: {pull_request: {}}\njobs: {evals: {}}\n",
    },
    required=("build", "unit tests", "LLM evals"),
    on_pulls=("build", "unit tests", "LLM evals", "Vercel", "latency budget", "red-team suite"),
)  # fmt: skip

GO_SERVICE = SeenRepository(
    branch="master",
    files=("go.mod", "cmd/server/main.go", "internal/store/migrations/0001_init.up.sql",
           "internal/store/testdata/migrations/0001.sql", "deploy/k8s/app.yaml"),
    workflows={
        ".github/workflows/trial.yml": """
name: Try one commit
run-name: ${{ inputs.trial_id }}
on:
  workflow_dispatch:
    inputs: {sha: {required: true}, trial_id: {required: true}}
permissions: {contents: read}
jobs: {try: {steps: [{run: go test ./...}]}}
""",
        ".github/workflows/ci.yml": "name: CI\non: [pull_request]\njobs: {test: {}}\n",
    },
    passed=("go test", "golangci-lint", "self-work gate", "hotfix"),
)  # fmt: skip

RUST_CRATE = SeenRepository(branch="master", files=("Cargo.toml", "src/lib.rs"))

KINDS = {
    "a Python library": PYTHON_LIBRARY,
    "a Rails application": RAILS_APPLICATION,
    "a Node monorepo": NODE_MONOREPO,
    "a Go service": GO_SERVICE,
    "a Rust crate without CI": RUST_CRATE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_valid_and_each_line_says_why(kind: str) -> None:
    text = proposed(KINDS[kind])
    parse_config(text)
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) <= 100
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("  ") and ":" in line and not line.lstrip().startswith("#"):
            assert any(each.lstrip().startswith("#") for each in lines[max(place - 2, 0) : place])


def test_a_library_is_held_by_what_reported_on_its_pull_requests() -> None:
    config = parse_config(proposed(PYTHON_LIBRARY))
    assert config.checks.smoke == ("tests",)
    assert config.founder.paths == ()
    assert "tests.yaml comes close" in proposed(PYTHON_LIBRARY)


def _result(name: str, conclusion: str | None = "success") -> CheckResult:
    status = "queued" if conclusion is None else "completed"
    return CheckResult(
        name=name, kind=CheckKind.CHECK_RUN, id=1, status=status, conclusion=conclusion
    )


def test_a_check_that_reports_on_some_pull_requests_only_is_not_waited_for() -> None:
    heads = [
        [_result("test"), _result("docker"), _result("deploy", "skipped"), _result("lint", None)],
        [],
        [_result("lint", "failure"), _result("test"), _result("deploy", "skipped")],
    ]
    assert on_each(heads) == ["test", "lint"]
    assert on_each([[], []]) == on_each([]) == []


def test_the_workflow_that_tests_comes_nearer_than_another() -> None:
    on_pulls = "on: [pull_request]\njobs: {}\n"
    files = {
        ".github/workflows/check-docker.yml": on_pulls,
        ".github/workflows/CICD.yml": on_pulls,
        ".github/workflows/lint.yml": on_pulls,
    }
    assert trial_workflow(files) == TrialWorkflow("CICD.yml", is_ready=False)


def test_required_checks_go_first_and_migrations_need_a_founder() -> None:
    config = parse_config(proposed(RAILS_APPLICATION))
    assert config.checks.smoke == ("test (.ruby-version)", "lint", "Haml Lint")
    assert config.founder.people == ("Gargron",)
    assert config.founder.paths == ("db/migrate/**", "db/post_migrate/**")


def test_evals_slo_and_safety_are_known_by_their_names_and_previews_by_their_environment() -> None:
    config = parse_config(proposed(NODE_MONOREPO))
    assert config.checks.smoke == ("build", "unit tests")
    assert config.checks.evals == ("LLM evals",)
    assert config.checks.slo == ("latency budget",)
    assert config.checks.safety == ("red-team suite",)
    assert config.checks.preview == ("preview-*",)
    assert config.founder.paths == ("packages/db/prisma/migrations/**",)


def test_a_workflow_that_can_try_one_commit_is_taken_and_our_own_checks_are_not() -> None:
    config = parse_config(proposed(GO_SERVICE))
    assert config.bisect.workflow == "trial.yml"
    assert config.checks.smoke == ("go test", "golangci-lint")
    assert config.founder.paths == ("internal/store/migrations/**",)


def test_without_any_check_it_says_what_is_missing() -> None:
    text = proposed(RUST_CRATE)
    assert "No check was seen" in text
    assert parse_config(text).checks.smoke == ()


def test_the_ruleset_asks_for_the_gate_of_this_app_alone() -> None:
    made = ruleset(7)
    [check] = made["rules"][0]["parameters"]["required_status_checks"]
    assert check == {"context": "self-work gate", "integration_id": 7}
    assert "repos/acme/shop/rulesets" in by_hand("acme/shop", 7)


def test_only_people_on_the_last_line_about_everything_own_it() -> None:
    text = "* @first\n# * @nobody\n*.py @py\n*  @acme/team olivia@example.org @olivia # us\n"
    assert owners_of_all(text) == ("olivia",)


def test_the_outermost_folder_of_migrations_is_named_once() -> None:
    paths = ("a/migrations/versions/1.py", "a/migrations/env.py", "vendor/migrations/1.sql")
    assert migration_folders(paths) == ("a/migrations",)


NAMES = st.lists(st.text(min_size=1, max_size=40), max_size=6, unique=True)


@given(required=NAMES, on_pulls=NAMES)
def test_whatever_checks_are_called_stays_their_name(
    required: list[str], on_pulls: list[str]
) -> None:
    text = proposed(SeenRepository(branch="main", required=required, on_pulls=on_pulls))
    checks = yaml.safe_load(text).get("checks") or {}
    said = {name for names in checks.values() for name in names}
    assert said <= {*required, *on_pulls}


@given(st.text(max_size=300))
def test_no_workflow_file_makes_it_fall(text: str) -> None:
    trial_workflow({".github/workflows/x.yml": text})
    proposed(SeenRepository(branch="main", workflows={".github/workflows/x.yml": text}))
