"""What a merge queue tests: a proposal together with what stood before it, on a commit of its own.

GitHub runs no check of a group again. One that is red takes the proposal out of the queue, and
putting it in again has all of them run anew.
"""

from __future__ import annotations

from collections.abc import Collection

from bot.git.mirror import Mirror
from bot.github.client import RepositoryClient
from bot.playbooks.checks.chance import Chance
from bot.playbooks.checks.green import failing
from bot.playbooks.proposal.rerun_requests import chances
from bot.triggers import Value


class QueueGroup(Value):
    """What the queue tests of a proposal, or tested last.

    Attributes:
        commit: what is tested.
        red: the checks that failed there.
        chances: how sure each failure is, counting what was tested before.
    """

    commit: str
    red: tuple[str, ...] = ()
    chances: tuple[Chance, ...] = ()

    def is_worth_another(self, rounds: int) -> bool:
        """Tell whether to put the proposal in again before a person is woken, after so often."""
        known = {each.name for each in self.chances}
        worth = all(each.is_worth_another_run(rounds) for each in self.chances)
        return bool(self.red) and known == {*self.red} and worth


async def left(
    github: RepositoryClient,
    mirror: Mirror,
    tested: tuple[str, ...],
    required: Collection[str],
    before: str,
) -> QueueGroup:
    """Read why the queue may have thrown a proposal out.

    Args:
        github: the repository.
        mirror: its history.
        tested: the commits that the queue tested of it, the last one last.
        required: the checks that decide there, as far as they are known.
        before: the last commit of the base branch before the incident.

    Raises:
        GitHubError, GitError: what the checks did could not be read.
    """
    results = await github.checks.results(tested[-1])
    red = tuple(name for name in failing(results) if not required or name in required)
    return QueueGroup(
        commit=tested[-1],
        red=red,
        chances=await chances(github, mirror, red, results, tested, before),
    )
