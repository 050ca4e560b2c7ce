"""What to propose to a repository, made by looking at it: a configuration, and one ruleset.

The decision is pure: what was seen in, commented YAML out. A file that is proposed is read with the
reader that counts, so that nobody is offered what would be refused.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from bot.config import CONFIG_PATH, parse_config
from bot.github.calls.git_data import WORKFLOWS
from bot.github.calls.trees import TreeChange
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import Conflict, GitHubError
from bot.github.models import CheckResult, PullRequest
from bot.playbooks.checks.results import GATE_CHECK, OUR_CHECKS
from bot.triggers import Repository

RULESET = f"Incident Playbooks: {GATE_CHECK}"
BRANCH = "playbooks/configuration"
_LARGEST_FILE = 200_000
_MOST_WORKFLOWS = 40
_MOST_FOLDERS = 20
_HEADS_LOOKED_AT = 3
_OWNERS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
_MIGRATIONS = re.compile(
    r"(?:^|/)(?:db/(?:post_)?migrate|migrations?(?:/versions)?|alembic/versions|flyway/sql|db/migration)$",
    re.IGNORECASE,
)
_MADE_FOR_TESTS = re.compile(r"(?:^|/)(?:tests?|testdata|fixtures|examples?|vendor|node_modules)/")
_KINDS = {
    "evals": re.compile(r"\b(?:evals?|evaluations?)\b", re.IGNORECASE),
    "slo": re.compile(r"\b(?:slos?|latency|error[- ]budget)\b", re.IGNORECASE),
    "safety": re.compile(r"\b(?:safety|guardrails?|red-?team\w*)\b", re.IGNORECASE),
}
_TESTS = re.compile(
    r"test|build|check|lint|\bci(?:cd)?\b|compile|spec\b|unit|smoke|e2e", re.IGNORECASE
)
_MAIN_TESTS = re.compile(r"test|\bci(?:cd)?\b|spec\b", re.IGNORECASE)
_PREVIEWS = re.compile(r"\b(?:preview|review|pr)\b", re.IGNORECASE)
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml")
_FOLDER = re.compile(r"[\w.-]+(?:/[\w.-]+)*")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 _./()-]*")


@dataclass(frozen=True)
class SeenRepository:
    """What was seen in a repository.

    Attributes:
        branch: its default branch.
        files: the paths of that branch's head.
        workflows: the files of `.github/workflows`, read.
        required: the checks that the branch's rules require.
        passed: the checks that passed on the branch's head.
        on_pulls: the checks that reported on each head of the last pull requests.
        owners: the people who own everything by CODEOWNERS.
        has_file: whether there is a configuration already.
    """

    branch: str
    files: Sequence[str] = ()
    workflows: Mapping[str, str] = field(default_factory=dict)
    required: Sequence[str] = ()
    passed: Sequence[str] = ()
    on_pulls: Sequence[str] = ()
    owners: Sequence[str] = ()
    has_file: bool = False


@dataclass(frozen=True)
class TrialWorkflow:
    """A workflow that could try one commit: it is there, or one that comes near."""

    file: str
    is_ready: bool


def proposed(seen: SeenRepository) -> str:
    """Write the configuration to propose: valid, with a comment at each line that says why."""
    parts = [_checks(seen), _founder(seen), _bisect(seen), _self_work()]
    text = "\n".join(
        [
            "# Incident Playbooks: what counts here, and who decides. All of it may be left out.",
            f"# Made by looking at `{seen.branch}`; the comments say at what. Take what fits.",
            "",
            *(f"{part}\n" for part in parts),
        ]
    )
    text = text.rstrip() + "\n"
    parse_config(text)
    return text


def _checks(seen: SeenRepository) -> str:
    required, on_pulls, passed = map(_others, (seen.required, seen.on_pulls, seen.passed))
    known = list(dict.fromkeys([*required, *on_pulls, *passed]))
    special = {kind: [name for name in known if found.search(name)]
               for kind, found in _KINDS.items()}  # fmt: skip
    apart = {name for names in special.values() for name in names}
    required, on_pulls, passed = (
        [name for name in names if name not in apart] for names in (required, on_pulls, passed)
    )
    if required:
        smoke, why = required, f"required by the rules of {seen.branch}"
    elif on_pulls:
        smoke, why = (
            _most_telling(on_pulls),
            "every recent pull request had them; none is required",
        )
    else:
        smoke, why = _most_telling(passed), f"passed on {seen.branch}; none is required"
    lines = ["checks:"]
    if smoke:
        lines += [f"  # A hotfix is merged when these are green: {why}.", _named("smoke", smoke)]
    else:
        lines += [
            "  # No check was seen, and without one nothing is ever merged by the bot: name what",
            "  # tells whether a change works, as it is called on a pull request.",
            "  # smoke: [test]",
        ]
    reasons = {
        "evals": "Evals; a hotfix waits for them, too.",
        "slo": "Report on the default branch; may lead to an automatic revert.",
        "safety": "Likewise.",
    }
    for kind, names in special.items():
        if names:
            lines += [f"  # {reasons[kind]}", _named(kind, names)]
    if previews := [name for name in _environments(seen.workflows) if _PREVIEWS.search(name)]:
        lines += ["  # Workflows deploy pull requests to these: a hotfix is deployed there first.",
                  _named("preview", previews)]  # fmt: skip
    return _section(lines)


def _section(lines: Sequence[str]) -> str:
    """A section; one of comments alone would be none, so it becomes a comment as a whole."""
    is_there = any(not each.lstrip().startswith("#") for each in lines[1:])
    return "\n".join(lines if is_there else [f"# {each}" for each in lines])


def _others(names: Sequence[str]) -> list[str]:
    """Those that are not ours, and that a configuration can name."""
    return [name for name in names if name not in OUR_CHECKS and name.isprintable()]


def _most_telling(names: Sequence[str]) -> list[str]:
    return [name for name in names if _TESTS.search(name)] or list(names[:5])


def _founder(seen: SeenRepository) -> str:
    lines = ["founder:"]
    if seen.owners:
        lines += ["  # Who approves what cannot be undone: CODEOWNERS gives them everything.",
                  _named("people", seen.owners)]  # fmt: skip
    else:
        lines += ["  # Who approves what cannot be undone; left out: the repository's admins.",
                  "  # people: [octocat]"]  # fmt: skip
    if folders := migration_folders(seen.files):
        lines += ["  # A revert that touches these cannot undo what a database has run.",
                  _named("paths", [f"{folder}/**" for folder in folders])]  # fmt: skip
    else:
        lines += ["  # What a revert cannot undo; no folder of migrations was seen.",
                  '  # paths: ["db/migrations/**"]']  # fmt: skip
    return _section(lines)


def _bisect(seen: SeenRepository) -> str:
    found = trial_workflow(seen.workflows)
    if found is not None and found.is_ready:
        return "\n".join(
            [
                "bisect:",
                "  # Takes `sha` and `trial_id`, so it can try one commit.",
                _named("workflow", found.file),
            ]
        )
    near = f" {found.file} comes close." if found else ""
    return "\n".join(
        [
            f"# No workflow was seen that tries one commit.{near}",
            "# It needs the inputs `sha` and `trial_id`, `run-name: ${{ inputs.trial_id }}`, a",
            "# checkout of `inputs.sha`, and `permissions: contents: read`.",
            "# bisect:",
            "#   workflow: trial.yml",
        ]
    )


def _self_work() -> str:
    return "\n".join(
        [
            "self_work:",
            "  # Pull requests with this label, or by these authors, are made by agents.",
            "  label: self-work",
            "  # authors: [acme-agent]",
        ]
    )


def _named(key: str, value: str | Sequence[str]) -> str:
    """One line of YAML: a stranger's name stays a name, whatever is in it."""
    if isinstance(value, str):
        return f"  {key}: {_word(value)}"
    line = f"  {key}: [{', '.join(map(_word, value))}]"
    if len(line) <= 100:
        return line
    return "\n".join([f"  {key}:", *(f"    - {_word(each)}" for each in value)])


