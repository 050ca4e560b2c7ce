"""Alerts of any sender, read by JSON pointers that whoever runs the bot wrote down.

`PLAYBOOKS_ALERT_MAPPINGS` holds them by name; `/alerts/mapped/{name}` takes what is sent. What
Datadog and Sentry send is known already (`preset`). Pointers are those of RFC 6901; where several
are given, the first at which there is something counts.

Sources: docs.datadoghq.com/integrations/webhooks (variables), docs.datadoghq.com/monitors/notify
("Test notifications": `[TEST]` in the title); docs.sentry.io, "Integration Platform", "Webhooks",
with its pages "Issue Alerts", "Metric Alerts" and "Issues"; that a Sentry test carries the tag
`sample_event` is told by `create_sample_event` of github.com/getsentry/sentry (utils/samples.py).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    model_validator,
)

from bot.intake.alerts.formats import UnreadableAlert, blamed, severity_of_label, title_of, web_page
from bot.intake.http.auth import ApiToken, read_tokens
from bot.records.alerts import ConditionReport, Said
from bot.settings import InvalidSettings, Settings
from bot.triggers import Repository, Role, Severity

_SETTING = "PLAYBOOKS_ALERT_MAPPINGS"
_EXAMPLE = '{"datadog": {"preset": "datadog"}}'
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_POINTER = re.compile(r"(?:/(?:[^~]|~[01])*)?")
_REPOSITORY = r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$"
_MILLISECONDS = 1e11
"""A number of seconds beyond this lies after the year 5000: it counts milliseconds."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _pointer(value: str) -> str:
    if not _POINTER.fullmatch(value):
        raise ValueError("must be a JSON pointer such as /data/title")
    return value


