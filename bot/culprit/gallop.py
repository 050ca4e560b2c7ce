"""Finding a good end: back through commits known to be green, then by doubling steps."""

from __future__ import annotations

from collections.abc import Sequence


def next_good(
    history: Sequence[str], known_green: Sequence[str] = (), tried: Sequence[str] = ()
) -> str | None:
    """Name the next commit to try as a good end, or None if the history is used up.

    Args:
        history: first-parent history before the bad end, newest first.
        known_green: commits believed good from elsewhere (check-runs, tags).
        tried: commits that were tried as good ends and failed.

    Returns:
        The newest known-green commit older than all that were tried; failing that, the commit
        at twice the distance of the oldest tried one (at first, distance 1); in the end the
        oldest of all.
    """
    if not history:
        return None
    place = {sha: i for i, sha in enumerate(history)}
    reached = max((place[sha] for sha in tried if sha in place), default=-1)
    if reached >= len(history) - 1:
        return None
    green = [place[sha] for sha in known_green if place.get(sha, -1) > reached]
    if green:
        return history[min(green)]
    return history[min(2 * (reached + 1), len(history) - 1)]
