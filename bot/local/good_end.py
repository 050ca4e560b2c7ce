"""Where to look for a good end when none is named: releases first, then ever further back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.git.process import Git


def steps_back(tags: Sequence[int], length: int) -> Iterator[int]:
    """Say how many commits back to look, each time further, ending at the first commit.

    Args:
        tags: how far back along the first-parent line each tagged commit lies.
        length: how many commits lie before the bad end on that line.

    Releases are tried as the 1st, 2nd, 4th, 8th … before the bad end: what was released was
    probably tested. Beyond the last of them the distance doubles.
    """
    known = sorted({tag for tag in tags if 0 < tag <= length})
    last, position = 0, 1
    while position <= len(known):
        last = known[position - 1]
        yield last
        position *= 2
    while last < length:
        last = min(max(1, last * 2), length)
        yield last


async def first_parent_line(git: Git, bad: str) -> list[str]:
    """List `bad` and the commits before it along first parents, newest first."""
    return (await git.run("rev-list", "--first-parent", bad, "--")).text.split()


async def tagged_positions(git: Git, bad: str, line: Sequence[str]) -> list[int]:
    """Say where on the line tagged commits lie."""
    said = await git.run(
        *("for-each-ref", "--merged", bad, "--format=%(objectname) %(*objectname)", "refs/tags")
    )
    tagged = {names.split(" ")[-1] or names.split(" ")[0] for names in said.text.splitlines()}
    return [position for position, sha in enumerate(line) if sha in tagged]
