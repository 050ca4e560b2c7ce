"""Hidden refs: what keeps commits fetchable while they are tried, and how all of it goes again.

They are neither branches nor tags, start no workflow and are seen by nobody. One folder below
`refs/` for each incident.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.calls.git_data import GitData
from bot.playbooks.run import Run
from bot.records.recovery import runs

_ALL = "playbooks/bisect"


def hidden_folder(incident: str) -> str:
    """Name the folder, below `refs/`, of all that a search keeps fetchable for its trials."""
    return f"{_ALL}/{incident}"


def hidden_ref(incident: str) -> str:
    """Name the ref, below `refs/`, of the bad end with the culprit reverted."""
    return f"{hidden_folder(incident)}/without-the-culprit"


async def remove_hidden_refs(
    run: Run, git_data: GitData, *, incident: str, repository_id: int
) -> None:
    """Remove this search's refs, and those of searches that broke off before they could."""

    async def look(_: bool) -> list[str]:
        return list(await git_data.hidden_refs(_ALL))

    found = await run.step("look for hidden refs", list[str], look)
    live: list[str] = []
    if any(_incident(name) != incident for name in found):

        async def read(conn: AsyncConnection) -> list[str]:
            at_work = await runs.list_live(conn, repository_id)
            return [each.incident_id for each in at_work if each.incident_id]

        live = await run.write("see which searches are at work", list[str], read)
    gone = [name for name in found if _incident(name) == incident or _incident(name) not in live]
    if not gone:
        return

    async def remove(_: bool) -> bool:
        for name in gone:
            await git_data.delete_hidden_ref(name)
        return True

    await run.step("remove hidden refs", bool, remove)


def _incident(name: str) -> str:
    return name.removeprefix(f"{_ALL}/").partition("/")[0]
