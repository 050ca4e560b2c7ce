"""What can be undone, and undoing it.

What was begun is read from the steps noted before they acted, so that a step whose answer never
came is taken back too. Each undo is a step of the Run: killed in the middle, it goes on with the
next one. An undo that fails does not keep the others from being done; what it leaves is said.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.config import CONFIG_PATH
from bot.git.process import Git
from bot.limits import Founder
from bot.playbooks.ports import HistoryMirror, steps
from bot.playbooks.run import Run, StepFailed
from bot.playbooks.steps import Step
from bot.playbooks.stored_steps import step_named
from bot.triggers import Value


async def paths_of(commits: Sequence[str], mirror: HistoryMirror) -> tuple[str, ...]:
    """Name every path that these commits changed, against their first parents.

    Raises:
        GitError: the mirror could not be read.
    """

    async def read(git: Git) -> set[str]:
        found: set[str] = set()
        for sha in commits:
            shown = await git.run(
                *("diff-tree", "-r", "-m", "--first-parent", "--root", "--no-commit-id"),
                *("--no-renames", "--name-only", "-z", sha),
            )
            text = shown.stdout.decode("utf-8", "replace")
            found |= {path for path in text.split("\0") if path}
        return found

    return tuple(sorted(await mirror.read(read)))


def irreversible(paths: Iterable[str], founder: Founder) -> tuple[str, ...]:
    """Pick the paths whose revert cannot be undone.

    Those that configuration names (say migrations that a database has run), and the bot's own
    configuration: what decides about safety is not changed by what it decides about.
    """
    return tuple(
        path
        for path in paths
        if path == CONFIG_PATH or any(_pattern(each).fullmatch(path) for each in founder.paths)
    )


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` stays in its folder, `**` does not.

    A folder's name alone means everything in it.
    """
    made, rest = "", glob
    while rest:
        for token, meaning in (("**/", "(?:.*/)?"), ("**", ".*"), ("*", "[^/]*"), ("?", "[^/]")):
            if rest.startswith(token):
                made, rest = made + meaning, rest[len(token) :]
                break
        else:
            made, rest = made + re.escape(rest[0]), rest[1:]
    return re.compile(f"{made}(?:/.*)?", re.DOTALL)


class TakenBack(Value):
    """What came of one undo.

    Attributes:
        found: whether there was anything to take back.
        merged: the merge, where it came first: then what lies before it stays.
    """

    found: bool = True
    merged: str | None = None


@dataclass(frozen=True)
class Undoer:
    """Takes the steps named in `of` back; made known to the Work before they run.

    Attributes:
        of: kinds of steps, each with an undo.
        act: does it, as steps of the Run.
        by_hand: how a person does it where `act` fails; Markdown.
    """

    of: tuple[Step, ...]
    act: Callable[[], Awaitable[TakenBack]]
    by_hand: Callable[[], str]


class Left(Value):
    """What could not be taken back."""

    step: Step
    why: str
    by_hand: str


class Undone(Value):
    """The steps that were taken back, newest first, and what was not."""

    taken: tuple[Step, ...] = ()
    left: tuple[Left, ...] = ()
    merged: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left that should not be there."""
        return not self.left

    def told(self) -> tuple[str, ...]:
        """Say it to people, as paragraphs of Markdown."""
        said = []
        if self.taken:
            rows = [
                f"{n}. {step.words}: {_how(step)}" for n, step in enumerate(self.taken, start=1)
            ]
            said.append("What it did is undone, newest first:\n\n" + "\n".join(rows))
        if self.left:
            rows = [
                f"- {left.step.words}: {left.by_hand} ({markdown.text(left.why, limit=300)})"
                for left in self.left
            ]
            said.append("**Could not be undone. Do it by hand:**\n\n" + "\n".join(rows))
        if self.merged is not None:
            said.append(f"It was merged as {markdown.code(self.merged[:12])}, and that stays.")
        return tuple(said) or ("Nothing had been changed that needs undoing.",)


def _how(step: Step) -> str:
    return "" if step.undo is None else step.undo.how or ""


class Undoable(Protocol):
    """A Run's work that knows how its steps are taken back."""

    run: Run
    undoers: list[Undoer]


async def see_what_to_undo(work: Undoable) -> list[Undoer]:
    """Those whose steps were begun, the newest first; one whose steps were many: by its first."""
    run = work.run

    async def read(conn: AsyncConnection) -> list[str]:
        return [each.name for each in await steps.of_run(conn, run.id)]

    stored = await run.write(Step.READ_STEPS_DONE, list[str], read)
    begun = [step.kind for step in map(step_named, stored) if step is not None]
    oldest = {
        index: min(begun.index(kind) for kind in undoer.of if kind in begun)
        for index, undoer in enumerate(work.undoers)
        if not set(undoer.of).isdisjoint(begun)
    }
    newest_first = sorted(oldest, key=lambda index: oldest[index], reverse=True)
    return [work.undoers[index] for index in newest_first]


async def undo(undoers: Sequence[Undoer]) -> Undone:
    """Take back, in this order. A merge that came first ends it: what led to it stays."""
    taken: list[Step] = []
    left: list[Left] = []
    for undoer in undoers:
        try:
            back = await undoer.act()
        except StepFailed as failed:
            said = Left(step=undoer.of[0], why=str(failed), by_hand=undoer.by_hand())
            left.append(said)
            continue
        if back.merged is not None:
            return Undone(taken=tuple(taken), left=tuple(left), merged=back.merged)
        if back.found:
            taken.append(undoer.of[0])
    return Undone(taken=tuple(taken), left=tuple(left))
