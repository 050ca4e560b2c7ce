"""From what a person names to the commits that are undone.

Which commits may be named: docs/decisions/0010; which a pull request brought: docs/decisions/0019.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bot import markdown
from bot.git.errors import AmbiguousRevision, GitFailed, UnknownRevision
from bot.git.history import describe, is_ancestor, resolve
from bot.git.landed_changes import NOTHING_OF_ITS_OWN, Apart, Together, choose, twins_of
from bot.git.pull_commits import Landing, Unclear
from bot.github.calls.git_data import steps_of
from bot.github.models import PullRequest, RepositoryFacts
from bot.playbooks.incident.branches import incident_of_hotfix, is_hotfix
from bot.playbooks.incident.context import Offender
from bot.playbooks.incident.phrases import listed
from bot.playbooks.plan import (
    CannotPlan,
    Landed,
    brought_with,
    is_gone,
    landing_of_pull,
    look_into,
    needed,
)
from bot.playbooks.revert.ports import RevertGitHub, RevertMirror
from bot.triggers import CommitTarget, PullRequestTarget

_HIGHEST_STACK = 10
_MOST_NAMED = 10
"""Pull requests named one by one; what brought more is named by its merge commit."""
_MOST_TRIED = 5


@dataclass(frozen=True)
class Located:
    """An offender, and the branch it is on.

    Attributes:
        offender: what is reverted.
        base: the branch.
        landed: what came by the same step of it, where that is known.
        pull: the pull request whose work it is, where it is one's.
    """

    offender: Offender
    base: str
    landed: Landed | None = None
    pull: PullRequest | None = None


async def merged_pull_request(target: PullRequestTarget, github: RevertGitHub) -> PullRequest:
    """Read a pull request that was named.

    Raises:
        CannotPlan: it is unknown or was not merged.
    """
    pull = await github.pulls.find(target.number)
    if pull is None:
        known = await github.issues.find(target.number)
        what = (
            f"#{target.number} is an issue, not a pull request."
            if known
            else f"There is no pull request #{target.number} in this repository."
        )
        raise CannotPlan(
            what, "Name the pull request that broke things: `/revert #NUMBER`, or a SHA."
        )
    if pull.is_merged and pull.merge_commit_sha:
        return pull
    if pull.state == "open":
        raise CannotPlan(
            f"#{pull.number} is not merged, so there is nothing to revert.",
            "Close it, or name the pull request that broke things: `/revert #NUMBER`.",
        )
    if pull.is_merged:
        raise CannotPlan(
            f"#{pull.number} is merged, but GitHub does not say with which commit.",
            "Name that commit, as the branch's history shows it: `/revert SHA`.",
        )
    raise CannotPlan(
        f"#{pull.number} was closed without being merged, so there is nothing to revert.",
        "Name the pull request that broke things: `/revert #NUMBER`.",
    )


@dataclass(frozen=True)
class _Home:
    """Where a pull request is by now: the one it came with in the end, and how that landed."""

    pull: PullRequest
    top: PullRequest
    base: str
    landing: Landing


async def brought_by(
    pulls: Sequence[PullRequest], facts: RepositoryFacts, github: RevertGitHub, mirror: RevertMirror
) -> list[Located]:
    """Find the commits that undo merged pull requests, and nothing that others brought.

    Raises:
        CannotPlan: it cannot be told, or they cannot be undone without others; says what is
            missing.
    """
    homes = [await _home_of(pull, facts, github, mirror) for pull in pulls]
    asked = {pull.number for pull in pulls}
    located: dict[int, Located] = {}
    for key in dict.fromkeys((home.base, home.landing.at) for home in homes):
        here = [home for home in homes if (home.base, home.landing.at) == key]
        known = {home.top.number: home.top for home in here} | {h.pull.number: h.pull for h in here}
        landed = await look_into(here[0].landing, github, mirror, [*known.values()])
        together = asked & landed.parts.keys()
        if lost := [home.pull.number for home in here if home.pull.number not in together]:
            raise CannotPlan(
                f"I cannot tell which commits #{lost[0]} brought: they are no longer on "
                f"{markdown.code(key[0])} as they were.",
                "Name the commits to revert: `/revert SHA SHA`.",
            )
        choice = choose(landed.landing, landed.parts, together)
        if isinstance(choice, Together):
            raise _asks_about(choice, sorted(home.pull.number for home in here), landed)
        for home in here:
            commits = choice.commits[home.pull.number]
            offender = await _offender(home.pull, commits, github, choice.beside)
            located[home.pull.number] = Located(offender, home.base, landed, home.pull)
    return [located[pull.number] for pull in pulls]


async def wider(
    located: Sequence[Located], clean: Callable[[Sequence[str]], Awaitable[bool]]
) -> CannotPlan | None:
    """Ask for others too, where the commits of some alone cannot be undone but with others can.

    Args:
        located: what was to be reverted; it is in conflict with what came since.
        clean: tells whether undoing these commits applies.
    """
    asked = {each.offender.number for each in located if each.offender.number}
    for each in located:
        landed = each.landed
        if landed is None or not each.offender.beside:
            continue
        rest = [sha for other in located if other.landed is not landed
                for sha in other.offender.commits]  # fmt: skip
        singles = [(number,) for number in each.offender.beside[:_MOST_TRIED]]
        for others in [*singles, each.offender.beside]:
            together = (asked & landed.parts.keys()) | set(others)
            choice = choose(landed.landing, landed.parts, together)
            if isinstance(choice, Together):
                continue
            commits = [sha for part in choice.commits.values() for sha in part]
            if await clean([*dict.fromkeys(commits), *rest]):
                wanted = Together(others=others, reason="they build on each other")
                return _asks_about(wanted, sorted(asked), landed)
    return None


async def came_twice(
    located: Sequence[Located], onto: str, github: RevertGitHub, mirror: RevertMirror
) -> CannotPlan | None:
    """Ask for whoever brought the same change as well: undoing it once undoes it for both.

    What our own hotfixes brought back is nobody's work.

    Args:
        located: what is to be reverted.
        onto: the head of the branch.
        github: the repository.
        mirror: its commits.
    """
    bot = (await github.app()).bot_login
    asked = {each.offender.number for each in located if each.offender.number}
    named = [*(f"#{number}" for number in sorted(asked))]
    named += [each.offender.sha[:12] for each in located if not each.offender.number]
    everything = [sha for each in located for sha in each.offender.commits]
    for each in located:
        offender, landed = each.offender, each.landed
        changes, known, at = [*offender.commits], {*everything}, ""
        if each.pull is not None and landed is not None:
            part = landed.parts.get(each.pull.number, frozenset())
            mine = [sha for sha in landed.landing.changes if sha in part]
            changes = [*dict.fromkeys([*changes, *mine])]
            known |= {*landed.landing.on_base, *(node.sha for node in landed.landing.nodes)}
            at = landed.landing.at
        twins = await mirror.read(partial(twins_of, commits=changes, onto=onto, known=known))
        for twin in twins:
            before = partial(is_ancestor, ancestor=twin, descendant=f"{at}^1")
            if offender.commits == (at,) and await mirror.read(before):
                # The merge changed nothing there, and undoing it changes nothing either.
                continue
            pulls = [pull for pull in await github.pulls.of_commit(twin) if pull.is_merged]
            if any(pull.number in asked or pull.user.login == bot for pull in pulls):
                continue
            after = partial(is_ancestor, ancestor=changes[0], descendant=twin)
            if not pulls and await mirror.read(after):
                # Undone in between, and pushed again without a pull request: what is asked for.
                continue
            who = f"#{pulls[0].number}" if pulls else markdown.code(twin[:12])
            more = f"#{pulls[0].number}" if pulls else twin[:12]
            command = " ".join([*named, more])
            what = f"#{offender.number}" if offender.number else markdown.code(offender.sha[:12])
            return CannotPlan(
                f"{who} brought the same change as {what}, so it would go as well. "
                "I reverted nothing.",
                f"To revert both: `/revert {command}`.",
            )
    return None


def _asks_about(choice: Together, asked: Sequence[int], landed: Landed) -> CannotPlan:
    """Name everybody who would be undone as well, and the command that says so."""
    named = listed([f"#{number}" for number in asked])
    others = listed([f"#{number}" for number in choice.others[:_MOST_NAMED]])
    more = len(choice.others) - _MOST_NAMED
    if more > 0:
        others += f" (and {more} more)"
    everything = [*asked, *choice.others]
    command = " ".join(f"#{number}" for number in everything)
    if len(everything) > _MOST_NAMED:
        command = landed.landing.at[:12]
    remedy = f"To revert all of it: `/revert {command}`."
    if choice.reason == NOTHING_OF_ITS_OWN:
        first = f"`/revert #{choice.others[0]}`"
        remedy += f" To revert one of them, name it, such as {first}."
    return CannotPlan(
        f"{named} cannot be reverted without {others}: {choice.reason}. I reverted nothing.",
        remedy,
    )


async def _home_of(
    pull: PullRequest, facts: RepositoryFacts, github: RevertGitHub, mirror: RevertMirror
) -> _Home:
    """Find where a pull request landed in the end: a stack is merged from branch to branch."""
    top = pull
    for _ in range(_HIGHEST_STACK):
        above = await _merged_into(top, facts, github, mirror)
        if above is None:
            break
        top = above
    base, onto = await _base_of(top, facts, mirror)
    try:
        found = await landing_of_pull(top, onto, github, mirror)
    except UnknownRevision:
        raise CannotPlan(
            f"I cannot tell which commits #{pull.number} brought: they are no longer on "
            f"{markdown.code(base)}.",
            "Name the commits to revert: `/revert SHA SHA`.",
        ) from None
    if isinstance(found, Unclear):
        raise CannotPlan(
            f"I cannot tell which commits #{pull.number} brought: {markdown.text(found.reason)}.",
            _name_commits(found),
        )
    return _Home(pull, top, base, found)


async def _merged_into(
    pull: PullRequest, facts: RepositoryFacts, github: RevertGitHub, mirror: RevertMirror
) -> PullRequest | None:
    """The pull request that took this one's base branch further, if that was all it was for.

    What was merged into a branch that lives on, such as a release's, is reverted there.
    """
    if pull.base.ref == facts.default_branch or await _was_default(pull, facts, mirror):
        return None
    above = [
        each
        async for each in github.pulls.list(state="closed", head=pull.base.ref)
        if each.is_merged and each.number != pull.number
    ]
    for each in sorted(above, key=lambda each: each.number, reverse=True):
        try:
            await mirror.refresh(needed(each))
            merge, head = pull.merge_commit_sha or "", each.head.sha
            in_it = await mirror.read(partial(is_ancestor, ancestor=merge, descendant=head))
        except (UnknownRevision, GitFailed):
            continue
        if in_it and await _is_over(pull.base.ref, each.head.sha, github, mirror):
            return each
    return None


async def _was_default(pull: PullRequest, facts: RepositoryFacts, mirror: RevertMirror) -> bool:
    """Whether a pull request's base branch is the default one, by a name that it has no more."""
    if not await is_gone(pull.base.ref, mirror):
        return False
    merge = pull.merge_commit_sha or ""
    return merge in await _own_line(await mirror.branch_head(facts.default_branch), merge, mirror)


