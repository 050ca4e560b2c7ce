"""Logging in to the cockpit with GitHub, and the keys of forms and sessions.

Whoever is not logged in leaves nothing here, however often they begin.

State ties the answer to the browser that asked, PKCE ties the code to us; until then both are in
that browser alone. The person's token is locked with the key to their session.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cockpit.render import ROOT
from bot.cockpit.request import AccessRule, PageRefused, PageRoute, Visit, inside, see_other
from bot.errors import Passing
from bot.github.errors import BadCredentials, GitHubError
from bot.github.oauth import Challenge, WebFlow
from bot.intake.http.auth import is_same_secret
from bot.records import sessions

log = structlog.get_logger(__name__)
SESSION_LIFE = timedelta(hours=12)
LOGIN_LIFE = timedelta(minutes=10)


class Keys:
    """Cookies that no script can read and no other site can have sent along with a change."""

    def __init__(self, *, secure: bool) -> None:
        """`secure`: the cockpit is reached by https, and its cookies by nothing else."""
        self._secure = secure
        # https://www.rfc-editor.org/rfc/rfc6265bis: bound to this very host.
        prefix = "__Host-" if secure else ""
        self._session, self._login = f"{prefix}playbooks", f"{prefix}playbooks_login"

    def session(self, request: web.Request) -> str:
        """The key to the session, empty where there is none."""
        return request.cookies.get(self._session, "")

    def login(self, request: web.Request) -> str:
        """The key to the login under way, empty where there is none."""
        return request.cookies.get(self._login, "")

    def give_session(self, response: web.StreamResponse, key: str) -> None:
        """Hand out the key to a session."""
        self._give(response, self._session, key, SESSION_LIFE)

    def give_login(self, response: web.StreamResponse, key: str) -> None:
        """Hand out the key to a login."""
        self._give(response, self._login, key, LOGIN_LIFE)

    def take_session(self, response: web.StreamResponse) -> None:
        """Take the key to the session back."""
        response.del_cookie(self._session, path="/", secure=self._secure, httponly=True)

    def take_login(self, response: web.StreamResponse) -> None:
        """Take the key to the login back."""
        response.del_cookie(self._login, path="/", secure=self._secure, httponly=True)

    def _give(self, response: web.StreamResponse, name: str, key: str, life: timedelta) -> None:
        response.set_cookie(
            name,
            key,
            max_age=int(life.total_seconds()),
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self._secure,
        )


LONGEST_BACK = 1_500
"""Characters of the page to come back to: cookies have 4,096 in all."""

_DROPPED_WITHIN_S = 3.0
"""Seconds that leaving waits for GitHub to take a token back: nobody else has its key."""

MOST_AT_ONCE = 8
"""Logins about which GitHub is asked at once: whoever asks for more of them is nobody known."""


@dataclass(frozen=True)
class Pending:
    """Somebody was sent to GitHub.

    Attributes:
        state: what GitHub hands back with the answer.
        verifier: the secret half of the PKCE pair.
        back: the page they wanted.
    """

    state: str
    verifier: str
    back: str


class Seal:
    """Makes logins that begin, and knows its own again."""

    def __init__(self, key: bytes) -> None:
        """`key` is known to this bot and its replicas alone."""
        self._key = key

    def begin(self, back: str, until: datetime) -> tuple[Pending, str]:
        """Begin a login that may be answered until then; the second is for the cookie."""
        once = secrets.token_urlsafe(24)
        kept = back if len(back) <= LONGEST_BACK else ""
        sealed = _encoded(json.dumps([once, int(until.timestamp()), kept]).encode())
        return self._pending(once, kept), f"{sealed}.{self._derived('cookie', sealed)}"

    def find(self, cookie: str, now: datetime, life: timedelta) -> Pending | None:
        """Read a cookie of ours; None for others, and for those that are over."""
        sealed, _, signature = cookie.partition(".")
        expected = self._derived("cookie", sealed)
        if not is_same_secret(signature, expected):
            return None
        once, until, back = json.loads(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
        if not now.timestamp() < until <= (now + life).timestamp():
            return None
        return self._pending(once, back)

    def _pending(self, once: str, back: str) -> Pending:
        return Pending(
            state=self._derived("state", once), verifier=self._derived("verifier", once), back=back
        )

    def _derived(self, purpose: str, text: str) -> str:
        said = f"{purpose}:{text}".encode("utf-8", "replace")
        return _encoded(hmac.digest(self._key, said, "sha256"))


def _encoded(said: bytes) -> str:
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()


_NOT_HERE = "This login was not begun in this browser, or another one was begun after it."
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
        self._asked = 0

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
        if visit.session is not None and not given:
            # The login of another tab was quicker, or this one is opened again.
            return see_other(f"{ROOT}/")
        if not state or not given:
            raise PageRefused(400, _NOT_HERE, _AGAIN)
        pending = _seal(flow).find(given, visit.now, LOGIN_LIFE)
        if pending is None:
            raise PageRefused(400, "This login is over: it was used, or took too long.", _AGAIN)
        if not is_same_secret(state, pending.state):
            raise PageRefused(400, _NOT_HERE, _AGAIN)
        if visit.query.get("error"):
            raise PageRefused(403, "GitHub did not let you in: you declined, or it did.", _AGAIN)
        if self._asked >= MOST_AT_ONCE:
            raise PageRefused(503, "Too many people log in at this moment.", _AGAIN)
        self._asked += 1
        try:
            grant, visitor = await flow.identify(
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
                503, "GitHub does not answer, so nobody can log in.", "Try again in a minute."
            ) from fault
        finally:
            self._asked -= 1
        key = secrets.token_urlsafe(32)
        life = min(SESSION_LIFE, grant.lasts or SESSION_LIFE)
        async with self._records.begin() as conn:
            await sessions.begin(
                conn,
                key,
                login=visitor.login,
                csrf=secrets.token_urlsafe(32),
                token=grant.token,
                roles=visitor.repositories,
                now=visit.now,
                until=visit.now + life,
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
        if self._flow is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DROPPED_WITHIN_S):
                    await self._flow.drop(visit.who.token)
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
