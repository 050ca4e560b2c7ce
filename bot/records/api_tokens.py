"""Tokens of the API that the database knows: made here, or revoked.

Only hashes of secrets are stored. Every function works inside the caller's transaction.
"""

from __future__ import annotations

import re
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into
from bot.records.tables.columns import Instant
from bot.records.tables.intake import api_tokens
from bot.triggers import Role, Value

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
GLOB = re.compile(r"[A-Za-z0-9_.*?/\[\]!-]{1,200}")


class TokenRefused(Exception):
    """A token cannot be made or revoked as asked; the message says why."""


class StoredToken(Value):
    """One token, as the database knows it. `reaches` is a glob over `owner/name`."""

    sha256: str
    name: str
    role: Role
    reaches: str
    created_at: Instant
    revoked_at: Instant | None = None

    @property
    def spec(self) -> str:
        """The same as an entry of PLAYBOOKS_API_TOKENS."""
        return f"{self.name}:{self.role}:{self.reaches}:{self.sha256}"


def checked(token: StoredToken) -> StoredToken:
    """Return the token if its parts can be written as an entry of the setting.

    Raises:
        TokenRefused: names the part and what is allowed.
    """
    if not NAME.fullmatch(token.name):
        raise TokenRefused("The name must have 1 to 64 letters, digits and _ . -")
    if not GLOB.fullmatch(token.reaches):
        raise TokenRefused("The repository glob must look like acme/* or acme/app.")
    return token


async def everyone(conn: AsyncConnection) -> list[StoredToken]:
    """Read all tokens, also those that were revoked, oldest first."""
    query = sa.select(api_tokens).order_by(api_tokens.c.created_at, api_tokens.c.name)
    return [StoredToken.model_validate(dict(row._mapping)) for row in await conn.execute(query)]


async def add(conn: AsyncConnection, token: StoredToken) -> None:
    """Let a token call from now on.

    Raises:
        TokenRefused: a part of it is wrong, or its name is in use.
    """
    checked(token)
    if any(each.name == token.name and not each.revoked_at for each in await everyone(conn)):
        raise TokenRefused(
            f"There is a token named {token.name} already: choose another name, or revoke it "
            f"first (playbooks token revoke {token.name})."
        )
    await conn.execute(sa.insert(api_tokens).values(token.model_dump()))


async def revoke(conn: AsyncConnection, token: StoredToken, at: datetime) -> None:
    """Refuse a token from now on, whether it was made here or stands in the setting.

    Args:
        conn: the caller's transaction.
        token: one that the database may not know yet.
        at: now.
    """
    insert = insert_into(conn)
    row = insert(api_tokens).values(token.model_copy(update={"revoked_at": at}).model_dump())
    await conn.execute(
        row.on_conflict_do_update(
            index_elements=[api_tokens.c.sha256], set_={"revoked_at": row.excluded.revoked_at}
        )
    )
