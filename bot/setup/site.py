"""Setup in the browser: from no App at all to a repository with a configuration.

Whoever has the address that the terminal printed may use it, once, in one browser. Until GitHub
has given the App's credentials these pages are all that is served; then the bot starts in this
process, and serves the rest of them for as long as it runs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from yarl import URL

from bot.cockpit.permissions import NOTHING
from bot.cockpit.render import HEADERS, POLICY, ROOT, Templates
from bot.errors import Passing
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError, in_words
from bot.github.transport.http import Addresses
from bot.intake.http.auth import is_same_secret
from bot.intake.http.entrance import Entrance, prefix_of
from bot.playbooks.checks.results import GATE_CHECK
from bot.settings import url_near
from bot.setup import proposal
from bot.setup.registration import (
    AppCredentials,
    SetupRefused,
    addresses_of,
    exchange,
    form_address,
    is_reachable,
    keep,
    manifest,
)
from bot.triggers import Repository

log = structlog.get_logger(__name__)
HOME = f"{ROOT}/setup"
_COOKIE = "playbooks_setup"
"""With the port behind it: two bots on one machine share a browser's cookies."""
_MOST_REPOSITORIES = 10
_LARGEST_FORM = 16 * 1024
_MOST_GITHUBS = 10
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SetupSite:
    """One setup, in one browser."""

    def __init__(
        self, host: str, port: int, url: str | None, api_url: str, data: Path | None
    ) -> None:
        """Prepare; `open` listens.

        Args:
            host: where it listens.
            port: likewise; 0 takes a free one.
            url: the public address, where it was given.
            api_url: the GitHub that is proposed.
            data: where the credentials are kept; None: nowhere, `given` has them.
        """
        self._host, self.port, self._given_url, self._data = host, port, url, data
        self._api_url = api_url
        self.token = secrets.token_urlsafe(24)
        self._session: str | None = None
        self._csrf = secrets.token_urlsafe(24)
        self._states: dict[str, tuple[Addresses, str]] = {}
        self._exchanged: dict[str, AppCredentials] = {}
        self._templates = Templates(prefix_of(url or ""))
        self._entrance: Entrance | None = None
        self._registering = asyncio.Lock()
        self._client: GitHub | None = None
        self.given: AppCredentials | None = None
        self.registered = asyncio.Event()

    @property
    def url(self) -> str:
        """Where people reach it."""
        return (self._given_url or url_near(self._host, self.port)).rstrip("/")

    @property
    def address(self) -> str:
        """What the terminal prints: it works once."""
        return f"{self.url}{HOME}?token={self.token}"

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or not ours.
        """
        application = web.Application(client_max_size=_LARGEST_FORM)
        application.add_routes(
            [
                web.get("/", _to_setup),
                web.get("/healthz", _healthz),
                web.get("/readyz", self._readyz),
                web.post("/webhooks/github", _put_off),
                web.get(f"{ROOT}/static/{{name}}", self._static),
                *self.routes(None),
                web.get(f"{ROOT}/{{anything:.*}}", _to_setup),
            ]
        )
        self._entrance = Entrance(application, last_answers=0.5, url=self._given_url or "")
        self.port = await self._entrance.open(self._host, self.port)

    async def hand_over(self) -> socket.socket | None:
        """Leave the port to the bot, without a moment in which nobody listens; once."""
        if self._entrance is None:
            return None
        listener = self._entrance.listener()
        await self.close()
        return listener

    async def close(self) -> None:
        """Stop listening."""
        if self._entrance is not None:
            await self._entrance.close()
            self._entrance = None

    def routes(self, github: GitHub | None) -> list[web.RouteDef]:
        """The pages; with `github`, those after the App is there."""
        if github is not None:
            self._client = github
        pages: dict[tuple[str, str], Handler] = {
            ("GET", HOME): self._home,
            ("GET", f"{HOME}/registered"): self._registered,
            ("GET", f"{HOME}/installed"): self._installed,
            ("POST", f"{HOME}/propose"): self._propose,
            ("POST", f"{HOME}/require"): self._require,
        }
        return [
            web.route(method, path, self._guarded(handler))
            for (method, path), handler in pages.items()
        ]

    # --- who may ---

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            given = request.query.get("token", "")
            if given and self._session is None and is_same_secret(given, self.token):
                return self._let_in()
            cookie = request.cookies.get(self._cookie, "")
            if self._session is None or not is_same_secret(cookie, self._session):
                what = "This page is for whoever sets the bot up."
                return self._page(403, "refused", what=what, remedy=self._way_back())
            try:
                if request.method == "POST":
                    await self._refuse_others(request)
                return await handler(request)
            except SetupRefused as refused:
                return self._page(400, "refused", what=str(refused), remedy="")
            except (GitHubError, Passing) as error:
                log.warning("setup could not go on", why=str(error))
                words = in_words(error) if isinstance(error, GitHubError) else str(error)
                return self._page(502, "refused", what=f"GitHub: {words}", remedy="Try again.")

        return guarded

    def _way_back(self) -> str:
        if self.given is not None:
            return (
                "An App is registered already: `playbooks setup` in a terminal goes on from there."
            )
        return (
            "Open the address that its terminal printed; it works once, in one browser. For a new "
            "one start the bot again."
        )

    @property
    def _cookie(self) -> str:
        return f"{_COOKIE}_{self.port}"

    def _let_in(self) -> web.StreamResponse:
        self._session = secrets.token_urlsafe(32)
        answer = web.Response(status=303, headers=HEADERS | {"Location": HOME})
        answer.set_cookie(
            self._cookie,
            self._session,
            path=self._templates.prefix + HOME,
            httponly=True,
            # GitHub sends people back here: Strict would leave the cookie out.
            samesite="Lax",
            secure=self.url.startswith("https://"),
        )
        return answer

    async def _refuse_others(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        form = await request.post()
        # Behind a proxy that ends TLS only the host is the same.
        hosts = (request.host, URL(self.url).authority)
        ours = origin is None or (_is_address(origin) and urlsplit(origin).netloc in hosts)
        if not ours or not _is_from_here(request):
            raise SetupRefused("This was sent from another site: nothing was done.")
        if not is_same_secret(str(form.get("csrf", "")), self._csrf):
            raise SetupRefused("This form is out of date: nothing was done. Open the page again.")

    # --- before there is an App ---

    async def _home(self, request: web.Request) -> web.StreamResponse:
        if self.given is not None:
            return await self._installed(request)
        # A link on another site fills nothing in: its GitHub and its addresses would be theirs.
        query = request.query if _is_from_here(request) else {}
        github = addresses_of(query.get("github") or _web_of(self._api_url))
        organization = query.get("organization", "").strip()
        url = _address(query.get("url", ""), self.url)
        hook = query.get("hook", "").strip()
        if hook and not _is_address(hook):
            raise SetupRefused("The relay's address is like https://smee.io/CHANNEL.")
        wanted = manifest(url, hook or None)
        return self._page(
            200,
            "register",
            form_to=URL(github.web).origin(),
            action=form_address(github, organization, self._state_for(github, url)),
            manifest=json.dumps(wanted),
            wanted=wanted,
            github=github.web,
            organization=organization,
            url=url,
            hook=hook,
            is_reachable=bool(hook) or is_reachable(url, github),
        )

    async def _registered(self, request: web.Request) -> web.StreamResponse:
        """GitHub sent the visitor back with a code."""
        state, code = request.query.get("state", ""), request.query.get("code", "")
        asked = next(
            (each for own, each in self._states.items() if is_same_secret(state, own)), None
        )
        if asked is None:
            raise SetupRefused("This answer does not belong to this setup. Begin again.")
        async with self._registering:
            if self.given is None:
                self.given = await self._kept(*asked, code)
                log.info("the App is registered", app=self.given.slug, id=self.given.app_id)
                self.registered.set()
            elif code not in self._exchanged:
                raise SetupRefused(
                    f"{self.given.slug} is the App of this bot already. The one that was made just "
                    "now is not needed: delete it on GitHub, in its settings under Advanced."
                )
        return web.Response(status=303, headers=HEADERS | {"Location": self._install_at()})

    async def _kept(self, github: Addresses, url: str, code: str) -> AppCredentials:
        """The App's credentials, on disk: GitHub gives them for a code once, so none are lost."""
        if code not in self._exchanged:
            given = await exchange(github, code)
            is_told = url != url_near(self._host, self.port)
            self._exchanged[code] = replace(given, public_url=url if is_told else None)
        given = self._exchanged[code]
        if self._data is not None:
            await asyncio.to_thread(keep, self._data, given)
        return given

    def _state_for(self, github: Addresses, url: str) -> str:
        """What this GitHub hands back with its code, so that no other is given that.

        A link that somebody else made may open this page for a GitHub of theirs.
        """
        known = {each: state for state, each in self._states.items()}
        asked = (github, url)
        if asked not in known:
            if len(self._states) >= _MOST_GITHUBS:
                self._states.pop(next(iter(self._states)))
            known[asked] = secrets.token_urlsafe(24)
            self._states[known[asked]] = asked
        return known[asked]

    def _install_at(self) -> str:
        given = self.given
        if given is None:
            raise SetupRefused("The App is not registered yet.")
        web_url = addresses_of(_web_of(given.api_url)).web
        return f"{web_url}/apps/{given.slug}/installations/new"

    # --- once there is one ---

    async def _installed(self, request: web.Request) -> web.StreamResponse:
        if self.given is None:
            return web.Response(status=303, headers=HEADERS | {"Location": HOME})
        if self._client is None:
            return self._page(200, "starting", refresh=1)
        found = await proposal.installed_repositories(self._client, _MOST_REPOSITORIES)
        shown = await asyncio.gather(*(self._shown(each, request.query) for each in found))
        return self._page(
            200,
            "installed",
            is_requested=request.query.get("setup_action") == "request",
            app=self.given,
            install_at=self._install_at(),
            repositories=shown,
            most=_MOST_REPOSITORIES,
            web=addresses_of(_web_of(self.given.api_url)).web,
        )

    async def _shown(self, repository: Repository, query: Mapping[str, str]) -> dict[str, Any]:
        """What is proposed to one repository."""
        name = repository.full_name
        about: dict[str, Any] = {"name": name, "fault": "", "pull": "", "said": ""}
        if query.get("repo") == name:
            about["pull"] = query.get("pull", "") if query.get("pull", "").isdecimal() else ""
        try:
            client = self._repository(repository)
            seen = await proposal.look(client)
            about |= {
                "text": proposal.proposed(seen),
                "has_file": seen.has_file,
                "is_required": GATE_CHECK in seen.required,
                "may_require": await client.permissions.may("administration"),
                "by_hand": proposal.by_hand(name, self._app_id),
            }
        except (GitHubError, Passing) as error:
            about["fault"] = in_words(error) if isinstance(error, GitHubError) else str(error)
        return about

    async def _propose(self, request: web.Request) -> web.StreamResponse:
        repository = await self._named(request)
        client = self._repository(repository)
        text = proposal.proposed(await proposal.look(client))
        pull = await proposal.open_proposal(client, text)
        back = URL(f"{HOME}/installed").with_query(repo=repository.full_name, pull=pull.number)
        return web.Response(status=303, headers=HEADERS | {"Location": str(back)})

    async def _require(self, request: web.Request) -> web.StreamResponse:
        repository = await self._named(request)
        await proposal.require_gate(self._repository(repository), self._app_id)
        return web.Response(status=303, headers=HEADERS | {"Location": f"{HOME}/installed"})

    async def _named(self, request: web.Request) -> Repository:
        if self._client is None:
            raise SetupRefused("The bot is about to start. Try again in a second.")
        owner, _, name = str((await request.post()).get("repo", "")).partition("/")
        found = await self._client.installations.find_repository(owner, name) if name else None
        if found is None:
            raise SetupRefused("The App is not installed on that repository.")
        return found

    def _repository(self, repository: Repository) -> RepositoryClient:
        if self._client is None:
            raise SetupRefused("The bot is about to start. Try again in a second.")
        return self._client.repository(repository, playbook="setup")

    @property
    def _app_id(self) -> int:
        if self.given is None:
            raise SetupRefused("The App is not registered yet.")
        return self.given.app_id

    # --- pages ---

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        why = "no App is registered yet" if self.given is None else "the bot is starting"
        return web.json_response({"ok": False, "parts": {"setup": why}}, status=503)

    async def _static(self, request: web.Request) -> web.StreamResponse:
        found = self._templates.static.response(request.match_info["name"])
        return found or web.Response(status=404, text="There is no such file.")

    def _page(self, status: int, step: str, **values: Any) -> web.Response:
        common: dict[str, Any] = {
            "session": None,
            "sight": NOTHING,
            "theme": "",
            "path": HOME,
            "prefix": self._templates.prefix,
            "here": HOME,
            "csrf": self._csrf,
            "setup": self._templates.prefix + HOME,
            "now": datetime.now(UTC),
            "step": step,
            "refresh": 0,
        }
        headers = dict(HEADERS)
        if (target := values.get("form_to")) is not None:
            policy = POLICY.replace("form-action 'self'", f"form-action 'self' {target}")
            headers["Content-Security-Policy"] = policy
        if values.get("refresh"):
            headers["Refresh"] = str(values["refresh"])
        body = self._templates.render("setup.html", common | values)
        return web.Response(
            text=body, content_type="text/html", charset="utf-8", status=status, headers=headers
        )


