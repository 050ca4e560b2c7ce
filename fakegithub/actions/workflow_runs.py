"""What the demo GitHub remembers of workflow runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fakegithub.actions.workflows import JobSpec, Workflow
from fakegithub.world.model import CheckSuite, FakeCheckRun, FakeRepository, FakeUser


@dataclass(frozen=True)
class WorkflowCause:
    """What started a workflow run."""

    event: str
    sha: str
    branch: str
    ref: str
    tree: str
    actor: FakeUser
    title: str
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class StepResult:
    """What became of one step."""

    name: str
    number: int
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(eq=False)
class Job:
    """One job of one attempt; on GitHub too it has the id of its check-run."""

    spec: JobSpec
    check: FakeCheckRun
    attempt: int
    created_at: datetime
    steps: list[StepResult] = field(default_factory=list)
    log: str = ""
    task: asyncio.Task[str] | None = None

    @property
    def id(self) -> int:
        """The job's id."""
        return self.check.id


@dataclass(eq=False)
class FakeWorkflowRun:
    """One run of one workflow; `jobs` are those of the latest attempt, by key."""

    id: int
    number: int
    repository: FakeRepository
    workflow: Workflow
    workflow_id: int
    cause: WorkflowCause
    suite: CheckSuite
    title: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime
    attempt: int = 1
    status: str = "queued"
    conclusion: str | None = None
    jobs: dict[str, Job] = field(default_factory=dict)
