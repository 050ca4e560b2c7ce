"""One incident under way: what is known of it, how it is opened, what it is opened with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol, TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.config import Config
from bot.playbooks.incident.branches import Naming, about_change
from bot.playbooks.incident.ports import budgets, chain, incidents, notifications, runs
from bot.playbooks.incident.record_files import RECORDS_BRANCH
from bot.playbooks.plan import Declined
from bot.playbooks.run import Ending, NotDone, Run
from bot.playbooks.steps import Step
from bot.records.audit.anchors import Anchor, sign
from bot.records.documents.adr import adr_path
from bot.records.documents.artifacts import ArtifactKind, artifact_path
from bot.records.incidents import Incident, Opening
from bot.records.lifecycle import RunState
from bot.triggers import OURSELVES, Actor, Request, Severity, SourceKind, Trigger, Value, derived_id

_KINDS: dict[str, ArtifactKind] = {
    "revert": "revert",
    "bisect": "bisect",
    "shadow": "shadow",
    "ramp": "ramp",
    "rollback": "rollback",
}
"""By command: the kind of report."""


@dataclass(frozen=True)
class FilePlace:
    """A path in the repository, and the branch that has its final bytes first."""

    path: str
    ref: str


def first_place(request: Request, run: str, root: str) -> FilePlace:
    """Name the report that a Run for this request will write.

    Args:
        request: one that a playbook carries out.
        run: the Run's id.
        root: `artifacts.root` of the repository's configuration.

    Raises:
        LookupError: no playbook carries out this request.
    """
    # A proposal's branch is named when it is published, and gone once it is merged.
    return FilePlace(artifact_path(root, _KINDS[request.command], run), RECORDS_BRANCH)


Refs = dict[str, JsonValue]
"""What an audit entry refers to, by name."""


class NewIncident(Value):
    """What is wrong, as the Run that opens its incident knows it.

    Attributes:
        kind: the playbook.
        subject: what it is about; one of a kind is open about a subject at a time.
        title: plain text.
        severity: how bad it is.
        reason: in the words of whoever asked.
        refs: what its audit entry refers to.
        about: the group of alerts that it follows from, if one does.
    """

    kind: str
    subject: str
    title: str
    severity: Severity
    reason: str
    refs: Refs
    about: str | None = None


class Opened(Value):
    """The incident as this Run found or made it, and which attempt at it this Run is.

    `joined` says that another Run is at work on it: there is nothing for this one to do.
    `overtaken` says that it ended while this Run planned: nothing was opened, and what was planned
    is planned again.
    """

    incident: Incident
    joined: bool
    attempt: int
    anchor: Anchor
    overtaken: bool = False


async def begin(
    run: Run,
    trigger: Trigger,
    plan: P | Declined,
    incident: Callable[[P], NewIncident],
    signing_key: Ed25519PrivateKey,
    joined: Callable[[int | None, str], Ending],
    *,
    planned_after: str | None = None,
    can_plan_again: bool = False,
) -> tuple[P, Opened] | Ending:
    """Open the incident of a plan; how the Run ends at once where it is declined or joins another.

    Args:
        run: the Run that begins.
        trigger: what asked for it.
        plan: what was settled.
        incident: says what is wrong, by the plan.
        signing_key: signs the audit chain's new head.
        joined: what is answered where the same is under way: by its issue, and its id.
        planned_after: the earlier incident about it that the plan knows to be over.
        can_plan_again: whether to open nothing where another one has ended meanwhile.
    """
    if isinstance(plan, Declined):
        return Ending(outcome="declined", reason=plan.reason, remedy=plan.remedy)
    opened = await _open_incident(
        run,
        trigger,
        incident(plan),
        signing_key,
        planned_after=planned_after,
        can_plan_again=can_plan_again,
    )
    if opened.joined:
        return joined(opened.incident.issue, opened.incident.id)
    return plan, opened


async def _open_incident(
    run: Run,
    trigger: Trigger,
    found: NewIncident,
    signing_key: Ed25519PrivateKey,
    *,
    planned_after: str | None = None,
    can_plan_again: bool = False,
) -> Opened:
    """Open the incident with its audit entry, or join the one that is open about the same thing.

    An open incident that no live Run works on any more is taken up again as a further attempt.

    Args:
        run: the Run that begins.
        trigger: what asked for it.
        found: what is wrong.
        signing_key: signs the audit chain's new head.
        planned_after: the earlier incident about it that the plan knows to be over.
        can_plan_again: whether to open nothing where another one has ended meanwhile.
    """
    now = await run.now()
    opening = Opening(
        id=derived_id(trigger.key, trigger.received_at),
        repository=trigger.repository,
        kind=found.kind,
        subject=found.subject,
        title=found.title,
        severity=found.severity,
        source=trigger.source.kind,
        source_url=trigger.source.url,
        opened_by=trigger.actor.login,
        detected_at=trigger.received_at,
        suspect=found.subject,
        group_key=found.about,
    )

    async def overtaken(conn: AsyncConnection, by: Incident) -> Opened:
        entry = await chain.append(
            conn,
            trigger.repository.id,
            "plan.overtaken",
            actor=trigger.actor.login,
            at=now,
            incident=by.id,
            run=run.id,
            refs=found.refs,
            data={"reason": f"incident {by.id} ended while this was planned"},
        )
        anchor = sign(entry.head, signing_key, now)
        return Opened(incident=by, joined=False, attempt=1, anchor=anchor, overtaken=True)

    async def change(conn: AsyncConnection) -> Opened:
        async with conn.begin_nested() as opens:
            incident, existed = await incidents.open_or_join(conn, opening)
            before = await _ended_meanwhile(conn, incident, trigger) if can_plan_again else None
            is_overtaken = before is not None and before.id != planned_after
            if is_overtaken:
                await opens.rollback()
        if before is not None and is_overtaken:
            return await overtaken(conn, before)
        earlier = [r for r in await runs.of_incident(conn, incident.id) if r.id != run.id]
        joined = existed and any(r.is_live for r in earlier)
        if joined:
            # It did nothing: the Run at work on the incident was counted.
            await budgets.give_back(conn, trigger.repository.id, trigger.key)
            why = f"joined incident {incident.id}"
            await runs.note(conn, run.id, at=now, joined_incident=incident.id)
            await runs.move(conn, run.id, RunState.CANCELLED, at=now, reason=why)
        else:
            await runs.note(conn, run.id, at=now, incident_id=incident.id)
            await runs.move(conn, run.id, RunState.RUNNING, at=now)
        attempt = len(earlier) + 1
        if not existed:
            await notifications.announce(conn, incident, at=now, spared=_told_already(trigger))
        entry = await chain.append(
            conn,
            trigger.repository.id,
            "incident.joined" if joined else "incident.opened",
            actor=trigger.actor.login,
            at=now,
            incident=incident.id,
            run=run.id,
            refs=found.refs,
            data={"reason": found.reason, "severity": found.severity, "attempt": attempt},
        )
        return Opened(
            incident=incident,
            joined=joined,
            attempt=attempt,
            anchor=sign(entry.head, signing_key, now),
        )

    opened = await run.write(Step.OPEN_INCIDENT, Opened, change)
    structlog.contextvars.bind_contextvars(incident=opened.incident.id)
    return opened


async def _ended_meanwhile(
    conn: AsyncConnection, opened: Incident, trigger: Trigger
) -> Incident | None:
    """The earlier incident about the same thing that ended after the request had come."""
    if opened.recurrence_of is None:
        return None
    earlier = await incidents.find(conn, opened.recurrence_of)
    if earlier is None:
        return None
    ended = earlier.resolved_at or earlier.closed_at
    return earlier if ended is not None and ended >= trigger.received_at else None


def _told_already(trigger: Trigger) -> str | None:
    """Why nobody is told of the incident: what follows from an alert has been told with it."""
    if trigger.actor == OURSELVES and trigger.source.kind is SourceKind.ALERT:
        return "told with the alert's own incident"
    return None


C = TypeVar("C", bound="IncidentContext")
P = TypeVar("P")


class Offender(Value):
    """One thing that is reverted, as people know it."""

    number: int | None
    title: str
    sha: str
    commits: tuple[str, ...]
    author: str | None = None
    incident: str | None = None
    """Where this is itself a hotfix of ours: the incident it was made for."""
    beside: tuple[int, ...] = ()
    """The pull requests that came by the same merge, and stay."""

    @property
    def subject(self) -> str:
        """What an incident about it is called."""
        return f"pull_request:{self.number}" if self.number else f"commit:{self.sha}"


class IncidentContext(Value):
    """The facts of one incident; links are filled in as things appear."""

    kind: ArtifactKind
    """The playbook at work, which is also its command."""
    proposal: Literal["hotfix", "fix"]
    """What its pull request is called."""
    incident: str
    repository: str
    repository_url: str
    requested_by: Actor
    also_asked: tuple[str, ...] = ()
    """Who asked for the same later, in person: they hear how it ends, too."""
    reason: str
    severity: Severity
    base: str
    offenders: tuple[Offender, ...] = ()
    branch: str
    """Where the proposal is, once it is published; until then, where it is to be."""
    adr: str
    artifact: str
    records_branch: str
    before: str = ""
    """The last commit of the base branch before the incident."""
    config_fault: str | None = None
    """Why the newest `.github/playbooks.yml` was passed over, if it was."""
    page: str | None = None
    """Its page in the cockpit, where people can reach that."""
    issue: int | None = None
    pull_request: int | None = None
    audit_head: str | None = None
    looks_further: bool = False
    """Whether a bisect looks for the real cause, since this did not cure it."""
    published: bool = False
    """Whether its records are on the records branch."""
    reported: bool = True
    """Whether its report is among them: a shadow and a ramp write theirs when they end."""
    merged: bool = False
    """Whether its proposal is on the base branch."""
    has_drafts: bool = True
    """False once a proposal that is not ready could not be shown as a draft."""
    untold: tuple[NotDone, ...] = ()
    """What was tried beside the recovery, and refused."""
    left: tuple[str, ...] = ()
    """The record files that what is reverted brought, and that stay."""

    @property
    def to_start_over(self) -> str:
        """What to comment to start over; it reads as the same request where it is typed."""
        return f"/{self.kind}"

    @property
    def how_to_start_over(self) -> str:
        """The one way on once this has ended without a merge (Markdown)."""
        return f"Comment {markdown.code(self.to_start_over)} again to start over."

    @property
    def to_resolve(self) -> str:
        """What resolves it by hand, where no Run works on it any more (Markdown)."""
        return "close this incident's issue" if self.issue else "comment `/cancel` here"


class SettledPlan(Protocol):
    """What every plan has settled before anything is touched."""

    @property
    def base(self) -> str:
        """The branch the incident is about."""

    @property
    def config(self) -> Config:
        """The repository's configuration."""

    @property
    def config_fault(self) -> str | None:
        """Why the newest configuration was passed over, if it was."""


