"""The one key with which all replicas of an installation sign audit anchors.

Where none is given it is made at the first start and kept in the database, where every replica
finds it. A key that is given (`PLAYBOOKS_SIGNING_KEY`) never gets there, only its public half: so
that a replica which was given another one, or none, is refused instead of signing apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.audit.anchors import private_key, private_pem, public_key, public_pem
from bot.records.database import insert_into
from bot.records.private_files import put_whole
from bot.records.tables.columns import rfc3339
from bot.records.tables.safety import signing_keys

log = structlog.get_logger(__name__)

IN_FORCE = "in force"
FILE = "signing-key.pem"
"""In the data folder; beside it, with `.pub`, what verifies anchors."""

JUST_BEGUN = timedelta(seconds=40)
"""A replica that has settled on a key may not have said yet that it lives."""


class SigningKeyRefused(Exception):
    """This replica would sign with another key than its siblings; the message says what to do."""


class KeyFileDamaged(SigningKeyRefused):
    """The data folder has a file that should be a key and is none; the message says what to do."""


class InstallationKey(Ed25519PrivateKey):
    """The installation's key, which is known once the database was asked.

    Raises:
        RuntimeError: it is used before `settle`.
    """

    def __init__(self) -> None:
        """Prepare; nothing can be signed yet."""
        self._key: Ed25519PrivateKey | None = None

    def settle(self, key: Ed25519PrivateKey) -> None:
        """Make this the key."""
        self._key = key

    @property
    def _known(self) -> Ed25519PrivateKey:
        if self._key is None:
            raise RuntimeError("the signing key is not known before the start")
        return self._key

    def public_key(self) -> Ed25519PublicKey:
        """Give the public half."""
        return self._known.public_key()

    def private_bytes(self, *args: Any, **kwargs: Any) -> bytes:
        """Give it in a serialized form."""
        return self._known.private_bytes(*args, **kwargs)

    def private_bytes_raw(self) -> bytes:
        """Give its 32 bytes."""
        return self._known.private_bytes_raw()

    def sign(self, data: Any) -> bytes:
        """Sign."""
        return self._known.sign(data)

    def __copy__(self) -> InstallationKey:
        """There is one."""
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> InstallationKey:
        """There is one."""
        return self


async def settle_key(
    conn: AsyncConnection,
    *,
    given: str | None,
    file: Path,
    siblings: Collection[str],
    at: datetime,
    make: Callable[[], Ed25519PrivateKey] = Ed25519PrivateKey.generate,
) -> Ed25519PrivateKey:
    """Find the installation's key, or make it; two that start together end up with the same.

    Args:
        conn: the caller's transaction; the row stays locked until it ends.
        given: the key in PEM that this replica was given.
        file: where releases before kept a key of their own; at the first start it is taken over.
        siblings: the other replicas that live.
        at: now.
        make: makes a key.

    Raises:
        SigningKeyRefused: its siblings sign with another key, or the file that was kept is no key.
        ValueError: what was given is no Ed25519 private key.
    """
    ours = private_key(given.encode()) if given else _kept(file)
    first = ours or make()
    insert = insert_into(conn)
    await conn.execute(
        insert(signing_keys)
        .values(name=IN_FORCE, since=at, **_columns(first, is_given=given is not None))
        .on_conflict_do_nothing()
    )
    query = sa.select(signing_keys).where(signing_keys.c.name == IN_FORCE).with_for_update()
    row = (await conn.execute(query)).one()
    known = public_key(row.public_pem.encode())
    if ours is not None and ours.public_key() == known:
        return ours
    if given is None:
        if row.private_pem is None:
            raise SigningKeyRefused(
                "Audit anchors of this installation are signed with a key that its replicas were "
                "given: set PLAYBOOKS_SIGNING_KEY (or PLAYBOOKS_SIGNING_KEY_PATH) to that key "
                "here, too."
            )
        return private_key(row.private_pem.encode())
    names = ", ".join(sorted(siblings)) or "one has just begun"
    if siblings or at - row.since < JUST_BEGUN:
        raise SigningKeyRefused(
            f"Another replica is running that signs audit anchors with another key ({names}): set "
            "PLAYBOOKS_SIGNING_KEY to the same key everywhere. To change the key, stop all "
            "replicas first, for a minute."
        )
    await _replace(conn, row, first, at)
    return first


def keep_files(file: Path, key: Ed25519PrivateKey, *, is_given: bool) -> None:
    """Write the key's public half beside the data, and the key itself where it was not given.

    So people find what verifies anchors, and the release before finds its key. Another key that
    lies there is put aside: what it signed can still be verified.

    Args:
        file: where the private key belongs; the public half gets `.pub` after that name.
        key: the one that anchors are signed with from now on.
        is_given: whether the settings hold the key: then it is not written here.

    Raises:
        OSError: the files cannot be written.
    """
    public = file.with_name(f"{file.name}.pub")
    if file.exists() and file.read_bytes() != private_pem(key):
        aside = file.with_name(f"{file.stem}-{secrets.token_hex(4)}{file.suffix}")
        log.warning("another signing key lay in the data folder; it is put aside", file=aside.name)
        file.rename(aside)
        if public.exists():
            public.rename(aside.with_name(f"{aside.name}.pub"))
    if not is_given:
        put_whole(file, private_pem(key))
    put_whole(public, public_pem(key.public_key()), 0o644)


def _kept(file: Path) -> Ed25519PrivateKey | None:
    try:
        return private_key(file.read_bytes()) if file.exists() else None
    except (ValueError, OSError) as error:
        raise KeyFileDamaged(
            f"{file} cannot be read as a key: {error}. Put it back from a backup, or take it away: "
            "then the key in the database counts, and where there is none another is made."
        ) from error


def _columns(key: Ed25519PrivateKey, *, is_given: bool) -> dict[str, str | None]:
    return {
        "public_pem": public_pem(key.public_key()).decode(),
        "private_pem": None if is_given else private_pem(key).decode(),
    }


async def _replace(
    conn: AsyncConnection, row: sa.Row[Any], key: Ed25519PrivateKey, at: datetime
) -> None:
    """Let a key that was given count from now on; of the one before the public half is kept."""
    await conn.execute(
        sa.insert(signing_keys).values(
            name=f"until {rfc3339(at)}", public_pem=row.public_pem, since=row.since
        )
    )
    await conn.execute(
        sa.update(signing_keys)
        .where(signing_keys.c.name == IN_FORCE)
        .values(since=at, **_columns(key, is_given=True))
    )
    log.warning("audit anchors are signed with another key from now on, which was given")
