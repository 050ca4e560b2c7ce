"""The repository's own configuration, `.github/playbooks.yml`.

Everything has a default: an empty or missing file works. Unknown keys are errors that name what
is allowed, so that a misspelt safety setting is never silently ignored.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from bot.canary.counters import CounterSource
from bot.canary.metrics import NO_RETURN
from bot.canary.policy import CapabilityName, Policy
from bot.limits import (
    BudgetLimit,
    CallersConfig,
    Caps,
    Commands,
    Founder,
    RepositoryPath,
    Section,
    without,
)
from bot.names import Author
from bot.triggers import Autonomy
from bot.yaml_text import Document, UnreadableYaml, YamlFault, read_yaml

CONFIG_PATH = ".github/playbooks.yml"
_MISNAMED = re.compile(r"\.github/playbooks?\.ya?ml", re.IGNORECASE)
LARGEST_CONFIG = 32 * 1024
"""Bytes; a larger file is refused unread."""
TOO_LARGE = f"{CONFIG_PATH} is larger than {LARGEST_CONFIG // 1024} KiB."
MOST_FAULTS = 20
"""So many are said of one file; who mends those is told the next."""
_LONGEST_REASON = 300
"""Characters of one fault's reason; validators may quote what they were given."""


def is_misnamed(path: str) -> bool:
    """Tell whether a file is surely meant as the configuration, and is not read."""
    return path != CONFIG_PATH and _MISNAMED.fullmatch(path) is not None


_A_LIST, _A_SECTION = "must be a list, such as [one, another]", "must hold keys with their values"
_SHAPES = {"tuple_type": _A_LIST, "model_type": _A_SECTION, "dict_type": _A_SECTION}
"""What pydantic says in the words of Python."""


class InvalidConfig(Exception):
    """The file cannot be used; the message names the line or field and what is allowed."""


class Artifacts(Section):
    """Where reports are committed."""

    root: RepositoryPath = "apps/orchestrator/orchestrator"
    """The folder below which reports are committed."""


class Adr(Section):
    """Where decision records are committed."""

    directory: RepositoryPath = "docs/decisions"
    """The folder of decision records, each named by its date and incident."""


EnvironmentPattern = Annotated[str, Field(min_length=1, max_length=255)]
"""The name of a deployment environment; `*` and `?` stand for anything."""


CheckNames = Annotated[tuple[str, ...], Field(max_length=200)]


class ChecksConfig(Section):
    """Which check-runs and statuses count, by name; whoever reports under that name is heard.

    Where the branch's rules pin a required check to an App, only that App's check-runs count.

    Where `smoke` is empty, the required checks of the branch count, else every check that passed
    on the branch before the incident. Where `evals` is empty there are none; reports say so.
    `slo` and `safety` report on the default branch after a merge; with smoke and evals they are
    what an automatic revert may rest on.
    """

    smoke: CheckNames = ()
    """Checks that tell whether it works at all."""
    evals: CheckNames = ()
    """Checks that tell whether it is still as good."""
    slo: CheckNames = ()
    """Checks whose failure on the default branch is a breach of what was promised."""
    safety: CheckNames = ()
    """Checks whose failure pauses self-work until a person lifts that."""
    preview: tuple[EnvironmentPattern, ...] | None = None
    """Environments to which a hotfix has to be deployed, such as `preview` or `pr-*`.

    Left out: whatever its commit was deployed to by the time its checks are green is waited for,
    if that environment was marked as transient. `[]`: none is.
    """
    timeout_minutes: int = Field(default=60, ge=1, le=24 * 60)
    """A check that has not ended by then is not waited for any longer; a person is asked."""


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
    """Who bears it is self-work; taking it off lifts nothing."""
    authors: Annotated[tuple[Author, ...], Field(max_length=200)] = ()
    """Logins of agents, whose pull requests are self-work without the label."""
    resume_after_minutes: int = Field(default=30, ge=0, le=7 * 24 * 60)
    """How long the default branch has to be green before one canary is let through, and again
    after the canary's merge before everything is."""
    incidents: int = Field(default=3, ge=1, le=1000)
    """So many incidents within `incidents_hours` pause self-work."""
    incidents_hours: int = Field(default=24, ge=1, le=24 * 30)
    """The window in which `incidents` are counted."""


class RevertConfig(Section):
    """How a revert goes to the base branch."""

    merge_method: Literal["squash", "merge", "rebase"] | None = None
    """Left out: the first of squash, rebase and merge that the repository allows."""


Command = Annotated[tuple[str, ...], Field(max_length=100)]
"""A program and its arguments, each a word of its own; no shell reads it."""


