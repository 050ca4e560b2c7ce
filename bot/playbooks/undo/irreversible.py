"""Which of the paths a revert touches cannot be brought back by another revert (Decisions 9)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from bot.config import CONFIG_PATH
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.limits import Founder


async def paths_of(commits: Sequence[str], mirror: Mirror) -> tuple[str, ...]:
    """Name every path that these commits changed, against their first parents.

    Raises:
        GitError: the mirror could not be read.
    """

    async def read(git: Git) -> set[str]:
        found: set[str] = set()
        for sha in commits:
            shown = await git.run(
                *("diff-tree", "-r", "-m", "--first-parent", "--root", "--no-commit-id"),
                *("--no-renames", "--name-only", "-z", sha),
            )
            text = shown.stdout.decode("utf-8", "replace")
            found |= {path for path in text.split("\0") if path}
        return found

    return tuple(sorted(await mirror.read(read)))


def irreversible(paths: Iterable[str], founder: Founder) -> tuple[str, ...]:
    """Pick the paths whose revert cannot be undone.

    Those that configuration names (say migrations that a database has run), and the bot's own
    configuration: what decides about safety is not changed by what it decides about.
    """
    return tuple(
        path
        for path in paths
        if path == CONFIG_PATH or any(_pattern(each).fullmatch(path) for each in founder.paths)
    )


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` stays in its folder, `**` does not.

    A folder's name alone means everything in it.
    """
    made, rest = "", glob
    while rest:
        for token, meaning in (("**/", "(?:.*/)?"), ("**", ".*"), ("*", "[^/]*"), ("?", "[^/]")):
            if rest.startswith(token):
                made, rest = made + meaning, rest[len(token) :]
                break
        else:
            made, rest = made + re.escape(rest[0]), rest[1:]
    return re.compile(f"{made}(?:/.*)?", re.DOTALL)
