"""Builds the bubblewrap command that confines one trial. Two views, one mechanism.

*Server*: code of strangers sees a read-only system, an empty home and no secret. *Terminal*: a
person's own commits also see, read-only, that person's files, since toolchains live there. In
both, only the tree and a private /tmp can be written, there is no network unless allowed, and
all processes live in a PID namespace of their own, so that none can outlive the trial. What a
terminal's trial writes to the person's home it sees there, and nobody else does: overlay.py.
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

from bot.trials.limits import copy_folder
from bot.trials.mounts import (
    Overlay,
    can_be_mounted,
    fits_in_options,
    masks,
    mounted,
    places_of,
    read_mounts,
)
from bot.trials.outcome import RESULT_VARIABLE

TREE_INSIDE = Path("/trial")
MARK_VARIABLE = "PLAYBOOKS_TRIAL"
_RESULT_NAME = "playbooks-result.json"
_SHARED_MEMORY_BYTES = 1 << 30
_CACHE = ".cache"
_COPIED = "copied"

# What lies in these is per machine, or per boot: sockets of daemons, others' temporary files.
_HIDDEN = (Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/dev"), Path("/proc"))  # noqa: S108 - named to be hidden

# Programs and what they need, by name: whatever else lies beside them is not seen.
_SERVER_SYSTEM = (
    *(f"/usr/{name}" for name in
      ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "include", "share")),
    *(f"/usr/local/{name}" for name in
      ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "include", "share",
       "go", "cargo", "rustup", "node", "jvm")),
    "/nix/store",
)  # fmt: skip
_SERVER_LINKS = tuple(map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")))
# Of /etc only what programs need to start; the rest may hold secrets.
_SERVER_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "group",
    "host.conf", "hosts", "java", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
    "login.defs", "mime.types", "nsswitch.conf", "os-release", "passwd", "pki/ca-trust",
    "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "profile",
    "protocols", "services", "shells", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "terminfo",
    "timezone",
)  # fmt: skip
_NETWORK_FILES = ("/etc/resolv.conf", "/run/systemd/resolve", "/run/NetworkManager/resolv.conf")

_SERVER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVER_ENVIRONMENT = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
_TERMINAL_ENVIRONMENT = (
    *_SERVER_ENVIRONMENT,
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT",
    "PYENV_VERSION", "NVM_DIR", "NVM_BIN", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN",
    "GOROOT", "GOPATH", "JAVA_HOME", "GEM_HOME", "RBENV_ROOT", "SDKMAN_DIR", "NIX_PROFILES",
    # How developers build: none of these holds a secret.
    "AR", "CC", "CFLAGS", "CGO_ENABLED", "CI", "CMAKE_PREFIX_PATH", "CPATH", "CPPFLAGS", "CXX",
    "CXXFLAGS", "C_INCLUDE_PATH", "GOFLAGS", "LD", "LDFLAGS", "LD_LIBRARY_PATH", "LIBRARY_PATH",
    "MAKEFLAGS", "NODE_ENV", "NODE_PATH", "PKG_CONFIG_PATH", "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED", "RUSTFLAGS", "TERM",
)  # fmt: skip

# What terminals and desktops keep for themselves.
_OF_TERMINALS = (
    "_", "BASH_FUNC", "COLORTERM", "COLUMNS", "DBUS_", "DESKTOP_", "DISPLAY", "EDITOR", "GDM",
    "GIT_", "GNOME_", "GPG_", "GTK_", "HIST", "HOSTNAME", "INVOCATION_ID", "JOURNAL_STREAM", "LESS",
    "LINES", "LS_COLORS", "MAIL", "OLDPWD", "PAGER", "PLAYBOOKS_", "PS1", "PWD", "QT_", "SESSION_",
    "SHLVL", "SSH_", "SUDO_", "TERM_", "TMPDIR", "TMUX", "VISUAL", "VTE_", "WAYLAND_", "WINDOWID",
    "XAUTHORITY", "XDG_", "XMODIFIERS",
)  # fmt: skip

# Run by /bin/sh with its parameters apart from the text: nothing of a command is ever parsed.
_START = (
    'ulimit -c 0; ulimit -f "$1" 2>/dev/null; '
    '[ "$2" = 0 ] || ulimit -u "$2" 2>/dev/null || ulimit -p "$2" 2>/dev/null; '
    'shift 2; exec "$@"'
)

_EXPOSED = 97
# Every parameter is a path that has to be gone, empty, or unreadable.
_LOOK_FOR_SECRETS = f"""
for path do
  if [ -d "$path" ]; then
    [ -z "$(ls -A "$path" 2>/dev/null)" ] || exit {_EXPOSED}
  elif [ -n "$(head -c 1 "$path" 2>/dev/null | od -A n)" ]; then
    exit {_EXPOSED}
  fi
