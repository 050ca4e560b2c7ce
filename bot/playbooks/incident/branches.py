"""What the branches of proposals are called, and whose a branch is.

Names are short enough for a phone, so they do not say whose they are: the trailer of the commit
does. Incidents begun before names were short have their whole id in them; both forms are known
again for ever.

The rolling pull request of outcomes brings what the bot put there, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from bot import markdown
from bot.github.calls.trees import TreeChange
from bot.github.errors import Conflict, Forbidden, NotFound, Unprocessable
from bot.github.models import COMMITS_LISTED, Commit, PullRequest
from bot.playbooks.incident.ports import IncidentStore, OutcomesGitHub
from bot.records.branch_record import Wrong
from bot.triggers import RUN_ID

ENDING = 4
"""Characters of the incident's id in a short name."""
SHORT_SHA = 7
MOST_NAMES = 20
"""Names tried before giving up: each is somebody else's."""
_LONGEST_SLUG = 16

_HOTFIX = re.compile(
    rf"hotfix[/-]revert-(?:(?P<incident>{RUN_ID.pattern})|"
    r"(?:[0-9]+|[0-9a-f]{7})-(?P<ending>[0-9a-z]{4}))"
    r"(?:-[0-9]+)?"
)
_KEY = re.compile(rf"(?P<incident>{RUN_ID.pattern})/(?:(?P<attempt>[0-9]+)/)?[0-9a-f]{{12}}")


@dataclass(frozen=True)
class Naming:
    """One attempt at an incident, by which its branch and its commits are named.

    Attributes:
        kind: the playbook.
        proposal: what its pull request is called.
        incident: the incident's id.
        attempt: which attempt at it this is, counted from 1.
        short: whether its name is short: as it was when its Run began.
    """

    kind: str
    proposal: Literal["hotfix", "fix"]
    incident: str
    attempt: int
    short: bool

    def first(self, about: str) -> str:
        """The name that is tried first; `about`: what a short one names, say `7` or `3f2a9c1`."""
        stem = f"{about}-{self.incident[-ENDING:]}" if self.short else self.incident
        return _numbered(f"{self.proposal}/{self.kind}-{stem}", self.attempt)

    def names(self, first: str) -> Iterator[str]:
        """The names to try one after the other; a long one is nobody else's."""
        yield first
        if self.short:
            stem = first.removesuffix(f"-{self.attempt}") if self.attempt > 1 else first
            for number in range(self.attempt + 1, self.attempt + MOST_NAMES):
                yield _numbered(stem, number)

    def key(self, onto: str) -> str:
        """What the trailer of the commit on the base commit `onto` says."""
        # A short name does not tell attempts apart, so the key has to.
        attempt = f"{self.attempt}/" if self.short else ""
        return f"{self.incident}/{attempt}{onto[:12]}"

    @property
    def beginnings(self) -> tuple[str, str]:
        """How the names of all such proposals begin, in both forms."""
        return f"{self.proposal}/{self.kind}-", f"{self.proposal}-{self.kind}-"

    def may_have(self, name: str) -> bool:
        """Whether a name may be one of this incident's, whichever attempt's."""
        numbered = r"(?:-[0-9]+)?"
        endings = rf"(?:{re.escape(self.incident)}|.+-{re.escape(self.incident[-ENDING:])})"
        return any(
            re.fullmatch(re.escape(beginning) + endings + numbered, name)
            for beginning in self.beginnings
        )

    def attempt_of(self, name: str, keys: Iterable[str]) -> int | None:
        """Which attempt at this incident a branch is of; None where it is somebody else's.

        Args:
            name: the branch.
            keys: what the trailers of its commits say, newest first.
        """
        long = re.fullmatch(
            rf"{self.proposal}[/-]{self.kind}-{re.escape(self.incident)}(?:-([0-9]+))?", name
        )
        if long:
            return int(long[1] or 1)
        newest = next(filter(None, map(_KEY.fullmatch, keys)), None)
        if newest is None or newest["incident"] != self.incident:
            return None
        return int(newest["attempt"] or 1)

    def says_whose(self, name: str) -> bool:
        """Whether a name alone tells that it is this incident's."""
        return self.incident in name


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def about_change(number: int | None, sha: str) -> str:
    """What a short name says of a change: its pull request's number, else 7 of its SHA."""
    return str(number) if number else sha[:SHORT_SHA]


