"""Process settings, read from the environment; every secret may also come from a file.

For each `NAME` the variable `NAME_PATH` names a file whose content is the value. Secrets are
never printed: they are `SecretStr` from the moment they are read.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.names import Login

_NEXT_ADDRESS = re.compile(r"[\s,]+(?=(?:(?:founder|team)=)?[A-Za-z][A-Za-z0-9+.-]*://)")


S = TypeVar("S", bound=BaseSettings)
_NAMED = re.compile(r"([A-Z][A-Z0-9_.]+)(?:: |, )(.*)", re.DOTALL)
_PEM = re.compile(r"(-----BEGIN [A-Z ]+-----)\s*(.+?)\s*(-----END [A-Z ]+-----)", re.DOTALL)
CREDENTIALS = "credentials.json"
"""In the data folder: what Setup kept, for a process that is told no App by its environment."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that only this machine reaches."""


def http_url(host: str, port: int) -> str:
    """The address of a port of this machine; IPv6 stands in brackets there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_every_address(host: str) -> bool:
    """Whether it is `::`, however that is written."""
    try:
        return IPv6Address(host) == IPv6Address("::")
    except ValueError:
        return False


def url_near(host: str, port: int) -> str:
    """The address at which this machine itself reaches what listens at `host`."""
    if host == "0.0.0.0":  # noqa: S104 - compared
        host = "127.0.0.1"
    return http_url("::1" if is_every_address(host) else host, port)


@dataclass(frozen=True)
class SettingFault:
    """What is wrong with one variable, and what mends it. Never repeats a secret."""

    name: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"{self.name}: {self.what}{f' {self.remedy}' if self.remedy else ''}"


class InvalidSettings(Exception):
    """Settings are missing or wrong; the message names each variable and what to do."""

    def __init__(self, *faults: SettingFault | str) -> None:
        """Keep each fault; a text begins with the variable's name and a colon."""
        self.faults = tuple(each if isinstance(each, SettingFault) else _parted(each)
                            for each in faults)  # fmt: skip
        super().__init__("\n".join(str(each) for each in faults))


def _parted(line: str) -> SettingFault:
    found = _NAMED.fullmatch(line)
    return SettingFault(found[1], found[2]) if found else SettingFault("settings", line)


def pem_of(given: str) -> str:
    r"""A key as it can be read: also from base64, with `\n` for line breaks, or on one line."""
    text = given.strip().strip("\"'").replace("\\n", "\n")
    if "-----BEGIN" not in text:
        with suppress(binascii.Error, ValueError):
            text = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
    if (found := _PEM.search(text)) is None:
        return given
    begin, body, end = found.groups()
    # A header, as of an encrypted key, is lines of its own.
    lines = body if ":" in body else "\n".join(body.split())
    return f"{begin}\n{lines}\n{end}\n"


