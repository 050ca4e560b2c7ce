"""A login that has begun: all of it is in the browser that began it, signed by us.

Whoever is not logged in leaves nothing here, however often they begin.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_BACK = 1_500
"""Characters of the page to come back to: cookies have 4,096 in all."""


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
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
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