async def _own_line(head: str, since: str, mirror: RevertMirror) -> set[str]:
    """The commits of a branch's own line, from one of them on; none where that is not here."""
    said = await mirror.read(
        lambda git: git.run("rev-list", "--first-parent", head, f"^{since}^1", "--", ok=(0, 128))
    )
    return set(said.text.split()) if said.code == 0 else set()


async def _is_over(branch: str, merged_at: str, github: RevertGitHub, mirror: RevertMirror) -> bool:
    """Whether a branch is gone, or nothing came to it since it was merged and nothing guards it."""
    try:
        head = await mirror.branch_head(branch)
    except UnknownRevision:
        return True
    return head == merged_at and branch not in await github.protected_branches()


async def _base_of(
    pull: PullRequest, facts: RepositoryFacts, mirror: RevertMirror
) -> tuple[str, str]:
    """The branch the pull request is on, and its head: the default one where it was renamed."""
    try:
        return pull.base.ref, await mirror.branch_head(pull.base.ref)
    except UnknownRevision:
        head = await mirror.branch_head(facts.default_branch)
    try:
        merged = pull.merge_commit_sha or ""
        if await mirror.read(lambda git: is_ancestor(git, merged, head)):
            return facts.default_branch, head
    except UnknownRevision:
        pass
    raise CannotPlan(
        f"#{pull.number} was merged into {markdown.code(pull.base.ref)}, and that branch is gone.",
        "If its commits are on another branch, name them: `/revert SHA`.",
    )