def _word(text: str) -> str:
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text and not text.endswith((" ", ":")):
        return text
    return json.dumps(text, ensure_ascii=False)


def migration_folders(files: Iterable[str]) -> tuple[str, ...]:
    """The folders of database migrations among these paths, outermost only."""
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    found = sorted(
        each
        for each in folders
        if _FOLDER.fullmatch(each)
        and _MIGRATIONS.search(each)
        and not _MADE_FOR_TESTS.search(f"{each}/")
    )
    outermost: list[str] = []
    for each in found:
        if not any(each.startswith(f"{other}/") for other in outermost):
            outermost.append(each)
    return tuple(outermost[:_MOST_FOLDERS])


def trial_workflow(workflows: Mapping[str, str]) -> TrialWorkflow | None:
    """The workflow that can try one commit, else one that could be made to: tests go first."""
    near: list[tuple[bool, str]] = []
    for path, text in sorted(workflows.items()):
        name, read = PurePosixPath(path).name, _read(text)
        if not _FILE.fullmatch(name):
            continue
        # YAML 1.1 reads the key `on` as true.
        triggers = read.get("on", read.get(True))
        if not isinstance(triggers, dict | list | str):
            continue
        by_hand = isinstance(triggers, dict) and "workflow_dispatch" in triggers
        given = (triggers.get("workflow_dispatch") or {}) if isinstance(triggers, dict) else {}
        inputs = given.get("inputs") if isinstance(given, dict) else None
        has_inputs = isinstance(inputs, dict) and {"sha", "trial_id"} <= inputs.keys()
        if by_hand and has_inputs and "trial_id" in str(read.get("run-name", "")):
            return TrialWorkflow(name, is_ready=True)
        words = f"{name} {read.get('name', '')}"
        if "pull_request" in triggers and _TESTS.search(words):
            near.append((not _MAIN_TESTS.search(words), name))
    return TrialWorkflow(min(near)[1], is_ready=False) if near else None


