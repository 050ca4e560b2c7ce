"""What the settings say, read: by `serve`, which is made of it, and by `doctor`, which looks at it.

So `doctor` never passes what `serve` dies of. Nothing is opened here but the data folder.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from bot.engine.storage import ENGINE_FILE
from bot.github.client import GitHub
from bot.github.errors import BadCredentials, NotFound, Unreadable
from bot.github.models import App
from bot.github.transport.auth import AppKey
from bot.github.transport.http import Addresses, proxy_for
from bot.intake.alerts.mappings import AlertMapping, who_may_send
from bot.intake.http.auth import ApiToken
from bot.notify import Address, read_addresses
from bot.records.audit.anchors import private_key
from bot.records.audit.keys import FILE as KEY_FILE
from bot.records.database import open_database, url_from
from bot.settings import CREDENTIALS, InvalidSettings, SettingFault, Settings, load_settings
from bot.wiring.database_faults import SUPPORTED, WRITTEN_SO

log = structlog.get_logger(__name__)
T = TypeVar("T")
FOLDERS = ("mirrors", "trials")
FILES = ("playbooks.db", ENGINE_FILE, KEY_FILE)
_OUR_FILES = re.compile(
    r"(playbooks\.db|engine\.db)(-.+)?|\.?(credentials\.json|signing-key\.pem)(\..+)?"
)


def keep_folder_private(data: Path) -> None:
    """Make the data folder and what is ours in it readable by its owner alone: 0700 and 0600.

    What an earlier version left more open is tightened. Deeper down the folders keep others out.
    What is not ours stays as it is, and then so does the folder: who names their home, `/tmp` or
    `/` by mistake is not to lose the use of it.

    Raises:
        OSError: the folder cannot be made.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    _is_what_it_should_be(data)
    for name in FOLDERS:
        (data / name).mkdir(mode=0o700, exist_ok=True)
    try:
        inside = [each for each in data.iterdir() if not each.is_symlink()]
        ours = [each for each in inside if each.name in FOLDERS or _OUR_FILES.fullmatch(each.name)]
        theirs = {each.name for each in inside} - {each.name for each in ours} - {"lost+found"}
        if theirs:
            few = sorted(theirs)[:3]
            log.warning("the data folder has others' things in it: only ours are closed", such=few)
        else:
            data.chmod(0o700)
        for each in ours:
            # SQLite may take its own files away at any moment.
            with suppress(FileNotFoundError):
                each.chmod(0o700 if each.is_dir() else 0o600)
    except PermissionError as why:
        log.warning("the data folder is not ours to close to others", why=str(why))


@dataclass(frozen=True)
class Readings:
    """What the settings say, read: what `serve` is made of, and what `doctor` looks at."""

    github: GitHub
    tokens: tuple[ApiToken, ...]
    mappings: Mapping[str, AlertMapping]
    addresses: tuple[Address, ...]
    database_url: str
    records: AsyncEngine
    signing_key: Ed25519PrivateKey | None


def read_settings(settings: Settings, *, only_look: bool = False, **client: Any) -> Readings:
    """Read everything that can be wrong by itself, before anything is opened.

    Args:
        settings: of this process.
        only_look: make no folder, only see that one could be made.
        client: what the client of GitHub is given besides.

    Raises:
        InvalidSettings: names each variable that cannot be used, why, and what mends it.
    """
    data, given = settings.playbooks_data, settings.database_url
    faults: list[SettingFault] = []

    def read(name: str, remedy: str, reader: Callable[[], T]) -> T | None:
        return _read(faults, name, remedy, reader)

    github = read("GITHUB_API_URL", "", lambda: github_of(settings, **client))
    senders = read("PLAYBOOKS_API_TOKENS", "docs/alerts says what to write.",
                   lambda: who_may_send(settings))  # fmt: skip
    notify = [each.get_secret_value() for each in settings.notify_urls]
    addresses = read("NOTIFY_URLS", "`playbooks notify test` tries it.",
                     lambda: read_addresses(notify))  # fmt: skip
    writable = "Name a folder that this user can write, or give it to them."
    url = given.get_secret_value() if given else read("PLAYBOOKS_DATA", writable,
                                                      lambda: url_from(data))  # fmt: skip
    records = read("DATABASE_URL", SUPPORTED, lambda: _open(url)) if url else None
    mine = settings.playbooks_signing_key
    pem = mine.get_secret_value().encode(errors="replace") if mine else None
    signing = read("PLAYBOOKS_SIGNING_KEY", "Make one: openssl genpkey -algorithm ed25519",
                   lambda: private_key(pem) if pem else None)  # fmt: skip
    if url:
        read("PLAYBOOKS_DATA", writable,
             lambda: _could_be_made(data) if only_look else keep_folder_private(data))  # fmt: skip
    _settle_temporary_files(data)
    if faults or not (github and senders and addresses is not None and records and url):
        raise InvalidSettings(*faults)
    tokens, mappings = senders
    return Readings(github, tokens, mappings, addresses, url, records, signing)