def about_capability(capability: str) -> str:
    """What a short name says of a capability: its letters and digits, at most 16 characters."""
    slug = "-".join(re.findall(r"[a-z0-9]+", capability.lower()))
    return slug[:_LONGEST_SLUG].strip("-") or "capability"


def flat(name: str) -> str:
    """The name without its folder, for where a branch is called as the folder is."""
    return name.replace("/", "-", 1)


def folder_of(name: str) -> str:
    """The folder of a name, such as `hotfix`."""
    return name.partition("/")[0]


def is_hotfix(name: str) -> bool:
    """Whether a branch is called as hotfixes are, in any form."""
    return _HOTFIX.fullmatch(name) is not None


def incident_of_hotfix(name: str, keys: Iterable[str]) -> str | None:
    """The incident that a hotfix was made for.

    Args:
        name: the branch.
        keys: what the trailers of its pull request's commits say, oldest first.

    Returns:
        Its id; None where it is no hotfix of ours.
    """
    found = _HOTFIX.fullmatch(name)
    if found is None:
        return None
    if found["incident"]:
        return found["incident"]
    # Somebody may have put a commit of another incident upon it: its name has to agree.
    owners = (match["incident"] for match in map(_KEY.fullmatch, keys) if match)
    return next((owner for owner in owners if owner.endswith(found["ending"])), None)


TITLE = "Record the outcomes of incidents"


_MENDS = "Somebody else had pushed here; this is what was put here before."


ATTEMPTS = 8
"""How often a branch is written again that others push to meanwhile."""

LONG_AGO = datetime(2008, 1, 1, tzinfo=UTC)
"""Before GitHub: a comment of ours is looked for among all of an issue."""

_MOST_NAMED = 5


def named_paths(paths: Sequence[str]) -> list[str]:
    """The first few of these paths for people, and how many there are besides (Markdown)."""
    shown = [markdown.code(path) for path in paths[:_MOST_NAMED]]
    return [*shown, f"{len(paths) - _MOST_NAMED} more"] if len(paths) > _MOST_NAMED else shown


async def only_ours(github: OutcomesGitHub, store: IncidentStore, number: int) -> None:
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
    for _ in range(ATTEMPTS):
        pull = await github.pulls.get(number)
        commits = await github.pulls.commits(number)
        known = _mended(commits, us)
        if len(commits) < COMMITS_LISTED and all(_is_by(each, us) for each in commits[known:]):
            return
        brought = [each.filename async for each in github.pulls.files(number)]
        if all(each.sha != pull.head.sha for each in commits) and len(commits) < COMMITS_LISTED:
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
    github: OutcomesGitHub,
    store: IncidentStore,
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


async def _put_by_us(github: OutcomesGitHub, start: str, end: str) -> dict[str, bytes]:
    """Read what commits that are all ours changed, such as the flag document."""
    before, after = await _blobs(github, start), await _blobs(github, end)
    found = {}
    for path in [path for path, blob in after.items() if before.get(path) != blob]:
        file = await github.contents.read(path, end)
        if file is not None:
            found[path] = file.content
    return found


async def _blobs(github: OutcomesGitHub, commit: str) -> Mapping[str, str]:
    entries = await github.git.tree(await github.git.tree_of(commit), recursive=True)
    return {each.path: each.sha for each in entries if each.type == "blob"}


async def _tell(
    github: OutcomesGitHub, store: IncidentStore, pull: PullRequest, brought: Sequence[str]
) -> None:
    here, branch, head = github.repository.id, pull.head.ref, pull.head.sha
    kept = tuple(each for each in await store.files(here) if each.path in brought)
    others = tuple(path for path in brought if path not in {each.path for each in kept})
    wrong = Wrong(files=kept, others=others)
    await store.tell(here, wrong, branch=branch, commit=head, of=f"outcomes-{head}")
    named = ", ".join(named_paths(brought)) or "nothing"
    body = (
        f"**Somebody else pushed to {markdown.code(branch)}**, which only the App writes (commit "
        f"{head[:12]}; with it this pull request changed {named}). It "
        "brings again what the bot had put there, and nothing of the push.\n\n"
        "What you want to change, propose from a branch of your own. To keep others out, let a "
        "ruleset for `playbooks/**` restrict creations, updates and deletions, with the App alone "
        "on its bypass list. This is in the audit chain as `records.rebuilt`."
    )
    with suppress(Forbidden, NotFound, Unprocessable):
        await github.comments.ensure_comment(
            pull.number, key=f"outcomes-rebuilt:{head}", body=body, since=LONG_AGO,
            look_first=True,
        )  # fmt: skip
