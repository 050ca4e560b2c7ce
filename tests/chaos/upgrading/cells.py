"""One cell: a Run is brought to a wait by one tree's code, stopped, and started under another's."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from fakegithub.server import DemoGitHub
from tests.chaos.end_state import assert_audit_is_intact
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Scene
from tests.chaos.upgrading.end import Reduced, reduced
from tests.chaos.upgrading.stories import Story
from tests.chaos.upgrading.trees import Servers, Tree, TreeLife

ARRIVES_S = 90.0
"""So long a Run may take to its wait."""
TOLD_S = 60.0
"""So soon people have to be told that a Run cannot go on."""
MIDDLE_S = 8.0
"""So long a life in the middle may take to come to the wait again; else it leaves the Run alone."""


class NotReached(Exception):
    """The Run never came to the wait. `str()` says where it came."""


@dataclass(frozen=True)
class Visit:
    """What came of one story.

    Attributes:
        left: what it left behind.
        places: where Runs waited, each with its playbook and whether at once.
        ids: the playbooks and ids of these waits, where the code names them.
        journal: the last steps recorded when it was stopped first; empty where it was not.
        middle: what a life in the middle did, where there was one.
    """

    left: Reduced
    places: frozenset[tuple[str, str, bool]]
    ids: frozenset[tuple[str, str]] = frozenset()
    journal: tuple[str, ...] = ()
    middle: tuple[str, ...] = ()

    @property
    def waited(self) -> bool:
        """Whether the last thing recorded when it was stopped is that it waits."""
        return bool(self.journal) and self.journal[-1].startswith("DBOS.sleep")


class Ground:
    """A GitHub that outlives every bot, and the trees whose bots are forked."""

    def __init__(self, github: DemoGitHub, folder: Path, servers: Servers) -> None:
        """Prepare; each visit makes a lane of its own, with data of its own."""
        self.github, self.folder, self.servers = github, folder, servers
        # The oldest bots send one, and GitHub never minded.
        github.world.commits_do_as_trees = True
        self._visits = 0

    async def visit(
        self,
        story: Story,
        lives: Sequence[Tree],
        number: Signals = SIGKILL,
        *,
        environment: Mapping[str, str] | None = None,
        stranded: bool = False,
    ) -> Visit:
        """Play a story through these lives, stopped at its wait between them.

        Args:
            story: the playbook and its wait.
            lives: whose code each life is; a single one plays it undisturbed.
            number: how it is stopped.
            environment: what every life is told besides.
            stranded: whether the last life cannot go on with the Run. Then it has to end as
                failed, its people have to be told once, and it is begun again.

        Raises:
            NotReached: it never came there.
            AssertionError: it did not end, or the audit chain is broken.
        """
        self._visits += 1
        lane = Lane(self.github, self.folder / f"visit-{self._visits}")
        given = {**lane.environment, **(environment or {})}
        life = TreeLife(self.servers, lives[0], given, lane.folder / "life")
        lane.life = life
        await life.start()
        try:
            async with await story.prepare(lane) as scene:
                lane.serve_only(scene.repository)
                await self.github.deliveries.settle()
                if len(lives) > 1 and not story.once_brought:
                    life.stop_at(story.playbook, story.place, number, at_once=story.at_once)
                comment = await scene.ask()
                bringing = asyncio.ensure_future(story.bring(lane, scene))
                journal: tuple[str, ...] = ()
                middle: list[str] = []
                try:
                    if len(lives) == 1:
                        await bringing
                        await _waits(life, story)
                    else:
                        if story.once_brought:
                            await bringing
                            life.stop_at(story.playbook, story.place, number, at_once=story.at_once)
                        await _stops(life, story, bringing)
                        journal = _journal(lane, story)
                        for tree in lives[1:-1]:
                            said = await self._pass(life, story, tree, number)
                            middle.append(said)
                        life.tree = lives[-1]
                        await life.start()
                finally:
                    bringing.cancel()
                if stranded:
                    await _begin_anew(lane, story, scene)
                else:
                    await story.finish(lane, scene, comment)
                await _comes_to_rest(lane, scene)
            await assert_audit_is_intact(scene.repository, lane.data)
            left = reduced(scene.repository, lane.data, story.may_be_repeated)
        except (AssertionError, TimeoutError) as failure:
            raise AssertionError(f"{failure}\n{_dead(lane)}") from failure
        finally:
            await lane.close()
        places = frozenset((p, place, not s) for _, p, place, s, _ in life.waits())
        ids = frozenset((p, name) for _, p, _, _, name in life.waits() if name)
        return Visit(left, places, ids, journal, tuple(middle))

    async def _pass(self, life: TreeLife, story: Story, tree: Tree, number: Signals) -> str:
        """A life in between: it comes to the wait again, or leaves the Run alone."""
        life.tree = tree
        # With SIGTERM it also looks a few times more, and records that.
        after = 0.0 if number is SIGKILL else 2.5 * life.look_again
        life.stop_at(story.playbook, story.place, number, at_once=story.at_once, after=after)
        try:
            await life.start()
        except AssertionError:
            life.stop_nowhere()
            return f"{tree.name} did not start"
        try:
            await life.died(within=MIDDLE_S)
        except TimeoutError:
            life.stop_nowhere()
            await (life.kill() if number is SIGKILL else life.stop())
            return f"{tree.name} left the Run alone"
        return f"{tree.name} waited there"


async def _comes_to_rest(lane: Lane, scene: Scene) -> None:
    """Wait until CI has said all it has to say, and the bot has heard it.

    A merge makes CI run on the branch once more, after the Run that merged has ended. Only CI's
    own check-runs are waited for: one that the bot leaves behind is a difference.
    """

    async def at_rest() -> bool:
        if _runs_of_ci_under_way(lane, scene):
            return False
        try:
            # Those of other lanes, too: they send more all the time.
            await lane.github.deliveries.settle()
        except TimeoutError:
            return False
        return not lane.unfinished() and not _runs_of_ci_under_way(lane, scene)

    await eventually(at_rest, lane.life)


def _runs_of_ci_under_way(lane: Lane, scene: Scene) -> bool:
    jobs = lane.github.runner.jobs
    runs = scene.repository.check_runs.values()
    return any(run.id in jobs and run.status != "completed" for run in runs)


async def _begin_anew(lane: Lane, story: Story, scene: Scene) -> None:
    """The Run is over: people are told once, and what they do then brings all to its end."""
    run, wanted = _run_of(lane, story), ("failed",)
    life = lane.life

    async def failed() -> bool:
        return _state(lane.data, run) in wanted and life.alive

    await _until(failed, lambda: f"the Run is {_state(lane.data, run)!r}, not 'failed'", lane)
    told = await _told(lane, story, scene, run)
    await story.begin_anew(lane, scene, told)
    again = _places_told(scene, run)
    assert len(again) <= 1, f"people were told {len(again)} times, on {again}"


async def _told(lane: Lane, story: Story, scene: Scene, run: str) -> int | None:
    """Where people were told that an update ended the Run; None for what nobody waits for."""

    async def said() -> bool:
        return bool(_places_told(scene, run))

    if story.playbook != "judge":
        await _until(said, lambda: "nobody was told that an update ended the Run", lane)
    return next(iter(_places_told(scene, run)), None)


def _places_told(scene: Scene, run: str) -> list[int]:
    return [
        number
        for number, issue in scene.repository.issues.items()
        for comment in issue.comments
        if f"settle:over:{run}" in comment.body
    ]


async def _until(
    condition: Callable[[], Awaitable[bool]], said: Callable[[], str], lane: Lane
) -> None:
    try:
        async with asyncio.timeout(TOLD_S):
            while not await condition():  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{said()}; the bot said:\n{lane.life.said(1500)}") from None


def _state(data: Path, run: str) -> str:
    with closing(sqlite3.connect(f"file:{data / 'playbooks.db'}?mode=ro", uri=True)) as records:
        found = records.execute("SELECT state FROM runs WHERE id = ?", (run,)).fetchone()
    return str(found[0]) if found else "unknown"


async def _waits(life: TreeLife, story: Story) -> None:
    """Wait until the Run waits there."""
    wanted = (story.playbook, story.place, story.at_once)
    try:
        async with asyncio.timeout(ARRIVES_S):
            while not any((p, w, not s) == wanted for _, p, w, s, _ in life.waits()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise _not_reached(life, story) from None


async def _stops(life: TreeLife, story: Story, bringing: asyncio.Future[None]) -> None:
    """Wait until the life has stopped itself there."""
    death = asyncio.ensure_future(life.died(within=ARRIVES_S))
    try:
        await asyncio.wait((bringing, death), return_when=asyncio.FIRST_COMPLETED)
        if bringing.done():
            await bringing
        await death
    except TimeoutError:
        raise _not_reached(life, story) from None
    finally:
        death.cancel()


def _not_reached(life: TreeLife, story: Story) -> NotReached:
    seen = sorted({f"{p} {w}{'' if s else ' at once'}" for _, p, w, s, _ in life.waits()})
    return NotReached(
        f"no Run of {story.playbook} came to {story.place}, but to: {', '.join(seen) or 'none'}\n"
        f"{life.said(1500)}"
    )


def _run_of(lane: Lane, story: Story) -> str:
    """The Run that waits where the story brings it."""
    assert isinstance(lane.life, TreeLife)
    return [r for r, p, w, s, _ in lane.life.waits() if (p, w, not s) == _wanted(story)][-1]


def _journal(lane: Lane, story: Story) -> tuple[str, ...]:
    """The last steps that are recorded of it."""
    return steps_of(lane.data, _run_of(lane, story))[-4:]


def _wanted(story: Story) -> tuple[str, str, bool]:
    return story.playbook, story.place, story.at_once


def steps_of(data: Path, run: str) -> tuple[str, ...]:
    """The names of the steps recorded for a Run, in their order."""
    query = (
        "SELECT function_name FROM operation_outputs WHERE workflow_uuid = ? ORDER BY function_id"
    )
    with closing(sqlite3.connect(f"file:{data / 'engine.db'}?mode=ro", uri=True)) as engine:
        return tuple(name for (name,) in engine.execute(query, (run,)))


def _dead(lane: Lane) -> str:
    """What the engine's own state says of Runs that went wrong, for whoever has to find out."""
    path = lane.data / "engine.db"
    if not path.exists():
        return "there is no engine.db"
    query = "SELECT workflow_uuid, status, application_version, error FROM workflow_status"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as engine:
        rows = engine.execute(query).fetchall()
    return (
        "\n".join(
            f"{run[:8]}… {status}, version {version}, "
            f"last steps {json.dumps(steps_of(lane.data, run)[-4:])}"
            + (f", error {str(error)[:300]}" if error else "")
            for run, status, version, error in rows
            if status != "SUCCESS"
        )
        or "no execution is left, all ended well"
    )


STOPS: dict[str, Signals] = {"killed": SIGKILL, "stopped": SIGTERM}
