"""The flag document in the repository: it follows what is served, and is never read back."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.client import RepositoryClient
from bot.playbooks.incidents import record_files
from bot.playbooks.incidents.record_files import BroughtHome, RecordFile
from bot.records.branch_record import RecordStore
from bot.traffic import allocation
from bot.traffic.flagd import flag_document, written


async def document(records: AsyncEngine, repository_id: int) -> str:
    """Write the document of a repository as it is served now."""
    async with records.connect() as conn:
        return written(flag_document(await allocation.of_repository(conn, repository_id)))


async def commit(
    github: RepositoryClient,
    store: RecordStore,
    records: AsyncEngine,
    repository_id: int,
    path: str,
    message: str,
    *,
    look_first: bool,
) -> BroughtHome:
    """Commit the document to the default branch, or to the rolling pull request of outcomes."""
    rules = await github.branch_rules((await github.about()).default_branch)
    file = RecordFile(path=path, content=await document(records, repository_id))
    return await record_files.bring_home(
        github, store, [file], message, rules=rules, look_first=look_first
    )
