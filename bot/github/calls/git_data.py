"""The git database: refs, commits, trees and blobs, without a work tree (docs/decisions/0017).

Commits are made without author, committer and signature, so that GitHub signs them as the App's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from bot.github.calls.ensure import commit_from_git, commit_from_rest, ensure, once_seen
from bot.github.calls.trees import TreeChange, publish
from bot.github.errors import (
    BranchExists,
    BranchMoved,
    Conflict,
    Forbidden,
    NotFound,
    Unprocessable,
)
from bot.github.models import Commit, CommitComparison, PullRequest, Push, Ref, TreeEntry
from bot.github.transport.channel import Channel, Query

GIT = "/repos/{owner}/{repo}/git"
REFS = f"{GIT}/refs"
GET_BRANCH = f"{GIT}/ref/heads/{{branch*}}"
BRANCH = f"{GIT}/refs/heads/{{branch*}}"
GET_TIP = "/repos/{owner}/{repo}/branches/{branch*}"
COMMITS = "/repos/{owner}/{repo}/commits"
ACTIVITY = "/repos/{owner}/{repo}/activity"
COMMIT = "/repos/{owner}/{repo}/commits/{ref*}"
COMPARE = "/repos/{owner}/{repo}/compare/{basehead*}"

WORKFLOWS = ".github/workflows/"
STEP_TRAILER = "Playbooks-Step"
COMMITS_LOOKED_THROUGH = 100

_QUEUES = "heads/gh-readonly-queue"


@dataclass(frozen=True)
class Tip:
    """A branch's head, and its tree."""

    sha: str
    tree: str


@dataclass(frozen=True)
class MadeCommit:
    """A commit of ours: what it is upon, and what it changes there."""

    parents: tuple[str, ...]
    paths: frozenset[str]

    def is_all_of(self, pull: PullRequest) -> bool:
        """Tell whether a pull request brings this commit, which is its head, and no other."""
        return self.parents == (pull.base.sha,)


class MadeCommits:
    """What this process committed or read lately: that need not be read back from GitHub."""

    def __init__(self) -> None:
        """Nothing was made yet."""
        self.tree_of: LRUCache[str, str] = LRUCache(1000)
        self.trees: LRUCache[str, frozenset[str]] = LRUCache(1000)
        self.commits: LRUCache[str, MadeCommit] = LRUCache(1000)


