"""Who the Founders are, to what they say yes, and which of them may not.

GitHub tells the author and the committer of a commit, not who pushed it.
https://docs.github.com/rest/commits/commits#list-commits
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from bot.config import CONFIG_PATH, PROTECTED, Config
from bot.github.client import RepositoryClient
from bot.github.models import COMMITS_LISTED, Commit, PullRequest, Push
from bot.names import is_among
from bot.safety.config_in_force import Sections, part_of
from bot.triggers import Role, Value


async def founders_of(
    client: RepositoryClient, config: Config, settled: Sequence[str]
) -> tuple[str, ...]:
    """Name the Founders: those configured, else those of the settings, else the admins.

    Whoever cannot write to the repository any more has left, and is no Founder. Nor is an agent
    that `self_work.authors` names, whatever else it is: the held do not decide.

    Args:
        client: the repository.
        config: as it counts.
        settled: `PLAYBOOKS_FOUNDERS` of the process.
    """
    named = config.founder.people or tuple(settled)
    agents = config.self_work.authors
    present = [
        login
        for login in named
        if not is_among(login, agents)
        and (await client.permissions.role_of(login)).at_least(Role.WRITE)
    ]
    if present:
        return tuple(present)
    admins = [user.login for user in await client.permissions.admins()]
    return tuple(login for login in admins if not is_among(login, agents))


def is_founder(login: str, founders: Sequence[str]) -> bool:
    """Tell whether a login is among them; GitHub's logins ignore case."""
    return login.lower() in {each.lower() for each in founders}


class Objection(StrEnum):
    """Why somebody's yes does not count."""

    NO_FOUNDER = "no founder"
    THEIR_OWN = "their own"
    """They asked for it themselves, and there is another Founder."""


def objection_to(login: str, founders: Sequence[str], *, asked_by: str) -> Objection | None:
    """Say why this person's yes to what `asked_by` asks for does not count; None if it does.

    Args:
        login: who says yes.
        founders: the logins of all Founders; with a second one, nobody approves their own wish.
        asked_by: the login of whoever asks; empty where it is not this person's own wish.
    """
    if not is_founder(login, founders):
        return Objection.NO_FOUNDER
    is_own = login.lower() == asked_by.lower()
    others = [each for each in founders if each.lower() != login.lower()]
    return Objection.THEIR_OWN if is_own and others else None


_BY_HAND = frozenset({"push", "force_push", "branch_creation"})
"""Moves of a branch by somebody's own commits; who merges a pull request wrote none of it."""
_LOOKED_BEHIND = 10
"""Commits on the branch whose pull request is asked for."""


async def writers_of(client: RepositoryClient, pull: PullRequest) -> tuple[str, ...]:
    """Name whose pull request it is, and whoever wrote or pushed a commit that changes the file.

    What a commit says of its author is only said; who pushed it here GitHub knows. Not so of what
    was pushed to a fork.

    Raises:
        GitHubError: its commits could not be read.
    """
    line = [each.sha for each in await client.pulls.commits(pull.number)]
    changing = await client.git.commits_of(CONFIG_PATH, pull.head.sha)
    if len(line) < COMMITS_LISTED:
        changing = tuple(each for each in changing if each.sha in line)
    # Where not all of its commits are known, whoever changed the file lately counts.
    pushes = None if pull.is_from_fork else await client.git.pushes(pull.head.ref)
    pushed = pushers_of({each.sha for each in changing}, line, pushes or ())
    return _named((pull.user.login, *pushed), changing)


def pushers_of(commits: Collection[str], line: Sequence[str], pushes: Iterable[Push]) -> list[str]:
    """Name who brought commits to a branch by pushes of their own. Pure.

    Args:
        commits: whose pushers are wanted.
        line: the branch's commits, oldest first.
        pushes: how it was moved, as far as GitHub tells.
    """
    place = {sha: at for at, sha in enumerate(line)}
    wanted = {place[sha] for sha in commits if sha in place}
    found = []
    for push in pushes:
        if push.by is None or push.kind not in _BY_HAND or push.after not in place:
            continue
        # What it was upon may have been rewritten since: then it brought all there is.
        begin = place.get(push.before, -1) + 1
        if wanted.intersection(range(begin, place[push.after] + 1)):
            found.append(push.by)
    return found


