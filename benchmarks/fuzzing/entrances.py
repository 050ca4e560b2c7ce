"""Every entrance: what well-formed input looks like there, and what the pure reader makes of it.

A reader passes where it raises nothing but its own refusals, and where what it lets through can be
stored: as JSON that both databases take, and the same when it is read back.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from benchmarks.fuzzing.mutation import as_bytes, spoiled, spoiled_bytes, spoiled_text
from benchmarks.fuzzing.shapes import documents
from bot.canary.observations import Expected, Observation, read_lines
from bot.command_arguments import CommentPlace
from bot.config import Config, InvalidConfig, config_schema, read_config_text
from bot.culprit.evidence import TrialOutcome
from bot.github.errors import Unreadable
from bot.github.models import CheckResult, JobAnnotation, WorkflowJob, WorkflowRun
from bot.intake import event_triggers
from bot.intake.alerts.cloudevents import CloudEvent, event_report, read_structured
from bot.intake.alerts.formats import (
    MOST_ALERTS,
    Alert,
    AlertmanagerBody,
    GrafanaBody,
    UnreadableAlert,
    alert_report,
    is_about_its_rule,
    is_test,
    read_as,
    repository_of,
)
from bot.intake.alerts.routes import _read_group
from bot.intake.api.budgets import SpendBody
from bot.intake.api.models import BisectBody, RampBody, RevertBody, RollbackBody, ShadowBody
from bot.intake.comment_parser import MOST_COMMANDS, parse
from bot.intake.event_payloads import Hint, NothingAsked, OurApp
from bot.intake.events import Delivery, meanings
from bot.intake.http.problems import HttpProblem
from bot.records.documents.reports import SpecReport, spec_table
from bot.safety.config_in_force import digest_of, sensitive_sections
from bot.slash_commands import ENTRIES
from bot.spec_reports import read_spec, with_results
from bot.trials.outcome import (
    ResultFile,
    ResultFileError,
    fingerprint_of,
    judge_workflow_run,
    read_result,
)
from bot.triggers import Repository
from bot.yaml_text import UnreadableYaml as NotYaml
from bot.yaml_text import read_yaml

US = OurApp(id=99, slug="playbooks")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHA = "3f2a9c1d" * 5
WELL_FORMED = 0.65
"""The share of inputs that are not spoiled at all."""


_SHOP = Repository(id=11, owner="acme", name="shop", installation_id=22)


@dataclass(frozen=True)
class Place:
    """What inputs may name: a repository, its people, pull requests and commits."""

    repository: Repository = _SHOP
    people: tuple[str, ...] = ("alice", "mallory")
    numbers: tuple[int, ...] = (1, 2, 7)
    commits: tuple[str, ...] = (SHA,)
    capability: str = "llm.summarize"
    generation: int = 1
    now: datetime = NOW


@dataclass(frozen=True)
class Input:
    """What one sender sends. `head` says what it is: an event, a route, a content type."""

    head: str
    body: bytes


@dataclass(frozen=True)
class Entrance:
    """One way in.

    Attributes:
        name: for people and for choosing it.
        well_formed: draws a head and a document.
        written: writes a document, spoiled or not.
        read: the pure reader; whether the input got past its first validation.
    """

    name: str
    well_formed: Callable[[Place], st.SearchStrategy[tuple[str, Any]]]
    written: Callable[[Any, random.Random], bytes]
    read: Callable[[Input, Place], bool]

    def inputs(self, drawn: tuple[str, Any], rng: random.Random, count: int) -> Sequence[Input]:
        """So many neighbours of one well-formed input."""
        head, document = drawn
        return [Input(head, self.written(document, rng)) for _ in range(count)]


class Unstorable(AssertionError):
    """A reader let something through that the records could not keep."""


def _storable(value: BaseModel, *, as_text: bool = True) -> None:
    stored = value.model_dump_json(by_alias=True)
    plain = json.loads(stored)
    json.dumps(plain, ensure_ascii=False).encode()
    if type(value).model_validate_json(stored) != value:
        raise Unstorable(f"it is read back as something else: {stored[:500]}")
    # PostgreSQL takes this neither in JSON nor in text.
    if as_text and "\\u0000" in json.dumps(plain):
        raise Unstorable(f"it holds a NUL character: {stored[:500]}")


# --- webhooks ---


def _user(login: str, kind: str = "User") -> dict[str, Any]:
    return {"login": login, "type": kind, "id": 5}


def _from(place: Place) -> dict[str, Any]:
    known = place.repository
    return {
        "id": known.id, "name": known.name, "full_name": known.full_name,
        "owner": {"login": known.owner}, "default_branch": "main",
        "html_url": f"https://github.com/{known.full_name}",
    }  # fmt: skip


_ASSOCIATIONS = ("OWNER", "MEMBER", "COLLABORATOR", "CONTRIBUTOR", "NONE", "FIRST_TIMER")
_LABELS = ("playbook:revert", "playbook:bisect", "incident", "self-work", "bug")


@st.composite
def _delivery(draw: st.DrawFn, place: Place) -> tuple[str, Any]:
    event = draw(st.sampled_from(sorted(_PAYLOADS)))
    payload = _PAYLOADS[event](draw, place)
    login = draw(st.sampled_from(place.people))
    return event, {
        "repository": _from(place),
        "installation": {"id": place.repository.installation_id},
        "sender": _user(login),
        **payload,
    }


def _said(draw: st.DrawFn, place: Place) -> dict[str, Any]:
    return {
        "id": draw(st.integers(1, 2**40)),
        "body": draw(_words(place)),
        "user": _user(draw(st.sampled_from(place.people))),
        "author_association": draw(st.sampled_from(_ASSOCIATIONS)),
        "html_url": f"https://github.com/{place.repository.full_name}/pull/1#c",
        "performed_via_github_app": draw(
            st.one_of(st.none(), st.just({"id": 7, "slug": "another"}), st.just({"id": US.id}))
        ),
    }


def _pull(draw: st.DrawFn, place: Place) -> dict[str, Any]:
    return {
        "number": draw(st.sampled_from(place.numbers)),
        "head": {"sha": draw(st.sampled_from(place.commits)), "ref": "work"},
        "base": {"ref": "main"},
        "labels": [{"name": draw(st.sampled_from(_LABELS))}],
        "html_url": f"https://github.com/{place.repository.full_name}/pull/1",
    }


def _issue_comment(draw: st.DrawFn, place: Place) -> dict[str, Any]:
    issue: dict[str, Any] = {"number": draw(st.sampled_from(place.numbers))}
    if draw(st.booleans()):
        issue["pull_request"] = {"url": "https://api.github.com/x"}
    return {"action": "created", "issue": issue, "comment": _said(draw, place)}


def _issues(draw: st.DrawFn, place: Place) -> dict[str, Any]:
    return {
        "action": draw(st.sampled_from(("closed", "reopened", "labeled", "opened"))),
        "label": {"name": draw(st.sampled_from(_LABELS))},
        "issue": {
            "number": draw(st.sampled_from(place.numbers)),
            "labels": [{"name": "incident"}],
            "state_reason": draw(st.sampled_from(("completed", "not_planned", None))),
            "html_url": "https://github.com/acme/shop/issues/1",
        },
    }


def _check_run(draw: st.DrawFn, place: Place) -> dict[str, Any]:
    return {
        "action": draw(
            st.sampled_from(("completed", "created", "rerequested", "requested_action"))
        ),
        "requested_action": {
            "identifier": draw(st.sampled_from(("retry", "approve", "skip", "x")))
        },
        "check_run": {
            "id": draw(st.integers(1, 10**9)),
            "name": draw(
                st.sampled_from(("smoke", "hotfix", "self-work gate", "playbooks config"))
            ),
            "app": {"id": draw(st.sampled_from((US.id, 7)))},
            "conclusion": draw(st.sampled_from(("failure", "success", None))),
            "head_sha": draw(st.sampled_from(place.commits)),
            "external_id": draw(st.sampled_from(("01hzzzzzzzzzzzzzzzzzzzzzzz", "gate x", ""))),
            "pull_requests": [{"number": draw(st.sampled_from(place.numbers))}],
            "check_suite": {"head_branch": draw(st.sampled_from(("main", "work", None)))},
            "html_url": "https://github.com/acme/shop/runs/1",
        },
    }


_PAYLOADS: dict[str, Callable[[st.DrawFn, Place], dict[str, Any]]] = {
    "issue_comment": _issue_comment,
    "pull_request_review_comment": lambda draw, place: {
        "action": "created", "pull_request": _pull(draw, place), "comment": _said(draw, place),
    },
    "pull_request_review": lambda draw, place: {
        "action": "submitted", "pull_request": _pull(draw, place), "review": _said(draw, place),
    },
    "pull_request": lambda draw, place: {
        "action": draw(st.sampled_from(("labeled", "unlabeled", "synchronize", "edited"))),
        "label": {"name": draw(st.sampled_from(_LABELS))},
        "pull_request": _pull(draw, place),
    },
    "issues": _issues,
    "check_run": _check_run,
    "check_suite": lambda draw, place: {
        "action": "completed",
        "check_suite": {"head_sha": draw(st.sampled_from(place.commits)), "pull_requests": []},
    },
    "workflow_run": lambda draw, place: {
        "action": "completed",
        "workflow_run": {"head_sha": draw(st.sampled_from(place.commits)), "pull_requests": []},
    },
    "status": lambda draw, place: {
        "sha": draw(st.sampled_from(place.commits)), "context": "ci/smoke",
        "state": draw(st.sampled_from(("failure", "success", "pending"))),
        "branches": [{"name": "work"}], "target_url": "https://ci.example.com/1",
    },
    "deployment_status": lambda draw, place: {
        "deployment": {"sha": draw(st.sampled_from(place.commits))}
    },
    "push": lambda draw, place: {
        "ref": draw(st.sampled_from(("refs/heads/main", "refs/heads/playbooks/records"))),
        "after": draw(st.sampled_from(place.commits)), "before": "0" * 40,
    },
    "merge_group": lambda draw, place: {
        "action": "checks_requested",
        "merge_group": {
            "head_sha": draw(st.sampled_from(place.commits)),
            "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-" + SHA,
        },
    },
}  # fmt: skip


def _as_json(document: Any, rng: random.Random) -> bytes:
    if rng.random() >= WELL_FORMED:
        document = spoiled(document, rng)
        return as_bytes(document, rng)
    return json.dumps(document).encode()


def _read_webhook(given: Input, place: Place) -> bool:
    del place
    try:
        payload = json.loads(given.body.decode())
    except (ValueError, RecursionError):
        return False
    if not isinstance(payload, dict):
        return False
    found = meanings(Delivery(event=given.head, payload=payload, us=US, body=given.head.encode()))
    if not found:
        raise AssertionError("a delivery means nothing at all, not even Nothing")
    for each in found:
        if not isinstance(each, Hint | NothingAsked):
            for trigger in event_triggers.triggers(each, NOW):
                _storable(trigger)
    return any(not isinstance(each, NothingAsked) for each in found)


# --- commands ---


@st.composite
def _line(draw: st.DrawFn, place: Place) -> str:
    definition = draw(st.sampled_from(ENTRIES))
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(definition.examples))
    words = [
        f"#{draw(st.sampled_from(place.numbers))}", draw(st.sampled_from(place.commits))[:9],
        place.capability, "self-work", "high", "25", "v1.4..main", "check smoke",
        f"{place.repository.full_name}#1", f"https://github.com/{place.repository.full_name}/pull/1",
        "because", "main is broken",
    ]  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(words), max_size=3))
    name = draw(st.sampled_from((definition.name, definition.name.upper(), definition.name[:-1])))
    prefix = draw(st.sampled_from(("/", "/playbooks ", "/playbooks /")))
    return " ".join((prefix + name, *chosen))


_PROSE = (
    "It is broken.",
    "",
    "> /revert",
    "```",
    "`/cancel`",
    "<!-- /approve -->",
    "- /help",
    "a  ",
)


def _words(place: Place) -> st.SearchStrategy[str]:
    some = st.one_of(_line(place), _line(place), st.sampled_from(_PROSE))
    return st.lists(some, min_size=1, max_size=6).map("\n".join)


def _as_text(document: str, rng: random.Random) -> bytes:
    for _ in range(0 if rng.random() < WELL_FORMED else rng.randint(1, 3)):
        document = spoiled_text(document, rng)
    return document[:65_536].encode("utf-8", "surrogatepass")


def _read_commands(given: Input, place: Place) -> bool:
    body = given.body.decode("utf-8", "surrogatepass")
    found = parse(body, CommentPlace(place.repository.full_name, "https://github.com/acme/shop"))
    if len(found) > MOST_COMMANDS + 1:
        raise AssertionError(f"{len(found)} commands in one comment")
    if found:
        comment = {
            "action": "created", "issue": {"number": 7},
            "comment": {"id": 1, "body": body, "user": _user("alice")}, "sender": _user("alice"),
            "repository": _from(place), "installation": {"id": 22},
        }  # fmt: skip
        _read_webhook(Input("issue_comment", json.dumps(comment).encode()), place)
    return bool(found)


# --- the HTTP API ---

BODIES: dict[str, type[BaseModel]] = {
    "/incidents/revert": RevertBody,
    "/incidents/bisect": BisectBody,
    "/incidents/rollback": RollbackBody,
    "/providers/shadow/start": ShadowBody,
    "/providers/ramp/5": RampBody,
    "/budgets/llm/spend": SpendBody,
}
_ONE_OF_TWO = {"/incidents/revert": "commit", "/budgets/llm/spend": "commit"}


@st.composite
def _request(draw: st.DrawFn, place: Place) -> tuple[str, Any]:
    path = draw(st.sampled_from(sorted(BODIES)))
    document = draw(_BODY[path])
    # What a schema cannot say: one of the two, and only what is there. Most name a repository that
    # nobody reaches, which is found out after the body was read: the others begin something each.
    reached = draw(st.integers(0, 4)) == 0
    document["repository"] = place.repository.full_name if reached else "acme/nowhere"
    if path in _ONE_OF_TWO:
        kept, dropped = draw(st.permutations(("pull_request", "commit")))
        document.pop(dropped, None)
        document[kept] = place.numbers[0] if kept == "pull_request" else place.commits[0]
    if "capability" in document:
        document["capability"] = place.capability
    if "amount" in document:
        document["amount"], document["unit"] = draw(st.integers(0, 5)), None
    if "reason" in document:
        document["reason"] = draw(st.sampled_from(("because", "a\u2028b", "x" * 2000)))
    return path, document


_BODY = {path: documents(model.model_json_schema()) for path, model in BODIES.items()}


def _read_body(given: Input, place: Place) -> bool:
    del place
    try:
        body = BODIES[given.head].model_validate_json(given.body)
    except ValidationError:
        return False
    # The unit is compared, and not kept.
    _storable(body.model_copy(update={"unit": None}) if isinstance(body, SpendBody) else body)
    return True


# --- alerts ---

GROUPS: dict[str, type[AlertmanagerBody | GrafanaBody]] = {
    "/alerts/alertmanager": AlertmanagerBody,
    "/alerts/grafana": GrafanaBody,
}
EVENTS = "/alerts/cloudevents"
_LABELS_OF_ALERTS = ("alertname", "severity", "pull_request", "commit", "capability", "signal")


@st.composite
def _alert(draw: st.DrawFn, place: Place) -> tuple[str, Any]:
    path = draw(st.sampled_from((EVENTS, *GROUPS)))
    if path == EVENTS:
        document = draw(_EVENT)
        document["type"] = draw(st.sampled_from(("slo.breach", "com.example.eval.drop")))
        document.update({"id": f"{draw(st.integers(0, 2**60)):x}", "source": "/monitor"})
        document.pop("time", None)
        data = document.setdefault("data", {})
        blamed = draw(st.sampled_from(("pull_request", "commit", "capability")))
        for name in {"pull_request", "commit", "capability"} - {blamed}:
            data.pop(name, None)
        data["burn_rates"] = draw(st.sampled_from(({}, {"1h": 14.4, "5m": 15.0})))
        data["repository"] = place.repository.full_name
        # What fires begins a Run that follows it for long.
        data["status"] = draw(st.sampled_from(("resolved", "resolved", "firing")))
        return path, document
    document = draw(_GROUP[path])
    names = st.dictionaries(
        st.sampled_from(_LABELS_OF_ALERTS), st.sampled_from(("1", "high", "#7")), max_size=3
    )
    document["alerts"] = draw(st.lists(_ALERT, min_size=1, max_size=3))
    for alert in document["alerts"]:
        alert["labels"] = {**draw(names), "repository": place.repository.full_name}
    return path, document


_GROUP = {path: documents(model.model_json_schema()) for path, model in GROUPS.items()}
_ALERT = documents(Alert.model_json_schema())
_EVENT = documents(CloudEvent.model_json_schema())


def _read_alert(given: Input, place: Place) -> bool:
    try:
        if given.head == EVENTS:
            report = event_report(read_structured(given.body), place.repository, NOW)
            _storable(report, as_text=False)
            return True
        group, alerts = _read_group(given.body, GROUPS[given.head])
    except (UnreadableAlert, HttpProblem):
        return False
    for each in alerts[:MOST_ALERTS]:
        with suppress(UnreadableAlert):
            alert = read_as(Alert, each)
            is_test(alert, group.group_key)
            is_about_its_rule(alert)
            repository_of(alert, group)
            # What a key is kept as is told by the records.
            _storable(alert_report(alert, group, place.repository), as_text=False)
    return True


# --- observations ---


@st.composite
def _observation(draw: st.DrawFn, place: Place) -> tuple[str, Any]:
    document = draw(_OBSERVATION)
    document["capability"] = place.capability
    document["generation"] = place.generation
    document["event_id"] = f"{draw(st.integers(0, 2**60)):x}"
    document["time"] = (place.now - timedelta(seconds=draw(st.integers(0, 3000)))).isoformat()
    for name in ("revenue", "spend"):
        document.pop(name, None)
    document["latency"] = draw(st.floats(0, 60))
    document["pair_id"] = f"pair-{draw(st.integers(0, 2**60)):x}"
    return "line", document


_OBSERVATION = documents(Observation.model_json_schema())


def _read_observation(given: Input, place: Place) -> bool:
    expected = {place.capability: Expected("ramp", "request", {place.generation: 50}, timedelta(0))}
    lines = given.body.split(b"\n")
    reading = read_lines(lines, expected, now=place.now, known=lambda _: False)
    for seen in reading.accepted:
        # They are kept packed, as bytes.
        _storable(seen, as_text=False)
    for each in reading.rejected:
        json.dumps([each.event_id, each.field, each.problem], ensure_ascii=False).encode()
    return any(each.event_id is not None for each in reading.rejected) or bool(reading.accepted)


# --- the configuration ---


def _configuration(place: Place) -> st.SearchStrategy[tuple[str, Any]]:
    del place
    return _CONFIG.map(lambda document: ("file", document))


def _sections() -> st.SearchStrategy[dict[str, Any]]:
    schema = config_schema()
    whole = documents(schema)
    names = sorted(schema["properties"])
    # Of few sections: what is wrong in one hides what the others could show.
    chosen = st.lists(st.sampled_from(names), unique=True, max_size=3)
    return st.tuples(whole, chosen).map(
        lambda both: {name: value for name, value in both[0].items() if name in both[1]}
    )


_CONFIG = _sections()


def _as_yaml(document: Any, rng: random.Random) -> bytes:
    if rng.random() >= WELL_FORMED and rng.random() < 0.5:
        document = spoiled(document, rng)
    flow = rng.choice((None, True, False))
    plain = json.loads(json.dumps(document))
    text = yaml.safe_dump(plain, default_flow_style=flow, allow_unicode=rng.random() < 0.5)
    if rng.random() < 0.3:
        text = spoiled_text(text, rng)
    written = text.encode("utf-8", "surrogatepass")
    return spoiled_bytes(written, rng) if rng.random() < 0.05 else written


def _read_configuration(given: Input, place: Place) -> bool:
    del place
    try:
        read = read_config_text(given.body)
    except InvalidConfig as invalid:
        if "cannot be read (" in str(invalid):
            raise AssertionError(f"a reader tripped: {invalid}") from invalid
        if len(str(invalid)) > 20_000:
            raise AssertionError(f"{len(str(invalid))} characters of faults") from invalid
        str(invalid).encode()
        with suppress(NotYaml, UnicodeDecodeError):
            return isinstance(read_yaml(given.body.decode(), most_faults=1).data, dict)
        return False
    digest_of(sensitive_sections(read.config))
    if Config.model_validate_json(read.config.model_dump_json(by_alias=True)) != read.config:
        raise Unstorable("a configuration is read back as another")
    return True


# --- spec reports ---


def _spec(place: Place) -> st.SearchStrategy[tuple[str, Any]]:
    del place
    return _SPEC.map(lambda document: ("file", document))


_SPEC = documents(SpecReport.model_json_schema(by_alias=True))
_RESULTS = [
    CheckResult(kind="status", id=n, name="smoke", status="completed", conclusion=conclusion)
    for n, conclusion in enumerate(("success", "failure"))
]


def _read_spec(given: Input, place: Place) -> bool:
    del place
    report = read_spec(given.body)
    if isinstance(report, tuple):
        for fault in report:
            fault.model_dump_json()
        return False
    spec_table(with_results(report, _RESULTS)).encode("utf-8", "replace")
    return True


# --- trial results ---


def _result(place: Place) -> st.SearchStrategy[tuple[str, Any]]:
    del place
    return st.one_of(
        _RESULT_FILE.map(lambda document: ("file", document)),
        st.tuples(_RUN, st.lists(_JOB, max_size=3), st.lists(_NOTE, max_size=3)).map(
            lambda parts: ("run", {"run": parts[0], "jobs": parts[1], "annotations": parts[2]})
        ),
    )


_RESULT_FILE = documents(ResultFile.model_json_schema())
_RUN = documents(WorkflowRun.model_json_schema())
_JOB = documents(WorkflowJob.model_json_schema())
_NOTE = documents(JobAnnotation.model_json_schema())
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")


def _read_result(given: Input, place: Place) -> bool:
    del place
    if given.head == "run":
        return _read_run(given.body)
    path = Path(_FOLDER.name) / "result.json"
    path.write_bytes(given.body)
    try:
        result = read_result(path)
    except ResultFileError as error:
        str(error).encode()
        return False
    return result is not None


def _read_run(body: bytes) -> bool:
    try:
        given = json.loads(body.decode())
        run = WorkflowRun.model_validate(given["run"])
        jobs = [WorkflowJob.model_validate(each) for each in given["jobs"]]
        notes = [JobAnnotation.model_validate(each) for each in given["annotations"]]
    except (ValueError, TypeError, KeyError, RecursionError, Unreadable):
        return False
    judgement = judge_workflow_run(run, jobs, check="smoke", build=("build",))
    if judgement.outcome not in TrialOutcome:
        raise AssertionError(f"no outcome: {judgement}")
    fingerprint_of(notes)
    return True


ENTRANCES: dict[str, Entrance] = {
    each.name: each
    for each in (
        Entrance("webhooks", _delivery, _as_json, _read_webhook),
        Entrance("api", _request, _as_json, _read_body),
        Entrance(
            "commands", lambda place: _words(place).map(lambda words: ("comment", words)),
            _as_text, _read_commands,
        ),
        Entrance("configuration", _configuration, _as_yaml, _read_configuration),
        Entrance("alerts", _alert, _as_json, _read_alert),
        Entrance("observations", _observation, _as_json, _read_observation),
        Entrance("spec-reports", _spec, _as_json, _read_spec),
        Entrance("trial-results", _result, _as_json, _read_result),
    )
}  # fmt: skip
