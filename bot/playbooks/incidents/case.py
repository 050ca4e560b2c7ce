"""The facts of one incident that every text about it needs."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, Protocol, TypeVar

from bot.config import Config
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.incidents.record_files import RECORDS_BRANCH
from bot.records.documents.adr import adr_path
from bot.records.documents.artifacts import ArtifactKind, artifact_path
from bot.triggers import Actor, Severity, Trigger, Value

C = TypeVar("C", bound="Case")


class Offender(Value):
    """One thing that is reverted, as people know it."""

    number: int | None
    title: str
    sha: str
    commits: tuple[str, ...]
    author: str | None = None
    incident: str | None = None
    """Where this is itself a hotfix of ours: the incident it was made for."""

    @property
    def subject(self) -> str:
        """What an incident about it is called."""
        return f"pull_request:{self.number}" if self.number else f"commit:{self.sha}"


class Case(Value):
    """The facts of one incident; links are filled in as things appear."""

    kind: ArtifactKind
    """The playbook at work, which is also its command."""
    proposal: Literal["hotfix", "fix"]
    """What its pull request is called."""
    incident: str
    repository: str
    repository_url: str
    requested_by: Actor
    reason: str
    severity: Severity
    base: str
    offenders: tuple[Offender, ...] = ()
    branch: str
    adr: str
    artifact: str
    records_branch: str
    before: str = ""
    """The last commit of the base branch before the incident."""
    config_fault: str | None = None
    """Why the newest `.github/playbooks.yml` was passed over, if it was."""
    issue: int | None = None
    pull_request: int | None = None
    audit_head: str | None = None
    looks_further: bool = False
    """Whether a bisect looks for the real cause, since this did not cure it."""
    published: bool = False
    """Whether its records are on the records branch."""
    reported: bool = True
    """Whether its report is among them: a shadow and a ramp write theirs when they end."""


class Settled(Protocol):
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
    plan: Settled,
    *,
    kind: ArtifactKind,
    proposal: Literal["hotfix", "fix"],
    title: str,
    web_url: str,
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
        more: the facts that only this kind of case has.
    """
    incident = opened.incident
    since: date = incident.detected_at.date()
    return facts(
        kind=kind,
        proposal=proposal,
        incident=incident.id,
        repository=trigger.repository.full_name,
        repository_url=web_url,
        requested_by=trigger.actor,
        reason=getattr(trigger.request, "reason", ""),
        severity=incident.severity,
        base=plan.base,
        branch=branch_of(kind, proposal, incident.id, opened.attempt),
        adr=adr_path(plan.config.adr.directory, incident.id, title, since),
        artifact=artifact_path(plan.config.artifacts.root, kind, incident.id),
        records_branch=RECORDS_BRANCH,
        config_fault=plan.config_fault,
        issue=incident.issue,
        **more,
    )


def branch_of(kind: str, proposal: str, incident: str, attempt: int) -> str:
    """Name the branch of an attempt's proposal, such as `hotfix/revert-<id>`."""
    return f"{proposal}/{kind}-{incident}" + ("" if attempt == 1 else f"-{attempt}")
