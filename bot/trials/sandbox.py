"""Builds the bubblewrap command that confines one trial. Two views, one mechanism.

*Server*: code of strangers sees a read-only system, an empty home and no secret. *Terminal*: a
person's own commits also see, read-only, that person's files, since toolchains live there. In
both, only the tree and a private /tmp can be written, there is no network unless allowed, and
all processes live in a PID namespace of their own, so that none can outlive the trial.
See bwrap(1).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bot.trials.outcome import RESULT_VARIABLE

TREE_INSIDE = Path("/trial")
MARK_VARIABLE = "PLAYBOOKS_TRIAL"
_RESULT_NAME = "playbooks-result.json"
_SHARED_MEMORY_BYTES = 1 << 30

# What lies in these is per machine, or per boot: sockets of daemons, others' temporary files.
_HIDDEN = (Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/dev"), Path("/proc"))  # noqa: S108 - named to be hidden

_SERVER_SYSTEM = ("/usr", "/opt", "/nix/store")
_SERVER_LINKS = tuple(map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")))
# Of /etc only what programs need to start; the rest may hold secrets.
_SERVER_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "group",
    "host.conf", "hosts", "java", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
    "login.defs", "mime.types", "nsswitch.conf", "os-release", "passwd", "pki", "profile",
    "protocols", "services", "shells", "ssl", "terminfo", "timezone",
)  # fmt: skip
_NETWORK_FILES = ("/etc/resolv.conf", "/run/systemd/resolve", "/run/NetworkManager/resolv.conf")

_SERVER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVER_ENVIRONMENT = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
_TERMINAL_ENVIRONMENT = (
    *_SERVER_ENVIRONMENT,
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT",
    "PYENV_VERSION", "NVM_DIR", "NVM_BIN", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN",
    "GOROOT", "GOPATH", "JAVA_HOME", "GEM_HOME", "RBENV_ROOT", "SDKMAN_DIR", "NIX_PROFILES",
)  # fmt: skip

# Run by /bin/sh with its parameters apart from the text: nothing of a command is ever parsed.
_START = (
    'ulimit -c 0; ulimit -f "$1" 2>/dev/null; '
    '[ "$2" = 0 ] || ulimit -u "$2" 2>/dev/null || ulimit -p "$2" 2>/dev/null; '
    'shift 2; exec "$@"'
)


class SandboxError(Exception):
    """Bubblewrap is missing or cannot confine anything here; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """The two folders of the host that a trial may write: its tree, and what it sees as /tmp."""

    tree: Path
    scratch: Path


@dataclass(frozen=True)
class Launch:
    """How to start one command.

    Attributes:
        argv: the whole command.
        environment: its environment, nothing inherited.
        folder: where it starts, on the host.
        result: where `$PLAYBOOKS_RESULT` lies, on the host.
        reports_status: whether it takes `--json-status-fd N` (bwrap(1)) as its first arguments.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    result: Path
    reports_status: bool


@dataclass(frozen=True)
class Caps:
    """What the kernel itself refuses, well above the limits that are watched.

    A program that meets one sees an error and would look like a failing test: so the watcher is
    to speak first, and these only hold what is faster than the watcher.

    Attributes:
        file_bytes: size of one file.
        processes: at once. Held only where the kernel counts them per user namespace.
    """

    file_bytes: int
    processes: int


class Sandbox(Protocol):
    """Turns a command into one that may be started."""

    def launch(self, place: Place, command: Sequence[str], mark: str, caps: Caps) -> Launch:
        """Prepare `command` for `place`, its processes marked with `mark` (`NAME=value`)."""
        ...


@dataclass(frozen=True)
class View:
    """What a confined trial sees of the host besides its own place.

    Attributes:
        mounts: bwrap arguments that build the file system, without the trial's own place.
        environment: the variables it starts with.
        home: where HOME points; None for an empty one.
    """

    mounts: tuple[str, ...]
    environment: Mapping[str, str]
    home: Path | None = None


def server_view(environment: Mapping[str, str]) -> View:
    """Return the view for commits of strangers. `environment` is the bot's; little is kept."""
    mounts: list[str] = []
    for folder in _SERVER_SYSTEM:
        mounts += ["--ro-bind-try", folder, folder]
    for link in _SERVER_LINKS:
        if link.is_symlink():
            mounts += ["--symlink", str(link.readlink()), str(link)]
        elif link.is_dir():
            mounts += ["--ro-bind", str(link), str(link)]
    for name in _SERVER_ETC:
        mounts += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    kept = _kept(environment, _SERVER_ENVIRONMENT)
    return View(tuple(mounts), {"LANG": "C.UTF-8", **kept, "PATH": _SERVER_PATH})


