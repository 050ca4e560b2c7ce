"""Process settings, read from the environment; every secret may also come from a file.

For each `NAME` the variable `NAME_PATH` names a file whose content is the value. Secrets are
never printed: they are `SecretStr` from the moment they are read.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.names import Login

_NEXT_ADDRESS = re.compile(r"[\s,]+(?=(?:(?:founder|team)=)?[A-Za-z][A-Za-z0-9+.-]*://)")


class InvalidSettings(Exception):
    """Settings are missing or wrong; the message names each variable and what to do."""


class Settings(BaseSettings):
    """What the process needs to know before it can start."""

    model_config = SettingsConfigDict(env_file=None, case_sensitive=False, frozen=True)

    github_api_url: str = "https://api.github.com"
    github_graphql_url: str | None = None
    github_url: str | None = None
    github_app_id: int = Field(gt=0)
    github_private_key: SecretStr
    github_webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(min_length=1)
    github_client_id: str | None = None
    github_client_secret: SecretStr | None = None
    github_oidc_issuer: str | None = None

    database_url: SecretStr | None = None
    playbooks_data: Path = Path("var")
    playbooks_host: str = "127.0.0.1"
    playbooks_port: int = Field(default=8080, ge=0, le=65535)
    playbooks_url: str | None = None
    playbooks_api_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    playbooks_alert_mappings: SecretStr | None = None
    playbooks_founders: Annotated[tuple[Login, ...], NoDecode] = ()
    playbooks_signing_key: SecretStr | None = None
    playbooks_sandbox: Literal["on", "off"] = "on"
    playbooks_sandbox_readable: Annotated[tuple[Path, ...], NoDecode] = ()
    playbooks_replica: str | None = None
    playbooks_keep: int = Field(default=90, ge=1, le=36_500)
    """Days that what is over is kept; the audit chain is kept for ever."""
    notify_urls: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    prometheus_url: str | None = None
    prometheus_token: SecretStr | None = None
    otel_exporter_otlp_endpoint: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

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

    @field_validator("notify_urls", mode="before")
    @classmethod
    def _split_before_addresses(cls, value: Any) -> Any:
        # An address may hold commas itself, so only what begins the next one parts them.
        if isinstance(value, str):
            return tuple(part for part in _NEXT_ADDRESS.split(value.strip()) if part)
        return value

    @field_validator("playbooks_sandbox_readable")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if any(not path.is_absolute() or ".." in path.parts or len(path.parts) < 2
               for path in value):  # fmt: skip
            raise ValueError("folders with programs, as absolute paths below /")
        return value

    @field_validator("log_level", "log_format", "playbooks_sandbox", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
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
            if value is not None and not value.startswith(("http://", "https://")):
                raise ValueError(f"{name.upper()} must begin with http:// or https://")
        return self

    @property
    def public_url(self) -> str:
        """The address people reach this bot at, without a trailing slash."""
        return self.url_at(self.playbooks_port)

    def url_at(self, port: int) -> str:
        """The same, where the port listened at was not known before (0)."""
        given = self.playbooks_url or f"http://{self.playbooks_host}:{port}"
        return given.rstrip("/")

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
            Path(path)
            for name in type(self).model_fields
            if (path := os.environ.get(f"{name.upper()}_PATH"))
        ]
        url = self.database_url.get_secret_value() if self.database_url else ""
        if url.startswith("sqlite") and (file := url.partition("///")[2].partition("?")[0]):
            named += [Path(f"{file}{ending}") for ending in ("", "-wal", "-shm", "-journal")]
        return (self.playbooks_data, *named)

    @property
    def replica(self) -> str:
        """This process's name among its replicas, the same after a restart."""
        return self.playbooks_replica or f"{self.playbooks_host}:{self.playbooks_port}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from arguments, then the environment, then the files it names."""
        return init_settings, env_settings, _FilesNamedInEnvironment(settings_cls)


class _FilesNamedInEnvironment(PydanticBaseSettingsSource):
    """Reads `NAME_PATH` for every setting `NAME`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        path = os.environ.get(f"{field_name.upper()}_PATH")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidSettings(
                f"{field_name.upper()}_PATH names a file that cannot be read: {reason}."
            ) from error

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        InvalidSettings: something is missing or wrong; says which variable and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in fault['loc']).upper() or 'settings'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise InvalidSettings("\n".join(lines)) from None
