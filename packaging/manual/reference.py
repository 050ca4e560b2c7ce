"""Pages of the manual that are made from the code, so that they cannot say anything else."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args

import click
import words
from published_metrics import metrics
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bot import config, limits
from bot.canary import counters, policy
from bot.cli import main
from bot.config import FREE, PROTECTED, Config, parse_config
from bot.intake.alerts.routes import AlertRoutes
from bot.intake.api.budgets import SafetyApi
from bot.intake.api.incidents import Api
from bot.intake.api.traffic import FlagRoutes, ObservationRoutes
from bot.intake.http.openapi import Endpoint
from bot.records.documents.reports import published_schemas
from bot.settings import Settings
from bot.slash_commands import ENTRIES, who_may

HERE = Path(__file__).resolve().parent

_LONGEST_DEFAULT = 60


def pages() -> dict[str, str]:
    """Each generated page: its name below `reference/`, and its Markdown."""
    return {
        "commands": _commands(),
        "command-line": _command_line(),
        "configuration": _configuration(Config.model_json_schema()),
        "settings": _settings(),
        "http": _http(),
        "artifacts": _artifacts(),
        "metrics": _metrics(),
        "exit-codes": _exit_codes(),
        "words": words.page(),
    }


def _commands() -> str:
    lines = ["# Slash commands", "", "Made from the table that the parser and `/help` read.", ""]
    for each in ENTRIES:
        lines += [f"## `/{each.name}`", "", each.does, "", "```text", each.usage, "```", ""]
        lines += [f"Who may: {who_may(each)}.", "", "For example:", ""]
        lines += ["```text", *each.examples, "```", ""]
    return "\n".join(lines)


def _command_line() -> str:
    lines = ["# Command line", "", "`playbooks COMMAND`, or `python -m bot COMMAND`.", ""]
    for path, command in _walk(main, ()):
        lines += [f"## `playbooks {' '.join(path)}`", ""]
        with click.Context(command, info_name=f"playbooks {' '.join(path)}") as context:
            lines += ["```text", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(lines)


def _walk(
    group: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        yield path, group
        return
    with click.Context(group) as context:
        for name in group.list_commands(context):
            if (command := group.get_command(context, name)) is not None:
                yield from _walk(command, (*path, name))


def _configuration(schema: Mapping[str, Any]) -> str:
    lines = [
        "# Every key of `.github/playbooks.yml`",
        "",
        "Made from the model that reads the file; the whole JSON Schema is at "
        "`/schema/playbooks.json`. What it is for: [configuration](../configuration.md).",
        "",
    ]
    examples = example()
    for name, about in schema["properties"].items():
        lines += [f"## `{name}`", ""]
        lines += [f"A change counts {'at once' if name in FREE else _WHEN[name in PROTECTED]}.", ""]
        path = f"{name}.NAME" if "$ref" not in about else name
        section = _section(path, about, schema["$defs"])
        lines += [*section, "For example:", "", "```yaml", examples[name], "```", ""]
    return "\n".join(lines)


_WHEN = {True: "once a Founder approved it", False: "at once for some keys, else once a Founder "
         "approved it"}  # fmt: skip


def example() -> dict[str, str]:
    """One example of each section, as text; together they are a file that can be used."""
    text = (HERE / "example.yml").read_text("utf-8")
    parse_config(text)
    return {each.partition(":")[0]: each.rstrip() for each in re.split(r"\n\n(?=\w)", text)}


def _section(path: str, about: Mapping[str, Any], models: Mapping[str, Any]) -> list[str]:
    name, model = _model(about, models)
    said, fields = _documented(name)
    said = said or about.get("description", "").strip()
    lines = [said, ""] if said else []
    if model is None or "properties" not in model:
        return [*lines, *_rows([(path, about, model, "")], None)]
    rows, below = [], []
    for key, each in model["properties"].items():
        _, inner = _model(each, models)
        if inner is not None and "properties" in inner:
            below += [f"### `{path}.{key}`", "", *_section(f"{path}.{key}", each, models)]
        else:
            rows.append((key, each, inner, fields.get(key, "")))
    return [*lines, *_rows(rows, _classes().get(name)), *below]


def _rows(
    rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any] | None, str]],
    shape: type[BaseModel] | None,
) -> list[str]:
    if not rows:
        return []
    cells = [
        (
            f"`{key}`",
            _allowed(about, model),
            _default(key, about, shape),
            _sentence(said or about.get("description") or (model or {}).get("description", "")),
        )
        for key, about, model, said in rows
    ]
    return _table(("key", "allowed", "default", "meaning"), cells)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    escaped = ([cell.replace("|", "\\|") for cell in each] for each in rows)
    return [*lines, *(f"| {' | '.join(each)} |" for each in escaped), ""]


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    return line[:1].upper() + line[1:] + ("" if not line or line[-1] in ".:" else ".")


@cache
def _classes() -> dict[str, type[BaseModel]]:
    """The models that the configuration is made of, by name."""
    rooms = (config, limits, policy, counters)
    return {
        name: each
        for room in rooms
        for name, each in vars(room).items()
        if isinstance(each, type) and issubclass(each, BaseModel)
    }


def _documented(name: str) -> tuple[str, dict[str, str]]:
    """What a model's docstring says of it, and of its fields under `Attributes:`."""
    fields: dict[str, str] = {}
    shape = _classes().get(name)
    for each in reversed(shape.__mro__ if shape else ()):
        text = inspect.cleandoc(each.__dict__.get("__doc__") or "")
        _, _, listed = text.partition("Attributes:\n")
        fields |= dict(re.findall(r"^    (\w+): ((?:.|\n        )+)", listed, re.MULTILINE))
    text = inspect.cleandoc(shape.__doc__ or "") if shape else ""
    return text.partition("Attributes:\n")[0].strip(), fields


