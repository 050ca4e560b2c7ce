"""Where the report of a request will be found first, said before its Run has begun."""

from __future__ import annotations

from dataclasses import dataclass

from bot.playbooks.incidents.record_files import RECORDS_BRANCH
from bot.records.documents.artifacts import ArtifactKind, artifact_path
from bot.triggers import Request

_FIRST: dict[str, tuple[ArtifactKind, str]] = {
    "revert": ("revert", "hotfix/revert-{id}"),
    "bisect": ("bisect", RECORDS_BRANCH),
    "shadow": ("shadow", RECORDS_BRANCH),
    "ramp": ("ramp", RECORDS_BRANCH),
    "rollback": ("rollback", "fix/rollback-{id}"),
}
"""By command: the kind of report, and the branch that has it first."""


@dataclass(frozen=True)
class Place:
    """A path in the repository, and the branch that has it first."""

    path: str
    ref: str


def first_place(request: Request, run: str, root: str) -> Place:
    """Name the report that a Run for this request will write.

    Args:
        request: one that a playbook carries out.
        run: the Run's id.
        root: `artifacts.root` of the repository's configuration.

    Raises:
        LookupError: no playbook carries out this request.
    """
    kind, ref = _FIRST[request.command]
    return Place(artifact_path(root, kind, run), ref.format(id=run))