def terminal_view(environment: Mapping[str, str], home: Path) -> View:
    """Return the view for a person's own commits: all they see, read-only, but no daemons."""
    mounts: list[str] = []
    for entry in sorted(Path("/").iterdir()):
        if entry in _HIDDEN:
            continue
        if entry.is_symlink():
            mounts += ["--symlink", str(entry.readlink()), str(entry)]
        elif entry.is_dir():
            mounts += ["--ro-bind", str(entry), str(entry)]
    mounts += ["--ro-bind-try", "/run/current-system", "/run/current-system"]
    return View(tuple(mounts), _kept(environment, _TERMINAL_ENVIRONMENT), home)


@dataclass(frozen=True)
class Bubblewrap:
    """Confines trials with bubblewrap.

    Attributes:
        view: what they see of the host.
        network: whether they may use it.
        readable: further paths they may read, such as the command's own files and git objects.
    """

    view: View
    network: bool = False
    readable: tuple[Path, ...] = field(default=())

    def launch(self, place: Place, command: Sequence[str], mark: str, caps: Caps) -> Launch:
        """Prepare `command` to run confined in `place`; see `Sandbox.launch`."""
        flags = _flags()
        argv = [
            _program(), "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts",
            "--unshare-cgroup-try", "--hostname", "trial", "--new-session", "--die-with-parent",
            *([] if self.network else ["--unshare-net"]),
            *(["--disable-userns"] if self.view.home is None and "disable-userns" in flags else []),
            "--cap-drop", "ALL",
            *self.view.mounts,
            "--dev", "/dev",
            *(["--size", str(_SHARED_MEMORY_BYTES)] if "size" in flags else []),
            "--tmpfs", "/dev/shm",  # noqa: S108 - a fresh one inside
            "--proc", "/proc",
            "--bind", str(place.scratch), "/tmp",  # noqa: S108 - the trial's own
        ]  # fmt: skip
        argv += self._private_var_tmp(place)
        if self.network:
            for file in _NETWORK_FILES:
                argv += ["--ro-bind-try", file, file]
        for path in self._readable():
            argv += ["--ro-bind-try", str(path), str(path)]
        argv += ["--bind", str(place.tree), str(TREE_INSIDE), "--chdir", str(TREE_INSIDE)]
        argv += ["--remount-ro", "/dev", "--remount-ro", "/"]
        inside = Path("/tmp")  # noqa: S108 - the trial's own
        return Launch(
            argv=(*argv, *_started(command, caps, apart=True)),
            environment={
                **self.view.environment,
                **_own_environment(inside, mark),
                "HOME": str(self.view.home or inside / "home"),
                "XDG_CACHE_HOME": str(inside / "cache"),
            },
            folder=place.scratch,
            result=place.scratch / _RESULT_NAME,
            reports_status=True,
        )

    def _private_var_tmp(self, place: Place) -> list[str]:
        if self.view.home is None or not Path("/var/tmp").is_dir():  # noqa: S108 - to be hidden
            return []
        return ["--bind", str(place.scratch), "/var/tmp"]  # noqa: S108 - the trial's own

    def _readable(self) -> list[Path]:
        """Leave out what the terminal view shows anyway, so that no mount hides another."""
        paths = {Path(os.path.abspath(path)) for path in self.readable}  # noqa: PTH100 - links stay
        if self.view.home is not None:
            paths |= {self.view.home, *_toolchains(self.view.environment.get("PATH", ""))}
            paths = {path for path in paths if _hidden(path) or _hidden(path.resolve())}
            paths -= set(_HIDDEN)
        return sorted(paths)


