"""Whatever the history, a computed revert is git's own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.git.process import Git
from bot.git.revert import RevertConflict, reverted_tree
from tests.git.history_builder import History

NAMES = ("a", "b", "dir/c", "dir/d")
LINES = [f"line {number}\n" for number in range(8)]


@dataclass(frozen=True)
class Edit:
    name: str
    line: int
    word: str


@dataclass(frozen=True)
class Delete:
    name: str


@dataclass(frozen=True)
class Rename:
    name: str
    to: str


@dataclass(frozen=True)
class Chmod:
    name: str


names = st.sampled_from(NAMES)
steps = st.one_of(
    st.builds(Edit, names, st.integers(0, 7), st.sampled_from(("x\n", "y\n", "", "x\ny\n"))),
    st.builds(Delete, names),
    st.builds(Rename, names, st.sampled_from(("e", "f/a", "dir/g"))),
    st.builds(Chmod, names),
)


def apply(history: History, step: Edit | Delete | Rename | Chmod) -> None:
    target = history.path / step.name
    if isinstance(step, Edit):
        lines = target.read_text().splitlines(keepends=True) if target.exists() else LINES[:]
        place = min(step.line, len(lines))
        history.write({step.name: "".join([*lines[:place], step.word, *lines[place + 1 :]])})
    elif target.exists() and isinstance(step, Delete):
        target.unlink()
    elif target.exists() and isinstance(step, Rename):
        destination = history.path / step.to
        destination.parent.mkdir(parents=True, exist_ok=True)
        target.rename(destination)
    elif target.exists():
        target.chmod(target.stat().st_mode ^ 0o111)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    broken=st.lists(steps, min_size=1, max_size=3),
    later=st.lists(st.lists(steps, min_size=1, max_size=2), max_size=2),
)
async def test_any_commit_on_any_later_one_gives_the_tree_or_the_conflict_of_git_revert(
    broken: list[Edit | Delete | Rename | Chmod],
    later: list[list[Edit | Delete | Rename | Chmod]],
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        history = History.start(Path(scratch) / "work")
        history.commit(dict.fromkeys(NAMES, "".join(LINES)) | {"b": "".join(LINES) + "b\n"})
        commits = []
        for edits in [broken, *later]:
            for edit in edits:
                apply(history, edit)
            commits.append(history.commit())
        tree, unmerged = history.really_revert(commits[0], onto=commits[-1])
        ours = await reverted_tree(Git(history.git_dir), [commits[0]], commits[-1])
        assert isinstance(ours, RevertConflict) == bool(unmerged)
        if isinstance(ours, RevertConflict):
            assert sorted(path.path for path in ours.paths) == list(unmerged)
        else:
            assert ours.tree == tree