def case_of(
    facts: type[C],
    trigger: Trigger,
    opened: Opened,
    plan: SettledPlan,
    *,
    kind: ArtifactKind,
    proposal: Literal["hotfix", "fix"],
    title: str,
    web_url: str,
    short: bool,
    about: str | None = None,
    **more: Any,
) -> C:
    """Gather the facts as they are once the incident is open.

    Args:
        facts: the kind of case.
        trigger: the request.
        opened: the incident.
        plan: what was settled.
        kind: the playbook.
        proposal: what its pull request is called.
        title: names the decision record's file.
        web_url: the repository's page.
        short: whether its branch has a short name.
        about: what a short name says of it; by default the first offender.
        more: the facts that only this kind of case has.
    """
    incident = opened.incident
    since: date = incident.detected_at.date()
    naming = Naming(kind, proposal, incident.id, opened.attempt, short)
    case = facts(
        kind=kind,
        proposal=proposal,
        incident=incident.id,
        repository=trigger.repository.full_name,
        repository_url=web_url,
        requested_by=trigger.actor,
        reason=getattr(trigger.request, "reason", ""),
        severity=incident.severity,
        base=plan.base,
        branch="",
        adr=adr_path(plan.config.adr.directory, incident.id, title, since),
        artifact=artifact_path(plan.config.artifacts.root, kind, incident.id),
        records_branch=RECORDS_BRANCH,
        config_fault=plan.config_fault,
        issue=incident.issue,
        **more,
    )
    return case.model_copy(update={"branch": first_branch(case, naming, about)})


def first_branch(case: IncidentContext, naming: Naming, about: str | None = None) -> str:
    """Name the branch that a proposal is to have; empty while it is not known what it is about.

    Args:
        case: the incident; its first offender is what the proposal is about.
        naming: how this attempt names its branches.
        about: what a short name says instead, say `7` or `3f2a9c1`; None: the first offender.
    """
    if about is None and case.offenders:
        about = about_change(case.offenders[0].number, case.offenders[0].sha)
    if about is None and naming.short:
        return ""
    return naming.first(about or "")
