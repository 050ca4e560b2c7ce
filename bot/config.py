"""The repository's own configuration, `.github/playbooks.yml`.

Everything has a default: an empty or missing file works. Unknown keys are errors that name what
is allowed, so that a misspelt safety setting is never silently ignored.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from bot.canary.counters import CounterSource
from bot.canary.policy import CapabilityName, Policy
from bot.canary.totals import NO_RETURN
from bot.limits import BudgetLimit, Caps, Commands, Founder
from bot.section import RepositoryPath, Section
from bot.triggers import Autonomy

CONFIG_PATH = ".github/playbooks.yml"
LARGEST_CONFIG = 256 * 1024
"""Bytes; a larger file is refused unread."""


class InvalidConfig(Exception):
    """The file cannot be used; the message names the line or field and what is allowed."""


class Artifacts(Section):
    """Where reports are committed."""

    root: RepositoryPath = "apps/orchestrator/orchestrator"


class Adr(Section):
    """Where decision records are committed."""

    directory: RepositoryPath = "docs/decisions"


EnvironmentPattern = Annotated[str, Field(min_length=1, max_length=255)]
"""The name of a deployment environment; `*` and `?` stand for anything."""


class Checks(Section):
    """Which check-runs and statuses count, by name; whoever reports under that name is heard.

    Where the branch's rules pin a required check to an App, only that App's check-runs count.

    Where `smoke` is empty, the required checks of the branch count, else every check that passed
    on the branch before the incident. Where `evals` is empty there are none; reports say so.
    `slo` and `safety` report on the default branch after a merge; with smoke and evals they are
    what an automatic revert may rest on.
    """

    smoke: tuple[str, ...] = ()
    evals: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    safety: tuple[str, ...] = ()
    preview: tuple[EnvironmentPattern, ...] | None = None
    """Environments to which a hotfix has to be deployed, such as `preview` or `pr-*`.

    Left out: whatever its commit was deployed to by the time its checks are green is waited for,
    if that environment was marked as transient. `[]`: none is.
    """
    timeout_minutes: int = Field(default=60, ge=1, le=24 * 60)


def _off_is_a_word(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class Triggers(Section):
    """What the bot does by itself when a check fails on the default branch or an alert fires.

    `autonomy` is how far it goes for self-work; for other people's changes never beyond `open`.
    """

    autonomy: Annotated[Autonomy, BeforeValidator(_off_is_a_word)] = Autonomy.MERGE
    young_hours: int = Field(default=24, ge=1, le=24 * 14)
    """An older commit is not reverted by itself: the cause is looked for instead."""
    suspect_minutes: int = Field(default=60, ge=1, le=24 * 60)
    """What was merged so long before an alert that names nothing is suspected."""


class SelfWork(Section):
    """Which pull requests are self-work: those with this label, or by one of these authors."""

    label: str = Field(default="self-work", min_length=1, max_length=50)
    authors: tuple[str, ...] = ()
    resume_after_minutes: int = Field(default=30, ge=0, le=7 * 24 * 60)
    """How long the default branch has to be green before one canary is let through, and again
    after the canary's merge before everything is."""
    incidents: int = Field(default=3, ge=1, le=1000)
    """So many incidents within `incidents_hours` pause self-work."""
    incidents_hours: int = Field(default=24, ge=1, le=24 * 30)


class Revert(Section):
    """How a revert goes to the base branch."""

    merge_method: Literal["squash", "merge", "rebase"] | None = None
    """None: the first of squash, rebase, merge that the repository allows."""


Command = Annotated[tuple[str, ...], Field(max_length=100)]
"""A program and its arguments, each a word of its own; no shell reads it."""


class TrialCommands(Section):
    """What the sandbox runs on each commit: build first, then smoke, then evals.

    A commit that does not build cannot be tried. Exit codes: 0 pass, 125 cannot be tried, others
    fail. A command may write `{"fingerprint": …, "metrics": {…}}` to `$PLAYBOOKS_RESULT`.
    """

    build: Command = ()
    smoke: Command = ()
    evals: Command = ()


class Bisect(Section):
    """How a culprit is looked for.

    `runner` says where commits are tried. For `actions`, `workflow` is a file of
    `.github/workflows` on the default branch that tries one commit: it is dispatched with the
    inputs `sha` and `trial_id`, and its `run-name` holds the `trial_id`. For `sandbox`, `commands`
    are run on the bot's own server, confined. With neither, only results that exist already are
    used.
    """

    runner: Literal["actions", "sandbox"] = "actions"
    commands: TrialCommands = TrialCommands()
    overlay: tuple[RepositoryPath, ...] = ()
    """Besides the workflow: files and folders of today that commits which lack them get."""
    workflow: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml$")] | None = None
    build: tuple[str, ...] = ("build",)
    """Jobs or steps whose failure says that a commit cannot be tried."""
    confidence: float = Field(default=0.99, gt=0.5, lt=1)
    trials: int = Field(default=60, ge=1, le=1000)
    minutes: int = Field(default=120, ge=1, le=24 * 60)
    parallel: int = Field(default=4, ge=1, le=32)
    trial_minutes: int = Field(default=30, ge=1, le=6 * 60)
    """A trial that has not ended by then is cancelled and counts as an infrastructure failure."""
    parallel_in_all: int = Field(default=8, ge=1, le=256)
    """Trials at once, of all bisects of the repository together; their number: see `caps`."""

    @model_validator(mode="after")
    def _sandbox_has_commands(self) -> Bisect:
        if self.runner == "sandbox" and not (self.commands.smoke or self.commands.evals):
            raise ValueError("runner: sandbox needs commands: {smoke: […]} or {evals: […]}")
        return self

    @property
    def can_try(self) -> bool:
        """Whether commits can be tried afresh."""
        return self.runner == "sandbox" or self.workflow is not None


