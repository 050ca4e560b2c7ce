"""What of a person's checkout trials see besides the commits' files, and what they do not see.

A developer's command needs what installing left beside the sources, which no commit holds. What a
build left there it must not see: objects of one commit would pass for those of another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bot.git.process import Git
from bot.local.journal import LocalRequest
from bot.trials.sandbox import TREE_INSIDE, Layout
from bot.triggers import Value

_DEPENDENCIES = frozenset(
    {
        ".bundle", ".pnp.cjs", ".pnp.loader.mjs", ".venv", "_version.py", "bower_components",
        "jspm_packages", "node_modules", "Pods", "vendor", "venv",
    }
)  # fmt: skip
"""Names under which package managers install, and what installing writes beside the sources."""
_DEPENDENCY_ENDING = ".egg-info"
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
OBJECTS = Path("/run/playbooks-objects")
"""Where git's objects show to a trial whose tree covers the repository itself."""
_NEEDED = tuple(map(Path, ("/usr", "/etc", "/dev", "/proc", "/run", "/tmp")))  # noqa: S108 - never covered
_MOST_NAMED = 100
"""Of what trials do not see, only so much is kept: nobody reads more."""


@dataclass(frozen=True)
class Checkout:
    """A person's work tree.

    Attributes:
        root: its root.
        start: the folder below it where they stand; empty for the root.
        untracked: what lies there beside the bad end's files, from the root; whole folders once.
        ignored: those of them that the repository ignores, as it does what builds make.
        changed: tracked files with changes that no commit holds.
        submodules: paths of the bad end's submodules that are checked out here.
    """

    root: Path
    start: str
    untracked: tuple[str, ...]
    ignored: frozenset[str]
    changed: tuple[str, ...]
    submodules: tuple[str, ...]


class Shared(Value):
    """What trials see of a checkout, from its root, and what they do not see.

    Attributes:
        shared: seen as it is in the checkout.
        unseen: there, but in no commit, and not seen.
        changed: committed files with changes that trials do not see.
    """

    shared: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


async def work_tree(git: Git) -> Path | None:
    """Return the root of the checkout that a git directory belongs to; None where it has none."""
    if git.git_dir.name == ".git":
        return git.git_dir.parent
    pointer = git.git_dir / "gitdir"
    if pointer.is_file():
        return _checked_out_at(git.git_dir, os.fsdecode(pointer.read_bytes()))
    said = await git.run("config", "--get", "core.worktree", ok=(0, 1))
    return (git.git_dir / said.text).resolve() if said.text else None


def _checked_out_at(git_dir: Path, dot_git: str) -> Path:
    """Return the root of a linked work tree; since git 2.48 its `.git` may be named from here."""
    return Path(os.path.normpath(git_dir / dot_git.removesuffix("\n"))).parent


async def read_checkout(git: Git, root: Path, here: Path, submodules: Sequence[str]) -> Checkout:
    """Look at a checkout without changing it, the index included.

    Args:
        git: the repository.
        root: the root of the work tree.
        here: where the person stands.
        submodules: paths of the bad end's submodules.

    Raises:
        GitError: git cannot read it.
    """
    environment = {"GIT_WORK_TREE": str(root), "GIT_OPTIONAL_LOCKS": "0"}
    listing = ("ls-files", "-z", "--others", "--directory")
    others = await git.run(*listing, environment=environment)
    by_rule = await git.run(*listing, "--ignored", "--exclude-standard", environment=environment)
    differing = ("diff", "-z", "--name-only", "--no-ext-diff", "--ignore-submodules", "HEAD")
    changed = await git.run(*differing, environment=environment, ok=(0, 128))
    return Checkout(
        root=root,
        start=_below(root, here),
        untracked=tuple(path.rstrip("/") for path in _paths(others.stdout)),
        ignored=frozenset(path.rstrip("/") for path in _paths(by_rule.stdout)),
        changed=tuple(_paths(changed.stdout)) if not changed.code else (),
        submodules=tuple(path for path in submodules if _holds_something(root / path)),
    )


def choose_shared(
    checkout: Checkout,
    named: Iterable[str],
    wanted: Iterable[str],
    *,
    dependencies: bool,
    deleted: Callable[[str], bool],
) -> Shared:
    """Choose what trials see of a checkout.

    Args:
        checkout: the checkout.
        named: paths of it that the command names. Those that no commit holds are seen, with the
            files beside them, but for what the repository ignores: that is made again.
        wanted: paths of it that the person wants to be seen.
        dependencies: whether what is installed there, and its submodules, are seen unasked.
        deleted: whether the command deletes a folder of this name, to make its own.
    """
    untracked = checkout.untracked
    written = [path for path in untracked if not _holder(path, checkout.ignored)]
    seen: list[str] = [*wanted]
    for path in named:
        if holder := _holder(path, written):
            seen.append(holder)
            seen += [each for each in written if _is_file_beside(checkout.root, each, holder)]
    if dependencies:
        installed = [path for path in untracked if _is_dependency(checkout.root, path)]
        seen += [path for path in installed if not deleted(PurePosixPath(path).name)]
        seen += checkout.submodules
    kept = tuple(dict.fromkeys(seen))
    covered = tuple(path for path in kept if not _holder(path, [o for o in kept if o != path]))
    return Shared(
        shared=covered,
        unseen=tuple(path for path in untracked if not _holder(path, covered))[:_MOST_NAMED],
        changed=tuple(path for path in checkout.changed if not _holder(path, covered))[
            :_MOST_NAMED
        ],
    )


def _below(root: Path, here: Path) -> str:
    """Return where a person stands, from the root; the root itself where they stand elsewhere."""
    inside, whole = here.resolve(), root.resolve()
    return str(inside.relative_to(whole)) if whole in inside.parents else ""


def _holder(path: str, among: Collection[str]) -> str | None:
    """Return which of `among` is `path`, or a folder that holds it."""
    parents = {path, *(str(parent) for parent in PurePosixPath(path).parents)}
    return next((each for each in among if each in parents), None)


def _is_file_beside(root: Path, path: str, named: str) -> bool:
    beside = PurePosixPath(path).parent == PurePosixPath(named).parent
    return beside and not (root / path).is_dir()


def _is_dependency(root: Path, path: str) -> bool:
    name = PurePosixPath(path).name
    if name in _DEPENDENCIES or name.endswith(_DEPENDENCY_ENDING):
        return True
    return (root / path / _VIRTUAL_ENVIRONMENT).is_file()


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and any(folder.iterdir())


def _paths(listed: bytes) -> list[str]:
    return [path.decode("utf-8", "backslashreplace") for path in listed.split(b"\0") if path]


def layout_for(request: LocalRequest, home: Path) -> Layout:
    """Lay a trial's tree where the person's checkout is, so that paths into it still hold.

    What was installed there often names it whole: virtual environments, editable installs, the
    caches of build tools. Where that would hide the person's home, the tree shows elsewhere.
    """
    if request.checkout is None:
        return Layout()
    root = Path(request.checkout)
    hides = any(each.is_relative_to(root.resolve()) for each in (home.resolve(), *_NEEDED))
    return Layout(inside=TREE_INSIDE if hides else root, checkout=root, shared=request.shared)
