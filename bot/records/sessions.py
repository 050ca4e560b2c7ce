"""Who is logged in to the cockpit: kept here, so that the browser holds nothing but a key.

Only hashes of keys are stored. Every function works inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
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
        repositories: ids of what GitHub let them and the App see when they logged in.
        roles: by repository id as text, what they may do there; nothing, too.
        read_at: when the roles were last read, all of them; None if never.
        expires_at: when they have to log in again.
    """

    token_hash: str
    login: str
    csrf: str
    repositories: tuple[int, ...]
    roles: dict[str, Role]
    read_at: Instant | None
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
    repositories: Collection[int],
    now: datetime,
    until: datetime,
    roles: Mapping[int, Role] | None = None,
) -> None:
    """Log somebody in; sessions that are over are forgotten, and all but their newest few.

    `roles` where they are known as of now.
    """
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
            repositories=sorted(repositories),
            roles=_stored(roles or {}),
            read_at=None if roles is None else now,
            expires_at=until,
        )
    )


async def find(conn: AsyncConnection, key: str, *, now: datetime) -> Session | None:
    """Read the session of this key; None if there is none or it is over."""
    return await find_hashed(conn, hash_of(key), now=now)


async def find_hashed(conn: AsyncConnection, token_hash: str, *, now: datetime) -> Session | None:
    """Read a session by the hash of its key; None if there is none or it is over."""
    query = sa.select(sessions).where(
        sessions.c.token_hash == token_hash, sessions.c.expires_at > now
    )
    row = (await conn.execute(query)).first()
    return None if row is None else Session.model_validate(dict(row._mapping))


async def note_roles(
    conn: AsyncConnection, token_hash: str, roles: Mapping[int, Role], at: datetime | None
) -> None:
    """Remember what GitHub says they may do, all of it as of `at`."""
    await conn.execute(
        sa.update(sessions)
        .where(sessions.c.token_hash == token_hash)
        .values(roles=_stored(roles), read_at=at)
    )


async def end(conn: AsyncConnection, token_hash: str) -> None:
    """Log out."""
    await conn.execute(sa.delete(sessions).where(sessions.c.token_hash == token_hash))


def _stored(roles: Mapping[int, Role]) -> dict[str, Role]:
    return {str(key): role for key, role in roles.items()}
