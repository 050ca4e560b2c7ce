"""Where the report of a request will be found, said before its Run has begun."""

from __future__ import annotations

from dataclasses import dataclass

from bot.playbooks.incidents.record_files import RECORDS_BRANCH
from bot.records.documents.artifacts import ArtifactKind, artifact_path
from bot.triggers import Request

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
