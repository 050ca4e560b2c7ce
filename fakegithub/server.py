"""The demo GitHub: everything composed into one HTTP server on loopback."""

from __future__ import annotations

import random
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from fakegithub import admin, git_http
from fakegithub.actions.runner import WorkflowRunner
from fakegithub.changes import automatic_merges, checks, suites
from fakegithub.contract.openapi import Contract
from fakegithub.deliveries.deliveries import DeliverySender
from fakegithub.faults.faults import Faults
from fakegithub.graphql import endpoint
from fakegithub.limits import RateLimits
from fakegithub.pages import oauth, pages, registration
from fakegithub.rest import endpoint as serving
from fakegithub.rest import resources, rulesets
from fakegithub.shapes.envelope import envelope
from fakegithub.site import Site
from fakegithub.world.model import (
    CheckSuite,
    FakeApp,
    FakeCheckRun,
    FakeInstallation,
    FakeIssue,
    FakeRepository,
    FakeUser,
    Protection,
    Ruleset,
)
from fakegithub.world.roles import RoleName
from fakegithub.world.world import Clock, Event, World

_LARGEST_BODY = 64 * 1024 * 1024


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class DemoGitHub:
    """A GitHub on this machine. `async with DemoGitHub() as github: … github.url`.

    The methods beside `start` and `stop` are what an administrator could do by hand; people and
    Apps use HTTP.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        clock: Clock = _wall_clock,
        rng: random.Random | None = None,
        contract: Path | None = None,
    ) -> None:
        """Prepare an empty world; `contract` is GitHub's OpenAPI description to check against."""
        self._made_root = root is None
        where = root or Path(tempfile.mkdtemp(prefix="demo-github-"))
        rng = rng or random.Random()  # noqa: S311 - tokens of a demo guard nothing
        self.world = World(where, "http://127.0.0.1:0", clock, rng, envelope)
        self.create_user("web-flow", name="GitHub")
        self.limits = RateLimits(lambda: clock().timestamp())
        self.faults = Faults(self.world)
        self.contract = Contract(contract)
        self.deliveries = DeliverySender(self.world, self.faults.delivery)
        self.runner = WorkflowRunner(self.world)
        self.world.listen(self.contract.listen)
        self.world.listen(self.deliveries.publish)
        self.world.listen(self.runner.listen)
        self.world.listen(lambda event: automatic_merges.listen(self.world, event))
        self._serving: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:41234`."""
        return self.world.url

    # Life

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        self._serving = web.AppRunner(self._compose(), shutdown_timeout=1)
        await self._serving.setup()
        site = web.TCPSite(self._serving, host, port)
        await site.start()
        bound = self._serving.addresses[0][1]
        self.world.url = f"http://{host}:{bound}"
        await self.deliveries.start()
        await self.runner.start()

    async def stop(self) -> None:
        """Stop listening, delivering and running; remove the repositories it made."""
        await self.runner.stop()
        await self.deliveries.stop()
        if self._serving is not None:
            await self._serving.cleanup()
            self._serving = None
        if self._made_root:
            shutil.rmtree(self.world.root, ignore_errors=True)

    async def __aenter__(self) -> DemoGitHub:
        """Start on a free port."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    def _compose(self) -> web.Application:
        # Faults stand outside of the contract: an answer broken on purpose is not GitHub's.
        middlewares = [_request_id, self.faults.middleware, self.contract.middleware]
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=middlewares)
        site = Site(self.world, self.limits, self.deliveries, self.runner)
        app.router.add_routes(endpoint.routes(site))
        app.router.add_routes(oauth.pages(site))
        making = partial(admin.create_app, self.world), partial(admin.install, self.world)
        app.router.add_routes(registration.pages(site, *making))
        app.router.add_routes(self.runner.id_tokens.routes())
        apart = oauth.routes.list + registration.routes.list
        serving.register(site, app, resources.every_route() + apart)
        app.router.add_routes(git_http.routes(site))
        app.router.add_routes(pages.routes(site))
        return app

    # Administration

    def create_user(
        self, login: str, *, organization: bool = False, name: str | None = None
    ) -> FakeUser:
        """Make an account; `user.token` is the person's token."""
        return admin.create_user(self.world, login, organization=organization, name=name)

    def create_app(
        self,
        slug: str,
        *,
        owner: FakeUser,
        permissions: Mapping[str, str],
        events: list[str],
        webhook_url: str | None = None,
        secret: str | None = None,
    ) -> FakeApp:
        """Register an App; `app.private_key` is its PEM key."""
        return admin.create_app(
            self.world, slug, owner, dict(permissions), list(events), webhook_url, secret
        )

    def install(
        self, app: FakeApp, account: FakeUser, repositories: list[FakeRepository] | None = None
    ) -> FakeInstallation:
        """Install an App on an account: on all of its repositories, or on some."""
        return admin.install(self.world, app, account, repositories)

    def suspend(self, installation: FakeInstallation) -> None:
        """Suspend an installation: its tokens are refused from now on."""
        admin.suspend(self.world, installation)

    def create_repository(
        self,
        owner: FakeUser,
        name: str,
        files: Mapping[str, bytes | str] | None = None,
        *,
        default_branch: str = "main",
        private: bool = False,
    ) -> FakeRepository:
        """Make a repository whose first commit has `files` (none: it stays empty)."""
        return admin.create_repository(
            self.world, owner, name, files, default_branch=default_branch, private=private
        )

    def commit(
        self,
        repository: FakeRepository,
        files: Mapping[str, bytes | str | None],
        message: str,
        *,
        branch: str | None = None,
        author: FakeUser | None = None,
    ) -> str:
        """Add a commit to a branch as if pushed (None removes a file); returns its SHA."""
        return admin.commit(self.world, repository, files, message, branch, author)

    def set_collaborator(
        self, repository: FakeRepository, login: str, role: RoleName | str
    ) -> None:
        """Give a person a role on a repository (`none` takes it away)."""
        repository.roles[login.lower()] = RoleName(role)

    def protect(self, repository: FakeRepository, branch: str, protection: Protection) -> None:
        """Protect a branch in the classic way."""
        repository.protections[branch] = protection

    def add_ruleset(
        self,
        repository: FakeRepository,
        name: str,
        rules: list[dict[str, Any]],
        *,
        include: list[str] | None = None,
        bypass_actors: list[dict[str, Any]] | None = None,
    ) -> Ruleset:
        """Give a repository an active ruleset, by default for its default branch."""
        return rulesets.add_ruleset(
            self.world, repository, name, rules, include=include, bypass_actors=bypass_actors
        )

    def restrict_refs(
        self,
        repository: FakeRepository,
        *patterns: str,
        rules: Iterable[str] = ("creation", "update", "deletion"),
        bypass: Iterable[FakeApp] = (),
    ) -> Ruleset:
        """Let only `bypass` make, move or remove branches such as `hotfix/**`."""
        actors = [
            {"actor_id": app.id, "actor_type": "Integration", "bypass_mode": "always"}
            for app in bypass
        ]
        return self.add_ruleset(
            repository, f"Restricted: {', '.join(patterns)}", [{"type": rule} for rule in rules],
            include=[f"refs/heads/{pattern}" for pattern in patterns], bypass_actors=actors,
        )  # fmt: skip

    def upon_merge(
        self, repository: FakeRepository, change: Callable[[], object], *, by_app: bool = True
    ) -> None:
        """Have `change` happen when the next pull request here is merged, before it is answered.

        With `by_app`, only one that an App opened counts.
        """

        def hear(event: Event) -> None:
            issue = next((s for s in event.subjects if isinstance(s, FakeIssue)), None)
            if event.repository is not repository or issue is None or issue.pull is None:
                return
            merged = event.action == "closed" and issue.pull.merged_at is not None
            if merged and not (by_app and issue.app is None):
                self.world.listeners.remove(hear)
                change()

        self.world.listen(hear)

    def report_check(
        self,
        repository: FakeRepository,
        app: FakeApp,
        sha: str,
        name: str,
        conclusion: str | None,
        *,
        suite: CheckSuite | None = None,
        output: Mapping[str, Any] | None = None,
    ) -> FakeCheckRun:
        """Have an App report a check in a new suite (or the one given); None: it has begun.

        `output` is what it says besides, as in the REST API. Over HTTP an App's checks of one
        commit share one suite. GitHub Actions has one for each workflow run; so one name may stand
        cancelled in one and passed in a newer one.
        """
        suite = suite or suites.create(self.world, repository, app, sha)
        body: dict[str, Any] = (
            {"conclusion": conclusion} if conclusion else {"status": "in_progress"}
        )
        if output:
            body["output"] = dict(output)
        return checks.create(self.world, repository, app, name, sha, body, suite=suite)


@web.middleware
async def _request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    identity = str(uuid.uuid4()).upper()
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        refusal.headers["X-GitHub-Request-Id"] = identity
        raise
    if not response.prepared:
        response.headers["X-GitHub-Request-Id"] = identity
    return response
