"""One incident that is met by a proposal, under way: a hotfix or a fix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from bot import markdown
from bot.playbooks.checks.green import CheckTally
from bot.playbooks.incident.context import C
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.workflow import IncidentWorkflow, P
from bot.playbooks.pull_request import publish as hotfixes
from bot.playbooks.pull_request.ports import ProposalGitHub, ProposalResources
from bot.playbooks.run import attempt
from bot.playbooks.steps import steps_of


class ProposalWorkflow(IncidentWorkflow[P, C]):
    """One incident whose playbook proposes a change; each adds its words and papers."""

    merging_vouches: ClassVar[bool] = False
    """Whether a person who merges by hand vouches for it, whatever its checks say."""

    parts: ProposalResources
    github: ProposalGitHub

    @abstractmethod
    def section(self, standing: StatusMessage) -> str:
        """The managed section of the proposal's description."""

    def observe(self, *, base: str, head: str | None, tally: CheckTally | None) -> None:
        """Take notice of the proposal: the commits it stands on and is, and what checks say."""

    async def not_cured(self, checks: Sequence[str], *, bad: str) -> None:
        """Take notice that checks fail as before with the proposal, as on the base commit `bad`."""

    async def verified(self, standing: StatusMessage, head: str, *, is_awaited: bool) -> None:
        """Say on the proposal itself that it is verified, before it is merged.

        Args:
            standing: says so.
            head: the proposal's commit.
            is_awaited: whether GitHub may want to hear it before it merges.
        """
        del is_awaited
        await self.tell(standing, head)

    async def watching(self, standing: StatusMessage) -> None:
        """Say that the base branch is watched after the merge."""
        await self.tell(standing)

    async def brought_home(self) -> None:
        """Delete the branch that was merged: its records are where they belong."""

        async def delete_branch(again: bool) -> bool:
            if again:
                await hotfixes.delete_branch(self.github, self.naming, self.case.branch)
            else:
                # Merged a moment ago, from a branch that only we could make.
                await self.github.git.delete_branch(self.case.branch)
            return True

        await attempt(
            self.run,
            steps_of(self.case.proposal).delete_branch,
            bool,
            delete_branch,
            what=f"delete the branch {markdown.code(self.case.branch)}",
            otherwise=False,
        )