def _settle_temporary_files(data: Path) -> None:
    """Choose where temporary files go: below the data folder where no other can be written.

    Containers have file systems without any such folder. Left until the first is needed, a disk
    that is full just then would be told as one that has none, and not be waited for.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str((data / "mirrors").absolute())


def _read(faults: list[SettingFault], name: str, remedy: str, reader: Callable[[], T]) -> T | None:
    try:
        return reader()
    except InvalidSettings as fault:
        faults.extend(fault.faults)
    except OSError as error:
        faults.append(SettingFault(name, f"{error.strerror}: {error.filename}.", remedy))
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        words = said.removeprefix(name).removeprefix(":").strip().rstrip(".")
        faults.append(SettingFault(name, f"{words}.", remedy))
    return None


async def faults_beside_the_app() -> tuple[SettingFault, ...]:
    """What is wrong with the settings while there is no App yet.

    Whoever sets one up in a browser is not to find out behind that.
    """
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    stand_in = {
        "github_app_id": 1,
        "github_private_key": key.decode(),
        "github_webhook_secret": "-",
    }
    try:
        found = read_settings(load_settings(**stand_in), only_look=True)
    except InvalidSettings as refused:
        return refused.faults
    await found.github.close()
    await found.records.dispose()
    return ()


def github_of(settings: Settings, **client: Any) -> GitHub:
    """The client these settings describe.

    Raises:
        InvalidSettings: the key or an address cannot be used; names each.
    """
    faults: list[SettingFault] = []
    wrong_key = "Put the whole file that the App's page gave you there, as it is or as base64."
    _read(faults, "GITHUB_PRIVATE_KEY", wrong_key, partial(_check_key, settings))
    _read(faults, "GITHUB_API_URL", "", partial(_check_addresses, settings))
    api = URL(settings.github_api_url)
    _read(faults, f"{api.scheme.upper()}_PROXY", "", partial(proxy_for, api))
    if faults:
        raise InvalidSettings(*faults)
    return GitHub(
        app_id=settings.github_app_id,
        private_key=settings.github_private_key.get_secret_value(),
        api_url=settings.github_api_url,
        graphql_url=settings.github_graphql_url,
        url=settings.github_url,
        **client,
    )


def _check_key(settings: Settings) -> AppKey:
    key = settings.github_private_key.get_secret_value()
    return AppKey(settings.github_app_id, key, time.time)


def _check_addresses(settings: Settings) -> None:
    Addresses.derive(
        settings.github_api_url,
        graphql_url=settings.github_graphql_url,
        url=settings.github_url,
    )


def _could_be_made(data: Path) -> None:
    where = data.absolute()
    there = next(path for path in (where, *where.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        is_read_only = bool(os.statvfs(there).f_flag & os.ST_RDONLY)
        why = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(why, os.strerror(why), str(there))
    _is_what_it_should_be(data)


def _is_what_it_should_be(data: Path) -> None:
    """See that no file has the place of a folder of ours, and no folder that of a file."""
    for name in FOLDERS:
        if (data / name).exists() and not (data / name).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(data / name))
    for name in FILES:
        if (data / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(data / name))


def _open(url: str) -> AsyncEngine:
    try:
        return open_database(url)
    except (ValueError, sa.exc.ArgumentError) as error:
        # The address holds a password: what is repeated of it is nothing but its kind.
        kind = url.partition(":")[0][:20] if "://" in url else ""
        what, remedy = "it is no database's address.", SUPPORTED
        if kind in ("postgres", "postgresql"):
            what, remedy = "it cannot be read as an address.", f"{SUPPORTED} {WRITTEN_SO}"
        elif kind.isalnum():
            what = f"{kind} is not supported."
        raise InvalidSettings(SettingFault("DATABASE_URL", what, remedy)) from error


def app_of(settings: Settings) -> str:
    """Name the App, and the GitHub that has it."""
    return f"{settings.github_app_id} at {settings.github_api_url}"


def another_app(replica: str) -> SettingFault:
    """Say that a living replica on this database speaks for another App.

    Args:
        replica: its name.
    """
    return SettingFault(
        "DATABASE_URL",
        f"{replica}, which is alive on this database, is another App: it would go on with what "
        "this one began, and fail.",
        "Give each App a database of its own; where the App was changed, stop all replicas first.",
    )


def free_port(host: str, port: int) -> None:
    """See that the port can be had.

    Raises:
        InvalidSettings: it is in use, is for root alone, or the address is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise port_fault(host, port, error) from error


