"""Which files of the person's a command names, so that a trial elsewhere still finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

_SHARED = tuple(map(Path, ("/tmp", "/var/tmp", "/")))  # noqa: S108 - never shown whole


def resolved(
    command: Sequence[str], here: Path, repository: Path | None, tracked: Callable[[str], bool]
) -> tuple[str, ...]:
    """Make the command's words that name files of `here`, but not of the commits, absolute.

    Trials start in the root of a commit's files. A word that names a file there means the
    commit's own; any other word that names a file where the person stands means that one.

    Args:
        command: the words.
        here: where the person stands.
        repository: the root of their checkout, None where it is bare.
        tracked: whether a path, from the root, is a file of the bad end.
    """
    words = []
    for number, word in enumerate(command):
        path = here / word
        plain = number == 0 and "/" not in word
        is_theirs = bool(word) and not word.startswith(("-", "/")) and not plain and path.is_file()
        if is_theirs and not (_inside(path, repository) and tracked(_from_root(path, repository))):
            word = str(path.resolve() if ".." in path.parts else path.absolute())
        words.append(word)
    return tuple(words)


def readable(command: Sequence[str]) -> tuple[Path, ...]:
    """Return what a sandbox must show for the command: its files, with what lies beside them."""
    found: set[Path] = set()
    for word in command:
        path = Path(word)
        if path.is_absolute() and path.exists():
            for file in (path, path.resolve()):
                found.add(file if file.parent in _SHARED or file.is_dir() else file.parent)
    return tuple(sorted(found - set(_SHARED)))


def _inside(path: Path, repository: Path | None) -> bool:
    return repository is not None and path.resolve().is_relative_to(repository.resolve())


def _from_root(path: Path, repository: Path | None) -> str:
    return str(path.resolve().relative_to(repository.resolve())) if repository else str(path)
