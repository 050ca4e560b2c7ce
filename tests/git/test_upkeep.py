"""A mirror that is kept: packed in the background, never in anybody's way, nothing needed lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.app import Bot
from bot.git import maintenance
from bot.git.errors import GitFailed
from bot.git.integrity import loose_objects
from bot.git.maintenance import MirrorCondition, reason_to_pack
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.revert import Clean, compute_revert
from bot.git.trees import has_tree
from bot.wiring.background import Mirrors
from tests.git.history_builder import History

LINES = "".join(f"line {number}\n" for number in range(20))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD_S = 20 * 24 * 3600.0


class Life:
    """A repository at work, and the mirror of it."""

    def __init__(self, folder: Path) -> None:
        self.history = History.start(folder / "work")
        self.history.commit({"app.py": LINES})
        self.last = ""
        self.bare = folder / "served.git"
        self.history.git("clone", "--quiet", "--bare", str(self.history.path), str(self.bare))
        for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            self.history.git("-C", str(self.bare), "config", key, "true")
        self.mirror = self.another()

    def another(self) -> Mirror:
        """The same mirror as another process sees it."""
        folder = self.bare.parent / "mirrors"
        return Mirror(folder, 42, f"file://{self.bare}", protocols=("file",))

    async def goes_on(self, number: int, mirror: Mirror | None = None) -> Clean:
        """A commit, a refresh, and a revert computed."""
        mirror = mirror or self.mirror
        boom = LINES.replace("line 3", f"boom {number}")
        broken = self.history.commit({"app.py": boom + self.last})
        self.last = f"more {number}\n"
        head = self.history.commit({"app.py": boom + self.last})
        self.history.git("push", "--quiet", str(self.bare), "HEAD:main")
        await mirror.refresh()
        assert await mirror.branch_head("main") == head
        outcome = await mirror.read(lambda git: compute_revert(git, [broken], head))
        assert isinstance(outcome, Clean)
        return outcome

    async def has(self, tree: str) -> bool:
        return await self.mirror.read(lambda git: has_tree(git, tree))

    async def lasting(self) -> list[str]:
        """What git itself says is wrong."""
        command = ("fsck", "--connectivity-only", "--no-dangling")
        return (await self.mirror.read(lambda git: git.run(*command))).text.split()


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (MirrorCondition(packs=50, loose=2000, packed_at=NOW - timedelta(hours=23)), None),
        (MirrorCondition(packs=51, loose=0, packed_at=NOW), "51 packs"),
        (MirrorCondition(packs=1, loose=2001, packed_at=NOW), "2,001 loose objects"),
        (MirrorCondition(packs=1, loose=0, packed_at=NOW - timedelta(days=1)), "daily"),
        (MirrorCondition(packs=1, loose=0, packed_at=None), "daily"),
    ],
)
def test_a_mirror_is_packed_for_its_packs_its_objects_or_daily(
    found: MirrorCondition, why: str | None
) -> None:
    assert reason_to_pack(found, NOW) == why


async def test_packing_leaves_two_packs_and_all_that_was_computed(life: Life) -> None:
    outcomes = [await life.goes_on(number) for number in range(4)]
    before = maintenance.look(life.mirror.path, NOW)
    assert before.packs >= 8
    assert before.loose >= 20
    assert await life.mirror.maintain()
    after = maintenance.look(life.mirror.path, NOW)
    assert (after.packs, after.loose) == (2, 0)
    assert [await life.has(each.tree) for each in outcomes] == [True] * 4
    assert await life.lasting() == []
    assert await life.mirror.reason_to_maintain(datetime.now(UTC)) is None
    again = await life.goes_on(9)
    assert await life.has(again.tree)


async def test_what_nobody_used_for_two_weeks_is_dropped_and_can_be_computed_again(
    life: Life,
) -> None:
    old, new = await life.goes_on(1), await life.goes_on(2)
    head = await life.mirror.branch_head("main")
    await life.mirror.maintain()
    unused = await life.goes_on(3)
    for file in loose_objects(life.mirror.path):
        os.utime(file, (time.time() - OLD_S,) * 2)
    await life.mirror.maintain()
    assert not await life.has(unused.tree)
    assert await life.has(old.tree), "packed, and young: the pack remembers each object's age"
    assert await life.has(new.tree)
    assert await life.mirror.branch_head("main") != head
    assert await life.lasting() == []


async def test_refreshes_and_reads_go_on_while_it_is_packed(life: Life) -> None:
    await life.goes_on(0)
    over = asyncio.Event()

    async def pack(mirror: Mirror) -> int:
        count = 0
        while not over.is_set():
            count += await mirror.maintain()
        return count

    packing = [asyncio.create_task(pack(life.another())) for _ in range(2)]
    made = life.mirror.path.stat().st_ino
    outcomes = [await life.goes_on(number, life.another()) for number in range(1, 6)]
    over.set()
    assert sum(await asyncio.gather(*packing)) > 0
    assert [await life.has(each.tree) for each in outcomes] == [True] * 5
    assert life.mirror.path.stat().st_ino == made, "nothing looked like damage"


async def test_only_one_packs_and_nobody_waits_for_it(life: Life) -> None:
    await life.goes_on(0)
    async with life.another()._packing(wait=False):
        assert await life.mirror.maintain() is False
        outcome = await life.goes_on(1)
        assert await life.has(outcome.tree)
    assert await life.mirror.maintain() is True


KILLED = """
import asyncio, pathlib, sys
from bot.git.mirror import Mirror
async def pack():
    mirror = Mirror(pathlib.Path(sys.argv[1]), 42, sys.argv[2], protocols=("file",))
    print("ready", flush=True)
    while True:
        await mirror.maintain()
