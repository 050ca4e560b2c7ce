"""Today's workflow on yesterday's commits.

A commit from before the trial workflow was added lacks the file, and whatever else of today the
trial needs. For such a commit another is made, the same but for those files, and it is tried
instead. It hangs on a hidden ref, neither branch nor tag, which is removed again.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.trees import tree_of
from bot.github.calls.git_data import GitData
from bot.github.calls.trees import TreeChange
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.triggers import Value

_SHORT = 12


class Overlaid(Value):
    """The commit to try; `note`, in Markdown, where today's files could not be laid over it."""

    sha: str
    note: str | None = None


class TestOverlay:
    """Lays files of today's default branch over commits that lack them."""

    def __init__(
        self, mirror: Mirror, git_data: GitData, *, branch: str, paths: Sequence[str], folder: str
    ) -> None:
        """Prepare.

        Args:
            mirror: the commits and trees.
            git_data: GitHub's.
            branch: whose files, as of now, are laid over others: the default branch.
            paths: files or folders; what of them a commit has stays as it is there.
            folder: where the hidden refs are, below `refs/`.
        """
        self._mirror = mirror
        self._git_data = git_data
        self._branch = branch
        self._paths = tuple(paths)
        self._folder = folder

    async def of(self, sha: str) -> Overlaid:
        """Give the commit to try instead of `sha`: itself, where it lacks nothing."""
        today = await self._mirror.branch_head(self._branch)
        lacking = await self._mirror.read(lambda git: _lacking(git, sha, today, self._paths))
        if not lacking:
            return Overlaid(sha=sha)
        name = f"{self._folder}/{sha[:_SHORT]}"
        if made := await self._git_data.hidden_ref(name):
            return Overlaid(sha=made)
        try:
            base = await self._mirror.read(lambda git: tree_of(git, sha))
            tree = await self._git_data.publish_tree(base, lacking)
            commit = await self._git_data.create_commit(
                tree=tree, parents=[sha], message=f"Try {sha[:_SHORT]} with today's workflow"
            )
            await self._git_data.ensure_hidden_ref(name, commit.sha, look_first=False)
        except (Forbidden, NotFound, Unprocessable):
            # Without `workflows: write`: the commit itself may do, as the workflow is dispatched
            # at the default branch anyway.
            return Overlaid(
                sha=sha,
                note="Commits older than the trial workflow are tried as they are: laying "
                "today's workflow over them needs the permission `workflows: write`.",
            )
        return Overlaid(sha=commit.sha)


async def _lacking(git: Git, sha: str, today: str, paths: Sequence[str]) -> list[TreeChange]:
    if not (await git.run("rev-parse", f"--disambiguate={sha}")).text:
        # Made on GitHub a moment ago, out of today's bad end: that has what it has.
        return []
    have = {path for path, _, _ in await _files(git, sha, paths)}
    return [
        TreeChange(path=path, mode=mode, sha=blob)
        for path, mode, blob in await _files(git, today, paths)
        if path not in have
    ]


async def _files(git: Git, commit: str, paths: Sequence[str]) -> list[tuple[str, str, str]]:
    """List path, mode and id of the files at these paths, as git has them."""
    if not paths:
        return []
    said = await git.run("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths)
    found = []
    for line in filter(None, said.stdout.split(b"\0")):
        about, _, path = line.partition(b"\t")
        mode, _, blob = about.decode("ascii").split(" ")
        found.append((path.decode("utf-8", "surrogateescape"), mode, blob))
    return found
