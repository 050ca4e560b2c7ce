"""What may have caused an alert, and the Trigger that a group of alerts becomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from bot.config import Config
from bot.git.errors import AmbiguousRevision, UnknownRevision
from bot.git.history import describe, first_parents, is_ancestor, resolve
from bot.github.models import PullRequest
from bot.playbooks.alerts import messages as words
from bot.playbooks.alerts.decide import (
    AlertEvidence,
    Following,
    LookForIt,
    RevertIt,
    RollBackCapability,
    naming,
)
from bot.playbooks.alerts.messages import AlertFacts
from bot.playbooks.alerts.ports import AlertGitHub
from bot.playbooks.autorevert.decide import SoleSuspect
from bot.playbooks.autorevert.evidence import only_one, read_suspect, without_hotfixes
from bot.playbooks.incident.own_files import is_own
from bot.playbooks.plan import read_config
from bot.playbooks.ports import HistoryMirror
from bot.records.alerts import Condition, Said
from bot.triggers import (
    OURSELVES,
    BisectRequest,
    CommitTarget,
    PullRequestTarget,
    Request,
    RevertRequest,
    RollbackRequest,
    Source,
    SourceKind,
    Target,
    Trigger,
)

_LONGEST_TOPIC = 500


def trigger_for(
    following: Following, facts: AlertFacts, alert: Trigger, *, run: str, at: datetime
) -> Trigger | None:
    """Make the Trigger that follows; None where people decide.

    A revert of one commit is asked for once, whatever alert names it; the rest once each time the
    alerts fire again.

    Args:
        following: what was decided.
        facts: the incident; answers go to its issue.
        alert: the Trigger that is triaged.
        run: the first Run that followed them this time.
        at: now.
    """
    reason = f"alert {words.title(facts.group)}: {getattr(following, 'reason', '')}"
    match following:
        case RevertIt(sha=sha, pull_request=number, autonomy=autonomy):
            named: Target = PullRequestTarget(number=number) if number else CommitTarget(sha=sha)
            request: Request = RevertRequest(
                targets=(named,),
                reason=reason,
                severity=facts.severity,
                autonomy=autonomy,
                about=facts.group.group_key[:_LONGEST_TOPIC],
            )
            identity = f"revert:{sha}"
        case RollBackCapability(capability=capability):
            request = RollbackRequest(capability=capability, reason=reason, severity=facts.severity)
            identity = f"rollback:{capability}:{run}"
        case LookForIt():
            request, identity = BisectRequest(reason=reason), f"bisect:{run}"
        case _:
            return None
    return Trigger(
        source=Source(
            kind=SourceKind.ALERT,
            object_id=identity,
            subject=facts.issue,
            url=alert.source.url,
        ),
        repository=alert.repository,
        actor=OURSELVES,
        received_at=at,
        request=request,
    )


_WINDOW = 50


async def gather(
    conditions: Sequence[Condition],
    began: datetime,
    *,
    github: AlertGitHub,
    mirror: HistoryMirror,
    settled: Callable[[Config], Awaitable[Config]],
    now: datetime,
) -> tuple[AlertEvidence, Config]:
    """Read everything the decision about firing conditions rests on.

    Args:
        conditions: what fires.
        began: when it began, by our clock at the latest.
        github: the repository.
        mirror: its commits.
        settled: the configuration with its sensitive sections as a Founder approved them.
        now: the time.
    """
    base = await github.default_branch()
    await mirror.refresh()
    head = await mirror.branch_head(base)
    newest, _ = await mirror.read(lambda git: read_config(git, head))
    config = await settled(newest)
    evidence = AlertEvidence(conditions=tuple(conditions), autonomy=config.triggers.autonomy)
    named = naming(conditions)

    async def suspect(sha: str, pull: PullRequest | None = None) -> SoleSuspect:
        return await read_suspect(
            sha, base, head, config=config, github=github, mirror=mirror, now=now, named=pull
        )

    if named is None:
        window = timedelta(minutes=config.triggers.suspect_minutes)
        bot = (await github.app()).bot_login
        # A sender that knows no time may say the year 1: nothing is before that.
        since = max(began, datetime.min.replace(tzinfo=UTC) + window) - window
        shas = await _merged_between(mirror, head, since, began, config, bot)
        shas = [*await without_hotfixes(shas, base, github)]
        one = await only_one(shas, base, github) if shas else None
        suspects = [await suspect(sha) for sha in ([one] if one else shas[:_WINDOW])]
        return evidence.model_copy(update={"suspects": tuple(suspects)}), config
    if named.capability is not None:
        is_known = named.capability in config.capabilities
        return evidence.model_copy(update={"is_known": is_known}), config
    pull = await github.pulls.find(named.pull_request) if named.pull_request else None
    sha = await _commit(named, pull, base, head, mirror)
    found = await suspect(sha, pull) if sha else None
    return evidence.model_copy(update={"named": found}), config


async def _merged_between(
    mirror: HistoryMirror, head: str, since: datetime, until: datetime, config: Config, bot: str
) -> list[str]:
    """The commits that came to the branch in this time, oldest first; no mere records."""
    line = await mirror.read(lambda git: first_parents(git, head, _WINDOW))
    infos = await mirror.read(lambda git: describe(git, line))
    found = [info.sha for info in infos if since <= info.committed_at <= until and info.parents]
    return [sha for sha in reversed(found) if not await is_own(sha, config, bot, mirror)]


async def _commit(
    named: Said, pull: PullRequest | None, base: str, head: str, mirror: HistoryMirror
) -> str | None:
    """The commit of the default branch that is named, if there is such a one."""
    wanted = named.commit or ""
    if named.pull_request is not None:
        if pull is None or not pull.is_merged or pull.base.ref != base:
            return None
        wanted = pull.merge_commit_sha or ""
    try:
        sha = await mirror.read(lambda git: resolve(git, wanted))
    except (UnknownRevision, AmbiguousRevision):
        return None
    return sha if await mirror.read(lambda git: is_ancestor(git, sha, head)) else None