class TrialCommands(Section):
    """What the sandbox runs on each commit: build first, then smoke, then evals.

    A commit that does not build cannot be tried. Exit codes: 0 pass, 125 cannot be tried, others
    fail. A command may write `{"fingerprint": …, "metrics": {…}}` to `$PLAYBOOKS_RESULT`.
    """

    build: Command = ()
    """Its failure says that the commit cannot be tried."""
    smoke: Command = ()
    """Its failure is a failure of the commit."""
    evals: Command = ()
    """Likewise, after `smoke` has passed."""


class BisectConfig(Section):
    """How a culprit is looked for.

    `runner` says where commits are tried. For `actions`, `workflow` is a file of
    `.github/workflows` on the default branch that tries one commit: it is dispatched with the
    inputs `sha` and `trial_id`, and its `run-name` holds the `trial_id`. For `sandbox`, `commands`
    are run on the bot's own server, confined. With neither, only results that exist already are
    used.
    """

    runner: Literal["actions", "sandbox"] = "actions"
    """Where commits are tried: by a workflow, or on the server of the bot, confined."""
    commands: TrialCommands = TrialCommands()
    overlay: tuple[RepositoryPath, ...] = ()
    """Besides the workflow: files and folders of today that commits which lack them get."""
    workflow: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml$")] | None = None
    """The file in `.github/workflows` that tries one commit."""
    build: tuple[str, ...] = ("build",)
    """Jobs or steps whose failure says that a commit cannot be tried."""
    confidence: float = Field(default=0.99, gt=0.5, lt=1)
    """So sure it has to be before it names a commit."""
    trials: int = Field(default=60, ge=1, le=1000)
    """So many trials one bisect may use."""
    minutes: int = Field(default=120, ge=1, le=24 * 60)
    """So long one bisect may take; `/retry` goes on after it."""
    parallel: int = Field(default=4, ge=1, le=32)
    """Trials at once, of one bisect."""
    trial_minutes: int = Field(default=30, ge=1, le=6 * 60)
    """A trial that has not ended by then is cancelled and counts as an infrastructure failure."""
    parallel_in_all: int = Field(default=8, ge=1, le=256)
    """Trials at once, of all bisects of the repository together; their number: see `caps`."""

    @model_validator(mode="after")
    def _sandbox_has_commands(self) -> BisectConfig:
        if self.runner == "sandbox" and not (self.commands.smoke or self.commands.evals):
            raise ValueError("runner: sandbox needs commands: {smoke: […]} or {evals: […]}")
        return self

    @property
    def can_try(self) -> bool:
        """Whether commits can be tried again."""
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
    """Where it is committed; `null`: nowhere."""
    commits: Literal["stage", "end"] = "stage"
    """After every stage of a ramp, or only when it has ended."""


class Capability(Policy):
    """One capability: who provides it, who might take over, and by which evidence.

    `prometheus`: a ramp is judged by these counters, instead of what clients report; not by ROAS,
    which is then `null` by default.
    """

    prometheus: CounterSource | None = None
    """Counters to judge a ramp by, instead of what clients report."""

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

FREE = frozenset(
    {
        "checks",
        "revert",
        "bisect.build",
        "bisect.confidence",
        "bisect.trials",
        "bisect.minutes",
        "bisect.parallel",
        "bisect.trial_minutes",
        "bisect.parallel_in_all",
        "flags.commits",
        "capabilities",
    }
)
"""What counts as soon as the default branch has it. Every other key is protected, also a new one:
its changes count only after a Founder approved them."""


