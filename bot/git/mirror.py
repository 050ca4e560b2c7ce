"""Blobless bare mirrors: one per repository id, so that a rename does not lose it.

A mirror holds every commit and tree of the branches; blobs are fetched when a merge needs them.
It is a cache: whatever is wrong with it, it is cloned anew beside and renamed into place.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import structlog

from bot.git.errors import (
    CorruptRepository,
    GitError,
    GitFailed,
    GitTimeout,
    RemoteUnavailable,
    UnknownRevision,
)
from bot.git.process import Git, SecretConfig, require_git

Token = Callable[[], Awaitable[str]]
"""Gives a valid installation token; awaited for each command that may reach the remote."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

_REFUSED = re.compile(r"Authentication failed|could not read (?:Username|Password)|\b40[13]\b")
_WANTED = "refs/playbooks/wanted/"
_FETCH = ("fetch", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--quiet")
_LOCK_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Mirror:
    """The mirror of one repository.

    Attributes:
        directory: Where all mirrors live.
        repository_id: GitHub's id of the repository; names the mirror.
        url: The address to fetch from, without credentials; may change with a rename.
        token: Gives the token to fetch with; None for a remote that asks for none.
        refused: Told of a token that the remote did not take.
        protocols: Transports allowed.
        clone_timeout: Seconds the first clone may take.
        fetch_timeout: Seconds a later fetch may take.
    """

    directory: Path
    repository_id: int
    url: str
    token: Token | None = None
    refused: Callable[[str], None] | None = None
    protocols: tuple[str, ...] = ("https", "http")
    clone_timeout: float = 1800.0
    fetch_timeout: float = 300.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _last_token: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse an address that holds a credential: it would end up in git's configuration."""
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("the mirror's address must not hold a user name or password")

    @property
    def path(self) -> Path:
        """The mirror's git directory."""
        return self.directory / f"{self.repository_id}.git"

    @property
    def git(self) -> Git:
        """Host git on this mirror; lacking blobs are fetched with a fresh token."""
        return self._git(self.path)

    async def refresh(self, wanted: Sequence[str] = ()) -> None:
        """Bring all branches up to date, and have the commits `wanted` (full SHAs) here.

        Clones where there is no mirror yet, and clones anew where it is damaged.

        Raises:
            RemoteUnavailable: The remote cannot be reached, or refuses the token.
            UnknownRevision: The remote does not know a wanted commit.
            GitTimeout: It took too long.
        """
        require_git()
        async with self._noting_refusals(), self._held() as lock:
            if not await asyncio.to_thread(self.path.exists):
                await self._clone(lock)
            else:
                try:
                    await self._update(self.git, lock, self.fetch_timeout)
                except GitFailed as problem:
                    if not await self._is_damage(problem):
                        raise
                    log.warning("mirror.rebuilt", mirror=self.repository_id, why=str(problem))
                    await self._clone(lock)
            await self._fetch_wanted(wanted, lock)

    async def read(self, operation: Callable[[Git], Awaitable[T]]) -> T:
        """Run `operation` on the mirror; where it is found damaged, clone anew and run it again.

        Raises:
            GitError: Whatever the operation raises, damage only when it is there twice.
        """
        async with self._noting_refusals():
            try:
                return await operation(self.git)
            except GitFailed as problem:
                if not await self._is_damage(problem):
                    raise
                log.warning("mirror.rebuilt", mirror=self.repository_id, why=str(problem))
                async with self._held() as lock:
                    await self._clone(lock)
                return await operation(self.git)

    async def branch_head(self, branch: str) -> str:
        """Return the full SHA of a branch as of the last refresh.

        Raises:
            UnknownRevision: There is no such branch.
        """
        name = f"refs/heads/{branch}"
        said = await self.git.run("show-ref", "--verify", "--hash", "--", name, ok=(0, 1, 128))
        if said.code:
            raise UnknownRevision(branch)
        return said.text

    async def disk_bytes(self) -> int:
        """Return the disk space the mirror takes, in bytes."""
        return await asyncio.to_thread(_disk_bytes, self.path)

    async def maintain(self) -> None:
        """Pack what fetching and reverting left loose, and drop what nothing points to.

        Helper objects younger than a day stay: a running playbook may still need them.
        """
        async with self._held() as lock:
            command = ("gc", "--quiet", "--prune=1.day.ago")
            await self.git.run(*command, timeout=self.clone_timeout, pass_fds=(lock,))
            await self._write_commit_graph(self.git, lock)

    async def remove(self) -> None:
        """Delete the mirror, as when the App was uninstalled."""
        async with self._held():
            await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)

    def _git(self, path: Path) -> Git:
        return Git(path, credentials=self._credentials, protocols=self.protocols)

    async def _credentials(self) -> SecretConfig:
        if self.token is None:
            return {}
        address = urlsplit(self.url)
        self._last_token = await self.token()
        word = base64.b64encode(f"x-access-token:{self._last_token}".encode()).decode()
        # Only for this host: git drops the header where a redirect leads elsewhere.
        origin = f"{address.scheme}://{address.netloc}/"
        return {f"http.{origin}.extraHeader": f"Authorization: Basic {word}"}

    @contextlib.asynccontextmanager
    async def _noting_refusals(self) -> AsyncIterator[None]:
        """Have a token that the remote refuses forgotten, so that trying again uses another."""
        try:
            yield
        except RemoteUnavailable as problem:
            if self.refused is not None and _REFUSED.search(problem.stderr):
                self.refused(self._last_token)
            raise

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[int]:
        """Hold the mirror alone among tasks and processes, and clear what a dead one left.

        The lock is the operating system's on an open file, so kill -9 releases it. Git processes
        inherit the file: one that outlived its killed parent still holds the lock until it ends.
        """
        async with self._lock:
            await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
            name = self.directory / f"{self.repository_id}.lock"
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                await _lock_file(handle, self.clone_timeout)
                await asyncio.to_thread(self._clear_leftovers)
                yield handle
            finally:
                os.close(handle)

    def _clear_leftovers(self) -> None:
        for scratch in self.directory.glob(f"{self.repository_id}.tmp-*"):
            shutil.rmtree(scratch, ignore_errors=True)
        if not self.path.is_dir():
            self.path.unlink(missing_ok=True)
            return
        # Whoever made these is gone: we hold the lock that every writer of refs holds.
        for stale in _files(self.path):
            if stale.suffix == ".lock":
                stale.unlink(missing_ok=True)

    async def _clone(self, lock: int) -> None:
        scratch = Path(tempfile.mkdtemp(prefix=f"{self.repository_id}.tmp-", dir=self.directory))
        try:
            fresh = scratch / "fresh.git"
            git = self._git(fresh)
            await git.run("init", "--quiet", "--bare", "--template=", str(fresh))
            await self._update(git, lock, self.clone_timeout)
            await self._write_commit_graph(git, lock)
            await asyncio.to_thread(_swap, fresh, self.path, scratch / "old.git")
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    async def _update(self, git: Git, lock: int, timeout: float) -> None:  # noqa: ASYNC109
        said = await git.run("config", "--get", "remote.origin.url", ok=(0, 1))
        if said.text != self.url:
            await git.run("config", "remote.origin.url", self.url)
        await git.run(
            *(*_FETCH, "--prune", "--force", "--filter=blob:none", "origin"),
            "+refs/heads/*:refs/heads/*",
            network=True,
            timeout=timeout,
            pass_fds=(lock,),
        )

    async def _fetch_wanted(self, wanted: Sequence[str], lock: int) -> None:
        for sha in dict.fromkeys(wanted):
            present = await self.git.run("rev-parse", f"--disambiguate={sha}")
            if present.text:
                continue
            refspec = f"{sha}:{_WANTED}{sha}"
            command = (*_FETCH, "--filter=blob:none", "origin", refspec)
            try:
                await self.git.run(
                    *command, network=True, timeout=self.fetch_timeout, pass_fds=(lock,)
                )
            except RemoteUnavailable as problem:
                if "not our ref" in problem.stderr:
                    raise UnknownRevision(sha) from None
                raise

    async def _is_damage(self, problem: GitFailed) -> bool:
        """Tell a damaged mirror from a remote that is down and from a question asked wrongly.

        Git says "bad object" of a commit that is merely unknown too, so where its words leave
        doubt, what every command needs is read: configuration, refs, recent history.
        """
        if isinstance(problem, RemoteUnavailable):
            return False
        if isinstance(problem, CorruptRepository):
            return True
        try:
            await self.git.run("rev-list", "--all", "--max-count=1000", "--quiet")
        except GitError:
            return True
        return False

    async def _write_commit_graph(self, git: Git, lock: int) -> None:
        command = ("commit-graph", "write", "--reachable")
        await git.run(*command, timeout=self.clone_timeout, pass_fds=(lock,))


async def _lock_file(handle: int, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
    except TimeoutError:
        raise GitTimeout("waiting for another process on this mirror", seconds) from None


def _swap(fresh: Path, path: Path, old: Path) -> None:
    if path.exists():
        path.rename(old)
    fresh.rename(path)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below; unlike `rglob`, it does not mind directories that vanish meanwhile."""
    for here, _, names in os.walk(folder):
        yield from (Path(here, name) for name in names)


def _disk_bytes(path: Path) -> int:
    total = 0
    for file in _files(path):
        # Git processes that hold no lock write, and clear, temporary objects.
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_blocks * 512
    return total