done
"""


class SandboxError(Exception):
    """Bubblewrap is missing or cannot confine anything here; the message says what to do."""


@dataclass(frozen=True)
class WritableFolders:
    """The folders of the host that a trial may write.

    Attributes:
        tree: the commit's files.
        scratch: what it sees as /tmp; empty for each command.
        changes: what it changes of the person's own files, if that is allowed; empty for each
            trial, and kept from its build to its commands.
    """

    tree: Path
    scratch: Path
    changes: Path

    @classmethod
    def under(cls, folder: Path) -> WritableFolders:
        """Name the folders of one worker."""
        return cls(folder / "tree", folder / "scratch", folder / "changes")


@dataclass(frozen=True)
class Layout:
    """Where a trial finds its commit's files, and what lies between them.

    Attributes:
        inside: where the tree shows, so that paths which were written down there still hold.
        checkout: the person's own checkout; None where nothing of it is shown.
        shared: files and folders of it, from its root, that show in the tree. A folder gives way
            to one of the commit's own; a file does not.
    """

    inside: Path = TREE_INSIDE
    checkout: Path | None = None
    shared: tuple[str, ...] = ()

    def shown(self, tree: Path) -> list[tuple[Path, str]]:
        """Return what shows in this tree and where, from its root: nothing in the commit's way."""
        if self.checkout is None:
            return []
        pairs = [(self.checkout / path, path) for path in self.shared]
        return [(source, path) for source, path in pairs if _fits(source, tree, path)]


TREE_ONLY = Layout()


@dataclass(frozen=True)
class Launch:
    """How to start one command.

    Attributes:
        argv: the command.
        environment: its environment, nothing inherited.
        folder: where it starts, on the host.
        result: where `$PLAYBOOKS_RESULT` lies, on the host.
        reports_status: whether it takes `--json-status-fd N` (bwrap(1)) as its first arguments.
        before: words that go before it and end in running it.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    result: Path
    reports_status: bool
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class KernelLimits:
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

    @property
    def layout(self) -> Layout:
        """Where the tree shows, and what lies in it."""
        ...

    def launch(
        self,
        place: WritableFolders,
        command: Sequence[str],
        mark: str,
        caps: KernelLimits,
        start: str = "",
    ) -> Launch:
        """Prepare `command` for `place`, whose folders exist.

        Args:
            place: where it may write.
            command: its words.
            mark: `NAME=value`, in the environment of its processes.
            caps: what the kernel refuses.
            start: the folder of the tree it starts in, from the tree's root.

        Raises:
            OSError: what it needs in `place` cannot be made.
        """
        ...


@dataclass(frozen=True)
class HostView:
    """What a confined trial sees of the host besides its own place.

    Attributes:
        mounts: bwrap arguments that build the file system, without the trial's own place.
        environment: the variables it starts with.
        home: where HOME points; None for an empty one.
        hidden: paths that must be empty or unreadable inside.
    """

    mounts: tuple[str, ...]
    environment: Mapping[str, str]
    home: Path | None = None
    hidden: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Showing:
    """What of this machine commits of strangers may see besides its programs, and what never.

    Attributes:
        readable: further folders with programs, named by whoever runs the bot.
        hidden: files and folders with secrets, wherever they lie.
    """

    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


def server_view(environment: Mapping[str, str], showing: Showing | None = None) -> HostView:
    """Return the view for commits of strangers. `environment` is the bot's; little is kept.

    Only what is named is seen; what is hidden is masked where it lies within that.

    Raises:
        SandboxError: something hidden cannot be masked without hiding what programs need.
    """
    showing = showing or Showing()
    mounts: list[str] = []
    for folder in (*_SERVER_SYSTEM, *map(str, showing.readable)):
        mounts += ["--ro-bind-try", folder, folder]
    for link in _SERVER_LINKS:
        if link.is_symlink():
            mounts += ["--symlink", str(link.readlink()), str(link)]
        elif link.is_dir():
            mounts += ["--ro-bind", str(link), str(link)]
    for name in _SERVER_ETC:
        mounts += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    hidden = _to_mask(showing)
    kept = _kept(environment, _SERVER_ENVIRONMENT)
    return HostView(
        (*mounts, *masks(hidden)),
        {"LANG": "C.UTF-8", **kept, "PATH": _SERVER_PATH},
        hidden=tuple(sorted(hidden)),
    )


def _to_mask(showing: Showing) -> set[Path]:
    """Choose the hidden places that lie within what is shown.

    Raises:
        SandboxError: something shown lies within a hidden place.
    """
    shown = [
        Path(each)
        for each in (
            *_SERVER_SYSTEM, *map(str, _SERVER_LINKS), *(f"/etc/{name}" for name in _SERVER_ETC),
            *map(str, showing.readable),
        )
        if Path(each).exists()
    ]  # fmt: skip
    mounts, within = read_mounts(), set[Path]()
    for path in showing.hidden:
        for place in places_of(path, mounts):
            if any(each.resolve().is_relative_to(place) for each in shown):
                raise SandboxError(
                    "what PLAYBOOKS_DATA or another setting names holds programs that trials need, "
                    "so its secrets cannot be hidden from them. Move the bot's data to a folder "
                    "of its own, or switch the sandbox off: PLAYBOOKS_SANDBOX=off."
                )
            within |= {
                each / place.relative_to(each.resolve())
                for each in shown
                # What is a link inside too needs no mask of its own.
                if each not in _SERVER_LINKS and place.is_relative_to(each.resolve())
            }
    return within


def terminal_view(environment: Mapping[str, str], home: Path) -> HostView:
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
    return HostView(tuple(mounts), _kept(environment, _TERMINAL_ENVIRONMENT), home)


def unpassed(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Name the variables of a person's terminal that trials do not get, but for its own affairs."""
    return tuple(
        sorted(
            name
            for name in environment
            if name not in _TERMINAL_ENVIRONMENT and not name.startswith(_OF_TERMINALS)
        )
    )


