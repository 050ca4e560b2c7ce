"""A deployment strands nobody: Runs that wait while the code under them is replaced.

    python benchmarks/upgrade.py                     # everything, at most 45 minutes on two cores
    python benchmarks/upgrade.py --only "revert"     # cells whose name holds these words
    python benchmarks/upgrade.py --old v1.4.0        # another release before

Each playbook's Run is brought to each of its waits by the old code, stopped by SIGKILL and by
SIGTERM, and started under today's on the same data; then the same deployed forward, back and
forward again. It must end as if nothing had happened: as a Run ends that nobody disturbed. The old
code is an archive of its commit, with packages of its own `constraints.txt`.

Then today's code is changed under a Run that waits: other words, a step more or less, another
order, a field more. Behind `run.patched` it must end as if nothing had happened; without, it must
end as failed, people must be told once, and `/retry` must do what the Run should have done.

Cells that are done are skipped when it is started again, until the code or the commit changes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakegithub.server import DemoGitHub
from tests.chaos.survived import code_as_it_is
from tests.chaos.upgrading.cells import STOPS, Ground, NotReached, Visit
from tests.chaos.upgrading.changes import CHANGES, ENVIRONMENT, Changed
from tests.chaos.upgrading.end import differences, what_matters
from tests.chaos.upgrading.stories import STORIES, Story
from tests.chaos.upgrading.trees import CACHE, TODAY, NoSuchCommit, Servers, Tree, git, tree_of
from tests.chaos.upgrading.waits import never_reached, not_covered, unforeseen

RELEASE_BEFORE = "cc69615"
"""The old side where the clone has no tag: the commit before steps had ids."""
CHANGED = (
    "revert: for checks",
    "bisect: for trials of the search",
    "shadow: for evidence",
    "ramp: for evidence",
    "rollback: for checks",
    "judge: for a check to run again",
    "triage: for the alert to clear",
)
"""One wait of each playbook, where today's code is changed under a Run."""
SHOWN = 25
"""Lines of a failure that are printed; all of them are in the file of results."""
PATCHES = "bot/playbooks/steps.py"
LANES = 3
"""A story mostly waits; more than this, and two cores are the limit."""


