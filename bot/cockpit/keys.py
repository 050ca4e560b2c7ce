"""What a browser holds: one key to its session, and while it logs in, one to that."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

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