def _model(
    about: Mapping[str, Any], models: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any] | None]:
    """The model that a key holds, or of which it holds several: its name, and its schema."""
    several = about.get("patternProperties", {}).values()
    inside = (*about.get("allOf", ()), *about.get("anyOf", ()))
    for each in (about, about.get("additionalProperties"), *several, *inside):
        if isinstance(each, dict) and "$ref" in each:
            name = each["$ref"].rpartition("/")[2]
            return name, models.get(name)
    return "", None


def _allowed(about: Mapping[str, Any], model: Mapping[str, Any] | None) -> str:
    if model is not None and "enum" in model:
        about = model
    if "enum" in about:
        return ", ".join(f"`{each}`" for each in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    if "$ref" in about:
        return "mapping"
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_allowed(each, model) for each in about["anyOf"]))
    kind = {"object": "mapping", "array": "list", "null": "nothing"}.get(
        about.get("type", ""), about.get("type", "anything")
    )
    kind += _bounds(about)
    return f"{kind} of {_allowed(about['items'], model)}" if "items" in about else kind


def _bounds(about: Mapping[str, Any]) -> str:
    low, high = about.get("minimum"), about.get("maximum")
    above, below = about.get("exclusiveMinimum"), about.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f", {low:g} to {high:g}" if abs(high) < 1e6 else f", {low} to {high:,.0f}"
    words = [(low, "at least"), (above, "above"), (high, "at most"), (below, "below")]
    said = [f"{word} {bound:g}" for bound, word in words if bound is not None]
    return f", {' and '.join(said)}" if said else ""


def _default(key: str, about: Mapping[str, Any], shape: type[BaseModel] | None) -> str:
    field = shape.model_fields.get(key) if shape else None
    if field is not None and isinstance(field.default, timedelta):
        return f"`{written(field.default)}`"
    if "default" in about:
        shown = json.dumps(about["default"], ensure_ascii=False)
        return f"`{shown}`" if len(shown) <= _LONGEST_DEFAULT else "see the example"
    return "required" if field is None or field.is_required() else "`{}`"


