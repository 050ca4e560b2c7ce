"""The artifacts every playbook leaves, and their schemas.

One function writes them. Every report names its `schema`; `schemas` beside it describes each.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bot.canary.policy import Seed
from bot.records.audit.anchors import Anchor
from bot.records.lifecycle import IncidentStatus
from bot.records.tables.columns import Instant
from bot.triggers import SHA, Severity

Sha = Annotated[str, Field(pattern=rf"^{SHA.pattern}$")]


class ReportPart(BaseModel):
    """A part of a report; unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", allow_inf_nan=False)


class ArtifactBase(ReportPart):
    """What every artifact has. `seed` is text; null means that nothing was sampled."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    schema_: str = Field(alias="schema")
    incident: str
    run: str
    repository: str
    repository_id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    seed: Seed | None = None


class Origin(ReportPart):
    """The way the request came in."""

    source: str
    object_id: str
    received_at: Instant
    url: str | None = None


class RevertedTarget(ReportPart):
    """What was reverted: a pull request with the commits it brought, or bare commits."""

    kind: Literal["pull_request", "commit"]
    number: int | None = None
    title: str | None = None
    commits: tuple[Sha, ...]


class HotfixRefs(ReportPart):
    """Where the revert stands in git."""

    base_branch: str
    base: Sha
    branch: str
    commit: Sha | None = None
    tree: Sha | None = None
    conflicts: tuple[str, ...] = ()


class ReportedCheck(ReportPart):
    """What one check said about the hotfix; `conclusion` is null while it runs."""

    name: str
    conclusion: str | None
    url: str | None = None
    app: str | None = None


class PreviewResult(ReportPart):
    """How the hotfix fared in one environment; `state` is null while nothing was deployed there."""

    environment: str
    state: str | None
    url: str | None = None


NOT_CONFIGURED: Literal["not configured"] = "not configured"


class ChecksVerdict(StrEnum):
    """What the checks together say about a hotfix."""

    PENDING = "pending"
    GREEN = "green"
    RED = "red"
    INFRA = "infra"
    TIMED_OUT = "timed out"
    NO_CHECKS = "no checks"


class Results(ReportPart):
    """Smoke and evals of the preview, where it was deployed, and the verdict."""

    smoke: tuple[ReportedCheck, ...] | Literal["not configured"]
    evals: tuple[ReportedCheck, ...] | Literal["not configured"]
    preview: tuple[PreviewResult, ...] | Literal["not configured"] = NOT_CONFIGURED
    verdict: ChecksVerdict


class MergeRecord(ReportPart):
    """How the hotfix got in."""

    sha: Sha
    method: Literal["merge", "squash", "rebase", "queue", "by hand"]
    at: Instant


class TimelineEvent(ReportPart):
    """One thing that happened."""

    at: Instant
    what: str
    url: str | None = None


class DecisionOutcome(StrEnum):
    """Whether the decision did what it was for."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class NumberedLink(ReportPart):
    """An issue or pull request."""

    number: int
    url: str


class IncidentReport(ArtifactBase):
    """What every report on an incident tells: who asked for what, and what came of it."""

    trigger: Origin
    requested_by: str
    reason: str
    severity: Severity
    status: IncidentStatus
    outcome: DecisionOutcome
    merge: MergeRecord | None
    timeline: tuple[TimelineEvent, ...]
    adr: str | None
    issue: NumberedLink | None
    pull_request: NumberedLink | None
    audit: Anchor | None


class RevertReport(IncidentReport):
    """`incidents/revert-<id>.json`: why, what was reverted, and what came of it."""

    schema_: Literal["incident-playbooks/revert/1"] = Field(
        default="incident-playbooks/revert/1", alias="schema"
    )
    targets: tuple[RevertedTarget, ...]
    refs: HotfixRefs | None
    results: Results


ArtifactKind = Literal["revert", "bisect", "rollback", "shadow", "ramp"]
_PLACES: dict[ArtifactKind, str] = {
    "revert": "incidents/revert-{id}.json",
    "bisect": "incidents/bisect-{id}.json",
    "rollback": "incidents/rollback-{id}.json",
    "shadow": "provider_shadow_diffs/{id}.json",
    "ramp": "ramp_reports/{id}.json",
}


def canonical_bytes(content: BaseModel | JsonValue) -> bytes:
    """Write an artifact: sorted keys, two spaces, UTF-8, finite numbers, one newline at the end.

    Raises:
        ValueError: a number is not finite, or a text is not valid Unicode.
    """
    value: Any = content.model_dump(mode="json") if isinstance(content, BaseModel) else content
    written = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{written}\n".encode()


def artifact_path(root: str, kind: ArtifactKind, incident_id: str) -> str:
    """Name an artifact's path inside the repository.

    Args:
        root: `artifacts.root` of the configuration, from the repository's root.
        kind: the playbook that writes it; each has its place below `root`.
        incident_id: lower-case letters and digits; they name the file.

    Raises:
        ValueError: the root leaves the repository, or the id is not one of ours.
    """
    if not re.fullmatch(r"[0-9a-z]+", incident_id):
        raise ValueError(f"{incident_id!r} is not an incident id")
    folder = PurePosixPath(root)
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"artifacts.root must be a folder inside the repository, not {root!r}")
    return str(folder / _PLACES[kind].format(id=incident_id))
