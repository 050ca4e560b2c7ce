"""What a workflow file says: its triggers, its inputs, its jobs. Pure reading, nothing runs here.

Of https://docs.github.com/actions/reference/workflow-syntax-for-github-actions the demo knows
`name`, `run-name`, `on` (push, pull_request, merge_group, workflow_dispatch; branches, types and
inputs), `env`, `permissions` (of which `id-token` counts), and jobs with `name`, `needs`,
`if: always()`, `env`, `timeout-minutes` and steps that `run` something, use `actions/checkout`, or
use a composite action of the repository itself. Anything else is refused, not silently left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import yaml

FOLDER = ".github/workflows"
_EVENTS = frozenset(
    {"push", "pull_request", "merge_group", "workflow_dispatch", "schedule", "workflow_call"}
)
_WORKFLOW_KEYS = frozenset(
    {"name", "run-name", "on", "env", "jobs", "permissions", "concurrency", "defaults"}
)
_JOB_KEYS = frozenset(
    {"name", "needs", "if", "env", "timeout-minutes", "steps", "runs-on", "permissions"}
)
_STEP_KEYS = frozenset(
    {"name", "id", "run", "uses", "with", "env", "if", "working-directory", "shell",
     "continue-on-error", "timeout-minutes"}
)  # fmt: skip
_ACTION_KEYS = frozenset({"name", "description", "author", "branding", "inputs", "outputs", "runs"})
_DEFAULT_TYPES = ("opened", "synchronize", "reopened")
_DEFAULT_MINUTES = 5.0
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_CHECKOUT = re.compile(r"^actions/checkout(@|$)")


class WorkflowError(Exception):
    """The file is not a workflow the demo can run; the message says why."""


@dataclass(frozen=True)
class Input:
    """One input of `workflow_dispatch`."""

    name: str
    required: bool = False
    default: str = ""
    options: tuple[str, ...] | None = None


@dataclass(frozen=True)
class WorkflowStep:
    """One step: a command, a checkout of `ref` ("" means the event's commit), or an action.

    `action` is the folder of a composite action in the repository, `given` its inputs.
    """

    name: str
    run: str | None = None
    checkout: str | None = None
    action: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."
    always: bool = False
    may_fail: bool = False


@dataclass(frozen=True)
class JobSpec:
    """One job: its check-run has the name `name`."""

    key: str
    name: str
    steps: tuple[WorkflowStep, ...]
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    always: bool = False
    minutes: float = _DEFAULT_MINUTES
    may_ask_for_tokens: bool = False


@dataclass(frozen=True)
class WorkflowTrigger:
    """One event that starts the workflow, and what narrows it."""

    branches: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    types: tuple[str, ...] = _DEFAULT_TYPES
    tags_only: bool = False

    def takes(self, branch: str) -> bool:
        """Tell whether an event on (for a pull request: against) `branch` starts the workflow."""
        if self.tags_only or any(_matches(branch, pattern) for pattern in self.ignored):
            return False
        if self.branches is None:
            return True
        wanted = False
        for pattern in self.branches:
            if _matches(branch, pattern.removeprefix("!")):
                wanted = not pattern.startswith("!")
        return wanted


@dataclass(frozen=True)
class Workflow:
    """A workflow file, read."""

    path: str
    name: str
    triggers: Mapping[str, WorkflowTrigger]
    jobs: tuple[JobSpec, ...]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    run_name: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def read(path: str, text: str) -> Workflow:
    """Read one workflow file.

    Raises:
        WorkflowError: when it is not YAML, or says something the demo cannot do.
    """
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WorkflowError(f"{path} is not YAML: {error}") from None
    if not isinstance(whole, dict):
        raise WorkflowError(f"{path} is not a mapping")
    # YAML 1.1 reads the bare word `on` as true.
    whole = {"on" if key is True else str(key): value for key, value in whole.items()}
    _refuse_unknown(path, "workflow", whole, _WORKFLOW_KEYS)
    if not isinstance(whole.get("jobs"), dict) or not whole["jobs"]:
        raise WorkflowError(f"{path} has no jobs")
    events = _events(path, whole.get("on"))
    jobs = tuple(
        _job(path, str(key), job, whole.get("permissions")) for key, job in whole["jobs"].items()
    )
    unknown = {need for job in jobs for need in job.needs} - {job.key for job in jobs}
    if unknown:
        raise WorkflowError(f"{path}: a job needs {', '.join(sorted(unknown))}, which is no job")
    in_order(jobs)
    return Workflow(
        path,
        str(whole.get("name") or path),
        {name: _trigger(options) for name, options in events.items()},
        jobs,
        _inputs(events.get("workflow_dispatch", {})),
        str(whole["run-name"]) if "run-name" in whole else None,
        _texts(whole.get("env")),
    )


def _refuse_unknown(path: str, what: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    strange = sorted(set(given) - known)
    if strange:
        raise WorkflowError(f"{path}: the demo's runner knows no {what} key {', '.join(strange)}")


def _events(path: str, on: Any) -> dict[str, dict[str, Any]]:
    if isinstance(on, str):
        on = [on]
    if isinstance(on, list):
        on = dict.fromkeys(on)
    if not isinstance(on, dict):
        raise WorkflowError(f"{path} has no `on`")
    unknown = sorted(set(map(str, on)) - _EVENTS)
    if unknown:
        raise WorkflowError(f"{path}: the demo's runner knows no event {', '.join(unknown)}")
    return {str(name): options if isinstance(options, dict) else {} for name, options in on.items()}


def _trigger(options: Mapping[str, Any]) -> WorkflowTrigger:
    branches = options.get("branches")
    return WorkflowTrigger(
        tuple(_list(branches)) if branches is not None else None,
        tuple(_list(options.get("branches-ignore"))),
        tuple(_list(options.get("types"))) or _DEFAULT_TYPES,
        tags_only="tags" in options and branches is None,
    )


def _inputs(dispatch: Mapping[str, Any]) -> dict[str, Input]:
    found = {}
    for name, options in (dispatch.get("inputs") or {}).items():
        options = options or {}
        choices = tuple(_list(options.get("options"))) if "options" in options else None
        found[str(name)] = Input(
            str(name), bool(options.get("required")), _text(options.get("default", "")), choices
        )
    return found


def _job(path: str, key: str, job: Any, permissions: Any) -> JobSpec:
    if not isinstance(job, dict) or not isinstance(job.get("steps"), list):
        raise WorkflowError(f"{path}: job {key} has no steps")
    _refuse_unknown(path, "job", job, _JOB_KEYS)
    return JobSpec(
        key,
        str(job.get("name") or key),
        tuple(_step(path, number, step) for number, step in enumerate(job["steps"], 1)),
        tuple(_list(job.get("needs"))),
        _texts(job.get("env")),
        _always(path, job.get("if")),
        float(job.get("timeout-minutes", _DEFAULT_MINUTES)),
        # A job's own permissions take the place of all of the workflow's.
        _may_ask_for_tokens(job.get("permissions", permissions)),
    )


def _may_ask_for_tokens(permissions: Any) -> bool:
    return isinstance(permissions, dict) and permissions.get("id-token") == "write"


def _step(path: str, number: int, step: Any) -> WorkflowStep:
    if not isinstance(step, dict):
        raise WorkflowError(f"{path}: step {number} is not a mapping")
    _refuse_unknown(path, "step", step, _STEP_KEYS)
    run, uses = step.get("run"), str(step.get("uses") or "")
    checkout = None
    is_local = uses == "." or uses.startswith("./")
    if _CHECKOUT.match(uses):
        checkout = _text((step.get("with") or {}).get("ref", ""))
    elif run is None and not is_local:
        raise WorkflowError(
            f"{path}: step {number} must `run` something, or use actions/checkout or ./an-action"
        )
    default = uses or f"Run {str(run).strip().splitlines()[0] if str(run).strip() else ''}"
    return WorkflowStep(
        str(step.get("name") or default),
        str(run) if checkout is None and not is_local else None,
        checkout,
        uses if is_local else None,
        _texts(step.get("with")) if is_local else {},
        str(step.get("id") or ""),
        _texts(step.get("env")),
        str(step.get("working-directory") or "."),
        _always(path, step.get("if")),
        bool(step.get("continue-on-error")),
    )


@dataclass(frozen=True)
class CompositeAction:
    """A composite action, read: `inputs` by name with their defaults (None: required)."""

    inputs: Mapping[str, str | None]
    outputs: Mapping[str, str]
    steps: tuple[WorkflowStep, ...]

    def given(self, values: Mapping[str, str]) -> dict[str, str]:
        """The inputs of one use. As on GitHub, one that is required may still be left out."""
        return {
            f"inputs.{name}": values.get(name, default or "")
            for name, default in self.inputs.items()
        }


def read_action(path: str, text: str) -> CompositeAction:
    """Read `action.yml` of a composite action.

    Source: docs.github.com, "Metadata syntax reference".

    Raises:
        WorkflowError: it is none, or says something the demo cannot do.
    """
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WorkflowError(f"{path} is not YAML: {error}") from None
    runs = whole.get("runs") if isinstance(whole, dict) else None
    if not isinstance(runs, dict) or runs.get("using") != "composite":
        raise WorkflowError(f"{path} is no composite action")
    _refuse_unknown(path, "action", whole, _ACTION_KEYS)
    steps = runs.get("steps") or []
    for number, step in enumerate(steps, 1):
        if "run" in step and not step.get("shell"):
            raise WorkflowError(f"{path}: step {number} of an action needs a `shell`")
    return CompositeAction(
        {str(name): _default_of(each) for name, each in (whole.get("inputs") or {}).items()},
        {
            str(n): _text((each or {}).get("value"))
            for n, each in (whole.get("outputs") or {}).items()
        },
        tuple(_step(path, number, step) for number, step in enumerate(steps, 1)),
    )


def _default_of(given: Any) -> str | None:
    options = given if isinstance(given, dict) else {}
    return _text(options["default"]) if "default" in options else None


def _always(path: str, condition: Any) -> bool:
    if condition is None:
        return False
    inner = _EXPRESSION.sub(r"\1", str(condition)).strip()
    if inner not in ("always()", "!cancelled()", "success()"):
        raise WorkflowError(f"{path}: the demo's runner cannot decide `if: {condition}`")
    return inner != "success()"


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _texts(value: Any) -> dict[str, str]:
    return {str(k): _text(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _matches(branch: str, pattern: str) -> bool:
    """GitHub's branch patterns: `*` stays within one level, `**` does not."""
    if "**" in pattern:
        return fnmatchcase(branch, pattern.replace("**", "*"))
    return branch.count("/") == pattern.count("/") and fnmatchcase(branch, pattern)


def fill(text: str, context: Mapping[str, str]) -> str:
    """Replace `${{ inputs.sha }}` and the like; what `context` does not have becomes empty."""
    return _EXPRESSION.sub(lambda match: _value(match[1], context), text)


def _value(expression: str, context: Mapping[str, str]) -> str:
    for part in expression.split("||"):
        name = part.strip().replace("github.event.inputs.", "inputs.")
        quoted = re.fullmatch(r"'([^']*)'", name)
        value = quoted[1] if quoted else context.get(name, "")
        if value:
            return value
    return ""


def dispatch_inputs(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, str]:
    """The inputs a dispatched run gets.

    Raises:
        WorkflowError: with GitHub's words, for unknown, missing or impossible inputs.
    """
    unexpected = sorted(set(given) - set(workflow.inputs))
    if unexpected:
        raise WorkflowError(f"Unexpected inputs provided: {unexpected!r}".replace("'", '"'))
    values = {}
    for name, known in workflow.inputs.items():
        value = _text(given[name]) if name in given else known.default
        if known.required and not value:
            raise WorkflowError(f"Required input '{name}' not provided")
        if known.options is not None and value and value not in known.options:
            raise WorkflowError(f"Provided value '{value}' for input '{name}' not in the list")
        values[name] = value
    return values


def in_order(jobs: Sequence[JobSpec]) -> list[JobSpec]:
    """Jobs so that each comes after those it needs.

    Raises:
        WorkflowError: when they need each other in a circle.
    """
    ordered: list[JobSpec] = []
    left = list(jobs)
    while left:
        done = {job.key for job in ordered}
        ready = [job for job in left if done.issuperset(job.needs)]
        if not ready:
            raise WorkflowError("jobs need each other in a circle")
        ordered += ready
        left = [job for job in left if job not in ready]
    return ordered