def after_setup() -> list[web.RouteDef]:
    """Where Setup's addresses lead once it is over: GitHub sends whoever installs the App there."""
    return [web.get(HOME, _to_the_cockpit), web.get(f"{HOME}/{{anything:.*}}", _to_the_cockpit)]


def _is_from_here(request: web.Request) -> bool:
    return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")


def _is_address(given: str) -> bool:
    try:
        parts = urlsplit(given)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _address(given: str, ours: str) -> str:
    url = given.strip().rstrip("/") or ours
    if not _is_address(url) or urlsplit(url).query or urlsplit(url).fragment:
        raise SetupRefused("The public address is like https://playbooks.example.org.")
    return url


def _web_of(api_url: str) -> str:
    """The address in the browser that belongs to a REST address."""
    return api_url.removesuffix("/api/v3").replace("://api.", "://", 1)


async def _to_setup(_: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers=HEADERS | {"Location": HOME})


async def _to_the_cockpit(_: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers=HEADERS | {"Location": f"{ROOT}/"})


async def _put_off(_: web.Request) -> web.Response:
    """GitHub keeps it, and the bot asks for it once it is there."""
    return web.json_response({"error": "not set up yet; deliver it again"}, status=503)


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"ok": True, "waiting": "it is not set up yet"})
