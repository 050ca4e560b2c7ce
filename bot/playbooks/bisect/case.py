"""The facts of one bisect."""

from __future__ import annotations

from pydantic import Field

from bot import markdown
from bot.playbooks.incidents.case import IncidentContext


class BisectMessages(IncidentContext):
    """The facts of one bisect that the texts need.

    `subjects` are the first lines of the suspects' messages, by SHA.
    """

    check: str | None
    bad: str
    good: str = ""
    commits: int = 0
    known: int = 0
    trials_left: int = 0
    notes: tuple[str, ...] = ()
    subjects: dict[str, str] = Field(default_factory=dict)

    @property
    def anew(self) -> str:
        """The same search once more; it has a range, without which nothing can be searched."""
        check = f" check {self.check}" if self.check else ""
        return f"/bisect {self.good[:12]}..{self.bad[:12]}{check}"

    @property
    def signal(self) -> str:
        """What tells good from bad, as Markdown."""
        return markdown.code(self.check) if self.check else "the trial"
