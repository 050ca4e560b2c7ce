"""Every way to read a mirror, and every kind of damage: it is noticed, mended, and read again.

The suite takes each kind of damage with a part of the reads, and each read with several kinds; the
whole matrix is run with the chaos tests.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import bot.git
from bot.git import history, landed_changes, merge, pull_commits, revert, trees
from bot.git.export import TreeExport
from bot.git.history import CommitNode
from bot.git.integrity import loose_objects
from bot.git.mirror import Mirror
from bot.git.process import Git
from tests.git.history_builder import History

LINES = "".join(f"line {number}\n" for number in range(20))


@dataclass(frozen=True)
class Served:
    """A remote, and the commits asked for."""

    url: str
    start: str
    broken: str
    late: str
    blob: str
    tree: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A history whose middle commit broke `app.py`; `late` came with another refresh."""
    made = History.start(tmp_path_factory.mktemp("damage") / "work")
    start = made.commit({"app.py": LINES, "lib/old.py": LINES + "old\n"}, "start")
    broken = made.commit({"app.py": LINES.replace("line 3", "boom")}, "broken")
    made.git("branch", "topic")
    bare = made.path.parent / "served.git"
    made.git("clone", "--quiet", "--bare", str(made.path), str(bare))
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        made.git("-C", str(bare), "config", key, "true")
    late = made.commit({"app.py": LINES.replace("line 3", "boom") + "more\n"}, "late")
    return Served(
        url=f"file://{bare}",
        start=start,
        broken=broken,
        late=late,
        blob=made.git("rev-parse", "HEAD:app.py"),
        tree=made.git("rev-parse", f"{broken}^{{tree}}"),
    )