@dataclass(frozen=True)
class Unconfined:
    """Runs trials without bubblewrap: for a person's own commits where it cannot work."""

    environment: Mapping[str, str]

    def launch(self, place: Place, command: Sequence[str], mark: str, caps: Caps) -> Launch:
        """Prepare `command` to run in `place`, confined by nothing but limits."""
        return Launch(
            argv=_started(command, caps, apart=False),
            environment={
                **_kept(self.environment, _TERMINAL_ENVIRONMENT),
                **_own_environment(place.scratch, mark),
            },
            folder=place.tree,
            result=place.scratch / _RESULT_NAME,
            reports_status=False,
        )


def require(sandbox: Bubblewrap, place: Place) -> None:
    """Try the sandbox once.

    Raises:
        SandboxError: it cannot work here; the message says why and what to do.
    """
    launch = sandbox.launch(place, ["true"], f"{MARK_VARIABLE}=probe", Caps(1 << 20, 64))
    try:
        tried = subprocess.run(  # noqa: S603 - our own command line, no shell
            launch.argv,
            env=dict(launch.environment), cwd=launch.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"bubblewrap does not start: {error}") from error
    if tried.returncode:
        raise SandboxError(
            f"bubblewrap cannot confine anything here: {tried.stderr.strip()[-300:]}. It needs "
            "user namespaces: Docker's default profile and stock Ubuntu 24.04 forbid them. Allow "
            "them, or run trials elsewhere."
        )


def _program() -> str:
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError("bubblewrap is not installed. On Debian and Ubuntu: "
                           "apt-get install bubblewrap")  # fmt: skip
    return program


@functools.cache
def _flags() -> frozenset[str]:
    """Say which newer options this bubblewrap knows: older ones stop at an unknown option."""
    listed = subprocess.run([_program(), "--help"], capture_output=True, text=True, check=False)  # noqa: S603 - no outside input
    words = listed.stdout.split() + listed.stderr.split()
    return frozenset(word[2:] for word in words if word.startswith("--"))


def _started(command: Sequence[str], caps: Caps, *, apart: bool) -> tuple[str, ...]:
    blocks = str(max(1, caps.file_bytes // 512))
    processes = str(caps.processes) if apart and _counts_per_namespace() else "0"
    return ("nice", "-n", "5", "/bin/sh", "-c", _START, "sh", blocks, processes, *command)


@functools.cache
def _counts_per_namespace() -> bool:
    """Tell whether RLIMIT_NPROC counts a namespace's processes: Linux 5.14, not for root.

    Elsewhere it counts all processes of the person, and the trial might not even start.
    """
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (5, 14)


def _own_environment(temporary: Path, mark: str) -> dict[str, str]:
    name, _, value = mark.partition("=")
    return {
        name: value,
        RESULT_VARIABLE: str(temporary / _RESULT_NAME),
        "TMPDIR": str(temporary),
    }


def _kept(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: environment[name] for name in names if name in environment}


def _hidden(path: Path) -> bool:
    return any(path.is_relative_to(hidden) for hidden in _HIDDEN)


def _toolchains(search_path: str) -> set[Path]:
    """Return the folders above `bin` folders on PATH, where their programs' files lie."""
    folders = {Path(entry) for entry in search_path.split(os.pathsep) if entry.startswith("/")}
    return {folder.parent if folder.name in ("bin", "sbin") else folder for folder in folders}