def _environments(workflows: Mapping[str, str]) -> list[str]:
    found: dict[str, None] = {}
    for text in workflows.values():
        jobs = _read(text).get("jobs")
        for job in jobs.values() if isinstance(jobs, dict) else ():
            given = job.get("environment") if isinstance(job, dict) else None
            name = given.get("name") if isinstance(given, dict) else given
            if isinstance(name, str) and name and name.isprintable():
                # What an expression makes of it is not known: whatever it is.
                found[re.sub(r"\$\{\{.*?\}\}", "*", name)[:255]] = None
    return list(found)


def _read(text: str) -> dict[Any, Any]:
    """A workflow file, as a stranger wrote it: what cannot be read says nothing."""
    if len(text) > _LARGEST_FILE or ("&" in text and "*" in text and text.count("*") > 500):
        return {}
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def owners_of_all(text: str) -> tuple[str, ...]:
    """The people (no teams, no addresses) on the last line of CODEOWNERS that is about everything.

    https://docs.github.com/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
    """
    found: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] in (["*"], ["/**"], ["**"]):
            found = tuple(each[1:] for each in words[1:]
                          if re.fullmatch(r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})", each))  # fmt: skip
    return found


def ruleset(app_id: int) -> dict[str, Any]:
    """The ruleset that makes `self-work gate` required of the default branch, from us alone.

    https://docs.github.com/rest/repos/rules#create-a-repository-ruleset
    """
    check = {"context": GATE_CHECK, "integration_id": app_id}
    return {
        "name": RULESET,
        "target": "branch",
        "enforcement": "active",
        "conditions": {"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}},
        "rules": [
            {
                "type": "required_status_checks",
                "parameters": {
                    "strict_required_status_checks_policy": False,
                    "required_status_checks": [check],
                },
            }
        ],
    }


def by_hand(full_name: str, app_id: int) -> str:
    """The same by GitHub's command line, for whoever administers the repository."""
    body = json.dumps(ruleset(app_id))
    return f"gh api -X POST repos/{full_name}/rulesets --input - <<'JSON'\n{body}\nJSON"


def on_each(heads: Iterable[Sequence[CheckResult]]) -> list[str]:
    """The checks that reported on each of these heads, and were not skipped.

    A hotfix would wait for ever for one that reports where certain paths change. Heads on which
    nothing reported are from before there was a CI, and tell nothing.
    """
    told = [
        {each.name: None for each in results if each.conclusion != "skipped"} for results in heads
    ]
    told = [names for names in told if names]
    return [name for name in told[0] if all(name in names for names in told)] if told else []


# --- looking, and proposing ---


async def look(client: RepositoryClient) -> SeenRepository:
    """Look at a repository.

    Raises:
        GitHubError: it cannot be read.
        Conflict: it is empty.
    """
    about = await client.about()
    branch = about.default_branch
    head = await client.git.branch(branch)
    if head is None:
        raise Conflict(f"{about.full_name} is empty: there is nothing to look at yet.")
    files = await _files(client, await client.git.tree_of(head.sha))
    workflows = [path for path in files if path.startswith(WORKFLOWS)
                 and path.endswith((".yml", ".yaml"))]  # fmt: skip
    rules, us = await client.branch_rules(branch), (await client.app()).id
    passed = [each.name for each in await client.checks.results(head.sha)
              if each.conclusion == "success"]  # fmt: skip
    pulls = [pull async for pull in client.pulls.list(state="all", base=branch)]
    heads = await asyncio.gather(
        *(client.checks.results(pull.head.sha) for pull in pulls[:_HEADS_LOOKED_AT])
    )
    owners: tuple[str, ...] = ()
    for path in _OWNERS:
        if path in files:
            owners = owners_of_all(await _text(client, path, head.sha))
            break
    read = workflows[:_MOST_WORKFLOWS]
    texts = await asyncio.gather(*(_text(client, path, head.sha) for path in read))
    return SeenRepository(
        branch=branch,
        files=files,
        workflows=dict(zip(read, texts, strict=True)),
        required=[
            each.name
            for each in rules.required_checks
            if each.name != GATE_CHECK or each.integration_id == us
        ],
        passed=passed,
        on_pulls=on_each(heads),
        owners=owners,
        has_file=CONFIG_PATH in files,
    )


async def _files(client: RepositoryClient, tree: str) -> list[str]:
    """The paths of a tree; of one that GitHub does not list whole all that concern it itself."""
    try:
        return [entry.path for entry in await client.git.tree(tree, recursive=True)]
    except Conflict:
        listed = await client.git.tree(tree, recursive=True, may_be_cut=True)
    paths = dict.fromkeys(entry.path for entry in listed)
    top = await client.git.tree(tree, may_be_cut=True)
    paths.update(dict.fromkeys(entry.path for entry in top))
    for folder in (each for each in top if each.path in (".github", "docs")):
        below = await client.git.tree(folder.sha, recursive=True, may_be_cut=True)
        paths.update(dict.fromkeys(f"{folder.path}/{entry.path}" for entry in below))
    return list(paths)


async def _text(client: RepositoryClient, path: str, ref: str) -> str:
    found = await client.contents.find(path, ref, largest=_LARGEST_FILE)
    if found is None or found.content is None:
        return ""
    return found.content.decode("utf-8", "replace")


async def open_proposal(client: RepositoryClient, text: str) -> PullRequest:
    """Open the pull request with this configuration, unless it is there.

    Raises:
        GitHubError: GitHub refuses it.
    """
    branch = (await client.about()).default_branch
    head = await client.git.head(branch)
    change = TreeChange(CONFIG_PATH, content=text.encode())
    tree = await client.git.publish_tree(await client.git.tree_of(head), [change])
    title = "Configure Incident Playbooks"
    ours = await client.git.branch(BRANCH)
    if ours is not None:
        sha = ours.sha
    else:
        made = await client.git.ensure_commit_on_branch(
            BRANCH, key="setup", tree=tree, parents=[head], message=title, new_branch=True,
            look_first=False,
        )  # fmt: skip
        sha = made.sha
    return await client.pulls.ensure_pull_request(
        head=BRANCH,
        base=branch,
        title=title,
        body=(
            f"`{CONFIG_PATH}`, made by looking at `{branch}`. Everything in it may be left out, "
            "and reverts work without it. Change what does not fit, then merge it.\n\n"
            "Its protected parts (such as `founder` and `bisect`) count once a Founder says so: "
            "the check `playbooks config` has the command."
        ),
        # One that was closed or merged before, and whose branch is gone, is none of this.
        commit=sha,
        look_first=ours is not None,
    )


async def require_gate(client: RepositoryClient, app_id: int) -> None:
    """Make the gate required, from us alone, unless it is.

    Raises:
        Forbidden: the App was not granted `administration: write`.
        GitHubError: GitHub refuses it.
    """
    rules = await client.branch_rules((await client.about()).default_branch)
    if (GATE_CHECK, app_id) not in rules.pins:
        await client.rules.create(ruleset(app_id))


async def installed_repositories(github: GitHub, most: int) -> list[Repository]:
    """The first repositories that the App is installed on."""
    found: list[Repository] = []
    async for installation in github.installations.list():
        if installation.suspended_at is not None:
            continue
        try:
            async for each in github.installations.repositories(installation.id):
                found.append(each)
                if len(found) >= most:
                    return found
        except GitHubError:
            continue
    return found
