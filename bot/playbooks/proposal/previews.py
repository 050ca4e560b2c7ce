"""Where a proposal was deployed for a look at it, and how that went (specification, Revert 3).

Facts: https://docs.github.com/rest/deployments. `inactive` only says that an environment was taken
down or replaced by a newer deployment; what was said of it before stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from bot.github.client import RepositoryClient
from bot.github.errors import Forbidden, NotFound
from bot.github.models import Deployment, DeploymentStatus
from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, State
from bot.triggers import Value

_STATES = {"success": State.PASSED, "failure": State.FAILED, "error": State.FAILED}


class Previewed(Value):
    """The checks with the previews; `hidden`: the App may not read deployments."""

    tally: CheckTally
    hidden: bool = False


async def with_previews(
    github: RepositoryClient, counting: Counting, sha: str, checks: CheckTally
) -> Previewed:
    """Add what the deployments of a commit say.

    One request, and one for each environment that counts; none where nothing has to be looked for.

    Args:
        github: the repository.
        counting: names the environments.
        sha: the proposal's commit.
        checks: what its checks say.
    """
    patterns = counting.previews
    if patterns == () or (patterns is None and checks.verdict != "green"):
        return Previewed(tally=checks)
    try:
        counted = that_count(patterns, await github.deployments.of(sha))
        said = {each.id: await github.deployments.statuses(each.id) for each in counted}
    except (Forbidden, NotFound):
        rows = preview_rows(patterns, (), {})
        return Previewed(tally=checks.with_previews(rows), hidden=bool(patterns))
    return Previewed(tally=checks.with_previews(preview_rows(patterns, counted, said)))


def that_count(
    patterns: tuple[str, ...] | None, deployments: Sequence[Deployment]
) -> tuple[Deployment, ...]:
    """Choose the newest deployment to each environment that counts.

    Args:
        patterns: of the environments' names; None takes the transient ones.
        deployments: of one commit, the newest first.
    """
    newest: dict[str, Deployment] = {}
    for each in deployments:
        newest.setdefault(each.environment.lower(), each)
    return tuple(
        each
        for each in newest.values()
        if (each.transient if patterns is None else _matches(each.environment, patterns))
    )


def preview_rows(
    patterns: tuple[str, ...] | None,
    deployments: Sequence[Deployment],
    said: Mapping[int, Sequence[DeploymentStatus]],
) -> tuple[CheckRow, ...]:
    """Say how each preview stands, and which are not there yet.

    Args:
        patterns: as for `that_count`.
        deployments: those that count.
        said: their statuses by id, the newest first.
    """
    rows = [row for each in deployments if (row := _row(each, said.get(each.id, ()))) is not None]
    names = [row.name for row in rows]
    missing = [p for p in patterns or () if not any(_matches(name, (p,)) for name in names)]
    rows += [CheckRow(name=pattern, kind="preview", state=State.MISSING) for pattern in missing]
    return tuple(sorted(rows, key=lambda row: row.name))


def _row(deployment: Deployment, said: Sequence[DeploymentStatus]) -> CheckRow | None:
    standing = [each for each in said if each.state != "inactive"]
    if said and not standing:
        # Taken down before it came to anything: as if it had never been.
        return None
    if not standing:
        return CheckRow(name=deployment.environment, kind="preview", state=State.RUNNING)
    newest = standing[0]
    state = _STATES.get(newest.state, State.RUNNING)
    links = (newest.log_url, newest.environment_url)
    if state is State.PASSED:
        links = (newest.environment_url, newest.log_url)
    return CheckRow(
        name=deployment.environment,
        kind="preview",
        state=state,
        url=links[0] or links[1],
        at=newest.created_at,
    )


def _matches(environment: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern fits; GitHub does not tell letter cases of environments apart."""
    return any(fnmatchcase(environment.lower(), pattern.lower()) for pattern in patterns)