def port_fault(host: str, port: int, error: OSError) -> InvalidSettings:
    """Say what is wrong with an address that cannot be listened at.

    Args:
        host: where to listen.
        port: at which port.
        error: what the system said.
    """
    if error.errno == errno.EADDRINUSE:
        what, remedy = f"{port} is in use on {host}.", "Stop what listens there, or take another."
        return InvalidSettings(SettingFault("PLAYBOOKS_PORT", what, remedy))
    if error.errno == errno.EACCES:
        what = f"this user may not listen at {port}."
        return InvalidSettings(SettingFault("PLAYBOOKS_PORT", what, "Take one above 1023."))
    what = f"{host} is no address of this machine ({error.strerror or error})."
    return InvalidSettings(SettingFault("PLAYBOOKS_HOST", what, "127.0.0.1 or 0.0.0.0 always is."))


class ClockWrong(Exception):
    """This machine's clock is so wrong that GitHub takes nothing that it signs."""


async def ask_who(github: GitHub, app_id: int, api_url: str) -> App:
    """Ask GitHub who we are.

    Args:
        github: signs with the App's key.
        app_id: the id that it signs as.
        api_url: where it asks.

    Raises:
        InvalidSettings: the id, the key or the address is wrong; says which.
        ClockWrong: GitHub says that the times in what we sign are none.
        GitHubError: GitHub is away (Passing), or will not say.
    """
    try:
        return await github.ourselves.app(ask=True)
    except BadCredentials as refused:
        said = f"{refused.said} {refused}".lower()
        if "issuer" in said:
            raise _no_app(app_id) from refused
        if "claim" in said:
            raise ClockWrong(
                "GitHub refuses what is signed here by the clock of this machine: it is wrong. "
                "Set it, for instance by NTP."
            ) from refused
        what = f"GitHub does not accept this key for App {app_id}."
        remedy = "Make a new one on the App's page under Private keys, or correct GITHUB_APP_ID."
        raise InvalidSettings(SettingFault("GITHUB_PRIVATE_KEY", what, remedy)) from refused
    except NotFound as refused:
        if "integration" in refused.said.lower():
            raise _no_app(app_id) from refused
        raise _no_github(api_url) from refused
    except (ValueError, Unreadable) as refused:
        raise _no_github(api_url) from refused


def _no_app(app_id: int) -> InvalidSettings:
    remedy = (
        "Its id stands on the App's page under About. If it was deleted, take these variables, or "
        f"{CREDENTIALS} of the data folder, away: `playbooks serve` then registers another."
    )
    what = f"GitHub knows no App {app_id}."
    return InvalidSettings(SettingFault("GITHUB_APP_ID", what, remedy))


def _no_github(api_url: str) -> InvalidSettings:
    remedy = (
        "It is https://api.github.com, https://api.SUB.ghe.com, or https://HOST/api/v3 for "
        "GitHub Enterprise Server."
    )
    return InvalidSettings(
        SettingFault("GITHUB_API_URL", f"no GitHub answers at {api_url}.", remedy)
    )
