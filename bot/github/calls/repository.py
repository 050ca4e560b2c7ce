"""A repository's contents, changes and rules, and who may do what in it.

Answers are given as GitHub gives them: whoever reads them knows deliveries, which hold the same
objects. Asked again about the same moment, GitHub answers 304 while nothing happened.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from bot.github.calls.app import Ourselves
from bot.github.calls.issues import ISSUE, ISSUES, stamp
from bot.github.errors import Forbidden, GitHubError, Unreadable, is_absent
from bot.github.models import (
    BranchRules,
    File,
    GitHubModel,
    MergeMethod,
    RepositoryFacts,
    RequiredCheck,
    User,
)
from bot.github.transport.channel import Channel
from bot.triggers import Role

CONTENTS = "/repos/{owner}/{repo}/contents/{path*}"
BLOB = "/repos/{owner}/{repo}/git/blobs/{sha}"


class FoundFile(GitHubModel):
    """A file that is there; `content` is None where it is larger than was wanted."""

    sha: str
    content: bytes | None = Field(default=None, repr=False)


class _Blob(GitHubModel):
    """A blob's content; `encoding` is "none" where the answer comes without it (above 1 MB)."""

    sha: str
    encoding: str = ""
    content: str | None = None

    def decoded(self) -> bytes:
        """Give the bytes.

        Raises:
            Unreadable: they are not there (no file is taken for an empty one), or not in base64.
        """
        try:
            if self.content is not None:
                return base64.b64decode(self.content)
        except ValueError as error:
            raise Unreadable("GitHub's answer cannot be read: content is no base64") from error
        raise Unreadable("GitHub's answer cannot be read: content is missing")


class _ShownFile(_Blob):
    """A file as GitHub shows it."""

    size: int


class Contents:
    """Reading single files; writing goes through `GitData`."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def read(self, path: str, ref: str | None = None) -> File | None:
        """Read a file at a commit, branch or tag; None if there is no such file.

        Without a `ref` it is read from the head of the default branch.

        A directory or submodule is no file either. Up to 100 MB.
        """
        if (shown := await self._shown(path, ref)) is None:
            return None
        return File(path=path, sha=shown.sha, content=await self._bytes(shown))

    async def find(self, path: str, ref: str | None = None, *, largest: int) -> FoundFile | None:
        """Read a file, its bytes only where they are at most `largest`; None if there is none.

        Without a `ref` it is read from the head of the default branch.
        """
        if (shown := await self._shown(path, ref)) is None:
            return None
        if shown.size > largest:
            return FoundFile(sha=shown.sha)
        return FoundFile(sha=shown.sha, content=await self._bytes(shown))

    async def _shown(self, path: str, ref: str | None) -> _ShownFile | None:
        data = await self._channel.find(CONTENTS, query={"ref": ref} if ref else {}, path=path)
        if not isinstance(data, dict) or data.get("type") != "file":
            return None
        return _ShownFile.model_validate(data)

    async def _bytes(self, shown: _Blob) -> bytes:
        if shown.encoding != "base64":
            shown = _Blob.model_validate(await self._channel.get(BLOB, sha=shown.sha))
        return shown.decoded()

    async def is_regular(self, path: str, ref: str | None = None) -> bool:
        """Tell whether a file is one itself: GitHub gives what a symbolic link leads to as it.

        Of a directory GitHub lists at most 1,000 entries; what is beyond is taken for none.
        """
        folder, _, name = path.rpartition("/")
        data = await self._channel.find(CONTENTS, query={"ref": ref} if ref else {}, path=folder)
        kinds = {each["name"]: each["type"] for each in data} if isinstance(data, list) else {}
        return kinds.get(name) == "file"

    async def names(self, path: str, ref: str) -> tuple[str, ...]:
        """List a directory's names; nothing if there is no such directory. At most 1,000."""
        data = await self._channel.find(CONTENTS, query={"ref": ref}, path=path)
        return tuple(entry["name"] for entry in data) if isinstance(data, list) else ()


COMMENTS = "/repos/{owner}/{repo}/issues/comments"
REVIEWS = "/repos/{owner}/{repo}/pulls/{number}/reviews"
REVIEW_COMMENTS = "/repos/{owner}/{repo}/pulls/{number}/comments"

_EDITED = "query($id: ID!) { node(id: $id) { ... on PullRequestReview { lastEditedAt } } }"

