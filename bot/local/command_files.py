"""Which files of the person's a command names, so that a trial elsewhere still finds them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

_SHARED = tuple(map(Path, ("/tmp", "/var/tmp", "/")))  # noqa: S108 - never shown whole
_BETWEEN_NAMES = re.compile(r"[\s=;&|<>()\"'`]+")


def resolved(
    command: Sequence[str], here: Path, repository: Path | None, start: str
) -> tuple[str, ...]:
    """Make the command's words mean the same files where trials start.

    A word that names a file of the checkout is read from the folder that trials start in; any other
    word that names a file where the person stands becomes absolute.

    Args:
        command: the words.
        here: where the person stands.
        repository: the root of their checkout, None where it is bare.
        start: the folder trials start in, from that root.
    """
    words = []
    for number, word in enumerate(command):
        path = here / word
        plain = number == 0 and "/" not in word
        is_theirs = not plain and not word.startswith(("-", "/")) and _is_file(path)
        if is_theirs and repository is not None and _inside(path, repository):
            named = _from_root(path, repository)
            if _from_root(here, repository) != start:
                word = os.path.relpath(named, start or ".")
                word = f"./{word}" if number == 0 and "/" not in word else word
        elif is_theirs:
            word = str(path.resolve() if ".." in path.parts else path.absolute())
        words.append(word)
    return tuple(words)


def named_in(command: Sequence[str], here: Path, repository: Path) -> tuple[str, ...]:
    """Return what of the checkout a command names, from its root.

    Each word may name a file or a folder; a name inside a word, as in a shell's text, a file only:
    such texts name folders to delete and make them.
    """
    found: dict[str, None] = {}
    for word in command:
        for name in dict.fromkeys((word, *_BETWEEN_NAMES.split(word))):
            path = here / name
            there = _is_file(path) or (name == word and _is_folder(path))
            if name.strip("./") and there and _inside(path, repository):
                found[_from_root(path, repository)] = None
    return tuple(found)


def deletes(command: Sequence[str], name: str) -> bool:
    """Tell whether a command seems to delete a folder of this name: then it makes its own."""
    return any(
        re.search(rf"\brm\b[^;&|\n]*(?<![\w.-]){re.escape(name)}(?![\w.-])", word)
        for word in (*command, " ".join(command))
    )


def readable(command: Sequence[str]) -> tuple[Path, ...]:
    """Return what a sandbox must show for the command: its files, with what lies beside them."""
    found: set[Path] = set()
    for word in command:
        path = Path(word)
        if path.is_absolute() and path.exists():
            for file in (path, path.resolve()):
                found.add(file if file.parent in _SHARED or file.is_dir() else file.parent)
    return tuple(sorted(found - set(_SHARED)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a shell's text may be too long for a name
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _inside(path: Path, repository: Path | None) -> bool:
    return repository is not None and path.resolve().is_relative_to(repository.resolve())


def _from_root(path: Path, repository: Path) -> str:
    """Return a path from the root: empty for the root itself, `/` where it lies outside."""
    whole, root = path.resolve(), repository.resolve()
    if not whole.is_relative_to(root):
        return "/"
    return "" if whole == root else str(whole.relative_to(root))
