"""What the HTTP API reads, straight from the records database."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.audit.chain import AuditEntry, UnreadableRow
from bot.records.database import reading
from bot.records.incidents import Incident
from bot.records.runs import StoredRun


class StoredRecords:
    """The API's `Records`; every read is a transaction of its own that waits for no writer."""

    def __init__(self, database: AsyncEngine) -> None:
        """Read from this database."""
        self._database = reading(database)

    async def incidents(self, repository_id: int, limit: int) -> list[Incident]:
        """Return the latest Incidents of a repository, newest first."""
        async with self._database.begin() as connection:
            return await incidents.list_recent(connection, repository_id, limit=limit)

    async def incident(self, incident_id: str) -> Incident | None:
        """Return one Incident; by the id of a request that joined one: that one."""
        async with self._database.begin() as connection:
            found = await incidents.find(connection, incident_id)
            if found is None and (asked := await runs.find(connection, incident_id)):
                joined = asked.joined_incident
                found = None if joined is None else await incidents.find(connection, joined)
            return found

    async def run(self, run_id: str) -> StoredRun | None:
        """Return one Run."""
        async with self._database.begin() as connection:
            return await runs.find(connection, run_id)

    async def audit(
        self, repository_id: int, after: int, limit: int
    ) -> list[AuditEntry | UnreadableRow]:
        """Return up to `limit` audit entries that follow number `after`, damaged ones as such."""
        async with self._database.begin() as connection:
            return await chain.read(connection, repository_id, after=after, limit=limit)
