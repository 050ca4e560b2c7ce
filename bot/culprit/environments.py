"""Where to run a trial: repeats on one machine tell little, so commits move between machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from bot.culprit.evidence import Trial
from bot.culprit.posterior import Posterior


def choose_environment(
    names: Sequence[str],
    posterior: Posterior,
    node: int,
    trial: Trial,
    pending: Collection[Trial],
) -> str:
    """Choose where this commit was tried least, then the machine least stuck, then least busy.

    Args:
        names: of the lasting machines; without any, each trial gets a fresh one.
        posterior: what was run where.
        node: the number under which the commit's results are kept.
        trial: the trial to place.
        pending: trials under way.
    """
    if not names:
        return f"fresh-{trial.id}"
    here = Counter(t.environment for t in pending if t.commit == trial.commit)
    busy = Counter(t.environment for t in pending)
    start = trial.id % len(names)
    return min(
        [*names[start:], *names[:start]],
        key=lambda e: (posterior.runs(node, e) + here[e], posterior.stuck(e), busy[e]),
    )