class Config(Section):
    """The whole file."""

    artifacts: Artifacts = Artifacts()
    adr: Adr = Adr()
    checks: ChecksConfig = ChecksConfig()
    triggers: Triggers = Triggers()
    self_work: SelfWork = SelfWork()
    founder: Founder = Founder()
    budgets: dict[BudgetName, BudgetLimit] = Field(default={}, max_length=50)
    caps: Caps = Caps()
    commands: Commands = Commands()
    callers: CallersConfig = CallersConfig()
    revert: RevertConfig = RevertConfig()
    bisect: BisectConfig = BisectConfig()
    flags: Flags = Flags()
    capabilities: Annotated[dict[CapabilityName, Capability], Field(max_length=100)] = Field(
        default_factory=dict
    )

    @model_serializer(mode="wrap")
    def _as_approved(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What was approved before there was this section is known by its digest, and stays so.
        written: dict[str, Any] = write(self)
        return written if self.callers.workflows else without(written, "callers")


class ConfigText(NamedTuple):
    """A file that can be used.

    Attributes:
        config: what it says.
        doubts: what was hardly meant as it is read, each with its line.
    """

    config: Config
    doubts: tuple[str, ...] = ()


def _protected() -> tuple[str, ...]:
    found: list[str] = []
    for name, field in Config.model_fields.items():
        parts = field.annotation.model_fields if _is_section(field.annotation) else {}
        if name in FREE:
            continue
        if any(f"{name}.{part}" in FREE for part in parts):
            found += [f"{name}.{part}" for part in parts if f"{name}.{part}" not in FREE]
        else:
            found.append(name)
    return tuple(found)


def _is_section(shape: Any) -> TypeGuard[type[Section]]:
    return isinstance(shape, type) and issubclass(shape, Section)


PROTECTED = _protected()
"""The keys whose changes need a Founder: whole sections, or `section.key`."""


def parse_config(source: str | bytes) -> Config:
    """Read the text of `.github/playbooks.yml`, or its bytes.

    Raises:
        InvalidConfig: it is too large, not YAML, or a field is unknown or wrong.
    """
    return read_config_text(source).config


def read_config_text(source: str | bytes) -> ConfigText:
    """Read the text of `.github/playbooks.yml`, or its bytes, and what in it is doubtful.

    It takes time in proportion to the size, which is bounded: some tenths of a second at worst.

    Raises:
        InvalidConfig: it is too large, not YAML, or a field is unknown or wrong. At most
            MOST_FAULTS are said.
    """
    text = _decoded(source)
    try:
        return _read(text)
    except InvalidConfig:
        raise
    except Exception as error:
        # Whatever a stranger's file makes a reader trip over must cost that file alone.
        raise InvalidConfig(
            f"{CONFIG_PATH}: cannot be read ({type(error).__name__}). Take out what was changed "
            "last, and try again."
        ) from error


def _decoded(source: str | bytes) -> str:
    # Lone surrogates are let through here: the YAML reader names their line.
    raw = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(raw) > LARGEST_CONFIG:
        raise InvalidConfig(TOO_LARGE)
    if isinstance(source, str):
        return source
    if source.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidConfig(f"{CONFIG_PATH} line 1: it is written in UTF-16; only UTF-8 is read.")
    try:
        return source.decode()
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise InvalidConfig(
            f"{CONFIG_PATH} line {line}: the byte 0x{source[error.start]:02X} is not UTF-8; only "
            "UTF-8 is read."
        ) from None


def _read(text: str) -> ConfigText:
    try:
        document = read_yaml(text, most_faults=MOST_FAULTS)
    except UnreadableYaml as unreadable:
        raise _invalid([_located(fault) for fault in unreadable.faults]) from None
    doubts = [_located(doubt) for doubt in document.doubts]
    if document.data is None:
        return ConfigText(Config())
    if not isinstance(document.data, dict):
        raise InvalidConfig(f"{CONFIG_PATH}: expected sections, such as 'checks:'.")
    try:
        # A section holds nothing where all that stood in it is commented out.
        filled = {name: {} if held is None else held for name, held in document.data.items()}
        config = Config.model_validate(filled)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        said = [_say(fault, document) for fault in faults[:MOST_FAULTS]]
        raise _invalid(doubts + said, error.error_count() - len(said)) from None
    if document.controls:
        raise _invalid([_located(fault) for fault in document.controls])
    return ConfigText(config, tuple(doubts[:MOST_FAULTS]))


def _invalid(said: Sequence[str], more: int = 0) -> InvalidConfig:
    more += max(len(said) - MOST_FAULTS, 0)
    end = [f"… and {more} more."] if more else []
    return InvalidConfig("\n".join([*said[:MOST_FAULTS], *end]))


def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file, for editors: the same models that read it."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": CONFIG_PATH,
    }


def _located(fault: YamlFault) -> str:
    where = CONFIG_PATH if fault.line is None else f"{CONFIG_PATH} line {fault.line}"
    return f"{where}: {fault.problem}."


def _say(fault: Any, document: Document) -> str:
    """One sentence for a person: where, what is wrong, what is allowed."""
    location = [str(part) for part in fault["loc"]]
    field = _short(".".join(location), 120)
    line = document.line_of(fault["loc"])
    where = f"{CONFIG_PATH} line {line}" if line else CONFIG_PATH
    if fault["type"] == "extra_forbidden":
        allowed = _allowed_at(location[:-1])
        close = get_close_matches(_short(location[-1], 120), allowed, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"{where}: '{field}' is not known.{hint} Allowed here: {', '.join(allowed)}."
    quotes = " (put it in quotes)" if fault["type"] == "string_type" else ""
    said = _SHAPES.get(fault["type"]) or _short(
        fault["msg"].removeprefix("Value error, "), _LONGEST_REASON
    )
    return f"{where}: '{field}': {said}{quotes}."


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"


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
