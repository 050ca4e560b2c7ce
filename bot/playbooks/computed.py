"""Having the computed change at hand where it is published.

A revert is computed into the mirror of one machine. Another replica may go on with the Run, or
the mirror may be lost; computing again on the same base gives the same tree.
"""

from __future__ import annotations

from bot.git.mirror import Mirror
from bot.git.reverting import Clean, Conflict, compute_revert
from bot.playbooks.revert.plan import Plan


async def have_computed(plan: Plan, outcome: Clean | Conflict, mirror: Mirror) -> None:
    """Bring what `outcome` names into this mirror, unless it is there.

    Raises:
        GitError: the mirror could not be brought up to date.
    """
    if await _has_tree(mirror, outcome.tree) and await _has_tree(mirror, outcome.onto):
        return
    await mirror.refresh([outcome.onto, *plan.commits])
    await mirror.read(
        lambda git: compute_revert(
            git, plan.commits, outcome.onto, keep_paths=plan.config.record_paths
        )
    )


async def _has_tree(mirror: Mirror, treeish: str) -> bool:
    found = await mirror.git.run("cat-file", "-e", f"{treeish}^{{tree}}", ok=(0, 1, 128))
    return found.code == 0
