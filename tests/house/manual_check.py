"""Holds what README and docs/ name to what is there: `python -m tests.house.manual_check`.

Commands are read by the parsers that will read them, configuration by its models, bodies by those
of the API, addresses by the route table. What cannot be tried here is counted, with why.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bot.config import Config, InvalidConfig, parse_config
from bot.intake.alerts.mappings import read_mappings
from bot.settings import InvalidSettings, Settings
from bot.slash_commands import COMMANDS
from bot.traffic.client import Client
from tests.house.manual_commands import (
    HOST,
    Untried,
    Wrong,
    is_file,
    option,
    path_exists,
    read_command,
    slash,
)
from tests.house.manual_items import ROOT, Item, anchors, documents, items

sys.path.insert(0, str(ROOT / "packaging/manual"))

reference = importlib.import_module("reference")
endpoints, metrics = reference.endpoints, reference.metrics

CODE = ("bot", "demo", "fakegithub", "tests", "benchmarks", "deploy", "packaging", ".github")
FILES = ("Makefile", "Dockerfile", "app.yml", "action.yml", "pyproject.toml", "constraints.txt")


@dataclass(frozen=True)
class Checked:
    """One item, what it was taken for, and what came of it.

    Attributes:
        item: what a document names.
        kind: what it was taken for.
        fault: why it is wrong; empty where it holds.
        untried: why it was not tried; empty where it was.
    """

    item: Item
    kind: str
    fault: str = ""
    untried: str = ""


ELSEWHERE = "leads to somebody else's site: known by hand, since no test asks the network"

READ = frozenset({
    "https://argo-rollouts.readthedocs.io/en/stable/features/analysis/",
    "https://docs.flagger.app/usage/monitoring",
    "https://docs.flagger.app/usage/webhooks",
    "https://docs.github.com/en/actions/concepts/security/openid-connect",
    "https://docs.mergify.com/merge-queue/batches/failures",
    "https://git-scm.com/docs/git-bisect",
    "https://github.com/caronc/apprise",
    "https://github.com/luci/luci-go/blob/main/bisection/proto/config/config.proto",
    "https://github.com/pytorch/test-infra/blob/main/aws/lambda/pytorch-auto-revert/SIGNAL_ACTIONS.md",
    "https://keepachangelog.com/en/1.1.0/",
    "https://launchdarkly.com/docs/home/releases/regression-detection",
    "https://pre-commit.com",
    "https://semver.org/spec/v2.0.0.html",
    "https://www.pulumi.com/registry/packages/incident/api-docs/status",
})  # fmt: skip
"""Links to elsewhere whose pages were read, from stored copies, in December 2026.

Of git-scm.com, keepachangelog.com and semver.org it is only known that many others link there.
"""


# --- Addresses and bodies ---

OUTSIDE_THE_API = ("/ui", "/docs", "/webhooks/github", "/setup", "/usr", "/opt")
"""Pages of the server that no route of the API describes, and folders of a machine."""


@cache
def routes() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Method and path of each endpoint."""
    return tuple(
        (each.method, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(each.path))))
        for each in endpoints()
    )


def route(method: str, path: str) -> None:
    """Look for it in the route table; without a method, any will do."""
    path = HOST.sub("", path).partition("?")[0].rstrip("/").replace("…", "/r/acme/shop", 1)
    if path == "" or path.startswith(OUTSIDE_THE_API) or path in {"/r/OWNER/REPO"}:
        return
    for allowed, pattern in routes():
        if method in ("", allowed) and pattern.fullmatch(path):
            return
    raise Wrong("the server has no such route")


def body(text: str) -> None:
    """Read it as JSON, and where a model of the API takes it, all is well."""
    try:
        given = json.loads(text.replace("…", "x").replace('["new", "old"]', '"new"'))
    except json.JSONDecodeError as error:
        raise Wrong(f"no JSON: {error}") from error
    models = {each.body for each in endpoints() if each.body} | {
        each.answer for each in endpoints() if each.answer
    }
    if isinstance(given, dict) and given.keys() <= {"metrics", "fingerprint"}:
        return  # what a trial writes to $PLAYBOOKS_RESULT
    fields = {name for model in models for name in _fields(model)}
    if isinstance(given, dict) and not given.keys() & fields:
        raise Untried("is part of somebody else's format")
    if not any(_takes(model, given) for model in models):
        raise Wrong("no endpoint takes or gives this")


