"""Addresses under which pictures are served, and serving them.

GitHub fetches pictures through a proxy of its own that cannot log in, for private repositories
too. So whoever has an address may see its picture, and the address says everything: places in
the range, abbreviated commits, probabilities; or how strong the evidence on each metric was when;
no name, no title, no repository. It cannot be
guessed, since it carries a code that only this bot can make; it is stored nowhere but in the
issue or check-run it stands in; and a picture that has changed has another address, so that no
proxy shows an old one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from functools import cached_property

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.pictures.evidence import EvidenceChart, Stretch, draw, draw_evidence, packed, unpacked

FOLDER, EVIDENCE_FOLDER = "/pictures/suspicion", "/pictures/evidence"
MOST_STRETCHES = 48
LONGEST = 2_000
"""Characters of a file name; proxies refuse much longer addresses."""

_VERSION, _EVIDENCE_VERSION = b"\x01", b"\x81"
_STRETCH = struct.Struct(">IH5sH")
_SHA_DIGITS = 9
_WHOLE = 65_535
_CODE_BYTES = 16


class PictureAddresses:
    """Makes and reads addresses of pictures."""

    def __init__(self, signing_key: Ed25519PrivateKey, public_url: str | None) -> None:
        """Prepare.

        Args:
            signing_key: the bot's; codes are made with a key derived from it.
            public_url: where GitHub reaches this bot; None where it is not known to.
        """
        self._signing_key = signing_key
        self._public_url = public_url

    @cached_property
    def _key(self) -> bytes:
        # The bot's key is known only once it has started.
        secret = self._signing_key.private_bytes_raw()
        return hashlib.sha256(b"incident-playbooks/pictures/1\0" + secret).digest()

    def of(self, stretches: Sequence[Stretch]) -> str | None:
        """Give the address of a search's picture; None where nobody could fetch it."""
        if not 0 < len(stretches) <= MOST_STRETCHES:
            return None
        return self._sealed(FOLDER, _VERSION + b"".join(_packed(each) for each in stretches))

    def read(self, name: str) -> tuple[Stretch, ...] | None:
        """Give what the picture of this file name shows; None where it is none of ours."""
        content = self._opened(name, _VERSION)
        if content is None:
            return None
        return tuple(
            Stretch(
                first=first,
                count=count,
                sha=sha.hex()[:_SHA_DIGITS],
                probability=probability / _WHOLE,
            )
            for first, count, sha, probability in _STRETCH.iter_unpack(content)
        )

    def of_evidence(self, chart: EvidenceChart | None) -> str | None:
        """Give the address of a ramp's picture; None where nobody could fetch it."""
        if chart is None:
            return None
        return self._sealed(EVIDENCE_FOLDER, _EVIDENCE_VERSION + packed(chart))

    def read_evidence(self, name: str) -> EvidenceChart | None:
        """Give what the ramp's picture of this file name shows; None where it is none of ours."""
        content = self._opened(name, _EVIDENCE_VERSION)
        return None if content is None else unpacked(content)

    def _sealed(self, folder: str, content: bytes) -> str | None:
        name = f"{_text(content)}.{_text(self._code(content))}.svg"
        if self._public_url is None or len(name) > LONGEST:
            return None
        return f"{self._public_url}{folder}/{name}"

    def _opened(self, name: str, version: bytes) -> bytes | None:
        parts = name.split(".")
        if len(parts) != 3 or parts[2] != "svg":
            return None
        content, code = _bytes(parts[0]), _bytes(parts[1])
        if content is None or code is None or not hmac.compare_digest(code, self._code(content)):
            return None
        return content[1:] if content[:1] == version else None

    def _code(self, packed: bytes) -> bytes:
        return hmac.new(self._key, packed, hashlib.sha256).digest()[:_CODE_BYTES]


def _packed(stretch: Stretch) -> bytes:
    sha = bytes.fromhex(stretch.sha[:10])
    probability = round(min(1.0, max(0.0, stretch.probability)) * _WHOLE)
    return _STRETCH.pack(stretch.first, min(stretch.count, 0xFFFF), sha, probability)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


_HEADERS = {
    # The same address shows the same picture for ever.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def routes(addresses: PictureAddresses) -> list[web.RouteDef]:
    """Return a route for each kind of picture; what is no picture of ours is 404."""

    async def suspicion(request: web.Request) -> web.Response:
        stretches = addresses.read(request.match_info["name"])
        return _picture(draw(stretches) if stretches else None)

    async def evidence(request: web.Request) -> web.Response:
        chart = addresses.read_evidence(request.match_info["name"])
        return _picture(None if chart is None else draw_evidence(chart))

    name = f"{{name:[A-Za-z0-9_.-]{{1,{LONGEST}}}}}"
    return [
        web.get(f"{FOLDER}/{name}", suspicion),
        web.get(f"{EVIDENCE_FOLDER}/{name}", evidence),
    ]


def _picture(drawn: str | None) -> web.Response:
    if drawn is None:
        raise web.HTTPNotFound
    return web.Response(text=drawn, content_type="image/svg+xml", charset="utf-8", headers=_HEADERS)
