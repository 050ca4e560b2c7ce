"""May a check be red by chance? The streak's reasoning, for a commit that is not on the branch yet.

A person is woken at `LIKELY`, below the `CERTAIN` at which a change is reverted: to be woken in
vain costs less than a revert, and each further run costs minutes in which the branch is broken.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.playbooks.checks.certainty import LIKELY, MOST, weigh
from bot.playbooks.checks.streak import CommitRuns, past_of
from bot.triggers import Value


class Chance(Value):
    """A check that is red on a proposal and that GitHub may be able to run again.

    Attributes:
        name: of the check.
        broken: how sure it is that it did not just flake; a probability, of 1.
    """

    name: str
    broken: float

    def is_worth_another_run(self, rounds: int) -> bool:
        """Tell whether to run it again before a person is woken, after so many times."""
        return self.broken < LIKELY and rounds < MOST


def chance(name: str, here: CommitRuns, past: Sequence[CommitRuns]) -> Chance:
    """Weigh the runs of a check on a proposal against its own past.

    Args:
        name: of the check.
        here: its runs on the proposal.
        past: its runs on the branch before what is undone, the newest commit first. Runs that
            failed since it last passed there count with those here: it may have been broken then.

    Returns:
        Certain (1.0) where no run failed here: what is red is another thing than a failure.
    """
    if not here.fails:
        return Chance(name=name, broken=1.0)
    passed = next((place for place, each in enumerate(past) if each.passes), len(past))
    before = past_of(past[passed:])
    fails = here.fails + sum(each.fails for each in past[:passed])
    known = weigh(fails, here.passes, before.before, before.record)
    return Chance(name=name, broken=known.broken)