Pointer = Annotated[str, AfterValidator(_pointer)]
Pointers = Annotated[tuple[Pointer, ...], BeforeValidator(_as_tuple)]
Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class _Setting(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class SenderTest(_Setting):
    """What marks a sender's test: at this pointer is `has`, or a text or list that contains it."""

    at: Pointer
    has: JsonValue


class AlertMapping(_Setting):
    """Where in a sender's JSON stands what an alert says.

    Attributes:
        preset: whose values stand for what is not given here.
        id: tells conditions apart; a recovery has the same as what it ends.
        id_prefixes: what is put before an id, by its pointer, where ids of several sorts may be
            the same number.
        state: the word that says whether something is wrong.
        firing: the words that say it is; their case does not matter.
        resolved: the words that say it is over. Without them every other word does; with them,
            other words say neither and are passed over.
        severity: the sender's word for how bad it is.
        severities: what such words mean, besides those every alert may use.
        title: what is wrong, in a line.
        url: where people see more.
        time: since when it is so: RFC 3339, or seconds or milliseconds since 1970. Without it, the
            moment it came counts.
        repository: pointers to `owner/name`, or that name itself. Where neither says, it is the
            only repository that the caller reaches.
        repositories: which repository is meant by what stands there, such as a project's name.
        pull_request: a pull request that the sender blames.
        commit: likewise a commit.
        capability: likewise a capability.
        tests: what marks a test.
        secret: the sender signs the body with it: HMAC-SHA256 in hexadecimal. Two while rotating.
        signature: the header with that signature, which may begin with `sha256=`.
        reaches: the repositories a signed alert may name, as a glob; default: `repository`.
    """

    preset: Literal["datadog", "sentry"] | None = None
    id: Pointers = Field(min_length=1)
    id_prefixes: dict[Pointer, str] = Field(default_factory=dict)
    state: Pointers = Field(min_length=1)
    firing: Words = Field(min_length=1)
    resolved: Words = ()
    severity: Pointers = ()
    severities: dict[str, Severity] = Field(default_factory=dict)
    title: Pointers = ()
    url: Pointers = ()
    time: Pointers = ()
    repository: Words = ()
    repositories: dict[str, Annotated[str, Field(pattern=_REPOSITORY)]] = Field(
        default_factory=dict
    )
    pull_request: Pointers = ()
    commit: Pointers = ()
    capability: Pointers = ()
    tests: tuple[SenderTest, ...] = ()
    secret: Annotated[tuple[SecretStr, ...], BeforeValidator(_as_tuple)] = ()
    signature: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,100}$")
    reaches: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> AlertMapping:
        if both := set(_folded(self.firing)) & set(_folded(self.resolved)):
            raise ValueError(f"{sorted(both)[0]!r} is both firing and resolved")
        if self._named is None and any(not each.startswith("/") for each in self.repository):
            raise ValueError("repository must be owner/name, or pointers such as /repository")
        for each in () if self._named else self.repository:
            _pointer(each)
        if self.secret and self.signature is None:
            raise ValueError("with a secret, name the header with the signature: signature")
        if self.secret and not all(each.get_secret_value() for each in self.secret):
            raise ValueError("the secret is empty")
        if self.secret and self._reach is None:
            raise ValueError("with a secret, say which repositories it reaches, such as acme/*")
        return self

    @property
    def _named(self) -> str | None:
        """The repository that every alert is about, if it is named here."""
        [only] = self.repository if len(self.repository) == 1 else [""]
        return only if re.match(_REPOSITORY, only) else None

    @property
    def _reach(self) -> str | None:
        return self.reaches or self._named

    def signer(self, name: str, header: str, body: bytes) -> ApiToken | None:
        """Who signed a body: what they may do and reach; None: it is not signed by our secret.

        Args:
            name: of this mapping.
            header: the value of the header `signature`.
            body: as it came.
        """
        given = header.strip().lower().removeprefix("sha256=").encode("ascii", "replace")
        expected = [
            hmac.new(each.get_secret_value().encode(), body, hashlib.sha256).hexdigest().encode()
            for each in self.secret
        ]
        if not [each for each in expected if hmac.compare_digest(each, given)]:
            return None
        return ApiToken(f"mapped/{name}", Role.WRITE, self._reach or "", sha256="")

    def is_test(self, given: object) -> bool:
        """Tell whether it is the sender's own test."""
        return any(_has(_at(given, mark.at), mark.has) for mark in self.tests)

    def is_firing(self, given: object) -> bool | str:
        """Whether something is wrong; the sender's word, where that says neither yes nor no.

        Raises:
            UnreadableAlert: there is no such word.
        """
        word = _first(given, self.state, even_null=True)
        if word is None:
            raise self._missing("state", self.state)
        if word.casefold() in _folded(self.firing):
            return True
        if not self.resolved or word.casefold() in _folded(self.resolved):
            return False
        return word

    def repository_of(self, given: object) -> str | None:
        """The repository it is about, if it says so."""
        if self._named is not None:
            return self._named
        found = _first(given, self.repository) or ""
        named = self.repositories.get(found, found)
        return named if re.match(_REPOSITORY, named) else None

    def report(
        self, name: str, given: object, repository: Repository, received: datetime, *, firing: bool
    ) -> ConditionReport:
        """What an alert says.

        Args:
            name: of this mapping.
            given: the sender's JSON.
            repository: whom it concerns.
            received: the time by our clock.
            firing: whether something is wrong.

        Raises:
            UnreadableAlert: nothing tells which condition it is about.
        """
        blames = {
            "pull_request": _first(given, self.pull_request) or "",
            "commit": _first(given, self.commit) or "",
            "capability": _first(given, self.capability) or "",
        }
        return ConditionReport(
            repository=repository,
            source=f"mapped/{name}",
            group_key=self._id(given),
            fingerprint="mapped",
            at=_moment(_first(given, self.time), received),
            firing=firing,
            # Such senders report the end of much that was no alert, such as every resolved issue.
            opens_on_recovery=False,
            renotifies=True,
            said=Said(
                title=title_of(_first(given, self.title) or ""),
                severity=self._severity(given),
                url=web_page(_first(given, self.url)),
                **blamed(blames),
            ),
        )

    def _severity(self, given: object) -> Severity:
        word = _first(given, self.severity)
        known = {name.casefold(): severity for name, severity in self.severities.items()}
        return known.get((word or "").casefold()) or severity_of_label(word)

    def _id(self, given: object) -> str:
        for pointer in self.id:
            if (found := _first(given, (pointer,))) is not None:
                return self.id_prefixes.get(pointer, "") + found
        raise self._missing("id", self.id)

    def _missing(self, field: str, pointers: Pointers) -> UnreadableAlert:
        paste = f", as docs/alerts/{self.preset}.md has it" if self.preset else ""
        return UnreadableAlert(field, f"something at {' or '.join(pointers)}{paste}")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Datadog sends what is pasted into its webhook: docs/alerts/datadog.md.
    "datadog": {
        "id": ["/aggreg_key", "/alert_id"],
        "state": "/alert_transition",
        "firing": ["Triggered", "Re-Triggered", "Warn", "Re-Warn", "Renotify"],
        "resolved": ["Recovered"],
        "severity": ["/alert_priority", "/alert_type"],
        "severities": {
            "P1": "critical",
            "P2": "high",
            "P3": "medium",
            "P4": "low",
            "P5": "low",
        },
        "title": ["/alert_title", "/title"],
        "url": "/link",
        "time": "/date",
        "repository": "/repository",
        "pull_request": "/pull_request",
        "commit": "/commit",
        "capability": "/capability",
        "tests": [{"at": "/alert_title", "has": "[TEST]"}, {"at": "/title", "has": "[TEST]"}],
    },
    "sentry": {
        "id": [
            "/data/metric_alert/alert_rule/id",
            "/data/event/issue_id",
            "/data/issue/id",
        ],
        "id_prefixes": {"/data/metric_alert/alert_rule/id": "alert rule "},
        "state": "/action",
        "firing": ["critical", "warning", "triggered"],
        # An archived issue alerts nobody any more, so nobody would say that it is over.
        "resolved": ["resolved", "archived", "ignored"],
        "severity": ["/data/event/level", "/data/issue/level", "/action"],
        "severities": {"fatal": "critical"},
        "title": [
            "/data/metric_alert/alert_rule/name",
            "/data/event/title",
            "/data/issue/title",
            "/data/description_title",
        ],
        "url": ["/data/event/web_url", "/data/issue/web_url", "/data/web_url"],
        "repository": [
            "/data/metric_alert/projects/0",
            "/data/issue/project/slug",
            "/data/event/project",
        ],
        "tests": [{"at": "/data/event/tags", "has": ["sample_event", "yes"]}],
        "signature": "Sentry-Hook-Signature",
    },
}


