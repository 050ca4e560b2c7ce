"""What somebody means who says `/revert` on a hotfix or on the issue of an incident.

As long as a hotfix is not merged there is nothing in it to revert: meant is what it reverts.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.client import RepositoryClient
from bot.records import incidents, runs
from bot.records.incidents import Incident
from bot.triggers import CommitTarget, PullRequestTarget, RevertRequest, Target

_RECENT = 500


async def our_incidents(
    conn: AsyncConnection, repository_id: int, request: RevertRequest
) -> dict[int, Incident]:
    """Read the newest incident for each number in a request that is its issue or hotfix."""
    named = {each.number for each in request.targets if isinstance(each, PullRequestTarget)}
    if not named:
        return {}
    recent = await incidents.list_recent(conn, repository_id, limit=_RECENT)
    found: dict[int, Incident] = {}
    for number in named:
        here = [each for each in recent if each.issue == number or number in each.prs]
        if not here:
            continue
        cause = _cause(here[0], recent)
        if cause.kind == "revert" or any(
            run.is_live for run in await runs.of_incident(conn, cause.id)
        ):
            found[number] = cause
    return found


async def meant(
    client: RepositoryClient, request: RevertRequest, ours: dict[int, Incident]
) -> tuple[str | None, tuple[Target, ...]]:
    """Say what a request means where it names what is ours: the incident it joins, or its targets.

    Args:
        client: the repository.
        request: what was asked for.
        ours: the incidents that it names by their issue or hotfix.

    Raises:
        GitHubError: GitHub could not be read.
    """
    targets: list[Target] = []
    for target in request.targets:
        number = target.number if isinstance(target, PullRequestTarget) else None
        incident = None if number is None else ours.get(number)
        if number is None or incident is None or await _is_merged(client, incident, number):
            targets.append(target)
        elif incident.kind == "revert":
            targets += _subjects(incident)
        elif incident.kind == "bisect" and incident.is_open and len(request.targets) == 1:
            return incident.id, ()
        else:
            targets.append(target)
    changed = tuple(dict.fromkeys(targets))
    return None, changed if changed != request.targets else ()


def _cause(incident: Incident, recent: list[Incident]) -> Incident:
    """The incident of the revert that an alert's led to, else itself."""
    if incident.kind in ("revert", "bisect") or not incident.group_key:
        return incident
    same = [each for each in recent if each.group_key == incident.group_key]
    return next((each for each in same if each.kind in ("revert", "bisect")), incident)


async def _is_merged(client: RepositoryClient, incident: Incident, number: int) -> bool:
    if number not in incident.prs:
        return False
    pull = await client.pulls.find(number)
    return pull is not None and pull.is_merged


def _subjects(incident: Incident) -> list[Target]:
    found: list[Target] = []
    for subject in incident.subject.split("+"):
        kind, _, name = subject.partition(":")
        if kind == "pull_request":
            found.append(PullRequestTarget(number=int(name)))
        else:
            found.append(CommitTarget(sha=name))
    return found
