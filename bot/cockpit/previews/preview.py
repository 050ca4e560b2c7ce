"""What a request would do, as it is shown before anybody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.playbooks.planning.declined import Declined
from bot.playbooks.steps import Step, Undo
from bot.records.steps import Reversibility

_HARMLESS_FIRST = list(Reversibility)


@dataclass(frozen=True)
class PreviewedStep:
    """One step that would be taken. `does` is Markdown, already escaped."""

    does: str
    undo: Undo


@dataclass(frozen=True)
class Preview:
    """What would happen.

    Attributes:
        title: one line of plain text.
        lines: Markdown, already escaped.
        steps: what would be done to the world, in order, with how it is undone.
        goes_on: whether it can be started.
    """

    title: str
    lines: tuple[str, ...]
    goes_on: bool
    steps: tuple[PreviewedStep, ...] = ()

    @property
    def worst(self) -> Reversibility | None:
        """How far the step that is hardest to undo can be undone; None: nothing is done."""
        if not self.steps:
            return None
        return max((each.undo.reversibility for each in self.steps), key=_HARMLESS_FIRST.index)


def nothing(plan: Declined) -> Preview:
    """There is nothing to do, or a person has to say more."""
    lines = tuple(line for line in (plan.reason, plan.remedy) if line)
    return Preview("Nothing would be done", lines, goes_on=False)


def as_declared(steps: Sequence[Step]) -> tuple[PreviewedStep, ...]:
    """Steps of playbooks, with how each is undone as the playbooks declare it."""
    return tuple(PreviewedStep(_begun(each.label), each.undo) for each in steps if each.undo)


def step(does: str, reversibility: Reversibility, how: str) -> PreviewedStep:
    """A step that only the cockpit describes in these words."""
    return PreviewedStep(does, Undo(reversibility=reversibility, how=how))


def _begun(name: str) -> str:
    return name[:1].upper() + name[1:]