@dataclass
class Cell:
    """One row of the matrix, and what came of it."""

    name: str
    ok: bool
    seconds: float
    waited: bool = False
    middle: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Book:
    """What is done already, kept in a file for the next start."""

    def __init__(self, path: Path, *, anew: bool) -> None:
        """Read it."""
        self.path = path
        self.cells: dict[str, Cell] = {}
        if path.exists() and not anew:
            for row in json.loads(path.read_text(encoding="utf-8")):
                self.cells[row["name"]] = Cell(**row)

    def has(self, name: str) -> bool:
        """Whether this cell ended as it should."""
        return name in self.cells and self.cells[name].ok

    def note(self, cell: Cell) -> None:
        """Keep what came of a cell."""
        self.cells[cell.name] = cell
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(each) for each in self.cells.values()]
        self.path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Wanted:
    """A cell to be played.

    Attributes:
        row: the story, and the change where there is one.
        column: whose code it goes through, and how it is stopped.
        lives: whose code each life is.
        stranded: whether the last life cannot go on with it.
        environment: what every life is told besides.
    """

    row: str
    column: str
    lives: tuple[Tree, ...]
    stop: str
    stranded: bool = False
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What `--only` looks into."""
        return f"{self.column} | {self.row} | {self.stop}"


class Matrix:
    """Every story, in every direction, stopped in every way; and a few under changed code."""

    def __init__(
        self, ground: Ground, old: Tree, book: Book, only: str, changed: Changed | None
    ) -> None:
        """Prepare; without `changed` today's code is not changed."""
        self.ground, self.old, self.book, self.only = ground, old, book, only
        self.changed = changed
        self.places: set[tuple[str, str, bool]] = set()
        self.ids: set[tuple[str, str]] = set()
        self.done = self.total = 0

    def wanted(self, story: Story) -> list[Wanted]:
        """The cells of a story that are wanted."""
        directions: dict[str, tuple[Tree, ...]] = {
            f"{self.old.name} → today": (self.old, TODAY),
            f"today → {self.old.name} → today": (TODAY, self.old, TODAY),
        }
        found = [
            Wanted(story.name, direction, lives, stop)
            for direction, lives in directions.items()
            for stop in STOPS
        ]
        if self.changed is not None and story.name in CHANGED:
            found += _under_changes(story, self.changed)
        return [each for each in found if self.only in each.name]

    async def play(self) -> list[Cell]:
        """All of it, some stories side by side; the cells wanted."""
        waiting = [story for story in STORIES if self.wanted(story)]
        names = [each.name for story in waiting for each in self.wanted(story)]
        self.total = len(names)
        waiting.reverse()

        async def work() -> None:
            while waiting:
                await self._story(waiting.pop())

        await asyncio.gather(*(work() for _ in range(LANES)))
        return [self.book.cells[name] for name in names if name in self.book.cells]

    async def _story(self, story: Story) -> None:
        wanted = self.wanted(story)
        todo = [each for each in wanted if not self.book.has(each.name)]
        self.done += len(wanted) - len(todo)
        if not todo:
            return
        try:
            undisturbed = [await self.ground.visit(story, [tree]) for tree in (TODAY, self.old)]
        except (AssertionError, TimeoutError, NotReached) as failure:
            wrong = [f"undisturbed: {failure}"]
            for each in todo:
                self._note(Cell(each.name, ok=False, seconds=0, wrong=wrong), each)
                wrong = ["undisturbed: see above"]
            return
        self._see(*undisturbed)
        for each in todo:
            self._note(await self._cell(each, story, undisturbed), each)

    async def _cell(self, wanted: Wanted, story: Story, undisturbed: list[Visit]) -> Cell:
        began = time.monotonic()
        try:
            visit = await self.ground.visit(
                story,
                wanted.lives,
                STOPS[wanted.stop],
                environment=dict(wanted.environment),
                stranded=wanted.stranded,
            )
        except (AssertionError, TimeoutError, NotReached) as failure:
            seconds = time.monotonic() - began
            return Cell(wanted.name, ok=False, seconds=seconds, wrong=[str(failure)])
        self._see(visit)
        left = visit.left
        expected = [each.left for each in undisturbed]
        if wanted.stranded:
            left, expected = what_matters(left), [what_matters(each) for each in expected]
        wrong = differences(left, *expected)
        # One that only takes what has come records nothing while it waits.
        waited = visit.waited or story.at_once
        seconds = time.monotonic() - began
        return Cell(wanted.name, not wrong, seconds, waited, list(visit.middle), wrong)

    def _see(self, *visits: Visit) -> None:
        for visit in visits:
            self.places |= visit.places
            self.ids |= visit.ids

    def _note(self, cell: Cell, wanted: Wanted) -> None:
        self.done += 1
        self.book.note(cell)
        well = "told, and begun again" if wanted.stranded else "as if nothing had happened"
        middle = f" ({', '.join(cell.middle)})" if cell.middle else ""
        count = f"{self.done:4}/{self.total} {cell.seconds:5.1f} s"
        print(f"{count}  {cell.name}: {well if cell.ok else 'WRONG'}{middle}", flush=True)
        lines = [line for each in cell.wrong for line in each.splitlines()]
        for line in lines[:SHOWN]:
            print(f"          {line}", flush=True)
        if len(lines) > SHOWN:
            print(f"          … {len(lines) - SHOWN} lines more: {self.book.path}", flush=True)


def _under_changes(story: Story, changed: Changed) -> list[Wanted]:
    """A Run begins under today's code and goes on under a changed copy."""
    found = []
    for change in CHANGES:
        for patched in (True, False):
            if (change.patched if patched else change.unpatched) is None:
                continue
            said = "patched" if patched else "not patched"
            if change.words:
                said = "no patch needed"
            found.append(
                Wanted(
                    story.name,
                    f"{change.name}, {said}",
                    (changed.before(change), changed.after(change, patched=patched)),
                    "killed",
                    stranded=not patched,
                    environment=((ENVIRONMENT, story.playbook),),
                )
            )
    return found


