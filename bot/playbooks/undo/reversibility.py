"""How every step that touches the world is undone, declared before any of them runs.

One list, so that it can be read as a whole. Steps that only read, and steps that only change our
own records, have nothing to undo and are not in it; who is served is no record, and is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bot.records.recovery.steps import Reversibility
from bot.triggers import Value


class Undo(Value):
    """How far a step can be taken back, and by what.

    Attributes:
        reversibility: how far.
        how: what takes it back, in words; None where nothing does.
        by_itself: whether a Run that is cancelled or fails takes it back by itself. What tells
            people and what rescues stays: the words say what happened, the rescue still holds.
    """

    reversibility: Reversibility
    how: str | None = None
    by_itself: bool = False


def _reversible(how: str, *, by_itself: bool = False) -> Undo:
    return Undo(reversibility=Reversibility.REVERSIBLE, how=how, by_itself=by_itself)


def _compensatable(how: str, *, by_itself: bool = False) -> Undo:
    return Undo(reversibility=Reversibility.COMPENSATABLE, how=how, by_itself=by_itself)


MERGE_IRREVERSIBLE = Undo(reversibility=Reversibility.IRREVERSIBLE)
"""Merging what touches something that cannot be brought back."""

_SPEAKING = _compensatable("a later comment corrects it; what was read stays read")
_BRANCH = _reversible("its branch is deleted", by_itself=True)
_CLOSED = _reversible("it is closed", by_itself=True)
_TRAFFIC = _compensatable(
    "all of it goes back to the baseline; what was answered stays answered", by_itself=True
)

DECLARED: dict[str, Undo] = {
    "publish the hotfix": _BRANCH,
    "publish the fix": _BRANCH,
    "open the hotfix pull request": _CLOSED,
    "open the fix pull request": _CLOSED,
    "fit the hotfix to the moved base": _BRANCH,
    "fit the fix to the moved base": _BRANCH,
    "assign the requester": _reversible("the pull request is closed"),
    "dispatch trial": _compensatable(
        "what still runs is cancelled, its refs are removed; what ran has cost its minutes",
        by_itself=True,
    ),
    "make a commit without the suspect": _reversible("its ref is removed", by_itself=True),
    "open the incident issue": _reversible("it is closed"),
    "close the incident issue": _reversible("it is opened again"),
    "run again what broke off": _compensatable("nothing: it only costs CI minutes"),
    "merge the pull request": _compensatable("`/revert` of what was merged"),
    "put the pull request into the merge queue": _compensatable("`/revert` of what was merged"),
    "merge the pull request, for good": MERGE_IRREVERSIBLE,
    "put the pull request into the merge queue, for good": MERGE_IRREVERSIBLE,
    "take earlier attempts back": _reversible("they are opened again from their last commits"),
    "delete the hotfix branch": _reversible("it is restored from the merged pull request"),
    "delete the fix branch": _reversible("it is restored from the merged pull request"),
    "record the outcome": _compensatable("a later commit on the records branch"),
    "bring the records to the default branch": _compensatable("a later commit"),
    "commit the flag document": _compensatable("a later commit"),
    "begin to mirror": _reversible("nothing is mirrored any more", by_itself=True),
    "stop mirroring": _reversible("`/shadow` begins another"),
    "give the candidate its first traffic": _TRAFFIC,
    "give the candidate more traffic": _TRAFFIC,
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
"""By the name of the step; of steps that are numbered, by what their names begin with."""

_NUMBERED = ("dispatch trial",)


def kind_of(step: str) -> str:
    """A step's name without its number."""
    return next((kind for kind in _NUMBERED if step.startswith(f"{kind} ")), step)


def declared(step: str) -> Undo | None:
    """How a step is undone; None for one that touches nothing in the world."""
    return DECLARED.get(kind_of(step))


class PlannedStep(Value):
    """One step of a plan, with how it is undone."""

    name: str
    undo: Undo


USUAL: dict[str, tuple[str, ...]] = {
    "revert": ("publish the hotfix", "open the hotfix pull request", "merge the pull request"),
    "bisect": (
        "dispatch trial",
        "publish the fix",
        "open the fix pull request",
        "merge the pull request",
    ),
    "shadow": ("begin to mirror",),
    "ramp": (
        "give the candidate its first traffic",
        "give the candidate more traffic",
        "make the candidate active",
    ),
    "rollback": (
        "give all traffic to the baseline",
        "publish the fix",
        "open the fix pull request",
        "merge the pull request",
    ),
}
"""What each playbook does to the world, as far as that is known before there is a plan."""


def planned(playbook: str, irreversible: Collection[str] = ()) -> tuple[PlannedStep, ...]:
    """The steps of a plan.

    Args:
        playbook: which.
        irreversible: what it touches that nothing brings back: then its merge is for good.
    """
    steps = []
    for name in USUAL.get(playbook, ()):
        undo = DECLARED[name]
        if irreversible and name == "merge the pull request":
            undo = MERGE_IRREVERSIBLE
        steps.append(PlannedStep(name=name, undo=undo))
    return tuple(steps)


def worst(steps: Iterable[PlannedStep]) -> Reversibility:
    """How far all of it can be taken back: as far as the step that can least."""
    order = list(Reversibility)
    known = [step.undo.reversibility for step in steps]
    return max(known, key=order.index, default=Reversibility.REVERSIBLE)
