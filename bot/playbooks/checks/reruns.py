"""Which red checks of one commit are run again, and how often? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from bot.playbooks.checks.green import CheckRow, CheckTally, State
from bot.playbooks.checks.streak import Chance
from bot.triggers import Value


class Reran(Value):
    """Checks of one commit that were asked to run again."""

    head: str
    old: tuple[CheckRow, ...]
    """What they said then: as long as they say just this, the new run has not ended."""
    agreed: bool
    """Whether GitHub took the request; not every check can be run again from outside."""
    refused: tuple[str, ...] = ()
    """Checks that GitHub did not run again when asked."""
    rounds: dict[str, int] = Field(default_factory=dict)
    """How often each check was asked to run again."""
    begins_by: datetime | None = None
    """Until then a new run has begun, or none will."""

    def again(
        self,
        names: tuple[str, ...],
        rows: tuple[CheckRow, ...],
        refused: tuple[str, ...],
        by: datetime,
    ) -> Reran:
        """The same after one more request."""
        asked = [row for row in rows if row.name in names]
        others = [row for row in self.old if row.name not in names]
        rounds = {**self.rounds, **{name: self.rounds.get(name, 0) + 1 for name in names}}
        return Reran(
            head=self.head,
            old=(*others, *asked),
            agreed={*names} > {*refused},
            refused=tuple(sorted({*self.refused, *refused})),
            rounds=rounds,
            begins_by=by,
        )


class Reruns(Value):
    """What another run may still change of a commit's red checks.

    Attributes:
        wanted: checks that may be red by chance, or broke off, and can be run again.
        begins: checks that were asked to run again and are about to begin.
        stuck: checks that were asked to run again and never began, or are refused.
        is_certain: whether another check failed for sure.
        rounds: how often each check was asked to run again.
    """

    wanted: tuple[str, ...]
    begins: frozenset[str]
    stuck: frozenset[str]
    is_certain: bool
    rounds: dict[str, int]

    @property
    def are_worth_it(self) -> bool:
        """Whether to run again what is wanted.

        A check that failed for sure wakes a person in any case: others are run again once
        meanwhile.
        """
        once_each = all(self.rounds.get(name) for name in self.wanted)
        return bool(self.wanted) and not (self.is_certain and once_each)

    @property
    def are_awaited(self) -> bool:
        """Whether nothing is known before those have begun that were asked for."""
        return bool(self.begins) and not self.is_certain


def reruns(
    tally: CheckTally, chances: Sequence[Chance], reran: Reran | None, now: datetime
) -> Reruns:
    """Decide what of the red checks of a commit to run again.

    Args:
        tally: what the checks say there.
        chances: how sure the failures are that GitHub may be able to run again.
        reran: what was run again on this commit.
        now: the time.
    """
    rounds = reran.rounds if reran else {}
    rows = {row.name: row for row in tally.rows}
    still = {name for name in rounds if reran and rows.get(name) in reran.old}
    # What was asked to run again and still says the same is about to begin, or never will.
    waits = reran is not None and reran.begins_by is not None and now < reran.begins_by
    refused = {*reran.refused} if reran else set()
    begins = {name for name in still - refused if waits}
    possible = [
        each.name for each in chances if each.is_worth_another_run(rounds.get(each.name, 0))
    ]
    broken_off = tally.named(State.INFRA)
    possible += [name for name in broken_off if not rounds.get(name)]
    wanted = tuple(name for name in possible if name not in still | refused)
    red = (*tally.named(State.FAILED), *broken_off)
    return Reruns(
        wanted=wanted,
        begins=frozenset(begins),
        stuck=frozenset((still - begins) | refused),
        is_certain=any(name not in {*wanted} | begins for name in red),
        rounds=rounds,
    )
