"""What the HTTP API takes and gives, as pydantic models: they validate, and describe themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bot.intake.http.auth import ApiToken
from bot.intake.http.bodies import one_line
from bot.intake.http.problems import FieldProblem, HttpProblem
from bot.records.audit.chain import AuditEntry, UnreadableRow
from bot.records.incidents import Incident
from bot.records.runs import StoredRun
from bot.triggers import (
    RUN_ID,
    CapabilityName,
    CommitTarget,
    Numeric,
    ProviderName,
    PullRequestTarget,
    Revision,
    Severity,
    Target,
)


def _one_line(value: str) -> str:
    clean = one_line(value)
    if not clean:
        raise ValueError("must say something")
    return clean


_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def identity_of(request: web.Request, token: ApiToken, new_id: Callable[[], str]) -> str:
    """What makes a request this one: its `Idempotency-Key` under this token, else a new id.

    Args:
        request: what was sent.
        token: whose it is; another's key names another request.
        new_id: makes an id for a request without a key.

    Raises:
        HttpProblem: 400, where the key is not 1 to 255 printable ASCII characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return new_id()
    if not _KEY.fullmatch(key):
        detail = "1 to 255 printable ASCII characters"
        raise HttpProblem(
            HTTPStatus.BAD_REQUEST,
            f"Idempotency-Key must be {detail}.",
            [FieldProblem(field="Idempotency-Key", detail=detail)],
        )
    return "key-" + hashlib.sha256(f"{token.name}\n{key}".encode()).hexdigest()[:40]


Reason = Annotated[
    str,
    Field(min_length=1, max_length=2000, description="Why, for the people who read it later."),
    AfterValidator(_one_line),
]
RepositoryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$")]
WHICH_REPOSITORY = "`owner/name`. May be left out where the token reaches only one repository."


class _Body(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class RevertBody(_Body):
    """What to revert, and why: exactly one of `pull_request` and `commit`."""

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)
    pull_request: StrictInt | None = Field(
        default=None, gt=0, lt=10**10, description="Number of the merged pull request."
    )
    commit: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Fa-f]{7,40}$",
        description="SHA of the commit, 7 to 40 hexadecimal digits.",
    )
    reason: Reason
    severity: Severity | None = None

    @model_validator(mode="after")
    def _exactly_one_target(self) -> RevertBody:
        if (self.pull_request is None) == (self.commit is None):
            raise ValueError("give exactly one of pull_request and commit")
        return self

    @property
    def target(self) -> Target:
        """The one thing named."""
        if self.pull_request is not None:
            return PullRequestTarget(number=self.pull_request)
        return CommitTarget(sha=(self.commit or "").lower())


class BisectBody(_Body):
    """What to search: from `good` (looked for where it is left out) to `bad`, by `check`.

    With `numeric`, which needs `good`, the commit that changed a number is looked for.
    """

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)
    bad: Revision = Field(description="The bad end: a branch, tag or SHA that was merged.")
    good: Revision | None = Field(default=None, description="The good end, an ancestor of `bad`.")
    check: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_one_line)] | None = (
        Field(default=None, description="The check that tells good from bad.")
    )
    numeric: Numeric | None = Field(
        default=None,
        description="A metric whose change is looked for: its name, which has no colon, and "
        "perhaps which direction is worse, as in `latency`, `latency:higher` or `score:lower`.",
    )
    reason: Reason | None = None

    @field_validator("numeric")
    @classmethod
    def _is_compared(cls, numeric: str | None, known: ValidationInfo) -> str | None:
        # An end that is wrong is told of by itself.
        if numeric is not None and known.data.get("good", "") is None:
            raise ValueError("needs a good end to compare with: give `good` as well")
        return numeric


class ShadowBody(_Body):
    """Which candidate to run beside the provider that serves a capability now."""

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)
    capability: CapabilityName = Field(description="One of the configured capabilities.")
    candidate: ProviderName = Field(description="One of its candidates.")


class RampBody(_Body):
    """Which capability's candidate gets more traffic; the stage is part of the path."""

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)
    capability: CapabilityName = Field(description="One of the configured capabilities.")


class RollbackBody(_Body):
    """Which capability goes back to its baseline, and why."""

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)
    capability: CapabilityName = Field(description="One of the configured capabilities.")
    reason: Reason
    severity: Severity | None = None


class ArtifactPlace(BaseModel):
    """Where in the repository the artifact is: a path, and the ref that has it in the end."""

    path: str
    ref: str


class AcceptedAnswer(BaseModel):
    """A Run was started, or the one this request started before was found."""

    run: str
    incident: str
    links: dict[str, str]
    artifact: ArtifactPlace


class IncidentsAnswer(BaseModel):
    """Incidents, newest first; `next` is the `before` of the next page, or null."""

    incidents: list[Incident]
    next: str | None


class IncidentAnswer(BaseModel):
    """One Incident."""

    incident: Incident


class RunAnswer(BaseModel):
    """One Run."""

    run: StoredRun


class AuditAnswer(BaseModel):
    """Audit entries in their order; `next` is the `after` of the next page, or null."""

    entries: list[AuditEntry | UnreadableRow]
    next: int | None


class _Query(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)


class IncidentsQuery(_Query):
    """Which Incidents, the newest first: `limit` of those that are older than `before`."""

    before: str | None = Field(default=None, pattern=f"^{RUN_ID.pattern}$")
    limit: int = Field(default=50, ge=1, le=200)


class AuditQuery(_Query):
    """Which audit entries: `limit` of them that follow number `after`."""

    after: int = Field(default=0, ge=0, lt=2**63)
    limit: int = Field(default=100, ge=1, le=1000)
