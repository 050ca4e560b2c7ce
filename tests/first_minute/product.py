"""Who is first, by which way, and what GitHub or the repository is like: every cell of the product.

Pure. A cell is known by its key, such as `bot/comment on the pull request/no comments/before`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import combinations, product

_Value = tuple[int, object]
_Pair = tuple[_Value, ...]


class First(StrEnum):
    """Who is first; the other words come while the first is being carried out."""

    BOT = "bot"
    """An alert names the pull request, the hotfix waits for a person; then a person speaks."""
    PERSON = "person"
    """A person speaks, and then an alert names the same pull request."""
    SAME = "same second"
    """The alert and the person's word are sent together."""
    TWO = "two persons"
    """One comments `/revert` on the pull request; then the other speaks."""
    TWICE = "person twice"
    """A person comments `/revert` on the pull request, and speaks again once main is safe.

    A button is pressed while the hotfix waits: later there is none.
    """


class Way(StrEnum):
    """How the person speaks (of two words by persons: the second)."""

    PULL = "pull request"
    HOTFIX = "hotfix"
    ISSUE = "issue"
    """The incident's, or where there is none yet, an ordinary one."""
    LABEL = "label"
    BUTTON = "button"
    """Of the check on the hotfix."""
    API = "api"
    COCKPIT = "cockpit"


class Trouble(StrEnum):
    """What GitHub refuses, or what the repository is like."""

    PLAIN = "plain"
    COMMENT = "no comments"
    REACTION = "no reactions"
    ISSUE = "no issue"
    LABEL = "no labels"
    ASSIGNEE = "no assignees"
    CHECK_RUN = "no check-runs"
    COMMENT_EDIT = "no edits of comments"
    DESCRIPTION = "no edits of descriptions"
    BRANCH_DELETION = "no deletion of the hotfix branch"
    RECORDS_BRANCH = "no records branch"
    LOCKED = "locked"
    ISSUES_OFF = "issues off"
    FREE_PLAN = "free plan"
    NO_DRAFTS = "no drafts"
    HOTFIX_RULES = "ruleset on hotfix"
    RECORDS_RULES = "ruleset on playbooks"
    HOTFIX_TAKEN = "branch named hotfix"
    RECORDS_TAKEN = "branch named playbooks"
    BASE_MODIFIED = "base branch was modified"
    DEPLOY_ONLY = "deploy-only check"
    FLAKY = "check fails once by chance"
    STACK = "stack"
    BATCH = "batch"
    NO_CONFIG = "no configuration"
    NO_EVALS = "evals not configured"
    PAUSED = "self-work paused"
    CAPPED = "caps used up"


class Moment(StrEnum):
    """Since when a refusal holds."""

    BEFORE = "before"
    AFTER = "after the merge"
    ALWAYS = "always"


REFUSALS = tuple(Trouble)[1 : list(Trouble).index(Trouble.DEPLOY_ONLY)]
"""What may also begin only after the merge; the rest is what the repository is like."""

WORLDS: tuple[tuple[Trouble, Moment], ...] = (
    (Trouble.PLAIN, Moment.ALWAYS),
    *((trouble, moment) for trouble in REFUSALS for moment in (Moment.BEFORE, Moment.AFTER)),
    *((trouble, Moment.ALWAYS) for trouble in Trouble if trouble not in (Trouble.PLAIN, *REFUSALS)),
)


@dataclass(frozen=True)
class Cell:
    """One conversation."""

    first: First
    way: Way
    trouble: Trouble
    moment: Moment

    @property
    def key(self) -> str:
        """What it is known by, in lists and files."""
        return "/".join((self.first, self.way, self.trouble, self.moment))

    @property
    def values(self) -> tuple[object, object, object]:
        """Its value in each of the three dimensions."""
        return self.first, self.way, (self.trouble, self.moment)

    @property
    def impossible(self) -> str | None:
        """Why it cannot exist; None where it can."""
        if self.first in (First.PERSON, First.SAME) and self.way in (Way.HOTFIX, Way.BUTTON):
            return "there is no hotfix to speak on before anybody has asked for one"
        begun = self.moment is not Moment.AFTER
        if begun and self.trouble is Trouble.ISSUES_OFF and self.way is Way.ISSUE:
            return "without issues nobody comments on one"
        if begun and self.trouble is Trouble.CHECK_RUN and self.way is Way.BUTTON:
            return "a check that GitHub did not take has no button"
        if (
            self.trouble is Trouble.CAPPED
            and self.first is First.BOT
            and (self.way in (Way.HOTFIX, Way.BUTTON))
        ):
            return "at its cap the bot begins no hotfix by itself"
        return None


def every_cell() -> Iterator[Cell]:
    """The full product, in a fixed order, with what cannot exist."""
    for first, way, (trouble, moment) in product(First, Way, WORLDS):
        yield Cell(first, way, trouble, moment)


def possible() -> list[Cell]:
    """Every cell that can exist."""
    return [cell for cell in every_cell() if cell.impossible is None]


def sample(size: int, seed: int, cells: Sequence[Cell] | None = None) -> list[Cell]:
    """Choose cells in which each value of each dimension, and as many pairs as fit, occur.

    Greedy: the next cell is the one with the most values, then pairs, that did not occur yet; ties
    are drawn. With as many as there are worlds every value occurs; with `size` large enough it is
    pairwise complete, and ends there.
    """
    left = list(possible() if cells is None else cells)
    random.Random(seed).shuffle(left)  # noqa: S311  a sample
    values = {value for cell in left for value in enumerate(cell.values)}
    pairs = {pair for cell in left for pair in _pairs(cell)}
    chosen: list[Cell] = []
    while pairs and len(chosen) < size:
        best = max(left, key=partial(_gain, values, pairs))
        left.remove(best)
        chosen.append(best)
        values -= set(enumerate(best.values))
        pairs -= set(_pairs(best))
    return chosen


def _gain(values: set[_Value], pairs: set[_Pair], cell: Cell) -> tuple[int, int]:
    """How many new values, and pairs of values, this cell would bring."""
    new = sum(value in values for value in enumerate(cell.values))
    return new, sum(pair in pairs for pair in _pairs(cell))


def pairs_met(cells: Iterable[Cell], of: Iterable[Cell]) -> float:
    """The share of the pairs of values in `of` that occur in these cells."""
    every = {pair for cell in of for pair in _pairs(cell)}
    return len({pair for cell in cells for pair in _pairs(cell)}) / len(every)


def _pairs(cell: Cell) -> Iterator[_Pair]:
    return combinations(enumerate(cell.values), 2)