def table(matrix: Matrix) -> None:
    """One row a story, one column a direction and a stop; then one column a change."""
    known = matrix.book.cells
    wanted = [each for story in STORIES for each in matrix.wanted(story)]
    changes = [each for each in wanted if each.environment]
    for part in ([each for each in wanted if not each.environment], changes):
        columns = list(dict.fromkeys(f"{each.column}, {each.stop}" for each in part))
        if not columns:
            continue
        print(f"\n| playbook and wait | {' | '.join(columns)} |")
        print(f"|{' --- |' * (len(columns) + 1)}")
        for row in dict.fromkeys(each.row for each in part):
            marks = {f"{e.column}, {e.stop}": _mark(e, known) for e in part if e.row == row}
            print(f"| {row} | {' | '.join(marks.get(column, '—') for column in columns)} |")
    cells = [known[each.name] for each in wanted if each.name in known]
    right = [cell for cell in cells if cell.ok]
    stranded = [e for e in wanted if e.stranded and e.name in known and known[e.name].ok]
    waited = sum(cell.waited for cell in cells)
    print(
        f"\n{len(cells)} cells: {len(right) - len(stranded)} ended as if nothing had happened, "
        f"{len(stranded)} were told of and begun again, {len(cells) - len(right)} wrong; "
        f"{waited} were stopped exactly while they waited"
    )
    middle = Counter(said for cell in cells for said in cell.middle)
    for said, number in sorted(middle.items()):
        print(f"deployed back: {number} times {said}")


def _mark(wanted: Wanted, known: dict[str, Cell]) -> str:
    cell = known.get(wanted.name)
    if cell is None:
        return "—"
    return ("told" if wanted.stranded else "well") if cell.ok else "WRONG"


def the_release_before() -> str:
    """The newest tag that today's code descends from, else the recorded commit."""
    found = git("describe", "--tags", "--abbrev=0", "HEAD^").stdout.decode().strip()
    return found or RELEASE_BEFORE


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Play what is wanted; the exit code."""
    gaps = not_covered(TODAY)
    for gap in gaps:
        print(f"WRONG {gap}")
    old = tree_of(options.old or the_release_before())
    name = re.sub(r"\W", "", f"{old.name}{code_as_it_is()}")
    book = Book(CACHE / "results" / f"{name}.json", anew=options.anew)
    began = time.monotonic()
    servers = Servers()
    changed = Changed(folder, TODAY) if (TODAY.path / PATCHES).exists() else None
    async with DemoGitHub(rng=random.Random(20)) as github:  # noqa: S311 - repeatable
        github.limits.limit = 15_000
        matrix = Matrix(Ground(github, folder, servers), old, book, options.only, changed)
        try:
            cells = await matrix.play()
        finally:
            await servers.close()
    table(matrix)
    surprises = unforeseen(matrix.places)
    if not options.only:
        surprises += never_reached(TODAY, matrix.ids)
    for surprise in surprises:
        print(f"WRONG {surprise}")
    ok = not gaps and not surprises and all(cell.ok for cell in cells) and bool(cells)
    counts = {"cells": len(cells), "right": sum(c.ok for c in cells), "old": old.name,
              "seconds": round(time.monotonic() - began), "ok": ok}  # fmt: skip
    print(json.dumps(counts, sort_keys=True))
    return 0 if ok else 1


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--old", default="", help="the old side: a commit or tag")
    parser.add_argument("--only", default="", help="only cells whose name holds these words")
    parser.add_argument("--anew", action="store_true", help="play cells again that are done")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upgrade-", ignore_cleanup_errors=True) as folder:
        try:
            sys.exit(asyncio.run(run(options, Path(folder))))
        except NoSuchCommit as unknown:
            sys.exit(str(unknown))


if __name__ == "__main__":
    main()