async def _offender(
    pull: PullRequest,
    commits: Sequence[str],
    github: RevertGitHub,
    beside: Sequence[int] = (),
) -> Offender:
    return Offender(
        number=pull.number,
        title=pull.title,
        sha=pull.merge_commit_sha or commits[0],
        commits=tuple(commits),
        author=pull.user.login,
        incident=await _incident_of(pull, github),
        beside=tuple(beside),
    )


async def _incident_of(pull: PullRequest, github: RevertGitHub) -> str | None:
    """The incident that a pull request was made for, where it is a hotfix that we opened."""
    if not is_hotfix(pull.head.ref) or pull.user.login != (await github.app()).bot_login:
        return None
    named = incident_of_hotfix(pull.head.ref, ())
    if named is not None:
        return named
    commits = await github.pulls.commits(pull.number)
    keys = [key for each in commits for key in sorted(steps_of(each.message))]
    return incident_of_hotfix(pull.head.ref, keys)


def _name_commits(unclear: Unclear) -> str:
    if not unclear.candidates:
        return "Name the commits to revert: `/revert SHA SHA`."
    return f"Name the commits to revert, perhaps `/revert {unclear.candidates[0][:12]}`."


async def named_commit(
    target: CommitTarget, facts: RepositoryFacts, github: RevertGitHub, mirror: RevertMirror
) -> list[Located]:
    """Find a commit that was named: all that a merge, a squash or the end of a rebase brought.

    Raises:
        CannotPlan: it is unknown, ambiguous, on no branch that counts, or brought others' work.
    """
    try:
        sha = await mirror.read(lambda git: resolve(git, target.sha))
    except UnknownRevision:
        raise CannotPlan(
            f"There is no commit {markdown.code(target.sha)} on a branch of this repository.",
            "Check the SHA; commits of forks cannot be named.",
        ) from None
    except AmbiguousRevision as several:
        raise CannotPlan(
            f"{markdown.code(target.sha)} stands for {len(several.candidates)} commits.",
            "Give more characters of the SHA.",
        ) from None
    base = await _protected_home(sha, facts, github, mirror)
    onto = await mirror.branch_head(base)
    landed = await brought_with(sha, base, onto, github, mirror)
    [commit] = await mirror.read(lambda git: describe(git, [sha]))
    alone = Offender(
        number=None, title=commit.subject, sha=sha, commits=(sha,), author=commit.author
    )
    if landed is not None:
        await _not_the_branch_itself(sha, landed, base, onto, mirror)
    if landed is None or not landed.parts:
        return [Located(alone, base)]
    choice = choose(landed.landing, landed.parts, landed.parts.keys())
    commits = choice.commits if isinstance(choice, Apart) and choice.whole else {}
    located = [
        Located(await _offender(pull, commits.get(number, (sha,)), github), base, landed, pull)
        for number, pull in landed.pulls.items()
    ]
    # What came with no pull request goes too, so it is named too.
    return [*located, Located(alone, base, landed)] if landed.strangers else located


