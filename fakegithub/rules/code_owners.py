"""Whose review a pull request needs because of whose files it changes.

https://docs.github.com/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
"""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from fakegithub.world.model import FakePullRequest, FakeRepository

_PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")


def awaited(
    repository: FakeRepository, pull: FakePullRequest, approved: Collection[str]
) -> list[str]:
    """The owners of changed files that none of their owners has approved; `approved`: logins."""
    git = repository.git
    tip = git.branch(pull.base_ref)
    base = git.merge_base(tip, pull.head_sha) if tip else None
    rules = _rules(repository, tip or "")
    if base is None or not rules:
        return []
    waiting: dict[str, None] = {}
    for change in git.changes(base, pull.head_sha):
        owners = _owners(rules, change.path)
        if owners and not {each.lower() for each in approved} & {o.lower() for o in owners}:
            waiting |= dict.fromkeys(owners)
    return list(waiting)


def said(owners: list[str]) -> str:
    """GitHub's words for what is missing."""
    *others, last = owners
    names = f"{', '.join(others)}, and/or {last}" if len(others) > 1 else " and/or ".join(owners)
    return f"Waiting on code owner review from {names}."


def _rules(repository: FakeRepository, tip: str) -> list[tuple[str, list[str]]]:
    git = repository.git
    entry = next((found for place in _PLACES if tip and (found := git.entry(tip, place))), None)
    if entry is None:
        return []
    lines = git.read(entry.sha).decode("utf-8", "replace").splitlines()
    words = [line.partition("#")[0].split() for line in lines]
    return [
        (pattern, [each.removeprefix("@") for each in owners])
        for pattern, *owners in filter(None, words)
    ]


def _owners(rules: list[tuple[str, list[str]]], path: str) -> list[str]:
    """Of the last pattern that fits."""
    return next((owners for pattern, owners in reversed(rules) if _fits(pattern, path)), [])


def _fits(pattern: str, path: str) -> bool:
    anchored = "/" in pattern.rstrip("/")
    wanted = pattern.strip("/")
    parts = path.split("/")
    if pattern.endswith("/"):
        # A directory: whatever is below it.
        parts = parts[:-1]
    paths = ["/".join(parts[: n + 1]) for n in range(len(parts))] if anchored else parts
    return any(fnmatchcase(each, wanted) for each in paths)
