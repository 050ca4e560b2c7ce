"""Blobless bare mirrors: one per repository id, so that a rename does not lose it.

A mirror holds every commit and tree of the branches; blobs are fetched when a merge needs them.
It is a cache: whatever is wrong with it, it is cloned again beside it and renamed into place.
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
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import structlog

from bot.git import maintenance
from bot.git.errors import (
    CorruptRepository,
    GitError,
    GitFailed,
    GitTimeout,
    MirrorDamaged,
    NoSuchParent,
    RemoteUnavailable,
    ShallowHistory,
    UnknownRevision,
)
from bot.git.history import is_ancestor
from bot.git.integrity import (
    Soundness,
    is_sound_object,
    loose_objects,
    seal_refs,
    sound_cruft,
    unseal_refs,
)
from bot.git.process import Git, SecretConfig, require_git

Token = Callable[[], Awaitable[str]]
"""Gives a valid installation token; awaited for each command that may reach the remote."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

_REFUSED = re.compile(r"Authentication failed|could not read (?:Username|Password)|\b40[13]\b")
_WANTED = "refs/playbooks/wanted/"
_FETCH = ("fetch", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--quiet")
_PACK_REFS = ("pack-refs", "--all", "--prune")
_COMMIT_GRAPH = ("commit-graph", "write", "--reachable")
_LOCK_POLL_SECONDS = 0.05
_ATTEMPTS = 3
_LOOKS = 5
_LOOK_AGAIN_SECONDS = 0.1
# After a start, when nobody knows which packs there should be; and where there is a doubt.
_FIRST_WALK_COMMITS = 200
_WALKED_COMMITS = 5_000
_WALK_SECONDS = 20.0
# A lost object makes a revision unknown and a history shallow; the remote seems away where what
# is lost was fetched, and git at a loss may go round in circles.
_DOUBTFUL = (GitFailed, GitTimeout, UnknownRevision, ShallowHistory, NoSuchParent)


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
    _soundness: Soundness = field(init=False, repr=False)
    _walked: frozenset[str] | None = field(default=None, init=False, repr=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _last_token: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse an address that holds a credential: it would end up in git's configuration."""
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("the mirror's address must not hold a user name or password")
        self._soundness = Soundness(self.path)

    @property
    def path(self) -> Path:
        """The mirror's git directory."""
        return self.directory / f"{self.repository_id}.git"

    async def refresh(self, wanted: Sequence[str] = ()) -> None:
        """Bring all branches up to date, and have the commits `wanted` (full SHAs) here.

        Clones where there is no mirror yet, and clones again where it is damaged.

        Raises:
            RemoteUnavailable: The remote cannot be reached, or refuses the token.
            UnknownRevision: The remote does not know a wanted commit.
            GitTimeout: It took too long.
        """
        require_git()
        async with self._noting_refusals(), self._held() as lock:
            if not await asyncio.to_thread(self.path.exists):
                await self._clone(lock)
            for attempt in range(_ATTEMPTS):
                await self._mend(lock)
                try:
                    await self._bring_up_to_date(lock, wanted)
                except (GitFailed, GitTimeout) as problem:
                    if not await self._is_mended(problem, lock, attempt):
                        raise
                else:
                    return

    async def read(
        self,
        operation: Callable[[Git], Awaitable[T]],
        *,
        after_rebuild: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Run `operation` on the mirror; where it is found damaged, mend it and run it again.

        This is the only way to read a mirror, and the `Git` that the operation is given is good
        for nothing once the operation has ended.

        Args:
            operation: Reads, or computes objects; it may be run more than once.
            after_rebuild: Makes again what earlier operations computed here and this one needs;
                awaited before the operation is run again.

        Raises:
            GitError: Whatever the operation raises, damage only when it is there again.
        """
        async with self._noting_refusals():
            for attempt in range(_ATTEMPTS):
                if (made := await self._made_and_sound()) is None:
                    async with self._held() as lock:
                        is_other = await self._mend(lock)
                    if is_other:
                        await _again(after_rebuild)
                    made = await asyncio.to_thread(self._made)
                try:
                    return await self._lend(operation)
                except _DOUBTFUL as problem:
                    if attempt + 1 == _ATTEMPTS:
                        raise
                    async with self._held() as lock:
                        # Whoever held the lock before may have mended it.
                        is_same = made == await asyncio.to_thread(self._made)
                        is_mended = not is_same or await self._is_mended(problem, lock, attempt)
                    # What was computed long ago is dropped at some time, which is no damage.
                    if not is_mended and (after_rebuild is None or attempt > 0):
                        raise
                await _again(after_rebuild)
        raise AssertionError("the last attempt returns or raises")

    async def branch_head(self, branch: str) -> str:
        """Return the full SHA of a branch as of the last refresh.

        The remote is asked once more for one that is not here: its ref may have been lost.

        Raises:
            UnknownRevision: There is no such branch.
        """
        name = f"refs/heads/{branch}"

        async def head(git: Git) -> str:
            said = await git.run("show-ref", "--verify", "--hash", "--", name, ok=(0, 1, 128))
            return "" if said.code else said.text

        if found := await self.read(head):
            return found
        with contextlib.suppress(RemoteUnavailable, GitTimeout):
            await self.refresh()
        if found := await self.read(head):
            return found
        raise UnknownRevision(branch)

    async def contains(self, branch: str, sha: str) -> bool:
        """Tell whether a commit is on a branch, as of the last refresh.

        Raises:
            UnknownRevision: There is no such branch.
        """
        head = await self.branch_head(branch)
        return await self.read(lambda git: is_ancestor(git, sha, head))

    async def disk_bytes(self) -> int:
        """Return the disk space the mirror takes, in bytes."""
        return await asyncio.to_thread(_disk_bytes, self.path)

    async def reason_to_maintain(self, now: datetime) -> str | None:
        """Say why the mirror is to be packed now; None: it is not, or there is no mirror."""
        if not await asyncio.to_thread(self.path.is_dir):
            return None
        return maintenance.reason_to_pack(
            await asyncio.to_thread(maintenance.look, self.path, now), now
        )

    async def maintain(self) -> bool:
        """Pack what fetching and reverting left, and drop what nobody has used for two weeks.

        Refreshing and reading go on meanwhile: packs are only replaced by others that hold the
        same. The whole of every pack is checked first.

        Returns:
            False where another process is at it, or there is no mirror.

        Raises:
            RemoteUnavailable: It was damaged or had grown too large, and cannot be cloned again.
            GitError: It could not be packed.
        """
        async with self._noting_refusals():
            async with self._held() as lock:
                if not await asyncio.to_thread(self.path.is_dir):
                    return False
                await self._mend(lock, whole=True)
            try:
                async with self._packing(wait=False) as packing:
                    if packing is None:
                        return False
                    await self._pack(packing)
            except GitFailed as problem:
                async with self._held() as lock:
                    if not await self._is_mended(problem, lock, 0):
                        raise
            size = await self.disk_bytes()
            await asyncio.to_thread(maintenance.mark_size, self.path, size)
            has_grown = await asyncio.to_thread(maintenance.has_grown, size, self.path)
            if has_grown and self.url:
                async with self._held() as lock:
                    await self._rebuild(lock, f"it has grown to {size:,} bytes")
        return True

    async def remove(self) -> None:
        """Delete the mirror, as when the App was uninstalled."""
        async with self._held(), self._packing(wait=True):
            await asyncio.to_thread(_remove, self.path)

    # --- whether it is whole ---

    async def _lend(self, operation: Callable[[Git], Awaitable[T]]) -> T:
        is_over = threading.Event()
        git = replace(self._git(self.path), is_over=is_over.is_set)
        try:
            return await operation(git)
        finally:
            is_over.set()

    def _made(self) -> tuple[int, int] | None:
        """Tell this mirror from one cloned again in its place."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    async def _made_and_sound(self) -> tuple[int, int] | None:
        """Look without a lock, before each read; what looks odd is looked at again under it.

        Returns:
            What tells this mirror from another; None: it looks damaged.
        """
        if self._soundness.packs is None:
            return None

        def look() -> tuple[bool, Sequence[str], tuple[int, int] | None]:
            doubts = self._soundness.check()
            return bool(doubts), self._soundness.drop_damaged(loose=False), self._made()

        try:
            is_doubtful, dropped, made = await asyncio.to_thread(look)
        except MirrorDamaged:
            return None
        self._tell_dropped(dropped)
        return None if is_doubtful else made

    async def _mend(self, lock: int, *, whole: bool = False) -> bool:
        """Make sure that every file is sound and nothing is missing; clone again otherwise.

        Returns:
            Whether it was cloned again.
        """
        await self._drop_damaged(loose=whole)
        if (why := await self._damage(lock, whole=whole)) is None:
            return False
        await self._rebuild(lock, why)
        return True

    async def _is_mended(self, problem: GitError, lock: int, attempt: int) -> bool:
        """Tell whether trying again after `problem` may help, mending what is found damaged.

        Git says "bad object" of a commit that is merely unknown too, so its words alone are
        believed only when they are said twice.
        """
        if await self._drop_damaged(loose=True):
            return True
        why = await self._damage(lock, whole=True)
        if why is None and isinstance(problem, CorruptRepository):
            if attempt == 0:
                return True
            why = str(problem)
        if why is None:
            return False
        await self._rebuild(lock, why)
        return True

    async def _drop_damaged(self, *, loose: bool) -> bool:
        dropped = await asyncio.to_thread(self._soundness.drop_damaged, loose=loose)
        self._tell_dropped(dropped)
        return bool(dropped)

    def _tell_dropped(self, dropped: Sequence[str]) -> None:
        if dropped:
            log.warning("mirror.mended", mirror=self.repository_id, dropped=dropped[:10])

    async def _damage(self, lock: int, *, whole: bool) -> str | None:
        """Say what is damaged or missing, None where nothing is; the lock is held."""
        is_first = self._soundness.packs is None
        for look in range(_LOOKS):
            try:
                doubts = await asyncio.to_thread(self._soundness.check, whole=whole)
            except MirrorDamaged as problem:
                # A pack's files appear and vanish one after the other.
                if not problem.passing or look + 1 == _LOOKS:
                    return str(problem)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            else:
                break
        if doubts.refs:
            await self._bring_up_to_date(lock)
        # Sound packs still hold what was found in them before.
        is_walked = self._walked is not None and self._walked == self._soundness.packs
        if doubts.packs or is_first or (whole and not is_walked):
            few = is_first and not whole
            try:
                await self._walk(lock, _FIRST_WALK_COMMITS if few else _WALKED_COMMITS)
            except GitTimeout:
                log.info("mirror.unwalked", mirror=self.repository_id)
            except GitFailed as problem:
                return str(problem)
            with contextlib.suppress(MirrorDamaged):
                await asyncio.to_thread(self._soundness.accept)
            self._walked = None if few else self._soundness.packs
        return None

    async def _walk(self, lock: int, commits: int) -> None:
        """Follow the newest commits and their trees; nothing is fetched.

        Raises:
            GitFailed: One is missing.
        """
        command = ("rev-list", "--objects", "--all", "--missing=print", "--filter=blob:none")
        said = await self._git(self.path).run(
            *(*command, f"--max-count={commits}"),
            environment={"GIT_CONFIG_PARAMETERS": "'core.commitgraph=false'"},
            timeout=_WALK_SECONDS,
            pass_fds=(lock,),
        )
        if said.stdout.startswith(b"?") or b"\n?" in said.stdout:
            raise GitFailed("rev-list", 0, "objects are missing")

    async def _rebuild(self, lock: int, why: str) -> None:
        log.warning("mirror.rebuilt", mirror=self.repository_id, why=why)
        async with self._packing(wait=True):
            await self._clone(lock)

    # --- what is done to it ---

    async def _pack(self, packing: int) -> None:
        git = self._git(self.path)
        await asyncio.to_thread(maintenance.clear_temporary, self.path)
        for command in (maintenance.PACK, maintenance.PRUNE, _COMMIT_GRAPH):
            await git.run(*command, timeout=self.clone_timeout, pass_fds=(packing,))
        await asyncio.to_thread(maintenance.mark_packed, self.path)
        await asyncio.to_thread(self._soundness.accept)

    @contextlib.asynccontextmanager
    async def _packing(self, *, wait: bool) -> AsyncIterator[int | None]:
        """Hold the right to replace packs; None where another has it and we do not wait.

        Whoever holds both locks took the mirror's own first.
        """
        await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
        handle = _open_lock(self.directory / f"{self.repository_id}.packing.lock")
        try:
            if wait:
                await _lock_file(handle, self.clone_timeout)
                yield handle
            else:
                yield handle if _try_lock(handle) else None
        finally:
            os.close(handle)

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
            handle = _open_lock(name)
            try:
                await _lock_file(handle, self.clone_timeout)
                await asyncio.to_thread(self._clear_leftovers)
                yield handle
            finally:
                os.close(handle)

    def _clear_leftovers(self) -> None:
        for scratch in self.directory.glob(f"{self.repository_id}.tmp-*"):
            _remove(scratch)
        if not self.path.is_dir():
            self.path.unlink(missing_ok=True)
            return
        # Whoever made these is gone: we hold the lock that every writer of refs holds. What packs
        # holds another lock, and clears its own.
        for stale in (*self.path.glob("*.lock"), *_files(self.path / "refs")):
            if stale.suffix == ".lock":
                stale.unlink(missing_ok=True)

    async def _clone(self, lock: int) -> None:
        scratch = Path(tempfile.mkdtemp(prefix=f"{self.repository_id}.tmp-", dir=self.directory))
        try:
            fresh = scratch / "fresh.git"
            git = self._git(fresh)
            new = ("--quiet", "--bare", "--template=", str(fresh))
            await git.run("init", *new, pass_fds=(lock,))
            await self._update(git, lock, self.clone_timeout)
            await git.run(*_PACK_REFS, pass_fds=(lock,))
            await git.run(*_COMMIT_GRAPH, timeout=self.clone_timeout, pass_fds=(lock,))
            await asyncio.to_thread(self._replace_by, fresh, scratch / "old.git")
        finally:
            await asyncio.to_thread(_remove, scratch)
        with contextlib.suppress(MirrorDamaged):
            await asyncio.to_thread(self._soundness.accept)

    def _replace_by(self, fresh: Path, old: Path) -> None:
        seal_refs(fresh)
        maintenance.mark_packed(fresh)
        maintenance.mark_size(fresh, _disk_bytes(fresh))
        if self.path.exists():
            computed = [file for file in loose_objects(self.path) if is_sound_object(file)]
            maintenance.carry_over(self.path, fresh, [*computed, *sound_cruft(self.path)])
            self.path.rename(old)
        fresh.rename(self.path)

    async def _bring_up_to_date(self, lock: int, wanted: Sequence[str] = ()) -> None:
        """Fetch all branches and the commits wanted, and seal the refs that there are then."""
        git = self._git(self.path)
        await asyncio.to_thread(unseal_refs, self.path)
        await self._update(git, lock, self.fetch_timeout)
        try:
            await self._fetch_wanted(wanted, lock)
        finally:
            await git.run(*_PACK_REFS, pass_fds=(lock,))
            await asyncio.to_thread(seal_refs, self.path)

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
        git = self._git(self.path)
        for sha in dict.fromkeys(wanted):
            present = await git.run("rev-parse", f"--disambiguate={sha}")
            if present.text:
                continue
            refspec = f"{sha}:{_WANTED}{sha}"
            command = (*_FETCH, "--filter=blob:none", "origin", refspec)
            try:
                await git.run(*command, network=True, timeout=self.fetch_timeout, pass_fds=(lock,))
            except RemoteUnavailable as problem:
                if "not our ref" in problem.stderr:
                    raise UnknownRevision(sha) from None
                raise


async def _lock_file(handle: int, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                if _try_lock(handle):
                    return
                await asyncio.sleep(_LOCK_POLL_SECONDS)
    except TimeoutError:
        raise GitTimeout("waiting for another process on this mirror", seconds) from None


def _open_lock(name: Path) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _again(prepare: Callable[[], Awaitable[None]] | None) -> None:
    if prepare is not None:
        await prepare()


def _remove(folder: Path) -> None:
    """Delete a folder whose permissions may be damaged too."""
    for here, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(here).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


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
