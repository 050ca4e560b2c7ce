"""The facts of one incident that every text about it needs."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, Protocol, TypeVar

from bot import markdown
from bot.config import Config
from bot.playbooks.incidents.branches import Naming, about_change
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.incidents.record_files import RECORDS_BRANCH
from bot.playbooks.untold import NotDone
from bot.records.documents.adr import adr_path
from bot.records.documents.artifacts import ArtifactKind, artifact_path
from bot.triggers import Actor, Severity, Trigger, Value

C = TypeVar("C", bound="IncidentContext")


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
    def anew(self) -> str:
        """What to comment to begin anew; it reads as the same request where it is typed."""
        return f"/{self.kind}"

    @property
    def how_to_begin_anew(self) -> str:
        """The one way on once this has ended without a merge (Markdown)."""
        return f"Comment {markdown.code(self.anew)} again to start anew."


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
    """Name the branch that a proposal is to have; empty while it is not known what it is about."""
    if about is None and case.offenders:
        about = about_change(case.offenders[0].number, case.offenders[0].sha)
    if about is None and naming.short:
        return ""
    return naming.first(about or "")
