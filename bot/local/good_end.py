"""Where to look for a good end when none is named: among the releases first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bot.git.process import Git


async def history_before(git: Git, bad: str) -> list[str]:
    """List the commits before `bad` along first parents, newest first."""
    said = await git.run("rev-list", "--first-parent", "--skip=1", bad, "--")
    return said.text.split()


async def releases(git: Git, bad: str, history: Sequence[str]) -> list[str]:
    """List the tagged commits of `history` worth trying: what was released was probably tested."""
    said = await git.run(
        *("for-each-ref", "--merged", bad, "--format=%(objectname) %(*objectname)", "refs/tags")
    )
    tagged = {names.split(" ")[-1] or names.split(" ")[0] for names in said.text.splitlines()}
    return thinned(history, tagged)


def thinned(history: Sequence[str], tagged: Collection[str]) -> list[str]:
    """Keep the 1st, 2nd, 4th, 8th … tagged commit, so that old regressions are reached soon."""
    found = [commit for commit in history if commit in tagged]
    return [found[2**step - 1] for step in range(len(found).bit_length())]
