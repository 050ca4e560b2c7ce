"""The fix of a rollback: the committed flag document gives everything to the baseline.

Only the capability's own flag is set; what others wrote beside it stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.revert import Clean, RevertConflict
from bot.git.trees import RawChange, has_tree, read_blob, tree_changes, tree_of, with_entries
from bot.traffic.flagd import InvalidFlags, check_flags, flag_document, generation_of, written

_MODE = "100644"
_LARGEST = 4 * 1024 * 1024
"""Bytes; a larger document is not one of ours and is replaced."""


@dataclass(frozen=True)
class SettingFlags:
    """Sets one flag of the committed document; computed twice on a commit it gives the same.

    Attributes:
        mirror: holds the trees.
        path: the document's; None: it is not committed, and nothing changes.
        capability: the flag's name.
        flag: what it becomes.
        generation: of the document from now on, at least.
    """

    mirror: Mirror
    path: str | None
    capability: str
    flag: dict[str, JsonValue]
    generation: int

    async def onto(self, commit: str) -> Clean:
        """Compute it on a commit of the mirror.

        Raises:
            GitError: the mirror could not be read.
        """
        return await self.mirror.read(lambda git: self._onto(git, commit))

    async def _onto(self, git: Git, commit: str) -> Clean:
        base = await tree_of(git, commit)
        if self.path is None:
            return Clean(
                tree=base, onto=commit, base_tree=base, changes=(), new_blobs=(), reverted=()
            )
        content = with_flag(
            await self._present(git, commit), self.capability, self.flag, self.generation
        )
        said = await git.run("hash-object", "-w", "--stdin", stdin=content.encode())
        entry = RawChange(
            path=self.path.encode(), old_mode="000000", new_mode=_MODE, old=None, new=said.text
        )
        tree = await with_entries(git, base, [entry])
        return Clean(
            tree=tree,
            onto=commit,
            base_tree=base,
            changes=await tree_changes(git, base, tree),
            new_blobs=(said.text,),
            reverted=(),
        )

    async def have(self, outcome: Clean | RevertConflict) -> None:
        """Make the objects it names again: another replica may go on with the Run.

        Raises:
            GitError: the mirror could not be brought up to date.
        """
        if not await self.mirror.read(lambda git: has_tree(git, outcome.tree)):
            await self.mirror.refresh([outcome.onto])
            await self.onto(outcome.onto)

    async def _present(self, git: Git, commit: str) -> str | None:
        listed = await git.run("ls-tree", "--format=%(objectname)", commit, "--", self.path or "")
        if not listed.text:
            return None
        blob = await read_blob(git, listed.text, limit=_LARGEST)
        return blob.decode("utf-8", "replace")


def with_flag(
    document: str | None, capability: str, flag: dict[str, JsonValue], generation: int
) -> str:
    """Set one flag of a document; a document that cannot be used is written anew."""
    found: Any = flag_document([])
    if document is not None:
        try:
            present = json.loads(document)
            check_flags(present)
            found = present
        except (ValueError, InvalidFlags):
            pass
    newest = max(generation, generation_of(found) or 0)
    return written(
        {
            **found,
            "metadata": {**found.get("metadata", {}), "generation": newest},
            "flags": {**found["flags"], capability: flag},
        }
    )
