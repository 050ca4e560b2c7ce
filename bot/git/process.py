"""The one way host git is run: no shell, no prompt, no hooks, no foreign config, in a time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bot.git.errors import (
    CorruptRepository,
    DiskFull,
    GitFailed,
    GitTimeout,
    GitTooOld,
    NotARepository,
    OutputTooLarge,
    RemoteUnavailable,
    redacted,
)

OLDEST_GIT = (2, 38)
"""The first git whose `merge-tree` has `--write-tree`."""

SecretConfig = Mapping[str, str]
"""Git configuration that holds a credential; travels through the environment only."""

Credentials = Callable[[], Awaitable[SecretConfig]]
"""Awaited before each command that may talk to the remote, so a token never grows old."""

T = TypeVar("T")

_GRACE_SECONDS = 2.0
_FATAL = 128
_MORE_TRIES = 3
"""So often is begun again what packing got in the way of."""
_PASSED_ON = (
    "PATH",
    "TMPDIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
)
# What Python reads and curl's library does not, so that both reach GitHub or neither does.
_TRANSLATED = {
    "HTTP_PROXY": "http_proxy",
    "SSL_CERT_FILE": "GIT_SSL_CAINFO",
    "SSL_CERT_DIR": "GIT_SSL_CAPATH",
}
# Every process, ours or the user's clone: nothing interactive, nothing in the background that
# would outlive the call, no program named by a repository's config that we can name here.
_QUIET = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "GIT_EDITOR": "false",
    "GIT_PAGER": "cat",
    "GIT_ADVICE": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_AUTHOR_NAME": "Incident Playbooks",
    "GIT_AUTHOR_EMAIL": "playbooks@localhost",
    "GIT_COMMITTER_NAME": "Incident Playbooks",
    "GIT_COMMITTER_EMAIL": "playbooks@localhost",
}
_OPTIONS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "color.ui": "false",
    # A remote that stops sending is given up after a minute instead of holding the lock.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}
_ISOLATED = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "HOME": os.devnull,
    "XDG_CONFIG_HOME": os.devnull,
}

_REMOTE_WORDS = re.compile(
    r"could not read (?:Username|Password)|Authentication failed|unable to access"
    r"|Could not resolve host|Connection (?:refused|reset|timed out)|timed out"
    r"|The requested URL returned error|RPC failed|early EOF|the remote end hung up"
    r"|Could not read from remote repository|transport '\w+' not allowed"
    r"|could not fetch .* from promisor remote|not our ref|repository '.*' not found"
    r"|expected (?:flush|packfile)|does not appear to be a git repository|curl \d+"
    r"|unexpected disconnect|protocol error",
    re.IGNORECASE,
)
_FULL_WORDS = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_VANISHED_WORDS = re.compile(r"unable to create temporary file: No such file or directory")
"""Packing removed an empty folder of loose objects just as another git was to write there."""
_CORRUPT_WORDS = re.compile(
    r"object file .* is empty|is corrupt|corrupt loose|corrupt patch|packfile .* cannot be"
    r"|bad tree object|missing (?:blob|tree|commit) object"
    r"|unable to read (?:tree|[0-9a-f]{40})|inflate:|hash mismatch|index-pack failed"
    r"|not a git repository|broken ref|did not send all necessary objects|bad config"
    r"|object directory .* does not exist|does not match index|file is too small",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class GitOutput:
    """How a git command ended: exit code, standard output, redacted standard error."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text without its last line end."""
        return self.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@dataclass(frozen=True, slots=True)