def _fields(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _takes(model: type[BaseModel], given: Any) -> bool:
    if isinstance(given, dict) and not given.keys() <= set(_fields(model)):
        return False
    try:
        model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        # An excerpt may leave fields out.
        return {each["type"] for each in error.errors()} == {"missing"}
    return True


# --- Configuration ---


def setting(name: str) -> None:
    """Look for a variable among the settings, then in the code."""
    ours = {each.upper() for each in Settings.model_fields}
    if name not in ours and name.removesuffix("_PATH") not in ours and name not in source():
        raise Wrong("no such variable")


def is_key(dotted: str) -> bool:
    """Whether this is a key of `.github/playbooks.yml`."""
    return any(dotted == each or each.endswith(f".{dotted}") for each in keys())


@cache
def keys() -> frozenset[str]:
    """Every key of the configuration, with dots."""
    schema = Config.model_json_schema()
    found: set[str] = set()

    def walk(prefix: str, about: Mapping[str, Any], deep: int) -> None:
        if deep > 6:
            return
        if "$ref" in about:
            about = schema["$defs"][about["$ref"].rpartition("/")[2]]
        for name, each in about.get("properties", {}).items():
            found.add(f"{prefix}{name}")
            walk(f"{prefix}{name}.", each, deep + 1)
        further = [about.get("items"), about.get("additionalProperties")]
        further += [*about.get("patternProperties", {}).values()]
        further += [*about.get("anyOf", ()), *about.get("allOf", ())]
        for inner in further:
            if isinstance(inner, dict):
                walk(prefix, inner, deep + 1)

    walk("", schema, 0)
    return frozenset(found)


def yaml_block(item: Item) -> None:
    """Read it by the model of whoever will read it."""
    text = item.text
    try:
        given = yaml.safe_load(text.replace("…", "x"))
    except yaml.YAMLError as error:
        raise Wrong(f"no YAML: {error}") from error
    for address in re.findall(HOST.pattern + r"(/[^\s'\"]*)", text):
        route("POST", address)
    if isinstance(given, dict) and given.keys() <= Config.model_fields.keys():
        try:
            parse_config(text.replace("[…]", "[make, test]"))
        except InvalidConfig as error:
            raise Wrong(str(error)) from error
        return
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    for step in given.get("steps", ()) if isinstance(given, dict) else ():
        if unknown := step.get("with", {}).keys() - action["inputs"].keys():
            raise Wrong(f"action.yml has no inputs {', '.join(unknown)}")


def json_block(item: Item) -> None:
    """Read it as a mapping of alerts where it is one."""
    given = json.loads(item.text)
    if all(isinstance(each, dict) for each in given.values()):
        try:
            read_mappings(item.text)
        except InvalidSettings as error:
            raise Wrong(str(error)) from error


# --- Code ---


@cache
def source() -> str:
    """The text of everything in the repository that is no document."""
    suffixes = {".py", ".yml", ".yaml", ".html", ".json", ".toml", ".service", ".txt", ".js", ".md"}
    paths = [path for room in CODE for path in sorted((ROOT / room).rglob("*"))]
    paths += [ROOT / name for name in FILES]
    kept = (p for p in paths if p.is_file() and (p.suffix in suffixes or p.name in FILES))
    own = {Path(__file__).resolve(), Path(__file__).resolve().parent / "test_documents.py"}
    return "\n".join(each.read_text("utf-8") for each in kept if each.resolve() not in own)


INVENTED = re.compile("ask_owners", re.IGNORECASE)
"""The step that docs/develop/changing-a-playbook.md makes up."""


def python_block(item: Item) -> None:
    """Compile it, import what it imports, and find in the code what is quoted from there."""
    try:
        parsed = ast.parse(item.text)
    except SyntaxError as error:
        raise Wrong(f"no Python: {error}") from error
    for found in ast.walk(parsed):
        if isinstance(found, ast.ImportFrom) and (found.module or "").startswith(_IMPORTED):
            try:
                exec(ast.unparse(found), {})  # noqa: S102 - it is what readers are told to import
            except ImportError as error:
                raise Wrong(str(error)) from error
        if isinstance(found, ast.Call) and ast.unparse(found.func) == "Client":
            keywords = {str(each.arg): each.value for each in found.keywords}
            inspect.signature(Client).bind(*found.args, **keywords)
    if "docs/develop/" in item.where:
        quoted = [each.strip() for each in item.text.splitlines() if each.strip()]
        lost = [
            each
            for each in quoted
            if not each.startswith(("#", "..."))
            and each not in source()
            and not INVENTED.search(each)
        ]
        if lost:
            raise Wrong(f"the code has no line {lost[0]!r}")


_IMPORTED = ("bot", "cloudevents")


def link(item: Item) -> None:
    """Follow it, as GitHub and the site do."""
    if re.match(r"[a-z]+:", item.text):
        if item.text not in READ:
            raise Wrong("nobody has read it: read it, then add it to READ")
        raise Untried(ELSEWHERE)
    name, _, anchor = item.text.partition("#")
    here = ROOT / item.where.partition(":")[0]
    target = (here.parent / name).resolve() if name else here
    if not target.exists():
        raise Wrong("leads nowhere")
    if anchor and anchor not in anchors(target.read_text("utf-8")):
        raise Wrong("that page has no such heading")


OF_OTHERS: Mapping[str, frozenset[str]] = {
    "is Datadog's or Sentry's": frozenset({
        '"repository": "$TAGS[repository]"', '"commit": "$TAGS[commit]"', "Re-No Data", "project=",
    }),
    "is a repository of others": frozenset({"DataDog/documentation", "getsentry/sentry-docs"}),
    "is a rival's, with its source beside it": frozenset({"failureLimit"}),
    "is a library that was not taken": frozenset({"apps.get_jwt", "aiohttp-sse"}),
    "is GitHub's, and is not asked": frozenset({"/search", "head=owner:branch&state=all"}),
    "is an example": frozenset({"/alerts/0/name", "/ping", 'pull_request: "123"',
                                "repository:acme/shop", "p@ss", "p%40ss"}),
    "is made by whoever deploys it": frozenset({"deploy/.env", "deploy/secrets"}),
    "is a program of others": frozenset({"pg_dump"}),
    "is a variable of the OpenTelemetry SDK": frozenset({"OTEL_EXPORTER_OTLP_HEADERS",
                                                         "OTEL_SERVICE_NAME"}),
}  # fmt: skip
"""What stands between backticks and is nothing of this repository, by whose it is."""

_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("formula", re.compile(r".*(?:[αβδθλπσ]|\w = \w|P\(|\blog\b).*")),
    ("test", re.compile(r"tests/\S+::\w+")),
    ("command", re.compile(r"(?:[A-Z_]+=\S+ )*(?:playbooks|make|python|docker|kubectl|pip|git|"
                           r"sqlite3|amtool|systemctl|systemd-analyze) \S.*")),
    ("option", re.compile(r"--(?:[a-z][\w-]*)?(?: .*)?")),
    ("body", re.compile(r"\{\".*\}|(?:202|400) \{.*\}")),
    ("route", re.compile(r"(?:(?:GET|POST|OPTIONS) |https://YOUR-HOST)/\S+|…/\S+")),
    ("slash command", re.compile(rf"/(?:{'|'.join(COMMANDS)}|playbooks)\b(?!/).*")),
    ("route", re.compile(r"/[a-z]\S*")),
    ("setting", re.compile(r"(?:GITHUB|PLAYBOOKS|PROMETHEUS|NOTIFY|LOG|OTEL|DATABASE)_[A-Z_]+"
                           r"(?:=\S+)?")),
    ("metric", re.compile(r"(?:playbooks_[a-z_]+|process_\*|python_\*)")),
    ("configuration", re.compile(r"[a-z_]+: ?[\[{a-z].*")),
    ("path", re.compile(r"(?:[\w.*-]+/)+[\w.*-]*|"
                        r"\.?[\w-]+\.(?:py|md|toml|ya?ml|json|txt|service)")),
    ("key", re.compile(r"[a-z_]+(?:\.[a-z_]+)+")),
)  # fmt: skip


