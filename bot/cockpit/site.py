"""The cockpit put together: every route, and what happens around each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from bot.cockpit.actions import Actions, Approvals, FoundersOf
from bot.cockpit.audit import AuditPages, Chains
from bot.cockpit.home import BudgetPages, HelpPage, HomePage, Spending
from bot.cockpit.incidents import BisectPages, IncidentPages
from bot.cockpit.live import Live
from bot.cockpit.login import Keys, Login
from bot.cockpit.permissions import (
    NOTHING,
    LoggedOut,
    Served,
    Sight,
    Unknown,
    VisitorPermissions,
)
from bot.cockpit.preview import Preview
from bot.cockpit.ramps import RampPages, RolloutLanes
from bot.cockpit.render import ROOT, Manual, Templates
from bot.cockpit.request import (
    THEME_COOKIE,
    THEMES,
    AccessRule,
    PageRefused,
    PageRoute,
    Visit,
    inside,
    see_other,
)
from bot.config import Config
from bot.github.errors import BadCredentials
from bot.github.oauth import Visitor, WebFlow
from bot.intake.http.auth import is_same_secret
from bot.intake.http.bodies import STRANGERS, TooLarge, read_body
from bot.intake.inbox import Inbox
from bot.records import sessions
from bot.records.audit.anchors import Anchor
from bot.records.outages import Outage, outage_of
from bot.records.sessions import Session
from bot.triggers import Repository, Request, Trigger

log = structlog.get_logger(__name__)

_LARGEST_FORM = 64 * 1024


def _put_off(outage: Outage) -> PageRefused:
    remedy = "Reload in a few seconds. What was begun goes on by itself."
    return PageRefused(503, f"This page cannot be made now: {outage.value}.", remedy)


_LINKS = "The links above lead to those there are."
_OUR_FAULT = PageRefused(
    500,
    "This page could not be made: the fault is ours.",
    "Reload it. If it stays so, the bot's log says more; commands on GitHub still work.",
)


@dataclass(frozen=True)
class CockpitParts:
    """What the cockpit is made of.

    Attributes:
        records: the database, for sessions.
        read_only: the same, for everything that is shown.
        served: the repositories the App is installed on.
        flow: logs people in, and tells what they may see; None where no client id is configured.
        inbox: takes what people ask for.
        accept: starts the Run of a stored Trigger; its id.
        preview: what a request would do, without doing it.
        anchors: the signed heads of a repository's audit chain that lie outside the database.
        config_of: the configuration in force in a repository.
        founders_of: who decides there what cannot be undone.
        signing_key: signs what is exported.
        web_url: where GitHub's pages are.
        url: the cockpit's public address, known once it listens.
        prefix: that address's path.
        clock: tells the time (UTC).
        look_every: seconds between two looks for something new while somebody watches.
    """

    records: AsyncEngine
    read_only: AsyncEngine
    served: Served
    flow: WebFlow | None
    inbox: Inbox
    accept: Callable[[Trigger], Awaitable[str]]
    preview: Callable[[Repository, Request], Awaitable[Preview]]
    anchors: Callable[[Repository], Awaitable[Sequence[Anchor]]]
    config_of: Callable[[Repository], Awaitable[Config]]
    founders_of: FoundersOf
    signing_key: Ed25519PrivateKey = field(repr=False)
    web_url: str
    url: Callable[[], str]
    prefix: str
    clock: Callable[[], datetime]
    look_every: float = 1.0


class Cockpit:
    """Serves everything below `/ui`."""

    def __init__(self, parts: CockpitParts) -> None:
        """Put it together; nothing is read before the first visit."""
        self._parts = parts
        self._templates = Templates(parts.prefix)
        self._rights = VisitorPermissions(parts.records, parts.served, self._seen_by, parts.clock)
        self._chains = Chains(parts.read_only, parts.anchors, parts.signing_key, parts.clock)
        self._live = Live(parts.read_only, self._watcher, parts.look_every)
        lanes, spending = RolloutLanes(parts.read_only), Spending(parts.config_of)
        login = Login(parts.records, parts.flow, lambda: self._keys, parts.url)
        actions = Actions(parts.inbox, parts.accept, parts.preview)
        self.table: tuple[PageRoute, ...] = (
            *HomePage(self._chains, lanes, spending).routes(),
            *IncidentPages(Approvals(parts.founders_of)).routes(),
            *BisectPages().routes(),
            *RampPages(lanes).routes(),
            *BudgetPages(spending).routes(),
            *AuditPages(self._chains, parts.signing_key).routes(),
            *HelpPage().routes(),
            *actions.routes(),
            *self._live.routes(),
            *login.routes(),
            PageRoute("POST", "/theme", self._set_theme, AccessRule.OPEN),
            PageRoute("GET", "/static/{name}", self._static, AccessRule.OPEN),
            PageRoute("GET", "", self._root, AccessRule.OPEN),
        )

    def routes(self) -> list[web.RouteDef]:
        """Every route, an answer to other methods, and a page for addresses that lead nowhere."""
        methods: dict[str, set[str]] = {}
        for each in self.table:
            methods.setdefault(each.path, set()).add(each.method)
        others = (
            PageRoute("*", path, partial(self._another_method, frozenset(known)), AccessRule.OPEN)
            for path, known in methods.items()
        )
        nowhere = PageRoute("*", "/{nothing:.*}", self._nowhere, AccessRule.OPEN)
        return [
            web.get("/", _to_the_cockpit),
            *Manual().routes(),
            *(
                web.route(each.method, each.address, self._serve(each))
                for each in (*self.table, *others, nowhere)
            ),
        ]

    async def close(self) -> None:
        """End the streams and what is checked in the background."""
        await self._live.close()
        await self._rights.close()
        await self._chains.close()

    @property
    def _keys(self) -> Keys:
        return Keys(secure=self._parts.url().startswith("https://"))

    def _serve(self, route: PageRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            visit = Visit(
                request=request,
                now=self._parts.clock(),
                web_url=self._parts.web_url,
                templates=self._templates,
                records=self._parts.read_only,
            )
            try:
                return await self._answer(route, visit)
            except PageRefused as refused:
                return _refusal(visit, refused)
            except web.HTTPException:
                raise
            except Exception as error:
                if request.transport is None or request.transport.is_closing():
                    # Whoever hangs up in the middle of an answer is no fault of ours.
                    raise
                if (outage := outage_of(error)) is not None:
                    log.warning("a page was put off", path=route.path, why=str(error))
                    return _refusal(visit, _put_off(outage))
                log.exception("a page of the cockpit failed", path=route.path)
                return _refusal(visit, _OUR_FAULT)

        return serve

    async def _answer(self, route: PageRoute, visit: Visit) -> web.StreamResponse:
        if "\x00" in visit.request.path or "\x00" in "".join(visit.query.values()):
            raise PageRefused(404, "There is no such page.", _LINKS)
        session = visit.session = await self._session(visit.request, visit.now)
        is_change = visit.request.method == "POST"
        if session is None and route.rule is AccessRule.SIGNED_IN:
            # Before the form is read: a stranger's is of no interest.
            return self._to_login(visit)
        if is_change:
            self._refuse_other_sites(visit.request)
            visit.form = await _form(visit.request)
        is_theirs = session is not None and is_same_secret(visit.form.get("csrf", ""), session.csrf)
        if is_change and route.rule is AccessRule.SIGNED_IN and not is_theirs:
            raise PageRefused(
                403,
                "This form is out of date or was not made by this page: nothing was done.",
                "Open the page again and send it from there.",
            )
        if session is not None:
            try:
                visit.sight = await self._sight(session, needed=route.rule is AccessRule.SIGNED_IN)
            except LoggedOut:
                visit.session = None
                return self._to_login(visit)
            visit.told = self._live.told(visit.sight)
        return await route.handler(visit)

    async def _session(self, request: web.Request, now: datetime) -> Session | None:
        key = self._keys.session(request)
        if not key:
            return None
        async with self._parts.read_only.connect() as conn:
            return await sessions.find(conn, key, now=now)

    async def _seen_by(self, token: SecretStr) -> Visitor:
        if self._parts.flow is None:
            raise BadCredentials("GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET are not set.")
        return await self._parts.flow.look(token)

    async def _sight(self, session: Session, *, needed: bool) -> Sight:
        if not needed:
            return NOTHING
        try:
            return await self._rights.of(session)
        except Unknown as unknown:
            raise PageRefused(
                503,
                "GitHub cannot be asked what you may see, so nothing is shown.",
                "Reload in a minute. The bot goes on with what it has begun.",
            ) from unknown

    async def _watcher(self, request: web.Request, now: datetime) -> Sight | None:
        """What whoever asked so may see now; None once their session is over."""
        session = await self._session(request, now)
        try:
            return None if session is None else await self._rights.of(session)
        except LoggedOut:
            return None

    def _refuse_other_sites(self, request: web.Request) -> None:
        ours = URL(self._parts.url()).origin()
        origin = request.headers.get("Origin")
        came_from = request.headers.get("Sec-Fetch-Site", "same-origin")
        is_ours = origin is None or origin == str(ours)
        if not is_ours or came_from not in ("same-origin", "none"):
            raise PageRefused(403, "This was sent from another site: nothing was done.")

    def _to_login(self, visit: Visit) -> web.StreamResponse:
        if visit.request.method not in ("GET", "HEAD") or visit.request.path == f"{ROOT}/events":
            raise PageRefused(
                401, "You are not logged in any more: nothing was done.", "Log in, then try again."
            )
        back = URL(f"{ROOT}/login").with_query(back=visit.request.path_qs)
        return see_other(str(back))

    async def _root(self, visit: Visit) -> web.StreamResponse:
        del visit
        return see_other(f"{ROOT}/")

    async def _static(self, visit: Visit) -> web.StreamResponse:
        found = self._templates.static.response(visit.request.match_info["name"])
        if found is None:
            raise PageRefused(404, "There is no such file.")
        return found

    async def _another_method(self, methods: frozenset[str], visit: Visit) -> web.StreamResponse:
        if visit.request.method == "GET":
            # The address of an answer, opened by itself: what was sent is not there any more.
            return await self._root(visit)
        known = methods | {"HEAD"} if "GET" in methods else methods
        raise web.HTTPMethodNotAllowed(visit.request.method, sorted(known))

    async def _nowhere(self, visit: Visit) -> web.StreamResponse:
        del visit
        raise PageRefused(404, "There is no such page.", _LINKS)

    async def _set_theme(self, visit: Visit) -> web.StreamResponse:
        answer = see_other(inside(visit.form.get("back", f"{ROOT}/")))
        theme, path = visit.form.get("theme", ""), self._templates.root
        if theme in THEMES:
            answer.set_cookie(THEME_COOKIE, theme, path=path, samesite="Lax", max_age=31_536_000)
        else:
            answer.del_cookie(THEME_COOKIE, path=path)
        return answer


def _refusal(visit: Visit, refused: PageRefused) -> web.Response:
    """Say no on a page, with the way back to the form that was sent."""
    # A stranger's form is not read; who was logged in a moment ago comes back to its page.
    sent_from = visit.form.get("back", "") or _referrer(visit)
    return visit.page(
        "refused.html",
        status=refused.status,
        what=refused.what,
        remedy=refused.remedy,
        again=visit.templates.prefix + inside(sent_from) if sent_from else "",
        back=inside(sent_from) if sent_from else "",
    )


def _referrer(visit: Visit) -> str:
    """The page of ours that a form was sent from, as browsers tell it."""
    if visit.request.method != "POST":
        return ""
    try:
        path = URL(visit.request.headers.get("Referer", "")).raw_path_qs
    except ValueError:
        return ""
    return path.removeprefix(visit.templates.prefix)


async def _to_the_cockpit(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"{ROOT}/")


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise PageRefused(415, "Only plain forms are understood.")
    try:
        sent = await read_body(request, _LARGEST_FORM, STRANGERS)
    except TooLarge as error:
        raise PageRefused(413, "That is too much for one form.") from error
    try:
        return dict(parse_qsl(sent.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError as error:
        raise PageRefused(400, "That form cannot be read.") from error
