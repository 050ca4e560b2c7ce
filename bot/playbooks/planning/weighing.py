"""What a playbook asks once it has a plan: may this be done, and how far by itself?

The decision is `bot.safety.admission`, by the rules that let the request in; here is its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from bot.playbooks.steps import PlannedStep
from bot.triggers import Value


class Weighed(Value):
    """What came of weighing a plan.

    Attributes:
        refused: whether it is not done; `reason` and `remedy` say why, and what to do instead.
        of: whose yes it needs; None: nobody's.
        may_merge: whether it is merged once it is green, with nobody asked.
        reason: why it is refused, or needs a yes.
        remedy: what a person can do about it.
    """

    refused: bool = False
    of: Literal["founder", "person"] | None = None
    may_merge: bool = True
    reason: str = ""
    remedy: str = ""


Weigh = Callable[[Sequence[PlannedStep]], Weighed]
"""Weighs the steps of a plan against the circumstances in which it was asked for."""