Shown = Mapping[str, Any]


class Changes:
    """Recent changes of one repository."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def issues(self, since: datetime) -> list[Shown]:
        """List issues and pull requests that anything happened to, in the order it did."""
        query = {"state": "all", "since": stamp(since), "sort": "updated", "direction": "asc"}
        return [data async for data in self._channel.items(ISSUES, query=query)]

    async def comments(self, since: datetime) -> list[Shown]:
        """List the comments on issues and pull requests that are new or were edited."""
        return [data async for data in self._channel.items(COMMENTS, query={"since": stamp(since)})]

    async def review_comments(self, number: int, since: datetime) -> list[Shown]:
        """List the comments on a pull request's lines that are new or were edited."""
        query = {"since": stamp(since)}
        found = self._channel.items(REVIEW_COMMENTS, query=query, number=number)
        return [data async for data in found]

    async def reviews(self, number: int) -> list[Shown]:
        """List the reviews of a pull request, oldest first; their list knows no `since`."""
        return [data async for data in self._channel.items(REVIEWS, number=number)]

    async def review_was_edited(self, node_id: str) -> bool:
        """Tell whether a review's text is not the one it was submitted with: REST does not say."""
        data = await self._channel.graphql(
            _EDITED, {"id": node_id}, name="reviewEdited", repeatable=True
        )
        return bool((data["node"] or {}).get("lastEditedAt"))

    async def events(self, number: int, *kinds: str) -> list[Shown]:
        """List what of these kinds happened to an issue or pull request, by whom, oldest first."""
        found = self._channel.items(f"{ISSUE}/events", number=number)
        return [data async for data in found if data.get("event") in kinds]


PERMISSION = "/repos/{owner}/{repo}/collaborators/{login}/permission"
COLLABORATORS = "/repos/{owner}/{repo}/collaborators"
_GRANTED_AS = {Role.MAINTAIN: Role.WRITE, Role.TRIAGE: Role.READ}
"""What `permission` says of the roles that it has no word for.

https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user
"""
_PERMISSIONS = {Role.READ: "pull", Role.WRITE: "push"}
"""What the list of collaborators calls two of the roles."""


class Permissions:
    """Rights, read from GitHub each time: never trust what an event said."""

    def __init__(
        self, channel: Channel, granted: Callable[[], Awaitable[Mapping[str, str]]]
    ) -> None:
        """Work through `channel`; `granted` gives the App's own permissions."""
        self._channel = channel
        self._granted = granted

    async def role_of(self, login: str) -> Role:
        """Give a person's role on the repository; unknown people have none.

        A custom role counts as the one it is built upon, also where it is called like a greater
        one; what we have not heard of gives no right.
        """
        data = await self._channel.find(PERMISSION, login=login) or {}
        granted = _role(data.get("permission"))
        named = _role(data.get("role_name"))
        if named is None or granted is None:
            return granted or Role.NONE
        return named if _GRANTED_AS.get(named, named) is granted else granted

    async def admins(self) -> tuple[User, ...]:
        """Give the people with the admin role: the Founders where none are configured."""
        return await self.people(Role.ADMIN)

    async def people(self, least: Role) -> tuple[User, ...]:
        """Give the people with at least this role.

        https://docs.github.com/rest/collaborators/collaborators#list-repository-collaborators
        """
        permission = _PERMISSIONS.get(least, str(least))
        found = self._channel.items(COLLABORATORS, query={"permission": permission})
        users = [User.model_validate(data) async for data in found]
        return tuple(user for user in users if not user.is_bot)

    async def granted(self) -> Mapping[str, str]:
        """Give what the App was granted, such as `{"contents": "write"}`."""
        return await self._granted()

    async def may(self, permission: str, level: str = "write") -> bool:
        """Tell whether the App was granted `permission` at `level` (read, write, admin)."""
        levels = ("read", "write", "admin")
        held = (await self.granted()).get(permission)
        return held in levels and levels.index(held) >= levels.index(level)


def _role(word: object) -> Role | None:
    try:
        return Role(str(word))
    except ValueError:
        return None


RULES = "/repos/{owner}/{repo}/rules/branches/{branch}"
RULESET = "/repos/{owner}/{repo}/rulesets/{ruleset}"
_BARRED = ("never", "pull_requests_only")
BRANCH = "/repos/{owner}/{repo}/branches/{branch}"
PROTECTION = "/repos/{owner}/{repo}/branches/{branch}/protection"