class GitData:
    """Branches, commits and trees of the repository."""

    def __init__(self, channel: Channel, made: MadeCommits) -> None:
        """Work through `channel`; remember in `made` what is committed."""
        self._channel = channel
        self._made = made

    def made(self, sha: str) -> MadeCommit | None:
        """Give what is known of a commit that this process made lately; None of any other."""
        return self._made.commits.get(sha)

    async def tip(self, name: str) -> Tip | None:
        """Read a branch's head and its tree in one; None if there is no such branch.

        https://docs.github.com/rest/branches/branches#get-a-branch
        """
        data = await self._channel.find(GET_TIP, branch=name)
        # A renamed branch is answered with the one that it is now.
        if data is None or data["name"] != name:
            return None
        tip = Tip(sha=data["commit"]["sha"], tree=data["commit"]["commit"]["tree"]["sha"])
        self._made.tree_of[tip.sha] = tip.tree
        return tip

    async def branch(self, name: str) -> Ref | None:
        """Read where a branch points, or None if it does not exist."""
        data = await self._channel.find(GET_BRANCH, branch=name)
        # An older API gave a list of all refs that begin like this one.
        return Ref.model_validate(data) if isinstance(data, dict) else None

    async def branches(self, beginning: str) -> dict[str, str]:
        """Give the branches whose names begin so: each name and its commit.

        Source: https://docs.github.com/rest/git/refs#list-matching-references
        """
        refs = await self._refs(f"heads/{beginning}")
        return {each.ref.removeprefix("refs/heads/"): each.sha for each in refs}

    async def _refs(self, beginning: str) -> list[Ref]:
        # GitHub's description knows no pages here; older servers send them.
        found = self._channel.items(f"{GIT}/matching-refs/{{ref*}}", is_sized=False, ref=beginning)
        return [Ref.model_validate(data) async for data in found]

    async def head(self, name: str) -> str:
        """Give the commit a branch points to.

        Raises:
            NotFound: If there is no such branch.
        """
        ref = await self.branch(name)
        if ref is None:
            raise NotFound(f"There is no branch {name!r}.", route=f"GET {GET_BRANCH}", status=404)
        return ref.sha

    async def commit(self, ref: str) -> Commit | None:
        """Read a commit by SHA (also abbreviated), branch or tag; None if there is none."""
        try:
            data = await self._channel.find(COMMIT, ref=ref)
        except Unprocessable:
            # "No commit found for SHA": GitHub says so with 422.
            return None
        if data is None:
            return None
        commit = commit_from_rest(data)
        self._made.tree_of[commit.sha] = commit.tree
        return commit

    async def newest(self, ref: str) -> tuple[str, ...]:
        """Name the newest commits that a branch contains, a hundred at most (full SHAs)."""
        query: Query = {"sha": ref, "per_page": 100}
        return tuple(each["sha"] for each in await self._channel.get(COMMITS, query=query))

    async def commits_of(self, path: str, ref: str) -> tuple[Commit, ...]:
        """Give the last 100 commits up to `ref` that change a file, newest first."""
        query: Query = {"sha": ref, "path": path, "per_page": COMMITS_LOOKED_THROUGH}
        data = await self._channel.find(COMMITS, query=query)
        return tuple(commit_from_rest(entry) for entry in data or ())

    async def pushes(self, branch: str) -> tuple[Push, ...] | None:
        """Give who moved a branch the last 100 times, newest first; None where GitHub tells not.

        An older release does not know it (`releases.ACTIVITY`), and a policy may forbid it.
        https://docs.github.com/rest/repos/repos#list-repository-activities
        """
        return await self._moves({"ref": f"refs/heads/{branch}"})

    async def pushes_by(self, login: str) -> tuple[Push, ...] | None:
        """Give what a person did to branches in the last week, newest first, a hundred at most.

        None where GitHub does not tell, as for `pushes`.
        """
        return await self._moves({"actor": login, "time_period": "week"})

    async def _moves(self, which: dict[str, str]) -> tuple[Push, ...] | None:
        query: Query = {**which, "per_page": COMMITS_LOOKED_THROUGH}
        try:
            data = await self._channel.find(ACTIVITY, query=query)
        except (Forbidden, Unprocessable):
            return None
        return None if data is None else tuple(Push.model_validate(each) for each in data)

    async def compare(self, base: str, head: str) -> CommitComparison | None:
        """Tell how `head` stands to `base` (each a SHA or branch); None if one is unknown."""
        data = await self._channel.find(COMPARE, query={"per_page": 1}, basehead=f"{base}...{head}")
        return None if data is None else CommitComparison.model_validate(data)

    async def is_ancestor(self, sha: str, branch: str) -> bool:
        """Tell whether `sha` is in the history of `branch` (docs/decisions/0010)."""
        found = await self.compare(sha, branch)
        return found is not None and found.status in {"identical", "ahead"}

    async def tree(
        self, tree: str, *, recursive: bool = False, may_be_cut: bool = False
    ) -> tuple[TreeEntry, ...]:
        """List a tree's entries.

        Args:
            tree: its id.
            recursive: whether with all that is below it.
            may_be_cut: whether as many as GitHub lists will do.

        Raises:
            Conflict: If GitHub cannot list it whole (over 100,000 entries or 7 MB).
        """
        query = {"recursive": 1} if recursive else None
        data = await self._channel.get(f"{GIT}/trees/{{tree}}", query=query, tree=tree)
        if data.get("truncated") and not may_be_cut:
            raise Conflict(f"The tree {tree} is too large for GitHub to list.")
        return tuple(TreeEntry.model_validate(entry) for entry in data["tree"])

    async def ensure_branch(self, name: str, sha: str, *, look_first: bool) -> Ref:
        """Create a branch at `sha`, unless it exists; it is never moved.

        Raises:
            Conflict: If it exists and points elsewhere.
            Unprocessable: If GitHub refuses the name or does not know the commit.
        """

        async def look() -> Ref | None:
            return await self.branch(name)

        async def create() -> Ref:
            body = {"ref": f"refs/heads/{name}", "sha": sha}
            return Ref.model_validate(await self._channel.post(REFS, body))

        ref = await ensure(
            look=look,
            create=create,
            look_first=look_first,
            sleep=self._channel.around.sleep,
            looks=(0.0,),
        )
        if ref.sha != sha:
            raise Conflict(f"The branch {name} exists already, at {ref.sha[:12]}, not {sha[:12]}.")
        return ref

    async def delete_branch(self, name: str) -> None:
        """Delete a branch; that it is gone already is fine."""
        try:
            await self._channel.delete(BRANCH, branch=name)
        except Unprocessable as refusal:
            # "Reference does not exist" comes as 422, not as 404.
            if "not exist" not in str(refusal).lower():
                raise

    async def ensure_hidden_ref(self, name: str, sha: str, *, look_first: bool) -> None:
        """Point `refs/<name>`, which is neither branch nor tag, at a commit, unless it does.

        Such a ref keeps a commit fetchable and starts no workflow.

        Raises:
            Conflict: If it points elsewhere.
        """

        async def look() -> str | None:
            return await self.hidden_ref(name)

        async def create() -> str:
            body = {"ref": f"refs/{name}", "sha": sha}
            return Ref.model_validate(await self._channel.post(REFS, body)).sha

        found = await ensure(
            look=look, create=create, look_first=look_first, sleep=self._channel.around.sleep
        )
        if found != sha:
            raise Conflict(f"refs/{name} exists already, at {found[:12]}, not {sha[:12]}.")

    async def hidden_ref(self, name: str) -> str | None:
        """Give the commit `refs/<name>` points to, or None."""
        data = await self._channel.find(f"{GIT}/ref/{{ref*}}", ref=name)
        return Ref.model_validate(data).sha if isinstance(data, dict) else None

    async def hidden_refs(self, folder: str) -> tuple[str, ...]:
        """Name the refs below `refs/<folder>/`, without `refs/`."""
        names = [each.ref.removeprefix("refs/") for each in await self._refs(folder)]
        # GitHub gives every ref that begins so, `<folder>-other` too.
        return tuple(name for name in names if name.startswith(f"{folder}/"))

    async def merge_groups(self) -> dict[str, str]:
        """Name what the merge queues test just now: by its ref (`refs/heads/…`), its commit.

        GitHub keeps each group on a branch of its own:
        https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue
        """
        refs = await self._refs(_QUEUES)
        return {each.ref: each.sha for each in refs if each.ref.startswith(f"refs/{_QUEUES}/")}

    async def delete_hidden_ref(self, name: str) -> None:
        """Delete `refs/<name>`; that it is gone already is fine."""
        try:
            await self._channel.delete(f"{REFS}/{{ref*}}", ref=name)
        except Unprocessable as refusal:
            if "not exist" not in str(refusal).lower():
                raise

    async def tree_of(self, commit: str) -> str:
        """Give the tree of a commit named by its full SHA; it is asked for once.

        Source: https://docs.github.com/rest/git/commits#get-a-commit-object

        Raises:
            NotFound: If there is no such commit.
        """
        known = self._made.tree_of.get(commit)
        if known is None:
            data = await self._channel.get(f"{GIT}/commits/{{commit}}", commit=commit)
            known = self._made.tree_of[commit] = commit_from_git(data).tree
        return known

    async def publish_tree(
        self,
        base_tree: str | None,
        changes: Sequence[TreeChange],
        *,
        expected_tree: str | None = None,
    ) -> str:
        """Write `base_tree` with `changes` to GitHub and give the new tree's id.

        Trees and blobs are named by their content, so writing them twice changes nothing.

        Args:
            base_tree: A tree GitHub has (no commit: see `tree_of`); None starts from nothing.
            changes: What differs from it.
            expected_tree: The id computed locally.

        Raises:
            Conflict: If GitHub's tree is not `expected_tree`: something else was computed.
            Forbidden: If workflow files change and the App lacks `workflows=write`.
        """
        try:
            tree = await publish(self._channel, base_tree, changes)
        except Forbidden as error:
            workflows = [change.path for change in changes if change.path.startswith(WORKFLOWS)]
            if not workflows or error.permission:
                raise
            raise Forbidden(
                f"The App may not change workflow files ({', '.join(workflows[:3])}): it lacks "
                "workflows=write. Grant it in the App's settings, or make this change by hand.",
                permission="workflows=write",
                route=error.route,
                status=error.status,
            ) from error
        paths = frozenset(change.path for change in changes)
        self._made.trees[tree] = self._made.trees.get(tree, frozenset()) | paths
        if expected_tree is not None and tree != expected_tree:
            raise Conflict(
                f"GitHub made tree {tree[:12]} where {expected_tree[:12]} was computed: nothing "
                "was committed. This is a bug in the bot; please report it."
            )
        return tree

    async def create_commit(self, *, tree: str, parents: Sequence[str], message: str) -> Commit:
        """Make a commit that no branch points to yet. GitHub signs it as the App's."""
        body = {"tree": tree, "parents": list(parents), "message": message}
        # One made twice only leaves an unreachable object behind.
        data = await once_seen(
            lambda: self._channel.post(f"{GIT}/commits", body, repeatable=True),
            self._channel.around.sleep,
        )
        commit = commit_from_git(data)
        self._made.tree_of[commit.sha] = commit.tree
        if (paths := self._made.trees.get(tree)) is not None:
            self._made.commits[commit.sha] = MadeCommit(tuple(parents), paths)
        return commit

    async def ensure_commit_on_branch(
        self,
        branch: str,
        *,
        key: str,
        tree: str,
        parents: Sequence[str],
        message: str,
        new_branch: bool,
        look_first: bool,
    ) -> Commit:
        """Put one commit with the trailer `Playbooks-Step: <key>` on a branch, exactly once.

        Args:
            branch: Its short name.
            key: What makes the commit this one; one word.
            tree: Its tree, known to GitHub: see `publish_tree`.
            parents: The commits it goes upon, the branch's head first.
            message: The commit message; the trailer is added.
            new_branch: Create the branch at this commit; else fast-forward it from the first
                parent.
            look_first: Whether this step may already have run.

        Raises:
            BranchExists: If it exists, with `new_branch`, and does not have the commit.
            BranchMoved: If the branch moved and does not have the commit, or is gone: compute it
                again. Nothing is ever forced.
            Unprocessable: If the branch's rules refuse the commit.
        """

        async def look() -> Commit | None:
            return await self._find_step(branch, key, tree, parents)

        if look_first:
            found = await look()
            if found is not None:
                return found
        commit = await self.create_commit(
            tree=tree, parents=parents, message=with_step(message, key)
        )

        async def point() -> Commit:
            await self._point(branch, commit.sha, new_branch=new_branch)
            return commit

        async def look_again() -> Commit | None:
            # A ref does not lag as lists do, so somebody else's is known at once.
            ref = await self.branch(branch)
            return commit if ref is not None and ref.sha == commit.sha else await look()

        try:
            return await ensure(
                look=look_again,
                create=point,
                look_first=False,
                sleep=self._channel.around.sleep,
                looks=(0.0,),
            )
        except (Unprocessable, Conflict) as refusal:
            # Ours may have gone in, unanswered, and another commit upon it.
            found = await look()
            if found is not None:
                return found
            moved = _moved(branch, refusal)
            if moved is refusal:
                raise
            raise moved from refusal

    async def _find_step(
        self, branch: str, key: str, tree: str, parents: Sequence[str]
    ) -> Commit | None:
        """Find the step's commit among the last 100 of a branch.

        Anybody can copy a trailer: one with another content, or upon other commits, is not it.
        """
        for each in await self._newest(branch):
            is_it = (each.tree, each.parents) == (tree, tuple(parents))
            if is_it and key in steps_of(each.message):
                return each
        return None

    async def steps_on(self, branch: str) -> tuple[str, ...]:
        """Give the keys of the steps' trailers among the last 100 commits, newest first.

        There are none where there is no such branch.
        """
        commits = await self._newest(branch)
        return tuple(key for each in commits for key in sorted(steps_of(each.message)))

    async def _newest(self, branch: str) -> tuple[Commit, ...]:
        query: Query = {"sha": branch, "per_page": COMMITS_LOOKED_THROUGH}
        data = await self._channel.find(COMMITS, query=query)
        return tuple(commit_from_rest(entry) for entry in data or ())

    async def fast_forward(self, name: str, sha: str) -> None:
        """Move a branch forward to a commit that descends from its head; never force it.

        Raises:
            BranchMoved: If the branch has moved meanwhile, or is gone.
            Unprocessable, Forbidden: If the branch's rules refuse the commit.
        """
        try:
            await self._point(name, sha, new_branch=False)
        except Unprocessable as error:
            moved = _moved(name, error)
            if moved is error:
                raise
            raise moved from error

    async def _point(self, branch: str, sha: str, *, new_branch: bool) -> None:
        async def point() -> object:
            if new_branch:
                return await self._channel.post(REFS, {"ref": f"refs/heads/{branch}", "sha": sha})
            # A fast-forward to the same commit twice is one fast-forward.
            return await self._channel.patch(BRANCH, {"sha": sha, "force": False}, branch=branch)

        await once_seen(point, self._channel.around.sleep)


def with_step(message: str, key: str) -> str:
    """Add the step's trailer to a commit message, joining trailers that are there.

    Raises:
        ValueError: If `key` is not one word.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError(f"Not usable as a step's key: {key!r}")
    message = message.rstrip()
    last = message.rpartition("\n\n")[2]
    joined = "\n\n" in message and all(
        re.fullmatch(r"[A-Za-z0-9-]+: .+", line) for line in last.splitlines()
    )
    return f"{message}{chr(10) if joined else chr(10) * 2}{STEP_TRAILER}: {key}\n"


def steps_of(message: str) -> set[str]:
    """Give the keys of the `Playbooks-Step` trailers in a commit message's last paragraph."""
    last = message.rstrip().rpartition("\n\n")[2]
    return set(re.findall(rf"^{STEP_TRAILER}: (\S+)$", last, re.MULTILINE))


def _moved(branch: str, error: Exception) -> Exception:
    said = str(error).lower()
    if "already exists" in said:
        return BranchExists(f"The branch {branch} exists already, without this commit.")
    if "fast forward" in said or "fast-forward" in said:
        return BranchMoved(f"The branch {branch} moved meanwhile.")
    if "reference does not exist" in said:
        return BranchMoved(f"The branch {branch} is gone.")
    return error
