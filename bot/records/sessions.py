"""Who is logged in to the cockpit: kept here, so that the browser holds nothing but a key.

Only hashes of keys are stored; a person's token is locked with the key itself, so that neither the
database nor the browser alone has it. Every function works inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.tables.columns import Instant
from bot.records.tables.intake import sessions
from bot.triggers import Role, Value

MOST_OF_ONE = 20
"""Sessions of one person: anybody with an account at GitHub may log in, again and again."""


class Session(Value):
    """One logged-in browser.

    Attributes:
        token_hash: of the key in the browser's cookie.
        login: who it is.
        csrf: what every form of theirs must send along.
        token: asks GitHub in their name what they may see.
        roles: by repository id, what they may do there, where they may see it.
        read_at: as of when that is.
        expires_at: when they have to log in again.
    """

    token_hash: str
    login: str
    csrf: str
    token: SecretStr = Field(repr=False)
    roles: dict[int, Role]
    read_at: Instant
    expires_at: Instant


def hash_of(key: str) -> str:
    """What is stored of a key: enough to recognise it, not to use it."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


async def begin(
    conn: AsyncConnection,
    key: str,
    *,
    login: str,
    csrf: str,
    token: SecretStr,
    roles: Mapping[int, Role],
    now: datetime,
    until: datetime,
) -> None:
    """Log somebody in; sessions that are over are forgotten, and all but their newest few."""
    await conn.execute(sa.delete(sessions).where(sessions.c.expires_at <= now))
    newest = (
        sa.select(sessions.c.token_hash)
        .where(sessions.c.login == login)
        .order_by(sessions.c.expires_at.desc())
        .limit(MOST_OF_ONE - 1)
    )
    await conn.execute(
        sa.delete(sessions).where(sessions.c.login == login, sessions.c.token_hash.not_in(newest))
    )
    await conn.execute(
        sa.insert(sessions).values(
            token_hash=hash_of(key),
            login=login,
            csrf=csrf,
            repositories=sorted(roles),
            roles=_stored(roles),
            read_at=now,
            expires_at=until,
            locked_token=_locked(key, token),
        )
    )


async def find(conn: AsyncConnection, key: str, *, now: datetime) -> Session | None:
    """Read the session of this key; None if there is none or it is over."""
    query = sa.select(sessions).where(
        sessions.c.token_hash == hash_of(key),
        sessions.c.expires_at > now,
        # An earlier release kept no token.
        sessions.c.locked_token.is_not(None),
    )
    row = (await conn.execute(query)).first()
    if row is None:
        return None
    return Session(
        token_hash=row.token_hash,
        login=row.login,
        csrf=row.csrf,
        token=_unlocked(key, row.locked_token),
        roles={int(each): role for each, role in row.roles.items()},
        read_at=row.read_at,
        expires_at=row.expires_at,
    )


async def note_visitor(
    conn: AsyncConnection,
    token_hash: str,
    login: str,
    roles: Mapping[int, Role],
    at: datetime,
) -> None:
    """Remember who they are now and what GitHub lets them see, as of `at`."""
    await conn.execute(
        sa.update(sessions)
        .where(sessions.c.token_hash == token_hash)
        .values(login=login, repositories=sorted(roles), roles=_stored(roles), read_at=at)
    )


async def end(conn: AsyncConnection, token_hash: str) -> None:
    """Log out."""
    await conn.execute(sa.delete(sessions).where(sessions.c.token_hash == token_hash))


_NONCE = 12


def _lock(key: str) -> AESGCM:
    return AESGCM(hmac.digest(key.encode("utf-8", "replace"), b"a person's token", "sha256"))


def _locked(key: str, token: SecretStr) -> str:
    nonce = os.urandom(_NONCE)
    return (nonce + _lock(key).encrypt(nonce, token.get_secret_value().encode(), None)).hex()


def _unlocked(key: str, locked: str) -> SecretStr:
    stored = bytes.fromhex(locked)
    return SecretStr(_lock(key).decrypt(stored[:_NONCE], stored[_NONCE:], None).decode())


def _stored(roles: Mapping[int, Role]) -> dict[str, Role]:
    return {str(key): role for key, role in roles.items()}