def value_of(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """What a variable says; None where it is not set, or empty.

    `docker run --env-file` keeps the quotes of a file of variables, and a secret of Kubernetes the
    line end that `base64` was given: both would be part of a password.
    """
    return _bare(environment.get(name, "")) or None


def _bare(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value


def _file_of(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    path = value_of(f"{name}_PATH", environment)
    return None if path is None else Path(from_home(path))


def from_home(path: str) -> str:
    """Give a path its home folder for `~`: no shell has done that in a file of variables."""
    return os.path.expanduser(path)  # noqa: PTH111  where there is no home, it stays


def text_of(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """What the file says that `NAME_PATH` names; None where none is named.

    Raises:
        InvalidSettings: the file cannot be read, or says nothing: whoever names one means one.
    """
    path = _file_of(name, environment)
    if path is None:
        return None
    try:
        # Editors of Windows put a mark at the beginning of a file.
        text = _bare(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        fault = SettingFault(f"{name}_PATH", *_why_unreadable(path, error))
        raise InvalidSettings(fault) from error
    if not text:
        what, remedy = "names a file that is empty.", f"Fill it, or leave {name}_PATH out: {path}"
        raise InvalidSettings(SettingFault(f"{name}_PATH", what, remedy))
    return text


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The data folder, for what needs no other setting.

    Raises:
        InvalidSettings: a file is to name it, and cannot be read.
    """
    given = value_of("PLAYBOOKS_DATA", environment) or text_of("PLAYBOOKS_DATA", environment)
    return Path(from_home(given or "var"))


def why_no_address(value: str) -> str | None:
    """Say why something is no address of a server, such as `https://HOST/path`; None: it is one.

    Args:
        value: what was given.
    """
    if not value.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    try:
        parts = urlsplit(value)
        is_one = parts.port != 0
        if not parts.hostname:
            return "names no host: write https://HOST, with a port and a path where it has them"
    except ValueError:
        is_one = False
    if not is_one or not value.isprintable() or " " in value:
        return "is no address: write https://HOST, with a port and a path where it has them"
    if parts.query or parts.fragment:
        return "must end with its host, port or path: nothing with ? or # behind it"
    return None


class ServerSettings(BaseSettings):
    """What the process can be told before there is an App."""

    model_config = SettingsConfigDict(
        env_file=None, case_sensitive=False, frozen=True, use_attribute_docstrings=True
    )

    github_api_url: str = "https://api.github.com"
    """GitHub's API; of a GitHub Enterprise Server `https://HOST/api/v3`."""
    playbooks_data: Path = Path("var")
    """The folder for mirrors, the SQLite database and the signing key."""
    playbooks_host: str = "127.0.0.1"
    """The address it listens at; `0.0.0.0` for every network."""
    playbooks_port: int = Field(default=8080, ge=0, le=65535)
    """The port it listens at; 0 takes a free one."""
    playbooks_url: str | None = None
    """The public address, such as `https://playbooks.example`: for links, and the audience of
    tokens of GitHub Actions."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged; `debug` says each decision with its inputs."""
    log_format: Literal["console", "json"] = "console"
    """`json`: one JSON object a line."""
    notify_urls: tuple[SecretStr, ...] = ()
    """Apprise addresses with spaces between them; `team=` before one makes it the team's, else it
    is the Founder's."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from arguments, the environment, the files it names, and Setup's."""
        sources = (_Environment, _FilesNamedInEnvironment, _KeptBySetup)
        return init_settings, *(source(settings_cls) for source in sources)

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("notify_urls", mode="before")
    @classmethod
    def _split_before_addresses(cls, value: Any) -> Any:
        # An address may hold commas itself, so only what begins the next one parts them.
        if isinstance(value, str):
            return tuple(part for part in _NEXT_ADDRESS.split(value.strip()) if part)
        return value

    @field_validator("playbooks_data", mode="before")
    @classmethod
    def _from_home(cls, value: Any) -> Any:
        return from_home(value) if isinstance(value, str) else value

    @field_validator("playbooks_port", mode="before")
    @classmethod
    def _of_kubernetes(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError("Kubernetes sets it for a service named playbooks; set "
                             "enableServiceLinks: false, or the port itself")  # fmt: skip
        return value


class Settings(ServerSettings):
    """What the process needs to know before it can start."""

    github_graphql_url: str | None = None
    """GitHub's GraphQL address; left out, it follows from `GITHUB_API_URL`."""
    github_url: str | None = None
    """GitHub's pages, for links; left out, they follow from `GITHUB_API_URL`."""
    github_app_id: int = Field(gt=0)
    """The App's id, from its page; without it, Setup is shown."""
    github_private_key: SecretStr
    r"""The App's private key: PEM, PEM with `\n` for line breaks, or base64 of it."""
    github_webhook_secret: tuple[SecretStr, ...] = Field(min_length=1)
    """The webhook's secret; two with a comma between them while it is changed."""
    github_client_id: str | None = None
    """The App's client id; without it nobody can log in to the cockpit."""
    github_client_secret: SecretStr | None = None
    """The App's client secret, likewise."""
    github_oidc_issuer: str | None = None
    """Who signs for GitHub Actions; left out, it follows from `GITHUB_URL`."""

    database_url: SecretStr | None = None
    """Such as `postgresql://playbooks:PASSWORD@HOST/playbooks`; left out, SQLite in
    `PLAYBOOKS_DATA`."""
    playbooks_api_tokens: tuple[SecretStr, ...] = ()
    """Tokens of machines, each `name:role:repository-glob:sha256`, with commas; or use
    `playbooks token new`."""
    playbooks_alert_mappings: SecretStr | None = None
    """Where alerts of other senders have what, as JSON."""
    playbooks_founders: tuple[Login, ...] = ()
    """Logins of the Founders, with commas, where a repository's `founder.people` names none;
    left out, its admins."""
    playbooks_signing_key: SecretStr | None = None
    """An Ed25519 key (PEM) that signs audit anchors, the same for every replica; left out, one is
    made and kept in the database."""
    playbooks_sandbox: Literal["on", "off"] = "on"
    """`off`: no commit is tried on this server."""
    playbooks_sandbox_readable: tuple[Path, ...] = ()
    """Folders with programs that trials need besides the system's, such as `/opt/toolchain`, with
    commas."""
    playbooks_replica: str | None = None
    """This process's name, unique among replicas; left out, host name and port."""
    playbooks_keep: int = Field(default=90, ge=1, le=36_500)
    """Days that what is over is kept; the audit chain is kept for ever."""
    prometheus_url: str | None = None
    """The Prometheus that the queries of `capabilities` are asked of."""
    prometheus_token: SecretStr | None = None
    """A bearer token for it."""
    otel_exporter_otlp_endpoint: str | None = None
    """Where spans are sent, by OTLP over HTTP; left out, none are made."""

    @field_validator(
        "github_webhook_secret",
        "playbooks_api_tokens",
        "playbooks_founders",
        "playbooks_sandbox_readable",
        mode="before",
    )
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("github_private_key", "playbooks_signing_key", mode="before")
    @classmethod
    def _is_pem(cls, value: Any) -> Any:
        return pem_of(value) if isinstance(value, str) else value

    @field_validator(
        "github_client_id", "github_client_secret", "prometheus_token", "playbooks_replica",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _is_one_line(cls, value: Any) -> Any:
        # It is sent as it is: a header takes no such character, and no server knows what has one.
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("holds a line break or a character that cannot be seen")
        return value

    @field_validator("playbooks_sandbox_readable")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if any(not path.is_absolute() or ".." in path.parts or len(path.parts) < 2
               for path in value):  # fmt: skip
            raise ValueError("folders with programs, as absolute paths below /")
        return value

    @field_validator("playbooks_sandbox", mode="before")
    @classmethod
    def _lower_sandbox(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _addresses_are_http(self) -> Settings:
        for name in (
            "github_api_url",
            "github_graphql_url",
            "github_url",
            "github_oidc_issuer",
            "playbooks_url",
            "prometheus_url",
            "otel_exporter_otlp_endpoint",
        ):
            value = getattr(self, name)
            if value is not None and (why := why_no_address(value)):
                raise ValueError(f"{name.upper()}: {why}")
        return self

    @property
    def public_url(self) -> str:
        """The address people reach this bot at, without a trailing slash."""
        return self.url_at(self.playbooks_port)

    @property
    def url_here(self) -> str:
        """The address at which this machine itself reaches this bot."""
        return url_near(self.playbooks_host, self.playbooks_port)

    def url_at(self, port: int) -> str:
        """The same, where the port listened at was not known before (0)."""
        return (self.playbooks_url or http_url(self.playbooks_host, port)).rstrip("/")

    def secrets(self) -> tuple[str, ...]:
        """Give every secret value, so that none is ever printed."""
        found = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            each = value if isinstance(value, tuple) else (value,)
            found += [one.get_secret_value() for one in each if isinstance(one, SecretStr)]
        return tuple(found)

    def shown(self) -> dict[str, str]:
        """Give what was set, to be printed; of secrets, only that they are set."""
        found = {}
        for name in sorted(self.model_fields_set):
            value = getattr(self, name)
            first = value[0] if isinstance(value, tuple) and value else value
            found[name.upper()] = "(secret)" if isinstance(first, SecretStr) else str(value)
        return found

    def secret_places(self) -> tuple[Path, ...]:
        """Name the files and folders with secrets: no trial may read them."""
        named = [
            path for name in type(self).model_fields if (path := _file_of(name.upper())) is not None
        ]
        url = self.database_url.get_secret_value() if self.database_url else ""
        if url.startswith("sqlite") and (file := url.partition("///")[2].partition("?")[0]):
            named += [Path(f"{file}{ending}") for ending in ("", "-wal", "-shm", "-journal")]
        return (self.playbooks_data, *named)

    @property
    def replica(self) -> str:
        """This process's name among its replicas, the same after a restart."""
        return self.playbooks_replica or f"{socket.gethostname()}:{self.playbooks_port}"


class _Environment(PydanticBaseSettingsSource):
    """Reads the variable `NAME` of every setting `name`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return value_of(field_name.upper()), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


class _FilesNamedInEnvironment(_Environment):
    """Reads `NAME_PATH` for every setting `NAME`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return text_of(field_name.upper()), field_name, False


class _KeptBySetup(_Environment):
    """Reads what Setup kept in the data folder, unless the environment names another App."""

    def __call__(self) -> dict[str, Any]:
        if value_of("GITHUB_APP_ID") or value_of("GITHUB_APP_ID_PATH"):
            return {}
        file = data_folder() / CREDENTIALS
        try:
            kept = json.loads(file.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            # That the folder cannot be one is said of PLAYBOOKS_DATA.
            return {}
        except OSError as error:
            what, remedy = _why_unreadable(file, error)
            raise InvalidSettings(SettingFault(str(file), what, remedy)) from error
        except ValueError:
            kept = None
        if not isinstance(kept, dict):
            remedy = "Put it back from a backup; without it `playbooks serve` registers a new App."
            raise InvalidSettings(SettingFault(str(file), "is not what Setup wrote.", remedy))
        return {
            name: value for name, value in kept.items() if name in self.settings_cls.model_fields
        }


def _why_unreadable(path: Path, error: OSError | ValueError) -> tuple[str, str]:
    """What is wrong with a file, and what mends it."""
    if not isinstance(error, PermissionError):
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        # What is no path may be the secret itself, given by the wrong one of two names.
        is_path = path.is_absolute() and len(path.parts) > 2 and os.path.isdir(path.parent)  # noqa: PTH112
        which = f": {path}" if is_path else ", by its whole path from / on."
        return f"names a file that cannot be read: {reason}.", f"Name one that can{which}"
    us = name_of_user(os.geteuid())
    try:
        found = path.stat()
        owner, mode = name_of_user(found.st_uid), stat.filemode(found.st_mode)
    except OSError:
        return (f"names a file in a folder that {us} may not enter.", f"Open it to {us}: {path}")
    return (
        f"names a file that cannot be read: it belongs to {owner} ({mode}), and this is {us}.",
        f"Give it to {us}: chown {us} {path}",
    )


def name_of_user(uid: int) -> str:
    """The name of a user of this machine; containers run as some that have none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def misspelt(environment: Mapping[str, str]) -> tuple[SettingFault, ...]:
    """Variables that are nearly ours, where the one that was meant is not set.

    Others with GitHub's prefix are nobody's business: GitHub Actions sets many. With our own it is
    meant for us, unless Kubernetes made it for a service of this name.
    """
    ours = {name.upper() for name in Settings.model_fields}
    ours |= {f"{name}_PATH" for name in ours}
    found = []
    for name in sorted(environment):
        if name in ours or name in _NOT_OURS or not name.isupper():
            continue
        bare, is_ours = name.removeprefix(_OURS), name.startswith(_OURS)
        if is_ours and (_OF_KUBERNETES.search(name) or _A_PORT.match(environment[name])):
            continue
        close = [bare] if bare in ours else get_close_matches(name, ours, n=1, cutoff=0.88)
        if close and close[0] not in environment:
            found.append(SettingFault(name, "is not known.", f"Write {close[0]}."))
        elif is_ours and not close:
            found.append(SettingFault(name, "is not known.", "docs/configuration.md has all."))
    return tuple(found)


_OURS = "PLAYBOOKS_"
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_[0-9]+_(TCP|UDP|SCTP)")
_A_PORT = re.compile(r"(tcp|udp|sctp)://")
_NOT_OURS = frozenset({
    "GITHUB_ACTOR_ID", "GITHUB_SERVER_URL", "GITHUB_PATH", "GITHUB_REPOSITORY_ID",
    "PLAYBOOKS_TEST_POSTGRES_URL",
})  # fmt: skip
CREDENTIAL_NAMES = ("GITHUB_APP_ID", "GITHUB_PRIVATE_KEY", "GITHUB_WEBHOOK_SECRET")


def is_nothing_set(environment: Mapping[str, str]) -> bool:
    """Whether no App is named at all, by the environment or by what Setup kept."""
    try:
        kept = data_folder(environment) / CREDENTIALS
    except InvalidSettings:
        # Whoever reads the settings says why.
        return False
    named = any(
        value_of(f"{name}{end}", environment) for name in CREDENTIAL_NAMES for end in ("", "_PATH")
    )
    return not named and not kept.exists()


def load_settings(**given: Any) -> Settings:
    """Read the settings; what is `given` by its name counts before the environment.

    Raises:
        InvalidSettings: something is missing or wrong; says which variable and why.
    """
    return _loaded(Settings, **given)


def load_setup_settings() -> ServerSettings:
    """Read what is needed before there is an App.

    Raises:
        InvalidSettings: something is wrong; says which variable and why.
    """
    return _loaded(ServerSettings)


def _loaded(kind: type[S], **given: Any) -> S:
    try:
        return kind(**given)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise InvalidSettings(*(_of_pydantic(each) for each in found)) from None


def _of_pydantic(fault: ErrorDetails) -> SettingFault:
    name = ".".join(str(part) for part in fault["loc"]).upper()
    if fault["type"] == "missing":
        return SettingFault(name, "is not set.", f"Set it, or {name}_PATH to a file that holds it.")
    words = fault["msg"].removeprefix("Value error, ")
    return _parted(f"{name}: {words}" if name else words)
