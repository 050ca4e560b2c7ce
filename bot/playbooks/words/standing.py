"""Where a Run stands, in words: one headline that says the next thing to do, and the details.

Every place that tells people about a Run (sticky status, pull request, incident issue, check-run)
renders the same Standing, so they never disagree.
"""

from __future__ import annotations

from typing import Literal

from bot.playbooks.checks.green import CheckRow, State
from bot.triggers import Value


class StatusMessage(Value):
    """What a person should know now. `headline` and `details` are Markdown, already escaped."""

    state: Literal["working", "needs you", "done", "stopped"]
    headline: str
    details: tuple[str, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    approvable: bool = False
    """Whether `/approve` goes on from here."""
    withheld: bool = False
    """Whether our check-run fails until somebody answers for the commit, however green it is."""

    @property
    def is_verified(self) -> bool:
        """Whether every check that counts has passed, whatever else is missing."""
        states = {row.state for row in self.checks}
        checked = {row.state for row in self.checks if row.kind != "preview"}
        return State.PASSED in checked and states <= {State.PASSED, State.SKIPPED}


_MARKS = {
    State.MISSING: "not reported yet",
    State.RUNNING: "running",
    State.PASSED: "passed",
    State.SKIPPED: "skipped",
    State.FAILED: "**failed**",
    State.INFRA: "**did not finish**",
}


def say(state: State) -> str:
    """One check's state in the words people read."""
    return _MARKS[state]
