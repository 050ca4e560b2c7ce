"""One client for each repository and installation: its calls, by subject.

github = GitHub(app_id=…, private_key=…, api_url=…)
client = github.repository(repository, playbook="revert")
pull = await client.pulls.get(12)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType

import aiohttp
from cachetools import LRUCache
from pydantic import SecretStr

from bot.github.calls.actions import Workflows
from bot.github.calls.app import Deliveries, Installations, Ourselves
from bot.github.calls.checks import Checks, Deployments
from bot.github.calls.git_data import GitData, MadeCommits
from bot.github.calls.issues import Comments, Issues, Labels, Reactions
from bot.github.calls.known_checks import KnownChecks
from bot.github.calls.pulls import Merging, Pulls
from bot.github.calls.repository import Changes, Contents, Permissions, Rules
from bot.github.errors import Conflict, GitHubError
from bot.github.models import App, BranchRules, PullRequest, RepositoryFacts
from bot.github.oauth import WebFlow
from bot.github.releases import Lacking
from bot.github.transport.auth import (
    AppKey,
    Clock,
    InstallationCredentials,
    InstallationTokens,
    Narrowing,
)
from bot.github.transport.channel import (
    Channel,
    ChannelContext,
    ChannelIdentity,
    Meter,
    Params,
    Sleep,
)
from bot.github.transport.http import CONNECTIONS, PUBLIC_API, Addresses, new_session
from bot.github.transport.rate_limit import LimitCollector, RequestCounter
from bot.triggers import Repository

PERMISSIONS = {
    "actions": "write",
    "checks": "write",
    "contents": "write",
    "deployments": "read",
    "issues": "write",
    "members": "read",
    "merge_queues": "read",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "read",
}
EVENTS = (
    "check_run",
    "check_suite",
    "deployment_status",
    "issue_comment",
    "issues",
    "merge_group",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "status",
    "workflow_run",
)


RECOVERY_PLAYBOOKS = frozenset({"revert", "rollback"})
"""What may use the requests kept for recovery (docs/decisions/0003)."""

INSTALLATIONS_KEPT = 256
RULES_KNOWN_S = 15.0
SILENT_AFTER = 2
"""Requests in a row without a usable answer: one alone may be chance."""


class GitHub:
    """GitHub as one App sees it: one HTTP session, one key, all caches. One per process.

    Use it as `async with`, or call `close` at the end.
    """

    def __init__(
        self,
        *,
        app_id: str | int,
        private_key: str | bytes,
        api_url: str = PUBLIC_API,
        graphql_url: str | None = None,
        url: str | None = None,
        timeout_seconds: float = 30.0,
        patience_seconds: float = 90.0,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare the client; nothing is sent yet.

        Args:
            app_id: The App's id.
            private_key: Its private key, PEM.
            api_url: The REST address; the others derive from it.
            graphql_url: Overrides the GraphQL address.
            url: Overrides the address of git and the web pages.
            timeout_seconds: How long to wait for GitHub to go on answering.
            patience_seconds: How long a call waits for a request limit to pass, in all, before
                it raises `RateLimited`.
            clock: Seconds since 1970.
            sleep: How to wait.
            jitter: A random share (0 to 1) by which waits are stretched.

        Raises:
            ValueError: If an address makes no sense.
            BadCredentials: If the key cannot be read.
        """
        self.addresses = Addresses.derive(api_url, graphql_url=graphql_url, url=url)
        self.requests = RequestCounter()
        self._timeout = timeout_seconds
        self._session: aiohttp.ClientSession | None = None
        self._around = ChannelContext(
            addresses=self.addresses,
            session=self._open_session,
            clock=clock,
            sleep=sleep,
            jitter=jitter,
            counter=self.requests,
            slots=asyncio.Semaphore(CONNECTIONS),
            patience=patience_seconds,
            lacking=Lacking(clock),
        )
        self._app_lane = ChannelIdentity(AppKey(app_id, private_key, clock))
        self._lanes: LRUCache[int, ChannelIdentity] = LRUCache(INSTALLATIONS_KEPT)
        self.limits = LimitCollector(lambda: [each.budget for each in self._lanes.values()])
        self.rules_known: LRUCache[tuple[int, str], tuple[float, BranchRules]] = LRUCache(1000)
        self.default_branches: LRUCache[int, tuple[float, str]] = LRUCache(1000)
        self.made = MadeCommits()
        self._part = 1.0
        auth = self._as_app("auth")
        self._tokens = InstallationTokens(
            lambda route, params, body: auth.post(route, body, repeatable=True, **params), clock
        )
        self.ourselves = Ourselves(auth)
        self.deliveries = Deliveries(self._as_app("deliveries"))
        self.installations = Installations(
            self._as_app("installations"), self.ourselves, self._as_installation
        )

    async def __aenter__(self) -> GitHub:
        """Use the client in an `async with`."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        await self.close()

    @property
    def is_silent(self) -> bool:
        """Whether GitHub has not answered the last requests: lost, or a fault of its own."""
        return self._around.unanswered >= SILENT_AFTER

    @property
    def refused(self) -> GitHubError | None:
        """What GitHub said when it last refused the App's key; None: it takes it."""
        return self._around.refused

    def presume_silent(self) -> None:
        """Take it that GitHub does not answer, until it does: somebody waited in vain."""
        self._around.unanswered = max(self._around.unanswered, SILENT_AFTER)

    def now(self) -> datetime | None:
        """Tell the time by GitHub's clock, as of its last answer; None before the first."""
        if self._around.heard is None:
            return None
        date, at = self._around.heard
        return date + timedelta(seconds=time.monotonic() - at)

    def pace(self, part: float) -> None:
        """Keep to this part (0 to 1) of GitHub's secondary limits; 0: to none of them.

        Who began with none stays with none: a demo is in a hurry.
        """
        if part == 0:
            self._around.paces = False
        for lane in self._lanes.values():
            lane.paced.part = part
        self._part = part

    def meter(self, meter: Meter) -> None:
        """From now on count every request about a repository against its cap."""
        self._around.meter = meter

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def repository(
        self,
        repository: Repository,
        *,
        playbook: str,
        recovery: bool | None = None,
        metered: bool = True,
        outsider: str | None = None,
    ) -> RepositoryClient:
        """Give the calls on one repository.

        Args:
            repository: Which one, through which installation.
            playbook: Whose requests these are, for the counts.
            recovery: Whether they may use the requests kept for recovery; by default revert
                and rollback may.
            metered: Whether they count against the repository's cap; answers to strangers do not.
            outsider: Whose work causes them, where they have no rights there: they are in no cap
                but in a share of their own, and use nothing that is kept for recovery.
        """
        if recovery is None:
            recovery = playbook in RECOVERY_PLAYBOOKS
        defaults = {"owner": repository.owner, "repo": repository.name}
        channel = self._as_installation(
            repository.installation_id,
            playbook=playbook,
            recovery=recovery and outsider is None,
            defaults=defaults,
            metered=repository.id if metered else None,
            outsider=outsider,
        )
        return RepositoryClient(repository, channel, self, playbook)

    async def token(
        self,
        installation_id: int,
        *,
        repository_id: int | None = None,
        permissions: Mapping[str, str] | None = None,
    ) -> str:
        """Give an installation token, narrowed to one repository and these permissions.

        It is good for at least five more minutes. For the git mirror:
        `permissions={"contents": "read"}`.
        """
        narrowing = Narrowing.to(repository_id=repository_id, permissions=permissions)
        return (await self._tokens.get(installation_id, narrowing)).value

    def discard_token(self, value: str) -> None:
        """Forget an installation token that was refused."""
        self._tokens.discard(value)

    async def granted(self, installation_id: int) -> Mapping[str, str]:
        """Give what the App was granted on this installation."""
        return (await self._tokens.get(installation_id)).permissions

    def remaining(self, installation_id: int) -> int | None:
        """Give the requests left in this hour, None before the first answer."""
        lane = self._lanes.get(installation_id)
        return None if lane is None else lane.budget.remaining

    def web_flow(self, client_id: str, client_secret: SecretStr) -> WebFlow:
        """Give the flow by which people log in with the App's client id and secret."""
        return WebFlow(client_id, client_secret, self._around)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = new_session(self._timeout)
        return self._session

    def _as_app(self, playbook: str) -> Channel:
        return Channel(self._app_lane, self._around, playbook=playbook, recovery=True)

    def _as_installation(
        self,
        installation_id: int,
        *,
        playbook: str = "installations",
        recovery: bool = False,
        defaults: Params | None = None,
        metered: int | None = None,
        outsider: str | None = None,
    ) -> Channel:
        lane = self._lanes.get(installation_id)
        if lane is None:
            lane = ChannelIdentity(InstallationCredentials(self._tokens, installation_id))
            lane.paced.part = self._part
            self._lanes[installation_id] = lane
        return Channel(
            lane,
            self._around,
            playbook=playbook,
            recovery=recovery,
            defaults=defaults,
            metered=metered,
            outsider=outsider,
        )