def who_may_send(settings: Settings) -> tuple[tuple[ApiToken, ...], dict[str, AlertMapping]]:
    """The machines' tokens, and the mappings by their names.

    Raises:
        InvalidSettings: something is wrong; says what.
    """
    entries = [each.get_secret_value() for each in settings.playbooks_api_tokens]
    try:
        tokens = read_tokens(entries)
    except ValueError as error:
        raise InvalidSettings(str(error)) from None
    given = settings.playbooks_alert_mappings
    return tokens, read_mappings(given.get_secret_value() if given else "")


def read_mappings(text: str) -> dict[str, AlertMapping]:
    """Read the value of PLAYBOOKS_ALERT_MAPPINGS: a JSON object, a mapping for each name.

    Raises:
        InvalidSettings: something is wrong; says which name and field, and never a secret.
    """
    try:
        given = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise InvalidSettings(f"{_SETTING}: must be JSON, such as {_EXAMPLE}") from None
    if not isinstance(given, dict):
        raise InvalidSettings(f"{_SETTING}: must be a JSON object, such as {_EXAMPLE}")
    return {name: _mapping(name, entry) for name, entry in given.items()}


def _mapping(name: str, entry: object) -> AlertMapping:
    where = f"{_SETTING}: {name}"
    if not _NAME.fullmatch(name):
        raise InvalidSettings(f"{where}: a name has 1 to 40 small letters, digits and -")
    if not isinstance(entry, dict):
        raise InvalidSettings(f"{where}: must be an object, such as {_EXAMPLE}")
    preset = entry.get("preset")
    known = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
    try:
        return AlertMapping.model_validate({**known, **entry})
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        said = fault["msg"].removeprefix("Value error, ")
        raise InvalidSettings(f"{where}{f'.{field}' if field else ''}: {said}") from None


def _folded(words: Words) -> tuple[str, ...]:
    return tuple(word.casefold() for word in words)


def _at(given: object, pointer: str) -> object:
    """What stands at a JSON pointer; None where there is nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(given, dict):
            given = given.get(key)
        elif isinstance(given, list) and key.isascii() and key.isdigit() and int(key) < len(given):
            given = given[int(key)]
        else:
            return None
    return given


def _has(found: object, wanted: object) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return wanted in found
    return found == wanted or (isinstance(found, list) and wanted in found)


def _first(given: object, pointers: Pointers, *, even_null: bool = False) -> str | None:
    """The first word or number at one of these pointers.

    Templates write "null" for what they do not know; with `even_null` that is a word as well.
    """
    for pointer in pointers:
        found = _at(given, pointer)
        if isinstance(found, bool):
            return "true" if found else "false"
        if isinstance(found, str | int | float):
            word = str(found).strip()
            if word and (even_null or word.casefold() != "null"):
                return word
    return None


def _moment(word: str | None, received: datetime) -> datetime:
    """When it began: never after we heard of it, or nothing that follows would count."""
    try:
        seconds = float(word or "")
    except ValueError:
        return _moment_in_words(word or "", received)
    if seconds > _MILLISECONDS:
        seconds /= 1000
    try:
        return min(datetime.fromtimestamp(seconds, UTC), received)
    except (ValueError, OverflowError, OSError):
        return received


def _moment_in_words(word: str, received: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(word)
        return min(found.astimezone(UTC), received) if found.tzinfo else received
    except (ValueError, OverflowError):
        return received