def _json_file(value: str) -> str:
    if not value.endswith(".json"):
        raise ValueError("must be a path that ends with .json")
    return value


class Flags(Section):
    """The flagd document in the repository, for whoever reads it from there.

    It follows what is served over HTTP and is never read back. `path: null`: not committed.
    """

    path: Annotated[RepositoryPath, AfterValidator(_json_file)] | None = "flags/flagd.json"
    commits: Literal["stage", "end"] = "stage"
    """After every stage of a ramp, or only when it has ended."""


class Capability(Policy):
    """One capability: who provides it, who might take over, and by which evidence.

    `prometheus`: a ramp is judged by these counters, instead of what clients report; not by ROAS,
    which is then `null` by default.
    """

    prometheus: CounterSource | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_returns(cls, given: Any) -> Any:
        """Counters cannot judge ROAS: with them it is left out, unless somebody wants it."""
        if isinstance(given, dict) and given.get("prometheus") is not None:
            metrics = given.get("metrics", {})
            if isinstance(metrics, dict):
                return given | {"metrics": {"roas": None} | metrics}
        return given

    @model_validator(mode="after")
    def _counted(self) -> Capability:
        if self.prometheus is None:
            return self
        if self.unit == "key":
            raise ValueError("counters do not know keys: with prometheus, unit must be request")
        if self.metrics.roas is not None:
            raise ValueError(
                f"with prometheus, metrics.roas must be null: {NO_RETURN}. To judge ROAS leave "
                "prometheus out and report observations"
            )
        if self.prometheus.cost is not None and self.metrics.cost is None:
            raise ValueError("prometheus.cost is read for metrics.cost, which is null")
        return self

    @property
    def policy(self) -> Policy:
        """What a shadow or ramp is judged by; known by its digest."""
        return Policy.model_validate({name: getattr(self, name) for name in Policy.model_fields})


BudgetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]

SENSITIVE = ("founder", "budgets", "caps", "self_work", "commands", "triggers")
"""Sections whose changes count only after a Founder approved them."""


class Config(Section):
    """The whole file."""

    artifacts: Artifacts = Artifacts()
    adr: Adr = Adr()
    checks: Checks = Checks()
    triggers: Triggers = Triggers()
    self_work: SelfWork = SelfWork()
    founder: Founder = Founder()
    budgets: dict[BudgetName, BudgetLimit] = Field(default={}, max_length=50)
    caps: Caps = Caps()
    commands: Commands = Commands()
    revert: Revert = Revert()
    bisect: Bisect = Bisect()
    flags: Flags = Flags()
    capabilities: Annotated[dict[CapabilityName, Capability], Field(max_length=100)] = Field(
        default_factory=dict
    )

    @property
    def record_paths(self) -> tuple[str, ...]:
        """Folders whose files record what happened: no revert touches them (Decisions 18)."""
        root = self.artifacts.root
        return (
            self.adr.directory,
            f"{root}/incidents",
            f"{root}/provider_shadow_diffs",
            f"{root}/ramp_reports",
            "self",
        )


def parse_config(text: str) -> Config:
    """Read the text of `.github/playbooks.yml`.

    Raises:
        InvalidConfig: it is too large, not YAML, or a field is unknown or wrong.
    """
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_CONFIG:
        raise InvalidConfig(f"{CONFIG_PATH} is larger than {LARGEST_CONFIG // 1024} KiB.")
    try:
        data = yaml.load(text, Loader=_NoAliases)  # noqa: S506  a SafeLoader, see below
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise InvalidConfig(f"{CONFIG_PATH}{where}: not valid YAML: {problem}.") from None
    except RecursionError:
        raise InvalidConfig(f"{CONFIG_PATH}: nested too deeply.") from None
    if data is None:
        return Config()
    if not isinstance(data, dict):
        raise InvalidConfig(f"{CONFIG_PATH}: expected sections, such as 'checks:'.")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        raise InvalidConfig("\n".join(_say(fault, text) for fault in faults)) from None


def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file, for editors: the same models that read it."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": CONFIG_PATH,
    }


class _NoAliases(yaml.SafeLoader):
    """YAML without anchors: nested aliases can make a small file expand without end."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)


def _say(fault: Any, text: str) -> str:
    """One sentence for a person: where, what is wrong, what is allowed."""
    location = [str(part) for part in fault["loc"]]
    field = ".".join(location)
    line = _line_of(location, text)
    where = f"{CONFIG_PATH} line {line}" if line else CONFIG_PATH
    if fault["type"] == "extra_forbidden":
        allowed = _allowed_at(location[:-1])
        close = get_close_matches(location[-1], allowed, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"{where}: '{field}' is not known.{hint} Allowed here: {', '.join(allowed)}."
    return f"{where}: '{field}': {fault['msg']}."


def _allowed_at(location: list[str]) -> list[str]:
    shape: Any = Config
    for part in location:
        shape = _inside(shape, part)
    return list(shape.model_fields)


def _inside(shape: Any, part: str) -> Any:
    """The model that `part` of a section, mapping or list is held to."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        shape = shape.model_fields[part].annotation
    else:
        shape = get_args(shape)[-1 if get_origin(shape) is dict else 0]
    while get_origin(shape) in (Annotated, Union, UnionType):
        shape = get_args(shape)[0]
    return shape


def _line_of(location: list[str], text: str) -> int | None:
    """The line of the innermost named key, searching downwards key by key."""
    found: int | None = None
    lines = text.splitlines()
    start = 0
    for part in location:
        pattern = re.compile(rf"^\s*(['\"]?){re.escape(part)}\1\s*:")
        for number in range(start, len(lines)):
            if pattern.match(lines[number]):
                found, start = number + 1, number + 1
                break
    return found