class RepositoryClient:
    """The calls on one repository, grouped by resource.

    Attributes:
        repository: Which one.
        issues: Issues, their assignees and state.
        comments: Comments and the sticky comment.
        reactions: Reactions to comments, issues and pull requests.
        labels: Labels of the repository and on issues.
        pulls: Pull requests.
        checks: Check-runs and commit statuses.
        known_checks: What a check has said of many commits.
        workflows: Workflow runs of GitHub Actions.
        git: Branches, commits and trees.
        contents: Files at a commit.
        permissions: What people and the App may do.
        rules: What branches ask of a merge.
        merging: Merging and the merge queue.
        changes: What changed lately.
    """

    def __init__(
        self, repository: Repository, channel: Channel, github: GitHub, playbook: str
    ) -> None:
        """Use `GitHub.repository` instead."""
        self._playbook = playbook
        self.repository = repository
        self._channel = channel
        self._github = github
        self.issues = Issues(channel, github.ourselves)
        self.comments = Comments(channel, github.ourselves)
        self.reactions = Reactions(channel)
        self.labels = Labels(channel)
        self.pulls = Pulls(channel, repository.owner, repository.name)
        self.checks = Checks(channel, github.ourselves)
        self.deployments = Deployments(channel)
        self.known_checks = KnownChecks(channel, repository.owner, repository.name)
        self.workflows = Workflows(channel)
        self.git = GitData(channel, github.made)
        self.contents = Contents(channel)
        self.permissions = Permissions(channel, lambda: github.granted(repository.installation_id))
        self.rules = Rules(channel, github.ourselves)
        self.merging = Merging(channel, self.pulls)
        self.changes = Changes(channel)

    def about_head_of(self, pull: PullRequest) -> RepositoryClient:
        """The same calls, to be used for what a pull request brings.

        Nobody needs rights here to push to a fork, so what is done for its commits is the
        outsiders' share.
        """
        if not pull.is_from_fork:
            return self
        return self._github.repository(
            self.repository, playbook=self._playbook, outsider=pull.user.login
        )

    @property
    def has_room(self) -> bool:
        """Whether the outsider for whom these calls are has something left of their share."""
        return self._channel.has_room

    async def about(self) -> RepositoryFacts:
        """Read the repository's settings, also after it was renamed.

        Raises:
            Conflict: If another repository has taken the name since.
        """
        facts = RepositoryFacts.model_validate(await self._channel.get("/repos/{owner}/{repo}"))
        if facts.id != self.repository.id:
            raise Conflict(
                f"{self.repository.full_name} is another repository now (id {facts.id}, not "
                f"{self.repository.id}): nothing is done there."
            )
        key = self.repository.id
        self._github.default_branches[key] = self._channel.around.clock(), facts.default_branch
        return facts

    async def default_branch(self) -> str:
        """Name the default branch, as it was called RULES_KNOWN_S ago at most.

        Raises:
            Conflict: If another repository has taken the name since.
        """
        now = self._channel.around.clock()
        at, known = self._github.default_branches.get(self.repository.id, (0.0, ""))
        is_known = known and 0 <= now - at < RULES_KNOWN_S
        return known if is_known else (await self.about()).default_branch

    async def app(self) -> App:
        """Give the App's id, slug and name."""
        return await self._github.ourselves.app()

    async def protected_branches(self) -> tuple[str, ...]:
        """Give the names of the branches that something protects."""
        found = self._channel.items("/repos/{owner}/{repo}/branches", query={"protected": "true"})
        return tuple([str(data["name"]) async for data in found])

    async def branch_rules(self, branch: str, facts: RepositoryFacts | None = None) -> BranchRules:
        """Read what a branch asks of a merge, or know it for RULES_KNOWN_S.

        Deliveries that come in a burst need not read it each; whoever was refused by a rule calls
        `forget_rules`.
        """
        key, now = (self.repository.id, branch), self._channel.around.clock()
        at, known = self._github.rules_known.get(key, (0.0, None))
        if known is None or not 0 <= now - at < RULES_KNOWN_S:
            known = await self.rules.for_branch(branch, facts or await self.about())
            self._github.rules_known[key] = (now, known)
        return known

    def forget_rules(self) -> None:
        """Read the rules again next time: they are others than was known."""
        for key in [key for key in self._github.rules_known if key[0] == self.repository.id]:
            del self._github.rules_known[key]

    async def clone_token(self) -> str:
        """Give a token that can only read this repository's contents, for the git mirror."""
        return await self._github.token(
            self.repository.installation_id,
            repository_id=self.repository.id,
            permissions={"contents": "read"},
        )

    def discard_clone_token(self, value: str) -> None:
        """Forget a token that git was refused with; the next one is new."""
        self._github.discard_token(value)

    @property
    def clone_url(self) -> str:
        """Where git fetches the repository from, without credentials."""
        return self._github.addresses.git(self.repository.owner, self.repository.name)