class Rules:
    """The rules of the repository's branches."""

    def __init__(self, channel: Channel, ourselves: Ourselves) -> None:
        """Work through `channel`; `ourselves` tells whether a push restriction lets us in."""
        self._channel = channel
        self._ourselves = ourselves

    async def for_branch(self, branch: str, repository: RepositoryFacts) -> BranchRules:
        """Read what `branch` asks of a merge; `repository` says which methods it allows.

        Classic protection is read whole where the App has `administration=read`; else the
        branch itself tells its required checks, and the result is marked incomplete. Where this
        GitHub has no rulesets or no protection (the plan, an old release), there are none.

        Raises:
            NotFound: If there is no such branch.
            Forbidden: If the App lacks a permission.
        """
        rules = await self._of_rulesets(branch)
        about = await self._channel.get(BRANCH, branch=branch)
        protection: Any = None
        complete = True
        if about.get("protected"):
            try:
                protection = await self._channel.find(PROTECTION, branch=branch)
            except Forbidden as refusal:
                complete = is_absent(refusal)
        slug = (await self._ourselves.app()).slug if protection else ""
        return merged_rules(
            branch, rules, about, protection, repository, app_slug=slug, complete=complete
        )

    async def are_offered(self, branch: str) -> bool:
        """Tell whether this GitHub has rulesets here at all (the plan, the release).

        Raises:
            Forbidden: If the App lacks a permission.
        """
        try:
            await self._channel.get(RULES, branch=branch)
        except GitHubError as refusal:
            if is_absent(refusal):
                return False
            raise
        return True

    async def kinds(self, branch: str) -> frozenset[str]:
        """Give the types of all active rules of rulesets on a branch, whether it exists or not.

        https://docs.github.com/rest/repos/rules#get-rules-for-a-branch
        """
        return frozenset(str(rule.get("type")) for rule in await self._of_rulesets(branch))

    async def create(self, ruleset: Mapping[str, Any]) -> None:
        """Make a ruleset.

        https://docs.github.com/rest/repos/rules#create-a-repository-ruleset

        Raises:
            Forbidden: If the App lacks `administration: write`.
        """
        await self._channel.post("/repos/{owner}/{repo}/rulesets", ruleset)

    async def keeping_us_out(self, branch: str, kinds: Collection[str]) -> tuple[str, ...]:
        """Name the rulesets with a rule of such a type on a branch that the App may not bypass.

        https://docs.github.com/rest/repos/rules#get-a-repository-ruleset
        """
        found = {
            rule.get("ruleset_id")
            for rule in await self._of_rulesets(branch)
            if rule.get("type") in kinds
        }
        names = []
        for ruleset in sorted(each for each in found if isinstance(each, int)):
            about = await self._channel.find(RULESET, ruleset=ruleset)
            if about and about.get("current_user_can_bypass", "never") in _BARRED:
                names.append(str(about.get("name")))
        return tuple(names)

    async def _of_rulesets(self, branch: str) -> list[Mapping[str, Any]]:
        try:
            return [rule async for rule in self._channel.items(RULES, branch=branch)]
        except GitHubError as refusal:
            # A branch that is missing has no rules either: reading it says so.
            if is_absent(refusal):
                return []
            raise


def merged_rules(
    branch: str,
    rules: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    protection: Mapping[str, Any] | None,
    repository: RepositoryFacts,
    *,
    app_slug: str,
    complete: bool,
) -> BranchRules:
    """Merge GitHub's three answers about a branch, the strictest of each winning.

    Args:
        branch: Its name.
        rules: The active rules of all rulesets (`/rules/branches/{branch}`).
        about: The branch (`/branches/{branch}`), whose summary names classic required checks.
        protection: Its classic protection, None where there is none or it may not be read.
        repository: Which merge methods the repository allows.
        app_slug: The App's slug: a push restriction that names it does not restrict us.
        complete: Whether classic protection could be read if there is any.
    """
    found = _Gathered(repository)
    for rule in rules:
        found.take_rule(str(rule.get("type")), rule.get("parameters") or {})
    found.take_protection(protection or {}, app_slug)
    if protection is None:
        summary = (about.get("protection") or {}).get("required_status_checks") or {}
        found.take_classic_checks(summary)
    return found.rules(branch, complete)


