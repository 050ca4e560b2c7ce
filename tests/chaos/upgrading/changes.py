"""Deliberate changes of today's playbooks: copies of its tree, each changed as a person might.

Each playbook's function gets one place more, before its Run waits. What is there differs from
copy to copy: nothing, a step, two steps, the same in another order. A life plays it for the one
playbook that `EXPERIMENT` names in its environment.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.upgrading.trees import TODAY, Tree

ENVIRONMENT = "EXPERIMENT"

_PLACES = {
    # playbook: module, the line before which it comes, and what the Run is called there
    "revert": ("revert/playbook", "hotfix = _hotfix(", "run"),
    "bisect": ("bisect/playbook", "return await playbook.search_and_fix()", "run"),
    "shadow": ("shadow/playbook", "await playbook.begin()", "run"),
    "ramp": ("ramp/playbook", "if ended := await self._agree_to_begin():", "self.run"),
    "rollback": ("rollback/playbook", "published = await fix.open()", "work.run"),
    "judge": ("autorevert/playbook", "await _Judging(run,", "run"),
    "triage": ("alerts/playbook", "return await _to_its_end(work)", "run"),
}

_FIRST = "await run.step(Step.EXPERIMENT_FIRST, Found, look)"
_SECOND = "await run.step(Step.EXPERIMENT_SECOND, Found, look)"
_IF_PATCHED = "if run.patched(Patch.EXPERIMENT):\n        "
_UNLESS_PATCHED = "if not run.patched(Patch.EXPERIMENT):\n        "
_BOTH = f"{_FIRST}\n    {_SECOND}"
_SWAPPED = f"{_SECOND}\n    {_FIRST}"
_NOTHING = "pass"


@dataclass(frozen=True)
class Change:
    """What a playbook does at that place before and after; `patched`: what a careful person does.

    Attributes:
        name: for people.
        before: what the Run began with.
        patched: the change behind `run.patched`; None where it needs no patch.
        unpatched: the change without it; None where none can be made without.
    """

    name: str
    before: str
    patched: str | None = None
    unpatched: str | None = None
    field: tuple[str, str] = ("", "")
    """Another field of the step's result, with a default and without."""
    words: bool = False
    """Whether all words of all steps are others."""


CHANGES = (
    Change("other words", _FIRST, patched=_FIRST, words=True),
    Change("a step more", _NOTHING, _IF_PATCHED + _FIRST, _FIRST),
    Change("a step less", _FIRST, _UNLESS_PATCHED + _FIRST, _NOTHING),
    Change(
        "another order",
        _BOTH,
        f"if run.patched(Patch.EXPERIMENT):\n        {_SECOND}\n        {_FIRST}\n"
        f"    else:\n        {_FIRST}\n        {_SECOND}",
        _SWAPPED,
    ),
    Change("a field more", _FIRST, _FIRST, _FIRST, field=("    more: int = 0", "    more: int")),
)

_EXPERIMENT = '''"""A change that a test made."""
from __future__ import annotations

import os

from bot.playbooks.run import Run
from bot.playbooks.steps import {imported}Step
from bot.triggers import Value


class Found(Value):
    """What the step found."""

    first: int
{field}


async def look(_: bool) -> Found:
    """Look."""
    return Found(first=1{given})


async def experiment(run: Run, playbook: str) -> None:
    """Do what the playbook does here now."""
    if os.environ.get("{environment}") != playbook:
        return
    {body}
'''


class Changed:
    """Copies of today's tree, made when they are first needed."""

    def __init__(self, folder: Path, today: Tree = TODAY) -> None:
        """Prepare; the copies are made below `folder`."""
        self._folder, self._today = folder, today
        self._made: dict[tuple[str, str, bool], Tree] = {}

    def before(self, change: Change) -> Tree:
        """The code with which the Run begins."""
        return self._tree(change.before)

    def after(self, change: Change, *, patched: bool) -> Tree:
        """The changed code."""
        body = change.patched if patched else change.unpatched
        field = change.field[0 if patched else 1]
        return self._tree(body or _NOTHING, field, words=change.words)

    def _tree(self, body: str, field: str = "", *, words: bool = False) -> Tree:
        key = (body, field, words)
        if key not in self._made:
            number = len(self._made)
            path = self._folder / f"changed-{number}"
            _copy(self._today.path, path)
            _change(path / "bot" / "playbooks", body, field, words=words)
            self._made[key] = Tree(f"changed-{number}", path, self._today.python)
        return self._made[key]


def _copy(tree: Path, into: Path) -> None:
    shutil.copytree(tree / "bot", into / "bot", ignore=shutil.ignore_patterns("__pycache__"))


def _change(playbooks: Path, body: str, field: str, *, words: bool) -> None:
    for playbook, (module, line, run) in _PLACES.items():
        path = playbooks / f"{module}.py"
        text = path.read_text(encoding="utf-8")
        found = re.findall(rf"^( +){re.escape(line)}", text, re.MULTILINE)
        if len(found) != 1:
            raise LookupError(f"{path}: {len(found)} lines begin with {line!r}: mend _PLACES")
        here = (
            f"{found[0]}from bot.playbooks.experiment import experiment\n"
            f"{found[0]}await experiment({run}, {playbook!r})\n"
        )
        place = re.compile(rf"^ +{re.escape(line)}", re.MULTILINE)
        changed = place.sub(lambda match, here=here: here + match[0], text)
        path.write_text(changed, encoding="utf-8")
    patched = "Patch." in body
    (playbooks / "experiment.py").write_text(
        _EXPERIMENT.format(
            imported="Patch, " if patched else "",
            field=field,
            given=", more=1" if field else "",
            environment=ENVIRONMENT,
            body=body,
        ),
        encoding="utf-8",
    )
    _change_steps(playbooks / "steps.py", patched=patched, words=words)


def _change_steps(path: Path, *, patched: bool, words: bool) -> None:
    text = path.read_text(encoding="utf-8")
    row = '    READ_CLOCK = ("read-clock", "read the clock")\n'
    more = (
        '    EXPERIMENT_FIRST = ("experiment-first", "try something")\n'
        '    EXPERIMENT_SECOND = ("experiment-second", "try something else")\n'
    )
    text = _once(text, row, row + more)
    if patched:
        last = "\n\n\nRETIRED_PATCHES"
        text = _once(text, last, '\n    EXPERIMENT = "experiment"' + last)
    if words:
        text, number = re.subn(r'(= \(\s*"[a-z-]+",\s*")', r"\1now we ", text)
        if number < 50:
            raise LookupError(f"only {number} words of steps were found")
    path.write_text(text, encoding="utf-8")


def _once(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise LookupError(f"{old!r} is there {text.count(old)} times")
    return text.replace(old, new)
