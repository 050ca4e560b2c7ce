"""Trees of the bot's code, and lives of the bot forked from them.

A tree is read out of git into a folder of its own (an archive of the commit: nothing is registered
in anybody's clone), with an interpreter whose packages are those of its own `constraints.txt`.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from signal import SIGKILL, Signals

from tests.chaos.life import Life

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "upgrade"
SERVER = Path(__file__).with_name("server.py")
_IMPORTS_S = 120.0
_STARTS_S = 60.0


class NoSuchCommit(Exception):
    """The commit is not in this clone. `str()` says what to do."""


@dataclass(frozen=True)
class Tree:
    """The bot's code as of some commit, or a changed copy of it."""

    name: str
    path: Path
    python: Path


TODAY = Tree("today", ROOT, Path(sys.executable))


def tree_of(commit: str, cache: Path = CACHE) -> Tree:
    """The code of a commit; made once, then kept in the cache.

    Raises:
        NoSuchCommit: a shallow clone, or a misspelt name.
    """
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    if found.returncode:
        raise NoSuchCommit(f"{commit} is not in this clone: git fetch --unshallow, or name another")
    sha = found.stdout.decode().strip()
    home = cache / sha
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "tree" / ".complete").exists():
            _extract(sha, home / "tree")
            (home / "tree" / ".complete").touch()
        python = _interpreter(home)
    return Tree(sha[:7], home / "tree", python)


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Ask git about this clone; what it said, and its exit code."""
    return subprocess.run(  # noqa: S603 - a fixed program; the arguments are a list
        ["git", *words],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=False,
    )


def _extract(sha: str, into: Path) -> None:
    archive = git("archive", "--format=tar", sha).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(into, filter="data")


def _interpreter(home: Path) -> Path:
    """Ours where the packages are the same, else one of the tree's own."""
    theirs, ours = home / "tree" / "constraints.txt", ROOT / "constraints.txt"
    if theirs.read_bytes() == ours.read_bytes():
        return Path(sys.executable)
    venv = home / "venv"
    python = venv / "bin" / "python"
    if not (venv / ".ready").exists():
        print(f"setting up the packages of {home.name[:7]} (once, about a minute) …", flush=True)  # noqa: T201
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)  # noqa: S603 - our own words
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--constraint", theirs, home / "tree"], check=True)  # noqa: S603 - our own words
        (venv / ".ready").touch()
    return python


@dataclass
class Server:
    """Forks lives of one tree."""

    tree: Tree
    process: asyncio.subprocess.Process
    begun: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    """What processes ended with, by their id; a signal's number is negative."""
    ids: count[int] = field(default_factory=count)

    @classmethod
    async def start(cls, tree: Tree) -> Server:
        """Start it, and return once it has imported the bot."""
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        process = await asyncio.create_subprocess_exec(
            tree.python, SERVER, cwd=tree.path, env=kept | {"PYTHONPATH": str(tree.path)},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        server = cls(tree, process)
        async with asyncio.timeout(_IMPORTS_S):
            assert process.stdout is not None
            first = await process.stdout.readline()
        if b"ready" not in first:
            raise AssertionError(f"the bot of {tree.name} cannot be imported")
        server._reading = asyncio.create_task(server._read())
        return server

    _reading: asyncio.Task[None] | None = None

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "id" in said:
                # Process ids are used again.
                self.codes.pop(said["pid"], None)
                self.begun[said["id"]].set_result(said["pid"])
            else:
                self.codes[said["pid"]] = said["code"]

    async def fork(
        self, environment: Mapping[str, str], folder: Path, look_again: float, dead_after: float
    ) -> int:
        """Begin a life; its process id."""
        assert self.process.stdin is not None
        number = next(self.ids)
        self.begun[number] = asyncio.get_running_loop().create_future()
        order = {
            "id": number,
            "environment": dict(environment),
            "folder": str(folder),
            "look_again": look_again,
            "beat_every": dead_after / 12,
            "dead_after": dead_after,
        }
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        return await self.begun[number]

    async def close(self) -> None:
        """End it, and every life it began."""
        if self._reading is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            await self.process.wait()
            self._reading.cancel()


class Servers:
    """One server for each tree, started when it is first needed."""

    def __init__(self) -> None:
        self._known: dict[Path, Server] = {}
        self._turn = asyncio.Lock()

    async def of(self, tree: Tree) -> Server:
        """The server that forks lives of this tree."""
        async with self._turn:
            if tree.path not in self._known:
                self._known[tree.path] = await Server.start(tree)
            return self._known[tree.path]

    async def close(self) -> None:
        """End them all."""
        for each in self._known.values():
            await each.close()


class TreeLife(Life):
    """Lives of the bot on the same data, each of the code of `tree`."""

    def __init__(
        self, servers: Servers, tree: Tree, environment: Mapping[str, str], folder: Path
    ) -> None:
        """Prepare."""
        super().__init__(environment, folder)
        self.servers, self.tree = servers, tree
        self._server: Server | None = None
        self._pid: int | None = None
        self.look_again = 1.0
        self.dead_after = 60.0

    @property
    def pid(self) -> int:
        """The present process."""
        assert self._pid is not None
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._server is not None and self._pid not in self._server.codes

    @property
    def code(self) -> int | None:
        """What the last process ended with; a signal's number is negative."""
        return None if self._server is None else self._server.codes.get(self.pid)

    async def start(self) -> None:
        """Start the bot of the tree, and return once it answers."""
        self.lives += 1
        server = await self.servers.of(self.tree)
        self._pid = await server.fork(
            self.environment, self.folder, self.look_again, self.dead_after
        )
        self._server = server
        async with asyncio.timeout(_STARTS_S):
            while not await self._answers():
                if not self.alive:
                    raise AssertionError(
                        f"{self.tree.name} did not start ({self.code}):\n{self.said(1500)}"
                    )
                await asyncio.sleep(0.05)

    def stop_at(
        self, playbook: str, place: str, number: Signals = SIGKILL, *,
        at_once: bool = False, after: float = 0.0,
    ) -> None:  # fmt: skip
        """Have it stop itself by a signal when this playbook comes to wait there.

        Args:
            playbook: whose Run waits.
            place: where in the code, `module:function`.
            number: the signal.
            at_once: the wait only takes what has come already.
            after: seconds that it goes on waiting before.
        """
        order = {
            "playbook": playbook, "place": place, "signal": number.name,
            "at_once": at_once, "after": after,
        }  # fmt: skip
        draft = self.folder / "stop-at.draft"
        draft.write_text(json.dumps(order), encoding="utf-8")
        draft.rename(self.folder / "stop-at")

    def stop_nowhere(self) -> None:
        """Let it live."""
        (self.folder / "stop-at").unlink(missing_ok=True)

    def waits(self) -> list[tuple[str, str, str, float, str]]:
        """Every wait so far: Run, playbook, place, seconds, and the id where the code has one."""
        path = self.folder / "waits"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(r, p, w, float(s), n) for r, p, w, s, n in (each.split("\t") for each in lines)]