@dataclass(frozen=True)
class Bubblewrap:
    """Confines trials with bubblewrap.

    Attributes:
        view: what they see of the host.
        network: whether they may use it.
        readable: further paths they may read, such as the command's own files and git objects.
        placed: paths of the host they may read at another path.
        layout: where the tree shows, and what lies in it.
        overlays: whether changes of the person's files can be kept apart; see `can_overlay`.
    """

    view: HostView
    network: bool = False
    readable: tuple[Path, ...] = field(default=())
    placed: tuple[tuple[Path, Path], ...] = ()
    layout: Layout = TREE_ONLY
    overlays: bool = False

    def launch(
        self,
        place: WritableFolders,
        command: Sequence[str],
        mark: str,
        caps: KernelLimits,
        start: str = "",
    ) -> Launch:
        """Prepare `command` to run confined in `place`; see `Sandbox.launch`."""
        flags = _flags()
        layers = _Layers(place.changes, self.overlays)
        home = self._home(layers)
        shared = self._shared(place, layers)
        same_user = ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
        argv = [
            _program(), "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts",
            "--unshare-cgroup-try", "--hostname", "trial", "--new-session", "--die-with-parent",
            *([] if self.network else ["--unshare-net"]),
            *(["--disable-userns"] if self.view.home is None and "disable-userns" in flags else []),
            *(same_user if layers.used else []), "--cap-drop", "ALL",
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
        argv += home
        for source, at in self.placed:
            argv += ["--ro-bind", str(source), str(at)]
        inside = self.layout.inside
        argv += ["--bind", str(place.tree), str(inside), *shared, "--chdir", str(inside / start)]
        argv += ["--remount-ro", "/dev", "--remount-ro", "/"]
        return Launch(
            argv=(*argv, *_started(command, caps, apart=True)),
            environment={
                **self.view.environment,
                **_own_environment(Path("/tmp"), mark),  # noqa: S108 - the trial's own
                **self._home_environment(),
            },
            folder=place.scratch,
            result=place.scratch / _RESULT_NAME,
            reports_status=True,
            before=mounted(layers.used),
        )

    def _home_environment(self) -> dict[str, str]:
        if self.view.home is not None:
            return {"HOME": str(self.view.home)}
        private = Path("/tmp")  # noqa: S108 - the trial's own
        return {"HOME": str(private / "home"), "XDG_CACHE_HOME": str(private / "cache")}

    def _home(self, layers: _Layers) -> list[str]:
        """Show the person's home, changes to it kept apart; without overlays only new files are."""
        home = self.view.home
        if home is None or home == Path("/") or not home.is_dir():
            return []
        if (source := layers.over(home, "home")) is not None:
            return ["--bind", str(source), str(home)]
        private = layers.empty("home")
        argv = ["--bind", str(private), str(home)]
        for entry in sorted(home.iterdir()):
            if entry.is_symlink():
                if not os.path.lexists(private / entry.name):
                    (private / entry.name).symlink_to(entry.readlink())
            elif entry.name != _CACHE:
                argv += ["--ro-bind-try", str(entry), str(entry)]
        return argv

    def _shared(self, place: WritableFolders, layers: _Layers) -> list[str]:
        """Show what of the person's checkout lies in this tree."""
        shown = self.layout.shown(place.tree)
        _copy_once([(source, path) for source, path in shown if not source.is_dir()], place)
        argv: list[str] = []
        for number, (source, path) in enumerate(shown):
            if source.is_dir():
                above = layers.over(source, f"shared-{number}")
                bind = "--bind" if above else "--ro-bind"
                argv += [bind, str(above or source), str(self.layout.inside / path)]
        return argv

    def _private_var_tmp(self, place: WritableFolders) -> list[str]:
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
    layout: Layout = TREE_ONLY

    def launch(
        self,
        place: WritableFolders,
        command: Sequence[str],
        mark: str,
        caps: KernelLimits,
        start: str = "",
    ) -> Launch:
        """Prepare `command` to run in `place`, confined by nothing but limits."""
        _copy_once(self.layout.shown(place.tree), place)
        return Launch(
            argv=_started(command, caps, apart=False),
            environment={
                **_kept(self.environment, _TERMINAL_ENVIRONMENT),
                **_own_environment(place.scratch, mark),
            },
            folder=place.tree / start,
            result=place.scratch / _RESULT_NAME,
            reports_status=False,
        )


def require(sandbox: Bubblewrap, place: WritableFolders) -> None:
    """Try the sandbox once.

    Raises:
        SandboxError: it cannot work here; the message says why and what to do.
    """
    command = ["/bin/sh", "-c", _LOOK_FOR_SECRETS, "sh", *map(str, sandbox.view.hidden)]
    launch = sandbox.launch(place, command, f"{MARK_VARIABLE}=probe", KernelLimits(1 << 20, 64))
    try:
        tried = subprocess.run(  # noqa: S603 - our own command line, no shell
            [*launch.before, *launch.argv],
            env=dict(launch.environment), cwd=launch.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"bubblewrap does not start: {error}") from error
    if tried.returncode == _EXPOSED:
        raise SandboxError(
            "a trial could read what PLAYBOOKS_DATA or another setting names, so nothing is tried. "
            "Move the bot's data out of the folders with programs, or switch the sandbox off: "
            "PLAYBOOKS_SANDBOX=off."
        )
    if tried.returncode:
        raise SandboxError(
            f"bubblewrap cannot confine anything here: {tried.stderr.strip()[-300:]}. It needs "
            "user namespaces: Docker's default profile and stock Ubuntu 24.04 forbid them. Allow "
            "them, or run trials elsewhere."
        )


def can_overlay(view: HostView, place: WritableFolders) -> bool:
    """Try whether changes of the person's home can be kept apart under `place`."""
    return view.home is not None and can_be_mounted(view.home, place.changes)


class _Layers:
    """The overlays of one launch."""

    def __init__(self, changes: Path, can_overlay: bool) -> None:
        self._changes = changes
        self._can_overlay = can_overlay
        self.used: list[Overlay] = []

    def over(self, lower: Path, name: str) -> Path | None:
        """Return where `lower` shows with changes on top; None where that cannot be."""
        if not self._can_overlay or not fits_in_options(lower):
            return None
        mounts = self._changes.with_name("mounts")
        overlay = Overlay(lower, self._changes / name, mounts / name)
        overlay.prepare()
        self.used.append(overlay)
        return overlay.merged

    def empty(self, name: str) -> Path:
        """Return a private folder that keeps what is written to it for the whole trial."""
        folder = self._changes / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _fits(source: Path, tree: Path, path: str) -> bool:
    """Tell whether something of the checkout can show at `path` of this tree."""
    if not source.exists():
        return False
    above = [tree / parent for parent in Path(path).parents if parent != Path()]
    if any(each.is_symlink() or (each.exists() and not each.is_dir()) for each in above):
        return False
    target = tree / path
    if target.is_symlink() or (target.exists() and target.is_dir() != source.is_dir()):
        return False
    return not (target.is_dir() and any(target.iterdir()))


def _copy_once(shown: Sequence[tuple[Path, str]], place: WritableFolders) -> None:
    """Copy into the tree before a trial's first command: a build's own files stay the build's."""
    done = place.changes / _COPIED
    if not shown or done.exists():
        return
    for source, path in shown:
        _copy(source, place.tree / path)
    done.touch()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        copy_folder(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


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


def _started(command: Sequence[str], caps: KernelLimits, *, apart: bool) -> tuple[str, ...]:
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
