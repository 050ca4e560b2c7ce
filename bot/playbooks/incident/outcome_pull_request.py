"""The rolling pull request of outcomes brings what the bot put there, and nothing else.

Anybody with write access may push to its branch, and what is there is offered under the bot's name.
So before anything is built upon it, and after every push, its commits are looked at; where somebody
else made one, another brings the branch back to what is kept here. What they pushed stays in its
history, as evidence, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from bot import markdown
from bot.github.calls.trees import TreeChange
from bot.github.client import RepositoryClient
from bot.github.errors import Conflict, Forbidden, NotFound, Unprocessable
from bot.github.models import Commit, PullRequest
from bot.records.branch_record import RecordStore, Wrong

TITLE = "Record the outcomes of incidents"


_MENDS = "Somebody else had pushed here; this is what was put here before."


_ALL_COMMITS = 250
"""GitHub lists no more commits of a pull request: of more it cannot be told whose they are."""


_ATTEMPTS = 8


_MOST_NAMED = 5


_LONG_AGO = datetime(2008, 1, 1, tzinfo=UTC)


async def only_ours(github: RepositoryClient, store: RecordStore, number: int) -> None:
    """See that nobody but us made what a pull request of outcomes brings; else mend it.

    Args:
        github: the repository.
        store: what was put there.
        number: the pull request.

    Raises:
        Conflict: somebody kept pushing.
        GitHubError: it could not be read or written.
    """
    us = (await github.app()).bot_login
    for _ in range(_ATTEMPTS):
        pull = await github.pulls.get(number)
        commits = await github.pulls.commits(number)
        known = _mended(commits, us)
        if len(commits) < _ALL_COMMITS and all(_is_by(each, us) for each in commits[known:]):
            return
        brought = [each.filename async for each in github.pulls.files(number)]
        if all(each.sha != pull.head.sha for each in commits) and len(commits) < _ALL_COMMITS:
            continue
        head = await _mend(github, store, pull, commits, us)
        try:
            await github.git.fast_forward(pull.head.ref, head)
        except Conflict:
            continue
        await _tell(github, store, pull, brought)
        return
    raise Conflict(f"{pull.head.ref} kept moving while it was being looked at: try again")


def _is_by(commit: Commit, us: str) -> bool:
    """Whether GitHub vouches that this App made a commit."""
    by_us = (commit.login or "").lower() == us.lower() == (commit.committer or "").lower()
    return by_us and commit.verified


def _mended(commits: Sequence[Commit], us: str) -> int:
    """How many commits there are up to the newest of ours that left nothing of what was before."""
    return max(
        (n for n, each in enumerate(commits, 1) if _MENDS in each.message and _is_by(each, us)),
        default=0,
    )


async def _mend(
    github: RepositoryClient,
    store: RecordStore,
    pull: PullRequest,
    commits: Sequence[Commit],
    us: str,
) -> str:
    """Make a commit that has the base branch with all that we had put there; the commit."""
    base = await github.git.head(pull.base.ref)
    now = await _blobs(github, base)
    known = _mended(commits, us)
    first = next(
        (n for n, each in enumerate(commits) if n >= known and not _is_by(each, us)), len(commits)
    )
    files: dict[str, bytes] = {}
    if first:
        began = commits[known - 1].parents[-1] if known else commits[0].parents[0]
        files |= await _put_by_us(github, began, commits[first - 1].sha)
    own = [each.sha for each in commits if _is_by(each, us)]
    there = set(files) | (set(await _blobs(github, own[-1])) if own else set())
    kept = [each for each in await store.files(github.repository.id) if each.path in there]
    contents = await store.contents(github.repository.id, [each.path for each in kept])
    files |= {path: content.encode() for path, content in contents.items()}
    blobs = {each.path: each.blob for each in kept}
    changes = [
        TreeChange(path=path, content=content)
        for path, content in sorted(files.items())
        if path not in blobs or now.get(path) != blobs[path]
    ]
    tree = await github.git.tree_of(base)
    if changes:
        tree = await github.git.publish_tree(tree, changes)
    made = await github.git.create_commit(
        tree=tree, parents=[pull.head.sha, base], message=f"{TITLE}\n\n{_MENDS}"
    )
    return made.sha


async def _put_by_us(github: RepositoryClient, start: str, end: str) -> dict[str, bytes]:
    """Read what commits that are all ours changed, such as the flag document."""
    before, after = await _blobs(github, start), await _blobs(github, end)
    found = {}
    for path in [path for path, blob in after.items() if before.get(path) != blob]:
        file = await github.contents.read(path, end)
        if file is not None:
            found[path] = file.content
    return found


async def _blobs(github: RepositoryClient, commit: str) -> Mapping[str, str]:
    entries = await github.git.tree(await github.git.tree_of(commit), recursive=True)
    return {each.path: each.sha for each in entries if each.type == "blob"}


async def _tell(
    github: RepositoryClient, store: RecordStore, pull: PullRequest, brought: Sequence[str]
) -> None:
    here, branch, head = github.repository.id, pull.head.ref, pull.head.sha
    kept = tuple(each for each in await store.files(here) if each.path in brought)
    others = tuple(path for path in brought if path not in {each.path for each in kept})
    wrong = Wrong(files=kept, others=others)
    await store.tell(here, wrong, branch=branch, commit=head, of=f"outcomes-{head}")
    paths = [markdown.code(path) for path in brought[:_MOST_NAMED]]
    if len(brought) > _MOST_NAMED:
        paths.append(f"{len(brought) - _MOST_NAMED} more")
    body = (
        f"**Somebody else pushed to {markdown.code(branch)}**, which only the App writes (commit "
        f"{head[:12]}; with it this pull request changed {', '.join(paths) or 'nothing'}). It "
        "brings again what the bot had put there, and nothing of the push.\n\n"
        "What you want to change, propose from a branch of your own. To keep others out, let a "
        "ruleset for `playbooks/**` restrict creations, updates and deletions, with the App alone "
        "on its bypass list. This is in the audit chain as `records.rebuilt`."
    )
    with suppress(Forbidden, NotFound, Unprocessable):
        await github.comments.ensure_comment(
            pull.number, key=f"outcomes-rebuilt:{head}", body=body, since=_LONG_AGO,
            look_first=True,
        )  # fmt: skip
