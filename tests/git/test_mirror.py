"""Mirrors of a remote over real HTTP: kept small, kept current, and mended when damaged."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bot.git.errors import GitFailed, RemoteUnavailable, UnknownRevision
from bot.git.history import commit_range, is_ancestor, resolve
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.revert import Clean, compute_revert
from bot.git.trees import read_blob
from tests.git.remote import Remote

LINES = "".join(f"line {number}\n" for number in range(20))


class Tokens:
    """Gives the token of the moment and counts how often it was asked."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        return self.token


@pytest.fixture
def tokens(remote: Remote) -> Tokens:
    return Tokens(remote.token)


@pytest.fixture
def mirror(remote: Remote, tokens: Tokens, tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirrors", 42, remote.url, tokens)


def leftovers(mirror: Mirror) -> list[str]:
    kept = {"42.git", "42.lock", "42.packing.lock"}
    return sorted(p.name for p in mirror.directory.iterdir() if p.name not in kept)


async def blobs_here(mirror: Mirror) -> int:
    command = ("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
    objects = await mirror.read(lambda git: git.run(*command))
    return objects.text.split().count("blob")


async def test_a_fresh_mirror_has_every_commit_and_no_blob(mirror: Mirror, remote: Remote) -> None:
    await mirror.refresh()
    assert await mirror.branch_head("main") == remote.history.head
    counted = await mirror.read(lambda git: git.run("rev-list", "--count", "main"))
    assert counted.text == "3"
    assert await blobs_here(mirror) == 0
    assert await mirror.disk_bytes() > 0
    assert leftovers(mirror) == []


async def test_a_revert_fetches_only_the_blobs_it_needs_with_a_fresh_token(
    mirror: Mirror, remote: Remote, tokens: Tokens
) -> None:
    await mirror.refresh()
    remote.token = tokens.token = "second"  # noqa: S105 - a made-up word
    remote.requests.clear()
    head = remote.history.head
    short = remote.history.git("rev-parse", "--short", "HEAD~1")
    broken = await mirror.read(lambda git: resolve(git, short))
    ours = await mirror.read(lambda git: compute_revert(git, [broken], head))
    assert isinstance(ours, Clean)
    tree, _ = remote.history.really_revert(broken, onto=head)
    assert ours.tree == tree
    assert await blobs_here(mirror) == 4, "three sides of app.py and the merged one"
    assert remote.requests["git-upload-pack"] <= 4
    (new,) = ours.new_blobs
    blob = await mirror.read(lambda git: read_blob(git, new))
    assert blob.endswith(b"line 19\nmore\n")


async def test_the_blobs_of_many_files_are_fetched_together(mirror: Mirror, remote: Remote) -> None:
    history = remote.history
    names = [f"many/{number}.py" for number in range(30)]
    history.commit({name: name + LINES for name in names})
    broken = history.commit({name: name + LINES.replace("line 3", "boom") for name in names})
    history.commit({name: name + LINES.replace("line 3", "boom") + "more\n" for name in names})
    head = history.head
    remote.push("main")
    await mirror.refresh()
    remote.requests.clear()
    ours = await mirror.read(lambda git: compute_revert(git, [broken], head))
    assert isinstance(ours, Clean)
    assert len(ours.new_blobs) == 30
    assert remote.requests["git-upload-pack"] <= 4, remote.requests


async def test_a_refresh_brings_new_commits_moved_and_deleted_branches(
    mirror: Mirror, remote: Remote
) -> None:
    remote.push("main:topic")
    await mirror.refresh()
    forced = remote.history.git("rev-parse", "HEAD~1")
    remote.push("HEAD~1:main", ":topic")
    await mirror.refresh()
    assert await mirror.branch_head("main") == forced
    for gone in ("topic", "main~1", "../main", "--all", ""):
        with pytest.raises(UnknownRevision):
            await mirror.branch_head(gone)


async def test_a_wanted_commit_outside_the_branches_is_fetched(
    mirror: Mirror, remote: Remote
) -> None:
    lost = remote.history.commit({"fork.py": "x\n"})
    remote.push(f"{lost}:refs/pull/7/head")
    await mirror.refresh([lost])
    assert await mirror.read(lambda git: resolve(git, lost)) == lost
    with pytest.raises(UnknownRevision):
        await mirror.refresh(["f" * 40])


async def test_an_unknown_sha_is_unknown_without_asking_the_remote(
    mirror: Mirror, remote: Remote
) -> None:
    await mirror.refresh()
    remote.requests.clear()
    with pytest.raises(UnknownRevision):
        await mirror.read(lambda git: resolve(git, "f" * 40))
    assert not remote.requests


async def test_a_renamed_repository_keeps_its_mirror(
    mirror: Mirror, remote: Remote, tokens: Tokens
) -> None:
    old = Mirror(mirror.directory, 42, remote.url.replace("name", "old"), tokens)
    with pytest.raises(RemoteUnavailable):
        await old.refresh()
    await mirror.refresh()
    made = mirror.path.stat().st_ino
    with pytest.raises(RemoteUnavailable):
        await old.refresh()
    await mirror.refresh()
    assert mirror.path.stat().st_ino == made


async def test_no_credential_is_written_or_said(
    mirror: Mirror, remote: Remote, tokens: Tokens
) -> None:
    await mirror.refresh()
    tokens.token = "ghs_verysecretverysecret"  # noqa: S105 - a made-up word
    with pytest.raises(RemoteUnavailable) as caught:
        await mirror.refresh()
    said = str(caught.value)
    assert "verysecret" not in said
    for file in mirror.directory.rglob("*"):
        if file.is_file():
            assert b"extraheader" not in file.read_bytes().lower()
            assert remote.token.encode() not in file.read_bytes()
    with pytest.raises(ValueError, match="must not hold"):
        Mirror(mirror.directory, 1, "https://user:word@example.org/x.git")


async def test_a_remote_that_is_down_leaves_the_mirror_as_it_was(
    mirror: Mirror, remote: Remote
) -> None:
    remote.broken = True
    with pytest.raises(RemoteUnavailable):
        await mirror.refresh()
    assert not mirror.path.exists()
    assert leftovers(mirror) == []
    remote.broken = False
    await mirror.refresh()
    remote.broken = True
    with pytest.raises(RemoteUnavailable):
        await mirror.refresh()
    assert await mirror.branch_head("main") == remote.history.head


def truncate_packs(path: Path) -> None:
    for pack in path.glob("objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:40])


def drop_head(path: Path) -> None:
    (path / "HEAD").unlink()


def empty_config(path: Path) -> None:
    (path / "config").write_bytes(b"\0\0[")


def drop_objects(path: Path) -> None:
    for pack in path.glob("objects/pack/*"):
        pack.unlink()


def break_refs(path: Path) -> None:
    (path / "packed-refs").write_bytes(b"nonsense\n" * 3)
    head = path / "refs" / "heads" / "main"
    head.parent.mkdir(parents=True, exist_ok=True)
    head.write_bytes(b"\0" * 41)


@pytest.mark.parametrize(
    "damage", [truncate_packs, drop_head, empty_config, drop_objects, break_refs]
)
async def test_a_damaged_mirror_is_cloned_anew(
    mirror: Mirror, remote: Remote, damage: object
) -> None:
    assert callable(damage)
    await mirror.refresh()
    damage(mirror.path)
    remote.push(f"{remote.history.commit({'late': 'x'})}:main")
    await mirror.refresh()
    head = remote.history.head
    assert await mirror.branch_head("main") == head
    broken = remote.history.git("rev-parse", "HEAD~2")
    ours = await mirror.read(lambda git: compute_revert(git, [broken], head))
    assert isinstance(ours, Clean)
    assert leftovers(mirror) == []


async def test_damage_found_while_reading_is_mended_and_read_again(
    mirror: Mirror, remote: Remote
) -> None:
    await mirror.refresh()
    truncate_packs(mirror.path)
    head = remote.history.head
    ours = await mirror.read(lambda git: compute_revert(git, [head], head))
    assert isinstance(ours, Clean)


async def test_an_error_that_is_no_damage_is_not_mended(mirror: Mirror) -> None:
    await mirror.refresh()
    made = mirror.path.stat().st_ino

    async def fails(git: Git) -> None:
        await git.run("rev-list", "--no-such-option")

    with pytest.raises(GitFailed):
        await mirror.read(fails)
    with pytest.raises(GitFailed):
        await mirror.read(lambda git: is_ancestor(git, "f" * 40, "main"))
    with pytest.raises(GitFailed):
        await mirror.read(lambda git: commit_range(git, "main", "f" * 40))
    assert mirror.path.stat().st_ino == made


async def test_what_a_killed_process_left_is_cleared(mirror: Mirror, remote: Remote) -> None:
    await mirror.refresh()
    (mirror.directory / "42.tmp-dead" / "fresh.git").mkdir(parents=True)
    for name in ("config.lock", "packed-refs.lock", "refs/heads/main.lock", "shallow.lock"):
        (mirror.path / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror.path / name).touch()
    remote.push(f"{remote.history.commit({'late': 'x'})}:main")
    await mirror.refresh()
    assert await mirror.branch_head("main") == remote.history.head
    assert leftovers(mirror) == []


async def test_directories_that_git_makes_and_removes_meanwhile_do_not_matter(
    mirror: Mirror,
) -> None:
    await mirror.refresh()
    over = threading.Event()

    def write_as_git_does() -> None:
        # A merge in a mirror takes no lock; its objects wait in a directory of their own.
        incoming = mirror.path / "objects" / "tmp_objdir-merge"
        while not over.is_set():
            (incoming / "ab").mkdir(parents=True)
            shutil.rmtree(incoming)

    writing = asyncio.create_task(asyncio.to_thread(write_as_git_does))
    try:
        for _ in range(5):
            await mirror.refresh()
        for _ in range(400):
            assert await mirror.disk_bytes() > 0
    finally:
        over.set()
        await writing


async def test_many_refreshes_at_once_take_turns(
    mirror: Mirror, remote: Remote, tokens: Tokens
) -> None:
    other = Mirror(mirror.directory, 42, remote.url, tokens)
    await asyncio.gather(*(one.refresh() for one in (mirror, other) * 3))
    assert await other.branch_head("main") == remote.history.head
    assert leftovers(mirror) == []


KILLED = """
import asyncio, pathlib, sys
from bot.git.mirror import Mirror
async def token(): return "first"
print("ready", flush=True)
asyncio.run(Mirror(pathlib.Path(sys.argv[1]), 42, sys.argv[2], token).refresh())
"""


@pytest.mark.parametrize("milliseconds", [5, 60, 150])
async def test_a_process_killed_while_cloning_does_not_stand_in_the_way(
    mirror: Mirror, remote: Remote, milliseconds: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(mirror.directory), remote.url),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(milliseconds / 1000)
    if process.returncode is None:
        os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await mirror.refresh()
    assert await mirror.branch_head("main") == remote.history.head
    assert leftovers(mirror) == []


async def test_upkeep_keeps_what_is_needed_and_removal_removes(
    mirror: Mirror, remote: Remote
) -> None:
    await mirror.refresh()
    head = remote.history.head
    before = await mirror.read(lambda git: compute_revert(git, [head], head))
    await mirror.maintain()
    assert await mirror.read(lambda git: compute_revert(git, [head], head)) == before
    await mirror.remove()
    assert not mirror.path.exists()
