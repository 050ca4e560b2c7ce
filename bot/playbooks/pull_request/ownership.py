"""Whose commits the head of a proposal holds, what they touch, and whose yes to it counts.

Ours is a head of which every commit was made by this App. Whatever anybody else put there is judged
as theirs: it is never merged, except on a yes to exactly that commit by somebody who had no part in
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal

from bot.config import Config
from bot.errors import Passing
from bot.github.calls.git_data import steps_of
from bot.github.models import COMMITS_LISTED, FILES_LISTED, ChangedFile, Commit, PullRequest, Push
from bot.names import is_among
from bot.playbooks.pull_request.ports import ProposalGitHub
from bot.playbooks.undo import irreversible
from bot.records.branch_record import blob_of
from bot.triggers import Value

WHY = "foreign"
"""How the question about such a head is named in the records."""
SHOWN = 12
"""Characters of a commit that people are shown."""
FEWEST = 7
"""Characters of a commit that name it."""

_WEB_FLOW = "web-flow"
"""GitHub itself, as committer of what is done on its pages: nobody in particular."""
_ALL_PUSHES = 100
_TOO_MANY = "(more files than GitHub lists)"


class HeadMoves(Passing):
    """The pull request has another head than it had a moment ago: look again."""


class Foreign(Value):
    """A head that holds commits which this App did not make.

    Attributes:
        head: the commit.
        makers: who wrote, committed or pushed them, as far as GitHub tells.
        unknown: whether somebody may have had a part in it whom GitHub does not name.
        irreversible: paths that merging it would change for good, and what guards the bot itself.
    """

    head: str
    makers: tuple[str, ...] = ()
    unknown: bool = False
    irreversible: tuple[str, ...] = ()

    @property
    def of(self) -> Literal["founder", "person"]:
        """Whose yes it needs. Where it cannot be told who pushed it, a Founder answers for it."""
        return "founder" if self.irreversible or self.unknown else "person"


def is_made_by(commit: Commit, us: str) -> bool:
    """Tell whether GitHub vouches that this App (by its login) made a commit, as one of its steps.

    GitHub signs what an App commits, and shows what is only said to be by it as unverified.
    https://docs.github.com/authentication/managing-commit-signature-verification/about-commit-signature-verification#signature-verification-for-bots
    """
    by_us = (commit.login or "").lower() == us.lower() == (commit.committer or "").lower()
    return by_us and commit.verified and bool(steps_of(commit.message))


def foreign(
    head: str, commits: Sequence[Commit], pushes: Sequence[Push] | None, us: str
) -> Foreign | None:
    """Judge a head by its commits and by who moved the branch; None where all of it is ours.

    Args:
        head: the commit.
        commits: what it adds to the base branch, as far as GitHub lists it.
        pushes: who moved the branch, newest first; None where GitHub does not tell.
        us: this App's login.
    """
    strangers = [each for each in commits if not is_made_by(each, us)]
    listed = len(commits) < COMMITS_LISTED and any(each.sha == head for each in commits)
    if listed and not strangers:
        return None
    told = bool(pushes) and pushes is not None and pushes[0].after == head
    told = told and pushes is not None and len(pushes) < _ALL_PUSHES
    pushers = [each.by for each in pushes or ()]
    if told and all(by is not None and by.lower() == us.lower() for by in pushers):
        return None
    named = [login for each in strangers for login in (each.login, each.committer)]
    nobody = {us.lower(), _WEB_FLOW}
    makers = {
        login.lower(): login
        for login in (*named, *pushers)
        if login and login.lower() not in nobody
    }
    return Foreign(
        head=head,
        makers=tuple(makers.values()),
        unknown=not told or None in pushers or not listed or not makers,
    )


async def read_foreign(github: ProposalGitHub, pull: PullRequest) -> Foreign | None:
    """Read whose head a pull request has; None where all of it is ours.

    Its paths are not read: see `touched_for_good`.

    Raises:
        HeadMoves: somebody pushed meanwhile.
        GitHubError: it could not be read.
    """
    us, head = (await github.app()).bot_login, pull.head.sha
    commits = await github.pulls.commits(pull.number)
    if len(commits) < COMMITS_LISTED and all(each.sha != head for each in commits):
        raise HeadMoves(f"#{pull.number} is being pushed to")
    if (found := foreign(head, commits, None, us)) is None:
        return None
    pushes = await github.git.pushes(pull.head.ref)
    found = foreign(head, commits, pushes, us)
    if (await github.pulls.get(pull.number)).head.sha != head:
        raise HeadMoves(f"#{pull.number} is being pushed to")
    return found


async def touched_for_good(
    github: ProposalGitHub, number: int, config: Config, written: Mapping[str, str]
) -> tuple[str, ...]:
    """Name what merging a pull request as it is now would change and only a Founder may change.

    Args:
        github: the repository.
        number: the pull request; GitHub compares its head with where it left the base.
        config: as it counts.
        written: contents of the files that we put there ourselves, by path.

    Raises:
        GitHubError: its files could not be read.
    """
    return protected([each async for each in github.pulls.files(number)], config, written)


def protected(
    files: Sequence[ChangedFile], config: Config, written: Mapping[str, str]
) -> tuple[str, ...]:
    """Pick what only a Founder may change: what is irreversible, and what the bot keeps itself.

    A file that is just as we wrote it is nobody's change. Where GitHub lists not all files, any
    might be among those left out.
    """
    ours = {path: blob_of(content) for path, content in written.items()}
    paths = [
        path
        for each in files
        if each.sha is None or ours.get(each.filename) != each.sha
        for path in (each.filename, each.previous_filename)
        if path is not None
    ]
    found = {*irreversible(paths, config.founder), *_kept_by_us(paths, config)}
    more = (_TOO_MANY,) if len(files) >= FILES_LISTED else ()
    return (*sorted(found), *more)


def _kept_by_us(paths: Iterable[str], config: Config) -> set[str]:
    folders = tuple(f"{each.strip('/')}/" for each in (config.adr.directory, config.artifacts.root))
    return {path for path in paths if path.startswith(folders) or path == config.flags.path}


class Against(StrEnum):
    """Why somebody's yes to a head that we did not make does not count."""

    MOVED = "moved"
    """Another commit is there now than the one that was asked about."""
    NOT_NAMED = "not named"
    """It does not say which commit it is to."""
    THEIR_OWN = "their own"
    """They wrote, committed or pushed some of it."""
    HELD = "held"
    """They write self-work: whose work is held does not approve."""
    NO_FOUNDER = "no founder"
    """It changes something for good, and they are no Founder."""


def against(
    login: str,
    named: str | None,
    asked_about: str,
    now: Foreign,
    *,
    of: Literal["founder", "person"],
    founders: Collection[str],
    is_held: bool = False,
) -> Against | None:
    """Say why a yes does not count; None if it does. Write access is presupposed.

    Args:
        login: who says it.
        named: the commit they named, perhaps in short; None where they named none.
        asked_about: the commit that the question was about.
        now: the head as it is now.
        of: whose yes was asked for.
        founders: who are Founders.
        is_held: whether they write self-work.
    """
    if now.head != asked_about:
        return Against.MOVED
    if named is None or not is_named(named, asked_about):
        return Against.NOT_NAMED
    if is_among(login, now.makers):
        return Against.THEIR_OWN
    if is_held:
        return Against.HELD
    if "founder" in (of, now.of) and not is_among(login, tuple(founders)):
        return Against.NO_FOUNDER
    return None


def is_named(word: str, commit: str) -> bool:
    """Tell whether a word names a commit, perhaps in short."""
    return len(word) >= FEWEST and commit.startswith(word.lower())
