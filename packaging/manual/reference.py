"""Pages of the manual that are made from the code, so that they cannot say anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from bot.cli import main
from bot.config import Config
from bot.records.documents.reports import published_schemas
from bot.slash_commands import ENTRIES

_LONGEST_DEFAULT = 60


def pages() -> dict[str, str]:
    """Each generated page: its name below `reference/`, and its Markdown."""
    return {
        "commands": _commands(),
        "command-line": _command_line(),
        "configuration": _configuration(Config.model_json_schema()),
        "artifacts": _artifacts(),
    }


def _commands() -> str:
    lines = ["# Slash commands", "", "Made from the table that the parser and `/help` read.", ""]
    for each in ENTRIES:
        who = "anybody" if each.who.value == "none" else f"{each.who.value} access"
        lines += [f"## `/{each.name}`", "", each.does, "", "```text", each.usage, "```", ""]
        lines += [f"Who may: {who}. {each.note}".rstrip(), "", "Such as:", ""]
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
    for name, command in sorted(group.commands.items()):
        yield from _walk(command, (*path, name))


def _configuration(schema: Mapping[str, Any]) -> str:
    lines = [
        "# Every key of `.github/playbooks.yml`",
        "",
        "Made from the model that reads the file; the whole JSON Schema is at "
        "`/schema/playbooks.json`. What it is for, with examples: "
        "[configuration](../configuration.md).",
        "",
    ]
    for name, about in schema["properties"].items():
        lines += [f"## `{name}`", ""]
        lines += _section(name, about, schema["$defs"])
    return "\n".join(lines)


def _section(path: str, about: Mapping[str, Any], models: Mapping[str, Any]) -> list[str]:
    model = _model(about, models)
    said = (about.get("description") or (model or {}).get("description", "")).strip()
    lines = [said, ""] if said else []
    if model is None or "properties" not in model:
        return [*lines, *_rows([(path, about, model)])]
    rows, below = [], []
    for key, each in model["properties"].items():
        inner = _model(each, models)
        if inner is not None and "properties" in inner:
            below += [f"### `{path}.{key}`", "", *_section(f"{path}.{key}", each, models)]
        else:
            rows.append((key, each, inner))
    return [*lines, *_rows(rows), *below]


def _rows(rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]) -> list[str]:
    if not rows:
        return []
    cells = [
        (
            f"`{key}`",
            _allowed(about, model),
            f"`{default}`" if len(default := _default(about)) <= _LONGEST_DEFAULT else "see above",
            " ".join((about.get("description") or (model or {}).get("description", "")).split()),
        )
        for key, about, model in rows
    ]
    head = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    escaped = ([cell.replace("|", "\\|") for cell in each] for each in cells)
    return [*head, *(f"| {' | '.join(each)} |" for each in escaped), ""]


def _model(about: Mapping[str, Any], models: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The model that a key holds, or of which it holds several by name."""
    several = about.get("patternProperties", {}).values()
    inside = (*about.get("allOf", ()), *about.get("anyOf", ()))
    for each in (about, about.get("additionalProperties"), *several, *inside):
        if isinstance(each, dict) and "$ref" in each:
            return models.get(each["$ref"].rpartition("/")[2])
    return None


def _allowed(about: Mapping[str, Any], model: Mapping[str, Any] | None) -> str:
    if model is not None and "enum" in model:
        about = model
    if "enum" in about:
        return ", ".join(f"`{each}`" for each in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_allowed(each, model) for each in about["anyOf"]))
    kind = {"object": "mapping", "array": "list", "null": "nothing"}.get(
        about.get("type", ""), about.get("type", "anything")
    )
    low = about.get("minimum", about.get("exclusiveMinimum"))
    high = about.get("maximum", about.get("exclusiveMaximum"))
    if low is not None or high is not None:
        kind += f", {'' if low is None else low} to {'' if high is None else high}"
    return f"{kind} of {_allowed(about['items'], model)}" if "items" in about else kind


def _default(about: Mapping[str, Any]) -> str:
    return json.dumps(about["default"], ensure_ascii=False) if "default" in about else "none"


def _artifacts() -> str:
    lines = ["# Artifacts", "", "What is committed, and the JSON Schema each file keeps to.", ""]
    for name, schema in published_schemas().items():
        lines += [f"## `{name}`", "", schema.get("description", "").strip(), ""]
        lines += ["```json", json.dumps(schema, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(lines)
