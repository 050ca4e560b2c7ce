"""Process settings: errors name the variable and what is allowed; secrets are never shown."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bot.settings import InvalidSettings, Settings, load_settings

NEEDED = {
    "GITHUB_APP_ID": "7",
    "GITHUB_PRIVATE_KEY": "key-that-is-secret",
    "GITHUB_WEBHOOK_SECRET": "hook-that-is-secret",
}


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_PATH", raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def _fault() -> str:
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    return str(caught.value)


def test_three_settings_are_enough(environment: pytest.MonkeyPatch) -> None:
    del environment
    settings = load_settings()
    assert settings.github_api_url == "https://api.github.com"
    assert settings.public_url == "http://127.0.0.1:8080"
    assert settings.replica == f"{socket.gethostname()}:8080"
    assert settings.playbooks_data == Path("var")


def test_what_is_missing_is_named() -> None:
    said = _fault()
    for name in NEEDED:
        assert f"{name}: " in said


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PLAYBOOKS_PORT", "80800", "less than or equal to 65535"),
        ("PLAYBOOKS_PORT", "http", "valid integer"),
        ("GITHUB_APP_ID", "0", "greater than 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("LOG_FORMAT", "xml", "'console' or 'json'"),
    ],
)
def test_a_wrong_value_names_the_variable_and_what_is_allowed(
    environment: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    environment.setenv(name, value)
    said = _fault()
    assert f"{name}: " in said
    assert allowed in said


@pytest.mark.parametrize(
    "name", ["GITHUB_API_URL", "GITHUB_GRAPHQL_URL", "GITHUB_URL", "PLAYBOOKS_URL"]
)
def test_an_address_must_be_one(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "github.example.com")
    assert f"{name}: must begin with http:// or https://" in _fault()


def test_several_secrets_while_rotating(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GITHUB_WEBHOOK_SECRET", "new, old,")
    secrets = [each.get_secret_value() for each in load_settings().github_webhook_secret]
    assert secrets == ["new", "old"]


def test_without_a_webhook_secret_it_does_not_start(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GITHUB_WEBHOOK_SECRET", " , ")
    assert "GITHUB_WEBHOOK_SECRET" in _fault()


def test_a_value_may_come_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("from the file\n")
    environment.delenv("GITHUB_PRIVATE_KEY")
    environment.setenv("GITHUB_PRIVATE_KEY_PATH", str(key))
    assert load_settings().github_private_key.get_secret_value() == "from the file"


def test_the_variable_itself_wins_over_its_file(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_text("from the file\n")
    environment.setenv("GITHUB_PRIVATE_KEY_PATH", str(key))
    assert load_settings().github_private_key.get_secret_value() == NEEDED["GITHUB_PRIVATE_KEY"]


def test_a_file_that_cannot_be_read_is_named_by_its_variable(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("DATABASE_URL_PATH", str(tmp_path / "nothing-here"))
    assert "DATABASE_URL_PATH: names a file that cannot be read" in _fault()


def test_secrets_are_never_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://user:pass-that-is-secret@db/x")
    environment.setenv("PLAYBOOKS_API_TOKENS", "ci:write:*:hash-that-is-secret")
    environment.setenv("PLAYBOOKS_SIGNING_KEY", "sign-that-is-secret")
    environment.setenv("GITHUB_CLIENT_SECRET", "client-that-is-secret")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "that-is-secret" not in shown


def test_a_fault_beside_a_secret_does_not_show_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PLAYBOOKS_PORT", "many")
    environment.setenv("GITHUB_API_URL", "ftp://that-is-secret@host")
    assert "that-is-secret" not in _fault()
