"""Signed heads of audit chains as they stand in git, where the database cannot reach."""

from __future__ import annotations

from collections.abc import Sequence

from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.incidents.record_files import read_record
from bot.records.audit.anchors import ANCHORS_PATH, Anchor, read_anchors
from bot.triggers import Repository


class AnchorsInGit:
    """Reads them from the records branch. Where GitHub is not reached, there are none to go by."""

    def __init__(self, github: GitHub) -> None:
        """Ask `github`."""
        self._github = github

    async def read(self, repository: Repository) -> Sequence[Anchor]:
        """Read the anchors of one repository's chain."""
        client = self._github.repository(repository, playbook="cockpit")
        try:
            found = await read_record(client, ANCHORS_PATH)
        except (Passing, GitHubError):
            return ()
        if found is None:
            return ()
        anchors = read_anchors(found)
        return [each for each in anchors if each.repository_id == repository.id]