def written(span: timedelta) -> str:
    """A span as the configuration has it: `10m`, `6h`."""
    seconds = int(span.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _settings() -> str:
    lines = [
        "# Settings", "",
        "Each may also be read from a file that `NAME_PATH` names; the "
        "value of a secret is never printed. More of them: [configuration](../configuration.md).",
        "",
    ]  # fmt: skip
    rows = []
    for name, field in Settings.model_fields.items():
        secret = "SecretStr" in str(field.annotation)
        default = "required" if field.is_required() else _plain(field.default)
        about = _sentence(field.description or "")
        rows.append((f"`{name.upper()}`", _kind(field), default, "yes" if secret else "", about))
    return "\n".join([*lines, *_table(("variable", "value", "default", "secret", "meaning"), rows)])


def _plain(value: object) -> str:
    return "none" if value is None or value == () else f"`{value}`"


def _kind(field: FieldInfo) -> str:
    shape = str(field.annotation)
    if "Literal" in shape:
        return " or ".join(f"`{each}`" for each in get_args(field.annotation))
    several = "tuple" in shape
    one = next((word for part, word in _KINDS if part in shape), "text")
    return f"several, {one}" if several else one


_KINDS = (("int", "number"), ("Path", "path"), ("Login", "login"), ("str", "text"))


def _exit_codes() -> str:
    lines = [
        "# Exit codes", "",
        "Where a command is not listed: 0 it is done, 1 it did not work and says why, 2 it was "
        "called wrongly or a setting is wrong.", "",
    ]  # fmt: skip
    rows = [
        (f"`playbooks {' '.join(path)}`", " ".join(found[1].split()))
        for path, command in _walk(main, ())
        if (found := _EXITS.search(inspect.cleandoc(command.help or "")))
    ]
    return "\n".join([*lines, *_table(("command", "exit codes"), rows)])


_EXITS = re.compile(r"Exit codes(?:, with --exit)?: ((?:.|\n(?!\n))+)")


def _http() -> str:
    lines = [
        "# HTTP API", "",
        "The server describes it at `/openapi.json` and `/api-docs` too. "
        "Who may call: [callers](../callers.md). An error is an `application/problem+json` that "
        "names the field and what is allowed.", "",
        *_table(("route", "needs", "what it does"), (
            (f"`{each.method} {each.path}`", f"`{each.role.value}`" if each.role else "no token",
             each.summary) for each in endpoints())),
    ]  # fmt: skip
    for each in endpoints():
        if each.body is None and each.answer is None and each.query is None:
            continue
        lines += [f"## `{each.method} {each.path}`", "", each.summary, ""]
        for title, shape in (("Query", each.query), ("Body", each.body)):
            if shape is not None:
                lines += [f"{title}: {_sentence(shape.__doc__ or '')}", "", *_fields(shape)]
        if each.answer is not None:
            lines += [f"Answer: {each.status}", "", *_fields(each.answer)]
    return "\n".join(lines)


def _fields(shape: type[BaseModel]) -> list[str]:
    schema = shape.model_json_schema()
    needed = set(schema.get("required", ()))
    rows = [
        (f"`{name}`", _allowed(about, _model(about, schema.get("$defs", {}))[1]),
         "yes" if name in needed else "", _sentence(about.get("description", "")))
        for name, about in schema.get("properties", {}).items()
    ]  # fmt: skip
    return _table(("field", "allowed", "always", "meaning"), rows) if rows else []


def _metrics() -> str:
    lines = [
        "# Metrics", "",
        "At `/metrics`, for Prometheus. What to watch, and what to do when an alert fires: "
        "[operating](../operating.md#metrics). Besides these, what every Python process has: "
        "`process_*` and `python_*`.", "",
    ]  # fmt: skip
    rows = [(f"`{m.name}`", m.type, ", ".join(m.labels), _sentence(m.says)) for m in metrics()]
    return "\n".join([*lines, *_table(("metric", "type", "labels", "what it says"), rows)])


def _artifacts() -> str:
    lines = ["# Artifacts", "", "What is committed, and the JSON Schema each file keeps to.", ""]
    for name, schema in published_schemas().items():
        lines += [f"## `{name}`", "", schema.get("description", "").strip(), ""]
        lines += ["```json", json.dumps(schema, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """The route table of the API, from what serves it; nothing of it is started."""
    nothing: Any = None
    more = (
        *FlagRoutes(nothing, nothing, nothing).endpoints,
        *SafetyApi(
            callers=nothing, records=nothing, config=nothing, clock=nothing, new_id=nothing,
            look=nothing, self_work=nothing,
        ).endpoints(),
        *ObservationRoutes(nothing, nothing).endpoints,
        *AlertRoutes(nothing, nothing, nothing, {}).endpoints,
    )  # fmt: skip
    return Api(
        callers=nothing, records=nothing, inbox=nothing, may_begin=nothing, accept=nothing,
        ready=nothing, clock=nothing, new_id=nothing, registry=nothing, public_url="", version="",
        warnings=nothing, more=more,
    ).endpoints  # fmt: skip