async def writers_on_branch(
    client: RepositoryClient, branch: str, *, since: datetime | None
) -> tuple[str, ...]:
    """Name whoever changed the configuration on a branch since a moment; at least whoever did last.

    A merge by squashing names one author on the branch: whoever else wrote it stands in the pull
    request.

    Args:
        client: the repository; the last 100 commits that change the file are looked through.
        branch: its name.
        since: when the version that counts was approved; None: none was, so all are named.

    Raises:
        GitHubError: the commits could not be read.
    """
    found = await client.git.commits_of(CONFIG_PATH, branch)
    newer = [
        each
        for each in found[1:]
        if since is None or each.committed_at is None or each.committed_at >= since
    ]
    changing = [*found[:1], *newer]
    line = (*reversed(await client.git.newest(branch)),)
    pushes = [
        each
        for each in await client.git.pushes(branch) or ()
        # Of what is older than the commits that are known, it cannot be told what it brought.
        if each.before in line or each.after in {commit.sha for commit in changing}
    ]
    others = [*pushers_of({each.sha for each in changing}, line, pushes)]
    for commit in changing[:_LOOKED_BEHIND]:
        for pull in await client.pulls.of_commit(commit.sha):
            if pull.is_merged and pull.base.ref == branch:
                others += await writers_of(client, pull)
    return _named(others, changing)


def _named(logins: Iterable[str], commits: Iterable[Commit]) -> tuple[str, ...]:
    named = [*logins]
    for each in commits:
        named += [login for login in (each.login, each.committer) if login is not None]
    return tuple(dict.fromkeys(named))


SHOWN = 12
"""Characters of a digest that people are shown."""
FEWEST = 7
"""Characters of a digest that name it."""

_SAID = re.compile(rf"/approve ([0-9a-f]{{{SHOWN}}})\b")


class ShownConfig(Value):
    """What somebody could have seen when they said yes.

    Attributes:
        digests: of all versions that the checks of this pull request had shown by then.
        said: the digest that our last comment before it named, in short; empty where none did.
        is_settled: whether what they mean had been merged by then, and stands so.
    """

    digests: tuple[str, ...] = ()
    said: str = ""
    is_settled: bool = False


def digest_said(comment: str) -> str:
    """The digest that a comment of ours asks to approve, in short; empty where there is none."""
    found = _SAID.findall(comment)
    return found[-1] if found else ""


def may_name(word: str) -> bool:
    """Whether a word can be a digest, or the beginning of one."""
    return re.fullmatch(rf"[0-9a-f]{{{FEWEST},64}}", word) is not None


def is_meant(wanted: str, named: str | None, seen: ShownConfig) -> bool:
    """Whether a yes is to this version and no other.

    Args:
        wanted: the digest of what would be approved now.
        named: the digest that was typed, perhaps in short; None where none was.
        seen: what the yes can have been to where none was typed.
    """
    if named is not None:
        return may_name(named) and wanted.startswith(named)
    if seen.said:
        return wanted.startswith(seen.said)
    if not seen.digests:
        return seen.is_settled
    # Where another version was shown before, a bare yes may be to that one.
    return set(seen.digests) == {wanted}


def objection_to_consent(
    login: str, founders: Sequence[str], writers: Collection[str]
) -> Objection | None:
    """Say why this person's yes to what `writers` wrote does not count; None if it does.

    Args:
        login: who says yes.
        founders: the logins of all Founders; with a second one, nobody approves their own text.
        writers: the logins of whoever had a part in it.
    """
    own = next((each for each in writers if each.lower() == login.lower()), "")
    return objection_to(login, founders, asked_by=own)


def changed_sections(wanted: Sections, counting: Sections) -> tuple[str, ...]:
    """Name the protected keys that differ from what counts."""
    return tuple(key for key in PROTECTED if part_of(wanted, key) != part_of(counting, key))