def span(item: Item) -> tuple[str, Callable[[], None]]:
    """What a text between backticks is, and how it is held to that."""
    text = item.text
    kind = next((kind for kind, shape in _SHAPES if shape.fullmatch(text)), "word")
    is_elsewhere = kind == "path" and not path_exists(text) and not _OURS.match(text)
    if is_elsewhere or kind in ("key", "configuration"):
        is_ours = kind == "key" and text.partition(".")[0] in Config.model_fields
        kind = "key" if is_ours or is_key(text.partition(":")[0]) else "word"
    if kind == "slash command" and text.startswith("/playbooks "):
        text = "/" + text.removeprefix("/playbooks ")
    checks: dict[str, Callable[[], None]] = {
        "formula": lambda: None,
        "test": lambda: is_file(text),
        "command": lambda: read_command(text, setting, route),
        "option": lambda: option(text),
        "body": lambda: body(text[text.index("{") :]),
        "route": lambda: route(*(text.split(" ", 1) if " " in text else ("", text))),
        "slash command": lambda: slash(text),
        "setting": lambda: setting(text.partition("=")[0]),
        "metric": lambda: _metric(text),
        "path": lambda: is_file(text),
        "key": lambda: _key(text),
        "word": lambda: _word(text),
    }
    return kind, checks[kind]


