"""Hidden refs: what keeps commits fetchable while they are tried, and how all of it goes again.

They are neither branches nor tags, start no workflow and are seen by nobody. One folder below
`refs/` for each incident.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.github.calls.git_data import GitData
from bot.playbooks.attempt import attempt
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import runs

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

    what = f"remove the refs below {markdown.code(f'refs/{_ALL}')}"
    nothing: list[str] = []
    found = await attempt(run, Step.LIST_HIDDEN_REFS, list[str], look, what=what, otherwise=nothing)
    live: list[str] = []
    if any(_incident(name) != incident for name in found):

        async def read(conn: AsyncConnection) -> list[str]:
            at_work = await runs.list_live(conn, repository_id)
            return [each.incident_id for each in at_work if each.incident_id]

        live = await run.write(Step.READ_LIVE_SEARCHES, list[str], read)
    gone = [name for name in found if _incident(name) == incident or _incident(name) not in live]
    if not gone:
        return

    async def remove(_: bool) -> bool:
        for name in gone:
            await git_data.delete_hidden_ref(name)
        return True

    await attempt(run, Step.DELETE_HIDDEN_REFS, bool, remove, what=what, otherwise=False)


def _incident(name: str) -> str:
    return name.removeprefix(f"{_ALL}/").partition("/")[0]