class Git:
    """Host git on one repository.

    Attributes:
        git_dir: The repository's git directory (bare, or a clone's `.git`).
        credentials: Gives the configuration holding a credential; None where none is needed.
        protocols: The transports a command that may use the network is limited to.
        isolated: Ignore the user's and the machine's configuration. True for our mirrors; False
            for a person's own clone, where `git revert` would obey that configuration too.
        timeout: Seconds a command may take unless it says otherwise.
        is_over: Tells whether it was lent and is to be used no longer.
    """

    git_dir: Path
    credentials: Credentials | None = None
    protocols: tuple[str, ...] = ("https", "http")
    isolated: bool = True
    timeout: float = 120.0
    is_over: Callable[[], bool] | None = None

    async def read(self, operation: Callable[[Git], Awaitable[T]]) -> T:
        """Run `operation` on this repository as it is: a person's clone is not ours to mend."""
        return await operation(self)

    async def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        network: bool = False,
        ok: Collection[int] = (0,),
        timeout: float | None = None,  # noqa: ASYNC109 - kills the process group, not a task
        limit: int = 256 * 1024 * 1024,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> GitOutput:
        """Run `git ARGUMENTS…` in this repository.

        Args:
            *arguments: The subcommand first; never holds a secret.
            stdin: Bytes the command reads; nothing when None.
            network: Whether it may talk to the remote (also to fetch missing objects lazily); in a
                person's own clone git always may, as it does there.
            ok: Exit codes that are answers; every other one is an error.
            timeout: Seconds until its process group is killed; the repository's when None.
            limit: Bytes of standard output after which it is killed.
            environment: Further variables, such as a temporary index or work tree.
            pass_fds: File descriptors the process keeps open, such as a held lock.

        Raises:
            GitTimeout: It took too long.
            OutputTooLarge: It printed too much.
            RemoteUnavailable: The remote could not be reached or refused.
            CorruptRepository: The object store is damaged.
            GitFailed: It ended with another code than those in `ok`.
        """
        if self.is_over is not None and self.is_over():
            raise RuntimeError("a mirror is read by Mirror.read only, and this reading has ended")
        network = network or not self.isolated
        secrets = await self.credentials() if network and self.credentials else {}
        prefix = ["git", f"--git-dir={self.git_dir.absolute()}"]
        work_tree = (environment or {}).get("GIT_WORK_TREE")
        # Git reads attributes from a work tree only when it runs inside of it.
        prefix += ["-C", work_tree, "-c", "core.bare=false"] if work_tree else ["--bare"]
        communicate = functools.partial(
            _communicate,
            arguments[0],
            [*prefix, *arguments],
            self._environment(secrets, network) | dict(environment or {}),
            stdin=stdin,
            ok=ok,
            timeout=self.timeout if timeout is None else timeout,
            limit=limit,
            pass_fds=pass_fds,
            network=network,
            secrets=_secret_words(secrets),
        )
        for _ in range(_MORE_TRIES):
            try:
                return await communicate()
            except GitFailed as failed:
                if not _VANISHED_WORDS.search(failed.stderr):
                    raise
        return await communicate()

    def _environment(self, secrets: SecretConfig, network: bool) -> dict[str, str]:
        if self.isolated:
            base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            base |= _ISOLATED
            for name, in_gits_words in _TRANSLATED.items():
                if name in os.environ:
                    base.setdefault(in_gits_words, os.environ[name])
        else:
            base = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        options = dict(_OPTIONS)
        if self.isolated:
            options["safe.directory"] = str(self.git_dir)
            options["core.attributesFile"] = os.devnull
        options |= secrets
        base |= _QUIET
        base["GIT_ALLOW_PROTOCOL"] = ":".join(self.protocols) if network else "none"
        base["GIT_CONFIG_COUNT"] = str(len(options))
        for index, (key, value) in enumerate(options.items()):
            base[f"GIT_CONFIG_KEY_{index}"] = key
            base[f"GIT_CONFIG_VALUE_{index}"] = value
        return base


class Readable(Protocol):
    """A repository that can be read: a person's clone, or a mirror, which mends itself."""

    async def read(self, operation: Callable[[Git], Awaitable[T]]) -> T:
        """Run `operation` on the repository; it may be run again, so it must be repeatable."""
        ...


async def git_directory(path: Path) -> Path:
    """Return the git directory of the clone or bare repository that `path` lies in.

    Raises:
        NotARepository: There is none.
        GitFailed: Git will not touch it, such as one that another user owns.
    """
    try:
        said = await _communicate(
            "rev-parse",
            ["git", "-C", str(path), "rev-parse", "--absolute-git-dir"],
            Git(path, isolated=False)._environment({}, network=False),
            ok=(0,),
            timeout=30.0,
            limit=1 << 16,
        )
    except GitFailed as problem:
        if re.search("not a git repository|cannot change to", problem.stderr):
            raise NotARepository(path) from None
        raise
    return Path(said.text)