async def _not_the_branch_itself(
    sha: str, landed: Landed, base: str, onto: str, mirror: RevertMirror
) -> None:
    """Refuse the merge of a branch into work on it: undoing that would undo the branch.

    Raises:
        CannotPlan: it is such a merge.
    """
    line = await _own_line(onto, sha, mirror)
    if line.isdisjoint(node.sha for node in landed.landing.nodes):
        return
    pulls = [f"#{number}" for number in list(landed.pulls)[:_MOST_NAMED]]
    names = listed(pulls) if pulls else "what others put there"
    raise CannotPlan(
        f"{markdown.code(sha[:12])} merged {markdown.code(base)} into work that was under way: "
        f"to undo it would undo {names} as well.",
        "Name the pull request that broke things: `/revert #NUMBER`.",
    )


async def _protected_home(
    sha: str, facts: RepositoryFacts, github: RevertGitHub, mirror: RevertMirror
) -> str:
    """The default branch or a protected one that has the commit (docs/decisions/0010)."""
    default = facts.default_branch
    if await mirror.contains(default, sha):
        return default
    for name in await github.protected_branches():
        if name != default and await mirror.contains(name, sha):
            return name
    raise CannotPlan(
        f"{markdown.code(sha[:12])} is neither on {markdown.code(default)} nor on a protected "
        "branch, so there is nothing to revert.",
        "Name a commit that has been merged.",
    )
