"""Logging in and out: GitHub says who it is, and a session on our side remembers.

State ties the answer to the browser that asked, PKCE ties the code to us; until then both are in
that browser alone. The person's token never leaves `WebFlow.identify`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cockpit.keys import LOGIN_LIFE, SESSION_LIFE, Keys
from bot.cockpit.pending import Seal
from bot.cockpit.rendering import ROOT
from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.visit import PageRefused, Visit, inside, see_other
from bot.errors import Passing
from bot.github.errors import BadCredentials, GitHubError
from bot.github.oauth import Challenge, WebFlow
from bot.records import sessions

log = structlog.get_logger(__name__)

_AGAIN = "Begin again at the login page."


class Login:
    """The pages by which people come in and leave."""

    def __init__(
        self,
        records: AsyncEngine,
        flow: WebFlow | None,
        keys: Callable[[], Keys],
        url: Callable[[], str],
    ) -> None:
        """Prepare.

        Args:
            records: where sessions are.
            flow: asks GitHub who somebody is; None where the App's client id is not configured.
            keys: hands keys to browsers.
            url: the cockpit's public address, known once it listens.
        """
        self._records = records
        self._flow = flow
        self._keys = keys
        self._url = url

    def routes(self) -> tuple[PageRoute, ...]:
        """Their addresses."""
        return (
            PageRoute("GET", "/login", self.page, AccessRule.OPEN),
            PageRoute("GET", "/login/start", self.start, AccessRule.OPEN),
            PageRoute("GET", "/login/callback", self.callback, AccessRule.OPEN),
            PageRoute("POST", "/logout", self.logout, AccessRule.SIGNED_IN),
        )

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Offer to log in."""
        back = inside(visit.query.get("back", f"{ROOT}/"))
        if visit.session is not None:
            return see_other(back)
        return visit.page("login.html", back=back, is_configured=self._flow is not None)

    async def start(self, visit: Visit) -> web.StreamResponse:
        """Send the visitor to GitHub."""
        flow = self._configured()
        back = inside(visit.query.get("back", f"{ROOT}/"))
        pending, cookie = _seal(flow).begin(back, visit.now + LOGIN_LIFE)
        address = flow.address(
            state=pending.state,
            challenge=Challenge.of(pending.verifier).sent,
            redirect_uri=self._redirect_uri,
        )
        answer = see_other(address)
        self._keys().give_login(answer, cookie)
        return answer

    async def callback(self, visit: Visit) -> web.StreamResponse:
        """GitHub sent the visitor back: find out who it is, and let them in."""
        flow, keys = self._configured(), self._keys()
        state, given = visit.query.get("state", ""), keys.login(visit.request)
        if not state or not given:
            raise PageRefused(400, "This login was not begun in this browser.", _AGAIN)
        pending = _seal(flow).find(given, visit.now, LOGIN_LIFE)
        if pending is None:
            raise PageRefused(400, "This login is over: it was used, or took too long.", _AGAIN)
        if not secrets.compare_digest(state.encode("utf-8", "replace"), pending.state.encode()):
            raise PageRefused(400, "This login was not begun in this browser.", _AGAIN)
        if visit.query.get("error"):
            raise PageRefused(403, "GitHub did not let you in: you said no, or it did.", _AGAIN)
        try:
            visitor = await flow.identify(
                visit.query.get("code", ""),
                verifier=pending.verifier,
                redirect_uri=self._redirect_uri,
            )
        except BadCredentials as refused:
            log.warning("a login was refused", why=str(refused))
            raise PageRefused(403, "GitHub did not accept this login.", _AGAIN) from refused
        except (Passing, GitHubError) as fault:
            log.warning("nobody can log in", why=str(fault))
            raise PageRefused(
                503, "GitHub cannot be asked who you are.", "Try again in a minute."
            ) from fault
        key = secrets.token_urlsafe(32)
        async with self._records.begin() as conn:
            await sessions.begin(
                conn,
                key,
                login=visitor.login,
                csrf=secrets.token_urlsafe(32),
                repositories=visitor.repositories,
                now=visit.now,
                until=visit.now + SESSION_LIFE,
            )
        log.info("logged in", login=visitor.login, repositories=len(visitor.repositories))
        answer = see_other(inside(pending.back))
        keys.take_login(answer)
        keys.give_session(answer, key)
        return answer

    async def logout(self, visit: Visit) -> web.StreamResponse:
        """Forget this session."""
        async with self._records.begin() as conn:
            await sessions.end(conn, visit.who.token_hash)
        answer = see_other(f"{ROOT}/login")
        self._keys().take_session(answer)
        return answer

    @property
    def _redirect_uri(self) -> str:
        return f"{self._url()}{ROOT}/login/callback"

    def _configured(self) -> WebFlow:
        if self._flow is None:
            raise PageRefused(
                503,
                "Nobody can log in: the App's client id and secret are not configured.",
                "Set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, then start the bot again.",
            )
        return self._flow


def _seal(flow: WebFlow) -> Seal:
    return Seal(flow.derived_key("login"))