def _key(text: str) -> None:
    if not is_key(text.partition(":")[0]):
        raise Wrong("the configuration has no such key")


_OURS = re.compile(r"(?:bot|demo|fakegithub|tests|benchmarks|packaging|deploy)/|.*\.(?:py|md)$")
"""Paths that can be of this repository only."""


def _metric(text: str) -> None:
    if text not in {each.name for each in metrics()} and not text.endswith("*"):
        raise Wrong("no such metric")


def _word(text: str) -> None:
    known = source()
    bare = re.sub(r"<[^>]*>|…|/\*\*$", " ", text)
    for part in bare.split():
        pieces = [part.rstrip(":,")] if re.fullmatch(r"[\w-]+", part) else _PIECE.findall(part)
        if part not in known and (lost := [each for each in pieces if each not in known]):
            raise Wrong(f"{', '.join(lost)}: stands nowhere in the code")


_PIECE = re.compile(r"[\w-]{2,}")


def check(item: Item) -> Checked:
    """Hold one item to what is there."""
    kind, tried = item.kind, _BLOCKS.get(item.kind)
    if kind == "span":
        kind, attempt = span(item)
    elif kind == "link":
        kind, attempt = "link", lambda: link(item)
    elif kind == "command":
        attempt = lambda: read_command(item.text, setting, route)  # noqa: E731
    elif tried is not None:
        kind, attempt = f"block: {kind}", lambda: tried(item)
    else:
        return Checked(item, f"block: {kind}", fault="no check knows this language")
    whose = [why for why, texts in OF_OTHERS.items() if kind != "link" and item.text in texts]
    if whose:
        return Checked(item, kind, untried=whose[0])
    try:
        attempt()
    except Wrong as error:
        return Checked(item, kind, fault=str(error))
    except Untried as error:
        return Checked(item, kind, untried=str(error))
    return Checked(item, kind)


def _shell(item: Item) -> None:
    done = subprocess.run(["bash", "-n"], input=item.text, capture_output=True, text=True)  # noqa: S607
    if done.returncode:
        raise Wrong(done.stderr)


def _applied(item: Item) -> None:
    del item
    raise Untried("is applied, and tested, by tests/house/test_adding_a_command.py")


_BLOCKS: Mapping[str, Callable[[Item], None]] = {
    "sh": _shell,
    "yaml": yaml_block,
    "json": json_block,
    "python": python_block,
    "diff": _applied,
    "text": lambda _: None,
}


def everything() -> list[Checked]:
    """Each item of each document, held to what is there."""
    with contextlib.redirect_stderr(io.StringIO()):
        return [check(item) for path in documents() for item in items(path)]


def report(checked: list[Checked]) -> str:
    """What was counted, what was not tried and why, what is broken."""
    kinds = Counter(each.kind for each in checked)
    lines = [f"{number:5} {kind}" for kind, number in kinds.most_common()]
    untried = Counter((each.kind, each.untried) for each in checked if each.untried)
    lines += ["", f"{untried.total()} of {len(checked)} not tried:"]
    lines += [f"{number:5} {kind}: {why}" for (kind, why), number in untried.most_common()]
    broken = [each for each in checked if each.fault]
    lines += ["", f"{len(broken)} broken"]
    lines += [f"  {e.item.where}: {e.kind} `{e.item.text[:70]}`: {e.fault}" for e in broken]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(everything()))  # noqa: T201 - its output
