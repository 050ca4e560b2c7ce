"""How every step that touches the world is undone, declared before any of them runs.

One list, so that it can be read as a whole. Steps that only read, and steps that only change our
own records, have nothing to undo and are not in it; who is served is no record, and is.
"""

from __future__ import annotations

from bot.records.recovery.steps import Reversibility
from bot.triggers import Value


class Undo(Value):
    """How far a step can be taken back, and by what."""

    reversibility: Reversibility
    how: str | None = None
    """What takes it back, in words; None where nothing does."""


def _reversible(how: str) -> Undo:
    return Undo(reversibility=Reversibility.REVERSIBLE, how=how)


def _compensatable(how: str) -> Undo:
    return Undo(reversibility=Reversibility.COMPENSATABLE, how=how)


MERGE_IRREVERSIBLE = Undo(reversibility=Reversibility.IRREVERSIBLE)
"""Merging what touches something that cannot be brought back."""

_SPEAKING = _compensatable("a later comment corrects it; what was read stays read")

DECLARED: dict[str, Undo] = {
    "publish the hotfix": _reversible("its branch is deleted"),
    "publish the fix": _reversible("its branch is deleted"),
    "open the hotfix pull request": _reversible("it is closed"),
    "open the fix pull request": _reversible("it is closed"),
    "fit the hotfix to the moved base": _reversible("its branch is deleted"),
    "fit the fix to the moved base": _reversible("its branch is deleted"),
    "assign the requester": _reversible("they are unassigned"),
    "open the incident issue": _reversible("it is closed"),
    "close the incident issue": _reversible("it is opened again"),
    "run again what broke off": _compensatable("nothing: it only costs CI minutes"),
    "merge the pull request": _compensatable("`/revert` of what was merged"),
    "put the pull request into the merge queue": _compensatable("`/revert` of what was merged"),
    "merge the pull request, for good": MERGE_IRREVERSIBLE,
    "put the pull request into the merge queue, for good": MERGE_IRREVERSIBLE,
    "take the hotfix back": _reversible("it is opened again from its last commit"),
    "take the fix back": _reversible("it is opened again from its last commit"),
    "take earlier attempts back": _reversible("they are opened again from their last commits"),
    "delete the hotfix branch": _reversible("it is restored from the merged pull request"),
    "delete the fix branch": _reversible("it is restored from the merged pull request"),
    "record the outcome": _compensatable("a later commit on the records branch"),
    "bring the records to the default branch": _compensatable("a later commit"),
    "commit the flag document": _compensatable("a later commit"),
    "begin to mirror": _reversible("`/cancel` ends the shadow"),
    "stop mirroring": _reversible("`/shadow` begins another"),
    "give the candidate its first traffic": _compensatable(
        "`/rollback` gives all of it back; what was answered stays answered"
    ),
    "give the candidate more traffic": _compensatable(
        "`/rollback` gives all of it back; what was answered stays answered"
    ),
    "make the candidate active": _compensatable(
        "`/rollback` takes everything back while the baseline can be called"
    ),
    "give all traffic back": _reversible("`/ramp` begins another ramp"),
    "give all traffic back and pause": _reversible("`/unpause`, then the plan to try again"),
    "give all traffic to the baseline": _reversible("`/unpause`, then the plan to try again"),
    "change the severity label": _reversible("the label from before is put on again"),
    "ask the requester": _SPEAKING,
    "have the final word": _SPEAKING,
    "say that it has begun": _reversible("the status is edited in place"),
    "say where it stands": _reversible("the status is edited in place"),
    "tell people where it stands": _reversible("every place is edited in place"),
    "report it as verified": _reversible("the check-run is updated"),
}
"""By the name of the step."""


def declared(step: str) -> Undo | None:
    """How a step is undone; None for one that touches nothing in the world."""
    return DECLARED.get(step)