class _Gathered:
    """The strictest of all rules seen so far."""

    def __init__(self, repository: RepositoryFacts) -> None:
        allowed = {
            MergeMethod.MERGE: repository.allow_merge_commit,
            MergeMethod.SQUASH: repository.allow_squash_merge,
            MergeMethod.REBASE: repository.allow_rebase_merge,
        }
        self.methods = [method for method, is_allowed in allowed.items() if is_allowed]
        self.checks: dict[tuple[str, int | None], RequiredCheck] = {}
        self.reviews = 0
        self.deployments: set[str] = set()
        self.others: set[str] = set()
        self.flags: set[str] = set()

    def flag(self, name: str, wanted: Any = True) -> None:
        if wanted:
            self.flags.add(name)

    def check(self, name: str, integration_id: int | None) -> None:
        # Classic protection writes -1 for "any App".
        pinned = integration_id if integration_id and integration_id > 0 else None
        self.checks[name, pinned] = RequiredCheck(name=name, integration_id=pinned)

    def take_rule(self, kind: str, parameters: Mapping[str, Any]) -> None:
        match kind:
            case "required_status_checks":
                self.flag("strict", parameters.get("strict_required_status_checks_policy"))
                for check in parameters.get("required_status_checks", ()):
                    self.check(check["context"], check.get("integration_id"))
            case "pull_request":
                self.flag("pull_request_required")
                self.take_reviews(parameters, "required_approving_review_count")
                self.flag("code_owner_review", parameters.get("require_code_owner_review"))
                self.flag(
                    "conversation_resolution",
                    parameters.get("required_review_thread_resolution"),
                )
                methods = parameters.get("allowed_merge_methods")
                if methods:
                    self.methods = [method for method in self.methods if method.value in methods]
            case "required_linear_history":
                self.flag("linear_history")
            case "required_signatures":
                self.flag("signatures")
            case "update":
                self.flag("restricted_pushes")
            case "merge_queue":
                self.flag("merge_queue")
            case "required_deployments":
                self.deployments |= set(parameters.get("required_deployment_environments", ()))
            case "creation" | "deletion" | "non_fast_forward":
                # The bot does nothing to a base branch that these would refuse.
                pass
            case _:
                self.others.add(kind)

    def take_reviews(self, source: Mapping[str, Any], count: str) -> None:
        self.reviews = max(self.reviews, int(source.get(count) or 0))
        self.flag("last_push_approval", source.get("require_last_push_approval"))

    def take_protection(self, protection: Mapping[str, Any], app_slug: str) -> None:
        self.take_classic_checks(protection.get("required_status_checks") or {})
        reviews = protection.get("required_pull_request_reviews")
        if reviews is not None:
            self.flag("pull_request_required")
            self.take_reviews(reviews, "required_approving_review_count")
            self.flag("code_owner_review", reviews.get("require_code_owner_reviews"))
        for name, ours in (
            ("required_linear_history", "linear_history"),
            ("required_signatures", "signatures"),
            ("required_conversation_resolution", "conversation_resolution"),
            ("lock_branch", "locked"),
        ):
            self.flag(ours, (protection.get(name) or {}).get("enabled"))
        restrictions = protection.get("restrictions")
        if restrictions is not None:
            let_in = {app.get("slug") for app in restrictions.get("apps") or ()}
            self.flag("restricted_pushes", app_slug not in let_in)

    def take_classic_checks(self, source: Mapping[str, Any]) -> None:
        self.flag("strict", source.get("strict"))
        pinned = source.get("checks") or []
        for check in pinned:
            self.check(check["context"], check.get("app_id"))
        for name in set(source.get("contexts") or ()) - {check["context"] for check in pinned}:
            self.check(name, None)

    def rules(self, branch: str, complete: bool) -> BranchRules:
        methods = (
            [m for m in self.methods if m is not MergeMethod.MERGE]
            if ("linear_history" in self.flags)
            else self.methods
        )
        return BranchRules(
            branch=branch,
            required_checks=tuple(sorted(self.checks.values(), key=lambda check: check.name)),
            required_reviews=self.reviews,
            merge_methods=tuple(methods),
            required_deployments=tuple(sorted(self.deployments)),
            other_rules=tuple(sorted(self.others)),
            complete=complete,
            **dict.fromkeys(self.flags, True),
        )