@functools.cache
def require_git() -> tuple[int, ...]:
    """Return host git's version.

    Raises:
        GitTooOld: Git is missing or older than 2.38.
    """
    if shutil.which("git") is None:
        raise GitTooOld(None)
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False)  # noqa: S607 - the PATH's git is the one meant
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said.stdout)
    if found is None:
        raise GitTooOld(None)
    version = tuple(int(part) for part in found.groups(default="0"))
    if version < OLDEST_GIT:
        raise GitTooOld(found.group())
    return version


def _secret_words(secrets: SecretConfig) -> tuple[str, ...]:
    """Whole values and their last words: a header is echoed with and without its name."""
    return tuple({word for value in secrets.values() for word in (value, value.rpartition(" ")[2])})


async def _communicate(
    command: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: bytes | None = None,
    ok: Collection[int],
    timeout: float,  # noqa: ASYNC109 - kills the process group, not a task
    limit: int,
    pass_fds: Sequence[int] = (),
    network: bool = False,
    secrets: Sequence[str] = (),
) -> GitOutput:
    process = await _spawn(argv, environment, stdin is not None, pass_fds)
    try:
        async with asyncio.timeout(timeout):
            _, stdout, stderr = await asyncio.gather(
                _feed(process, stdin), _read(process, limit), _read_tail(process.stderr)
            )
            code = await process.wait()
    except TimeoutError:
        raise GitTimeout(command, timeout) from None
    finally:
        # Also on cancellation: nothing we started may outlive the call.
        if process.returncode is None:
            await asyncio.shield(_end(process))
    if stdout is None:
        raise OutputTooLarge(command, limit)
    words = redacted(stderr.decode("utf-8", "replace"), secrets)
    broke_off = code == -signal.SIGPIPE
    if broke_off and not network:
        # It wanted to fetch an object that is missing here. It may not, and the child that it had
        # just begun to ask was gone already: mostly it notices that, and ends with this code.
        code, broke_off = _FATAL, False
    if code in ok:
        return GitOutput(code, stdout, words)
    # Before the others: a pack that found no room is called broken, too.
    if _FULL_WORDS.search(words):
        raise DiskFull(command, code, words)
    # A remote's refusal is looked for first: its words end with "bad object" at times.
    if network and (broke_off or _REMOTE_WORDS.search(words)):
        raise RemoteUnavailable(command, code, words)
    if _CORRUPT_WORDS.search(words):
        raise CorruptRepository(command, code, words)
    raise GitFailed(command, code, words)


async def _spawn(
    argv: Sequence[str], environment: Mapping[str, str], feeds: bool, pass_fds: Sequence[int]
) -> asyncio.subprocess.Process:
    """Start a process in a group of its own; when cancelled meanwhile, end that group.

    Left to itself, asyncio would end the process but not the children it has by then.
    """
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe if feeds else none,
            stdout=pipe,
            stderr=pipe,
            env=dict(environment),
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    )
    try:
        return await asyncio.shield(starting)
    except FileNotFoundError:
        raise GitTooOld(None) from None
    except asyncio.CancelledError:
        await _end(await starting)
        raise


async def _feed(process: asyncio.subprocess.Process, stdin: bytes | None) -> None:
    if process.stdin is None or stdin is None:
        return
    # Git may answer and end before it has read everything.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process, limit: int) -> bytes | None:
    """Read standard output; past `limit` bytes kill the process and return None."""
    chunks: list[bytes] = []
    size = 0
    while process.stdout and (chunk := await process.stdout.read(1 << 16)):
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif chunks:
            _signal(process, signal.SIGKILL)
            chunks.clear()
    return b"".join(chunks) if size <= limit else None


async def _read_tail(stream: asyncio.StreamReader | None, kept: int = 1 << 14) -> bytes:
    """Drain a stream and keep its end, where git says what was wrong."""
    tail = b""
    while stream is not None and (chunk := await stream.read(1 << 16)):
        tail = (tail + chunk)[-kept:]
    return tail


def _signal(process: asyncio.subprocess.Process, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the whole process group: asked first, so that git removes its lock files."""
    ended = asyncio.gather(process.wait(), _read_tail(process.stdout), _read_tail(process.stderr))
    _signal(process, signal.SIGTERM)
    await asyncio.wait([ended], timeout=_GRACE_SECONDS)
    # The leader may be gone while a child of its group still runs.
    _signal(process, signal.SIGKILL)
    await ended
