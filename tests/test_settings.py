"""Process settings: errors name the variable and what is allowed; secrets are never shown."""

from __future__ import annotations

import base64
import errno
import json
import os
import pwd
import socket
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bot.settings import (
    InvalidSettings,
    Settings,
    data_folder,
    is_nothing_set,
    load_settings,
    misspelt,
)
from bot.wiring.readings import read_settings
from fakegithub.access.credentials import new_key_pair

NEEDED = {
    "GITHUB_APP_ID": "7",
    "GITHUB_PRIVATE_KEY": "key-that-is-secret",
    "GITHUB_WEBHOOK_SECRET": "hook-that-is-secret",
}


PEM, PUBLIC = new_key_pair()


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


ADDRESSES = (
    "GITHUB_API_URL", "GITHUB_GRAPHQL_URL", "GITHUB_URL", "GITHUB_OIDC_ISSUER", "PLAYBOOKS_URL",
    "PROMETHEUS_URL", "OTEL_EXPORTER_OTLP_ENDPOINT",
)  # fmt: skip


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "value",
    ["https://", "http://[", "https://a b/", "https://host:99999", "https://host:0x",
     "https://host/api/v3?x=1", "https://host/api/v3#f", "https://host/\u200bapi/v3"],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_refused_before_anybody_follows_it(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    assert f"{name}: " in _fault()


@pytest.mark.parametrize("end", ["\nsecond", "\r", "\u200b", "\ufeff"])
@pytest.mark.parametrize(
    "name",
    ["GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "PROMETHEUS_TOKEN", "PLAYBOOKS_REPLICA"],
)
def test_what_is_sent_as_it_is_holds_no_character_that_no_header_takes(
    environment: pytest.MonkeyPatch, name: str, end: str
) -> None:
    environment.setenv(name, f"first{end}x")
    assert f"{name}: holds a line break" in _fault()


def test_several_secrets_while_rotating(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GITHUB_WEBHOOK_SECRET", "new, old,")
    secrets = [each.get_secret_value() for each in load_settings().github_webhook_secret]
    assert secrets == ["new", "old"]


def test_without_a_webhook_secret_it_does_not_start(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GITHUB_WEBHOOK_SECRET", " , ")
    assert "GITHUB_WEBHOOK_SECRET" in _fault()


@pytest.mark.parametrize("name", [each.upper() for each in Settings.model_fields])
def test_an_empty_variable_is_one_that_is_not_set(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    # Compose gives what it was not told as that; of PLAYBOOKS_HOST it would be every network.
    environment.setenv(name, " ")
    if name in NEEDED:
        assert f"{name}: is not set" in _fault()
    else:
        assert name.lower() not in load_settings().model_fields_set


def test_an_empty_variable_hides_no_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "address"
    file.write_text("https://bot.example\n")
    environment.setenv("PLAYBOOKS_URL", "")
    environment.setenv("PLAYBOOKS_URL_PATH", f'"{file}"')
    assert load_settings().public_url == "https://bot.example"


@pytest.mark.parametrize("wrapped", ["{}\n", '"{}"', "'{}' ", ' "{}\n"'])
def test_what_a_file_of_variables_leaves_around_a_value_is_no_part_of_it(
    environment: pytest.MonkeyPatch, wrapped: str
) -> None:
    said = {
        "GITHUB_APP_ID": "8",
        "GITHUB_WEBHOOK_SECRET": 'a "quoted" secret',
        "GITHUB_CLIENT_SECRET": "known",
        "GITHUB_API_URL": "https://github.example/api/v3",
        "LOG_LEVEL": "debug",
    }
    for name, value in said.items():
        environment.setenv(name, wrapped.format(value))
    settings = load_settings()
    assert settings.github_client_secret is not None
    assert {
        "GITHUB_APP_ID": str(settings.github_app_id),
        "GITHUB_WEBHOOK_SECRET": settings.github_webhook_secret[0].get_secret_value(),
        "GITHUB_CLIENT_SECRET": settings.github_client_secret.get_secret_value(),
        "GITHUB_API_URL": settings.github_api_url,
        "LOG_LEVEL": settings.log_level,
    } == said


def test_an_address_of_ipv6_stands_in_brackets(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PLAYBOOKS_HOST", "::1")
    assert load_settings().public_url == "http://[::1]:8080"


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - compared
        ("::1", "[::1]"),
        ("::", "[::1]"),
        ("0::0", "[::1]"),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_what_runs_beside_the_bot_reaches_it_where_it_listens(
    environment: pytest.MonkeyPatch, host: str, near: str
) -> None:
    environment.setenv("PLAYBOOKS_HOST", host)
    environment.setenv("PLAYBOOKS_URL", "https://playbooks.example")
    assert load_settings().url_here == f"http://{near}:8080"


def test_a_value_may_come_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("from the file\n")
    environment.delenv("GITHUB_PRIVATE_KEY")
    environment.setenv("GITHUB_PRIVATE_KEY_PATH", str(key))
    assert load_settings().github_private_key.get_secret_value() == "from the file"


def _base64(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


KEY_FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "with \\n for line breaks": lambda pem: pem.replace("\n", "\\n"),
    "quoted, with \\n": lambda pem: '"' + pem.strip().replace("\n", "\\n") + '"',
    "with CR LF": lambda pem: pem.replace("\n", "\r\n"),
    "on one line": lambda pem: pem.replace("\n", " "),
    "base64": _base64,
    "base64 in lines": lambda pem: "\n".join(textwrap.wrap(_base64(pem), 76)),
}


@pytest.mark.parametrize("form", KEY_FORMS)
@pytest.mark.parametrize("way", ["the variable", "a file"])
def test_a_private_key_is_read_in_whatever_form_it_comes(
    environment: pytest.MonkeyPatch, tmp_path: Path, form: str, way: str
) -> None:
    given = KEY_FORMS[form](PEM)
    if way == "a file":
        key = tmp_path / "key"
        key.write_bytes(given.encode())
        environment.delenv("GITHUB_PRIVATE_KEY")
        environment.setenv("GITHUB_PRIVATE_KEY_PATH", str(key))
    else:
        environment.setenv("GITHUB_PRIVATE_KEY", given)
    environment.setenv("PLAYBOOKS_DATA", str(tmp_path / "data"))
    assert read_settings(load_settings(), only_look=True).github


def _elliptic() -> str:
    return _written(ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption())


def _encrypted() -> str:
    key = serialization.load_pem_private_key(PEM.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return _written(key, serialization.BestAvailableEncryption(b"a passphrase"))


def _written(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    encryption: serialization.KeySerializationEncryption,
) -> str:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, encryption).decode()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (PUBLIC, "is a public key, and not"),
        ("ssh-rsa AAAA", "is a public key, and not"),
        (_encrypted(), "is encrypted, and not"),
        (_elliptic(), "is a key of another kind, and not"),
        (_base64("nothing"), "is not"),
        (PEM[:-100], "is not"),
    ],
    ids=["public", "ssh", "encrypted", "elliptic", "nothing", "cut off"],
)
def test_what_is_no_private_key_is_named_and_never_repeated(
    environment: pytest.MonkeyPatch, tmp_path: Path, wrong: str, what: str
) -> None:
    environment.setenv("GITHUB_PRIVATE_KEY", wrong)
    environment.setenv("PLAYBOOKS_DATA", str(tmp_path / "data"))
    with pytest.raises(InvalidSettings) as caught:
        read_settings(load_settings(), only_look=True)
    [fault] = caught.value.faults
    assert fault.name == "GITHUB_PRIVATE_KEY"
    assert f"{what} an RSA private key in PEM form" in fault.what
    assert wrong[:60] not in str(fault)


@pytest.fixture
def somebody_else() -> Iterator[Path]:
    """A folder that everybody may enter, seen by somebody who owns nothing in it."""
    with tempfile.TemporaryDirectory() as name:
        folder, us = Path(name), os.geteuid()
        folder.chmod(0o755)
        (folder / "shut").mkdir(mode=0o700)
        for file in (folder / "key.pem", folder / "shut" / "key.pem"):
            file.write_text(PEM)
            file.chmod(0)
        if us == 0:
            os.seteuid(65_534)
        yield folder
        os.seteuid(us)


def test_whose_a_file_is_that_this_user_may_not_read_stands_beside_it(
    environment: pytest.MonkeyPatch, somebody_else: Path
) -> None:
    environment.delenv("GITHUB_PRIVATE_KEY")
    environment.setenv("GITHUB_PRIVATE_KEY_PATH", str(somebody_else / "key.pem"))
    us = pwd.getpwuid(os.geteuid()).pw_name
    said = _fault()
    assert "it belongs to" in said
    assert f"this is {us}. Give it to {us}: chown {us} " in said
    if us == "nobody":
        environment.setenv("GITHUB_PRIVATE_KEY_PATH", str(somebody_else / "shut" / "key.pem"))
        assert f"in a folder that {us} may not enter" in _fault()


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
    said = _fault()
    assert "DATABASE_URL_PATH: names a file that cannot be read" in said
    assert str(tmp_path / "nothing-here") in said


@pytest.mark.parametrize(
    ("name", "secret"),
    [("GITHUB_PRIVATE_KEY", PEM), ("GITHUB_PRIVATE_KEY", base64.b64encode(PEM.encode()).decode()),
     ("GITHUB_WEBHOOK_SECRET", "hunter2"), ("GITHUB_CLIENT_SECRET", "/hunter2"),
     ("DATABASE_URL", "postgresql://u:hunter2@h/d")],
)  # fmt: skip
def test_a_secret_that_was_given_for_the_name_of_its_file_is_not_repeated(
    environment: pytest.MonkeyPatch, name: str, secret: str
) -> None:
    environment.delenv(name, raising=False)
    environment.setenv(f"{name}_PATH", secret)
    said = _fault()
    assert f"{name}_PATH: names a file that cannot be read" in said
    assert "hunter2" not in said
    assert secret[:40] not in said


def test_the_home_folder_is_known_where_no_shell_has_put_it_in(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hook").write_text("from home\n")
    environment.delenv("GITHUB_WEBHOOK_SECRET")
    for name, value in {"HOME": str(tmp_path), "PLAYBOOKS_DATA": "~/data",
                        "GITHUB_WEBHOOK_SECRET_PATH": "~/hook"}.items():  # fmt: skip
        environment.setenv(name, value)
    settings = load_settings()
    assert settings.playbooks_data == data_folder() == tmp_path / "data"
    assert settings.github_webhook_secret[0].get_secret_value() == "from home"
    assert tmp_path / "hook" in settings.secret_places()


@pytest.mark.parametrize("name", [each.upper() for each in Settings.model_fields])
@pytest.mark.parametrize("empty", [b"", b" \n", b'""\n', b"\xef\xbb\xbf\r\n"])
def test_a_file_that_is_named_and_empty_is_a_fault_and_never_the_default(
    environment: pytest.MonkeyPatch, tmp_path: Path, name: str, empty: bytes
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(empty)
    environment.delenv(name, raising=False)
    environment.setenv(f"{name}_PATH", str(file))
    assert f"{name}_PATH: names a file that is empty." in _fault()


def test_what_an_editor_leaves_in_a_file_is_no_part_of_the_value(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "address"
    file.write_bytes(b'\xef\xbb\xbf"postgresql://user@host/name"\r\n')
    environment.setenv("DATABASE_URL_PATH", str(file))
    url = load_settings().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql://user@host/name"


def test_what_setup_kept_is_found_where_a_file_names_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    kept = {"github_app_id": "9", "github_private_key": PEM, "github_webhook_secret": "hook"}
    (tmp_path / "data" / "credentials.json").write_text(json.dumps(kept))
    (tmp_path / "folder").write_text(f"{tmp_path / 'data'}\n")
    monkeypatch.setenv("PLAYBOOKS_DATA_PATH", str(tmp_path / "folder"))
    assert not is_nothing_set(os.environ)
    assert load_settings().github_app_id == 9


@pytest.mark.parametrize(
    ("name", "value"), [("PLAYBOOKS_DATA", "{}/\udcff"), ("PLAYBOOKS_SIGNING_KEY", "\udcff")]
)
def test_bytes_that_are_no_text_are_said_to_be(
    environment: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    environment.setenv("GITHUB_PRIVATE_KEY", PEM)
    environment.setenv(name, value.format(tmp_path))
    with pytest.raises(InvalidSettings, match=f"^{name}: [^\n]+$"):
        read_settings(load_settings(), only_look=True)


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


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("PLAYBOOKS_DATABASE_URL", "postgresql://h/d", "Write DATABASE_URL."),
        ("PLAYBOOKS_GITHUB_APP_ID", "7", "Write GITHUB_APP_ID."),
        ("PLAYBOOKS_FOUNDER", "alice", "Write PLAYBOOKS_FOUNDERS."),
        ("PLAYBOOKS_COLOUR", "red", "docs/configuration.md has all."),
        ("PLAYBOOKS_SERVICE_HOST", "10.0.0.1", None),
        ("PLAYBOOKS_BOT_SERVICE_PORT_HTTP", "80", None),
        ("PLAYBOOKS_BOT_PORT", "tcp://10.0.0.1:80", None),
        ("PLAYBOOKS_BOT_PORT_80_TCP_ADDR", "10.0.0.1", None),
        ("GITHUB_RUN_ID", "5", None),
        ("COLOUR", "red", None),
    ],
)
def test_a_variable_with_our_prefix_that_is_no_setting_is_told(
    name: str, value: str, remedy: str | None
) -> None:
    found = misspelt({name: value})
    assert [(each.name, each.remedy) for each in found] == ([(name, remedy)] if remedy else [])


@pytest.mark.parametrize("named", ["http://", "socks5://p:1080", "nonsense://p", "http://[p"])
def test_a_proxy_that_can_be_none_ends_the_start_with_its_variable(
    environment: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    environment.setenv("GITHUB_PRIVATE_KEY", PEM)
    environment.setenv("PLAYBOOKS_DATA", str(tmp_path))
    environment.delenv("https_proxy", raising=False)
    environment.setenv("HTTPS_PROXY", named)
    with pytest.raises(InvalidSettings, match="HTTPS_PROXY: is no address of an HTTP proxy"):
        read_settings(load_settings(), only_look=True)


async def test_where_no_temporary_folder_can_be_written_the_data_folder_has_room(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container whose file system is closed to writing, or on a disk that is full."""

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    environment.setenv("PLAYBOOKS_DATA", str(tmp_path / "data"))
    environment.setenv("GITHUB_PRIVATE_KEY", PEM)
    environment.setattr(tempfile, "_get_default_tempdir", none)
    environment.setattr(tempfile, "tempdir", None)
    found = read_settings(load_settings())
    with tempfile.TemporaryDirectory() as scratch:
        assert Path(scratch).parent == tmp_path / "data" / "mirrors"
    await found.github.close()
    await found.records.dispose()