asyncio.run(pack())
"""


@pytest.mark.thorough
async def test_a_kill_in_the_middle_of_packing_stands_in_nobodys_way(life: Life) -> None:
    outcomes = [await life.goes_on(number) for number in range(2)]
    rng = random.Random(14)  # noqa: S311 - moments to kill at
    for number in range(2, 5):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", KILLED, str(life.mirror.directory), life.mirror.url),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(rng.uniform(0.01, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        outcomes.append(await life.goes_on(number))
    async with asyncio.timeout(30):
        # A git that outlived its parent still holds the lock, and ends by itself.
        while not await life.mirror.maintain():  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)
    assert [await life.has(each.tree) for each in outcomes] == [True] * 5
    assert await life.lasting() == []
    assert maintenance.look(life.mirror.path, NOW).packs == 2


async def test_what_dead_processes_left_is_cleared(life: Life) -> None:
    await life.goes_on(0)
    path = life.mirror.path
    left = [
        "objects/pack/.tmp-77-pack-aa.pack",
        "objects/pack/tmp_pack_Xy",
        "objects/pack/pack-dead.pack",
        "objects/pack/multi-pack-index.lock",
        "objects/info/commit-graph.lock",
        "objects/ab/tmp_obj_Xy",
        "gc.pid",
        "packed-refs.lock",
        "HEAD.lock",
    ]
    for name in left:
        file = path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
        os.utime(file, (time.time() - OLD_S,) * 2)
    assert await life.mirror.maintain()
    assert [name for name in left if (path / name).exists()] == []


async def test_computed_objects_survive_that_the_mirror_is_cloned_anew(life: Life) -> None:
    packed = await life.goes_on(0)
    await life.mirror.maintain()
    loose = await life.goes_on(1)
    made = life.mirror.path.stat().st_ino
    (life.mirror.path / "HEAD").unlink()
    assert await life.has(loose.tree)
    assert await life.has(packed.tree)
    assert life.mirror.path.stat().st_ino != made


async def test_what_was_computed_and_is_damaged_is_made_again_before_the_read(life: Life) -> None:
    outcome = await life.goes_on(0)
    for file in list(loose_objects(life.mirror.path)):
        file.chmod(0o600)
        file.write_bytes(b"")

    async def show(git: Git) -> str:
        return (await git.run("ls-tree", outcome.tree)).text

    with pytest.raises(GitFailed):
        await life.mirror.read(show)

    async def have() -> None:
        await life.mirror.read(lambda git: compute_revert(git, [f"{outcome.onto}~1"], outcome.onto))

    assert "app.py" in await life.mirror.read(show, after_rebuild=have)


async def test_a_mirror_that_has_grown_out_of_bounds_is_cloned_anew(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.goes_on(0)
    made = life.mirror.path.stat().st_ino
    await life.mirror.maintain()
    assert life.mirror.path.stat().st_ino == made
    monkeypatch.setattr(maintenance, "GROWTH_ALLOWED_BYTES", 0)
    (life.mirror.path / "playbooks-cloned-bytes").write_text("1000")
    await life.mirror.maintain()
    assert life.mirror.path.stat().st_ino != made
    assert await life.lasting() == []


async def test_the_bot_packs_what_needs_it_by_itself_also_beside_one_that_cannot_be_packed(
    life: Life, bot: Bot
) -> None:
    outcome = await life.goes_on(0)
    (life.mirror.path / "playbooks-packed").unlink()
    (life.mirror.directory / "41.git").mkdir()
    keeping = asyncio.create_task(
        Mirrors(life.mirror.directory, bot.github, every=timedelta(milliseconds=20)).run()
    )
    try:
        async with asyncio.timeout(60):
            while await life.mirror.reason_to_maintain(datetime.now(UTC)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        keeping.cancel()
    assert maintenance.look(life.mirror.path, NOW).packs == 2
    assert await life.has(outcome.tree)
