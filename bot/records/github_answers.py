"""What GitHub said last of the App and of what it is installed on: for a start while it is away.

Whoever has been told once serves flags and pages from then on, whatever becomes of GitHub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records.database import insert_into, reading
from bot.records.outages import outage_of
from bot.records.tables.columns import from_rfc3339, rfc3339
from bot.records.tables.intake import github_answers

log = structlog.get_logger(__name__)


class GitHubMemory:
    """Of one App. What is remembered already is not written again."""

    def __init__(self, database: AsyncEngine, app_id: int, clock: Callable[[], datetime]) -> None:
        """Remember in `database`; `clock` tells the time (UTC)."""
        self._database = database
        self._app = f"app:{app_id}"
        self._prefix = f"{self._app}/installation:"
        self._clock = clock
        self._kept: dict[str, Any] = {}

    async def app(self) -> Any:
        """Give the App as it was kept; None where it never was."""
        return (await self._read(self._app)).get(self._app)

    async def keep_app(self, said: Any) -> None:
        """Remember the App."""
        await self._keep(self._app, said)

    async def listening_since(self) -> datetime:
        """Give when a bot of this App first listened: what GitHub could not hand over is its own.

        That is now, where none did before.
        """
        about = f"{self._app}/listening"
        said = (await self._read(about)).get(about)
        if said is None:
            said = rfc3339(self._clock())
            await self._keep(about, said)
        return from_rfc3339(said)

    async def installations(self) -> Mapping[int, Any]:
        """Give the repositories of each installation as they were kept."""
        found = await self._read(self._prefix)
        return {int(about.removeprefix(self._prefix)): said for about, said in found.items()}

    async def keep_installation(self, installation_id: int, said: Any) -> None:
        """Remember the repositories of one installation; None forgets it."""
        await self._keep(f"{self._prefix}{installation_id}", said)

    async def _read(self, beginning: str) -> dict[str, Any]:
        named = github_answers.c.about.startswith(beginning, autoescape=True)
        query = sa.select(github_answers.c.about, github_answers.c.said).where(named)
        async with reading(self._database).connect() as conn:
            found = {row.about: row.said for row in await conn.execute(query)}
        self._kept |= found
        return found

    async def _keep(self, about: str, said: Any) -> None:
        if self._kept.get(about) == said:
            return
        values = {"said": said, "at": self._clock()}
        try:
            async with self._database.begin() as conn:
                if said is None:
                    where = github_answers.c.about == about
                    await conn.execute(sa.delete(github_answers).where(where))
                else:
                    insert = insert_into(conn)(github_answers).values(about=about, **values)
                    await conn.execute(
                        insert.on_conflict_do_update(
                            index_elements=[github_answers.c.about], set_=values
                        )
                    )
        except Exception as error:
            if outage_of(error) is None:
                raise
            # It is kept the next time that GitHub says it.
            log.warning("what GitHub said is not kept", about=about, why=str(error))
            return
        self._kept[about] = said