@pytest.fixture(scope="module")
async def whole(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror in use: two refreshes, a blob fetched, a revert computed, packed refs and loose."""
    folder = tmp_path_factory.mktemp("mirrors")
    mirror = mirror_in(folder, served)
    await mirror.refresh()
    bare = Path(served.url.removeprefix("file://"))
    work = History(bare.parent / "work")
    work.git("push", "--quiet", str(bare), f"{served.late}:refs/heads/main")
    await mirror.refresh()
    await mirror.read(lambda git: revert.compute_revert(git, [served.broken], served.late))
    return folder


def mirror_in(folder: Path, served: Served) -> Mirror:
    return Mirror(folder, 42, served.url, protocols=("file",))


# --- every way to read ---

Read = Callable[[Git, Served], Awaitable[Any]]


def merged_pull(git: Git, at: Served) -> Awaitable[Any]:
    return pull_commits.commits_of_pull_request(
        git, onto=at.late, merge_commit=at.late, head=at.late, pull_commits=[at.late]
    )


def part_of_a_rebase(git: Git, at: Served) -> Awaitable[Any]:
    landed = pull_commits.Landing(
        method=pull_commits.LandingMethod.REBASE,
        at=at.late,
        nodes=(CommitNode(sha=at.late, parents=(at.start,)),),
    )
    pull = landed_changes.LandedPullRequest(number=1, merge_commit=at.late, head=at.broken)
    return landed_changes.part_of(git, landed, pull)


async def rewritten(git: Git, at: Served) -> str:
    changes = await trees.raw_changes(git, at.start, at.broken)
    return await trees.with_entries(git, await trees.tree_of(git, at.late), changes)


READS: dict[str, Read] = {
    "already_reverted": lambda git, at: landed_changes.already_reverted(git, at.broken, at.late),
    "combined_patch_id": lambda git, at: history.combined_patch_id(git, at.start, at.late),
    "commit_range": lambda git, at: history.commit_range(git, at.start, at.late),
    "commit_trees": lambda git, at: trees.commit_trees(git, at.broken),
    "commits_of_pull_request": merged_pull,
    "compute_revert": lambda git, at: revert.compute_revert(git, [at.broken], at.late),
    "compute_what_is_left": lambda git, at: landed_changes.compute_what_is_left(
        git, [at.broken], at.late
    ),
    "describe": lambda git, at: history.describe(git, [at.start, at.late]),
    "empty_tree": lambda git, _: trees.empty_tree(git),
    "first_parents": lambda git, at: history.first_parents(git, at.late, 9),
    "has_tree": lambda git, at: trees.has_tree(git, at.start),
    "is_ancestor": lambda git, at: history.is_ancestor(git, at.start, at.late),
    "landing_of": lambda git, at: pull_commits.landing_of(
        git, onto=at.late, merge_commit=at.late, head=at.late, pull_commits=[at.late]
    ),
    "landing_of_merge": lambda git, at: pull_commits.landing_of_merge(git, at.late),
    "last_changes": lambda git, at: history.last_changes(git, at.start, at.late, ["app.py"]),
    "merge": lambda git, at: merge.merge(git, at.late, at.broken),
    "merge_base": lambda git, at: history.merge_base(git, at.start, at.late),
    "newest_first": lambda git, at: history.newest_first(git, [at.start, at.broken]),
    "parents_of": lambda git, at: history.parents_of(git, at.broken),
    "part_of": part_of_a_rebase,
    "patch_ids": lambda git, at: history.patch_ids(git, [at.broken]),
    "raw_changes": lambda git, at: trees.raw_changes(git, at.start, at.late),
    "read_blob": lambda git, at: trees.read_blob(git, at.blob),
    "read_objects": lambda git, at: trees.read_objects(git, [at.start, f"{at.late}^1"]),
    "resolve": lambda git, at: history.resolve(git, at.start[:12]),
    "resolve_expression": lambda git, _: history.resolve_expression(git, "main~1"),
    "reverted_tree": lambda git, at: revert.reverted_tree(git, [at.broken], at.late),
    "tree_changes": lambda git, at: trees.tree_changes(git, at.start, at.late),
    "tree_of": lambda git, at: trees.tree_of(git, at.broken),
    "twins_of": lambda git, at: landed_changes.twins_of(git, [at.broken], at.late),
    "undone_by": lambda git, at: landed_changes.undone_by(git, at.broken, at.late),
    "with_entries": rewritten,
}


async def exported(mirror: Mirror, at: Served) -> object:
    source = TreeExport(mirror)
    folder = mirror.directory / "export"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tree").mkdir(parents=True)
    entries = await source.entries(at.late)
    await source.write(at.late, list(entries), folder / "tree")
    await source.write_git(at.late, folder / "git")
    files = sorted(file.read_bytes() for file in (folder / "tree").rglob("*.py"))
    return await source.tree_id(at.late), files, (folder / "git" / "packed-refs").read_bytes()


THROUGH: dict[str, Callable[[Mirror, Served], Awaitable[Any]]] = {
    "branch_head": lambda mirror, _: mirror.branch_head("main"),
    "contains": lambda mirror, at: mirror.contains("topic", at.start),
    "refresh": lambda mirror, at: mirror.refresh([at.start]),
    "tree export": exported,
}


async def answer(name: str, mirror: Mirror, served: Served) -> object:
    if name in THROUGH:
        return await THROUGH[name](mirror, served)
    return await mirror.read(lambda git: READS[name](git, served))


def test_every_function_that_reads_a_repository_is_in_the_matrix() -> None:
    found = set()
    for module in pkgutil.iter_modules(bot.git.__path__):
        for name, made in vars(import_module(f"bot.git.{module.name}")).items():
            if inspect.iscoroutinefunction(made) and not name.startswith("_"):
                parameters = list(inspect.signature(made).parameters.values())
                if parameters and parameters[0].annotation == "Git":
                    found.add(name)
    assert found == set(READS)


def test_nobody_else_makes_a_git_of_a_mirror() -> None:
    room = Path(bot.git.__path__[0])
    for file in sorted(room.parent.rglob("*.py")):
        if file.parent == room or file.parent.name == "demo" or "demo" in file.parts:
            continue
        made = re.search(r"\bGit\(", file.read_text())
        assert made is None, f"{file.name} makes a Git of its own: use Mirror.read"


async def test_what_is_lent_for_a_reading_is_no_good_afterwards(
    whole: Path, served: Served
) -> None:
    kept: list[Git] = []

    async def keep(git: Git) -> None:
        kept.append(git)

    await mirror_in(whole, served).read(keep)
    with pytest.raises(RuntimeError, match=r"Mirror\.read only"):
        await kept[0].run("rev-parse", "HEAD")


# --- every kind of damage ---


def packs(path: Path, ending: str = "pack") -> Iterator[Path]:
    for file in sorted(path.glob(f"objects/pack/pack-*.{ending}")):
        file.chmod(0o600)
        yield file


def cut(file: Path, left: int) -> None:
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:left])


def zero(file: Path, start: float = 0.0) -> None:
    file.chmod(0o600)
    content = file.read_bytes()
    kept = int(len(content) * start)
    file.write_bytes(content[:kept] + bytes(len(content) - kept))


def flip(file: Path) -> None:
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(bytes(content))


def each(do: Callable[[Path], object], pattern: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        files = [file for file in path.glob(pattern) if file.is_file()]
        assert files, pattern
        for file in files:
            do(file)

    return damage


def drop_packs(path: Path) -> None:
    for file in (path / "objects" / "pack").iterdir():
        file.unlink()


def drop_one_pack(path: Path) -> None:
    largest = max(packs(path), key=lambda file: file.stat().st_size)
    for file in path.glob(f"objects/pack/{largest.stem}.*"):
        file.unlink()


def loose(do: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        for file in list(loose_objects(path)):
            do(file)

    return damage


def loose_ref(content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        file = path / "refs" / "heads" / "main"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    return damage


def cut_last_line(file: Path) -> None:
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


def replace_by_folder(name: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        (path / name).unlink()
        (path / name).mkdir()

    return damage


def become_empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def become_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"")


PACKS, GRAPH = "objects/pack/pack-*.pack", "objects/info/commit-graph"
INDEXES = "objects/pack/pack-*.idx"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "packs cut short": each(lambda file: cut(file, 40), PACKS),
    "packs emptied": each(lambda file: cut(file, 0), PACKS),
    "packs zeroed from the middle": each(lambda file: zero(file, 0.5), PACKS),
    "a bit of each pack flipped": each(flip, PACKS),
    "all packs gone": drop_packs,
    "the largest pack gone": drop_one_pack,
    "pack files gone, indexes left": each(Path.unlink, PACKS),
    "indexes gone": each(Path.unlink, INDEXES),
    "indexes cut short": each(lambda file: cut(file, 1000), INDEXES),
    "indexes zeroed": each(zero, INDEXES),
    "promisor marks gone": each(Path.unlink, "objects/pack/pack-*.promisor"),
    "packs without permission": each(lambda file: file.chmod(0), PACKS),
    "loose objects emptied": loose(lambda file: cut(file, 0)),
    "loose objects zeroed": loose(zero),
    "loose objects gone": loose(Path.unlink),
    "commit graph emptied": each(lambda file: cut(file, 0), GRAPH),
    "commit graph zeroed": each(zero, GRAPH),
    "commit graph zeroed in part": each(lambda file: zero(file, 0.6), GRAPH),
    "commit graph gone": each(Path.unlink, GRAPH),
    "commit graph unreadable": replace_by_folder(GRAPH),
    "HEAD gone": each(Path.unlink, "HEAD"),
    "HEAD zeroed": each(zero, "HEAD"),
    "config gone": each(Path.unlink, "config"),
    "config emptied": each(lambda file: cut(file, 0), "config"),
    "config zeroed": each(zero, "config"),
    "packed refs gone": each(Path.unlink, "packed-refs"),
    "packed refs zeroed": each(zero, "packed-refs"),
    "packed refs cut short": each(lambda file: cut(file, 100), "packed-refs"),
    "packed refs cut at a line's end": each(cut_last_line, "packed-refs"),
    "a loose ref that is empty": loose_ref(b""),
    "a loose ref that is zeroed": loose_ref(bytes(41)),
    "a loose ref to what is not there": loose_ref(b"f" * 40 + b"\n"),
    "no objects folder": lambda path: shutil.rmtree(path / "objects"),
    "no refs folder": lambda path: shutil.rmtree(path / "refs"),
    "an empty folder": become_empty,
    "a file instead": become_a_file,
    "nothing at all": shutil.rmtree,
}
NAMES = [*READS, *THROUGH]


@pytest.mark.chaos
@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_mended_and_the_read_repeated(
    whole: Path, served: Served, tmp_path: Path, damage: str, chaos_is_full: bool
) -> None:
    row = list(DAMAGES).index(damage)
    sample = {NAMES[(row * 2 + step) % len(NAMES)]: step == 1 for step in range(2)}
    for name in NAMES if chaos_is_full else sample:
        expected = await answer(name, mirror_in(whole, served), served)
        for is_new in (False, True) if chaos_is_full else (sample[name],):
            folder = tmp_path / f"{name}-{is_new}"
            shutil.copytree(whole, folder)
            mirror = mirror_in(folder, served)
            if not is_new:
                # A bot that has been at work; the other was started on the damage.
                await mirror.branch_head("topic")
            DAMAGES[damage](mirror.path)
            assert await answer(name, mirror, served) == expected, (name, is_new)
            if is_new:
                assert await mirror.maintain(), "nothing that stands in the way is left"
            else:
                await mirror.refresh()
            shutil.rmtree(folder)
