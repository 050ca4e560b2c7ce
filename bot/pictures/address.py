"""The address of a picture, which holds all that it shows.

GitHub fetches pictures through a proxy of its own that cannot log in, for private repositories
too. So whoever has an address may see its picture, and the address says everything: places in
the range, abbreviated commits, probabilities; no name, no title, no repository. It cannot be
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

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.pictures.suspicion import Stretch

FOLDER = "/pictures/suspicion"
MOST_STRETCHES = 48

_VERSION = 1
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
        secret = signing_key.private_bytes_raw()
        self._key = hashlib.sha256(b"incident-playbooks/pictures/1\0" + secret).digest()
        self._public_url = public_url

    def of(self, stretches: Sequence[Stretch]) -> str | None:
        """Give the address of a picture; None where nobody could fetch it."""
        if self._public_url is None or not 0 < len(stretches) <= MOST_STRETCHES:
            return None
        packed = bytes([_VERSION]) + b"".join(_packed(each) for each in stretches)
        return f"{self._public_url}{FOLDER}/{_text(packed)}.{_text(self._code(packed))}.svg"

    def read(self, name: str) -> tuple[Stretch, ...] | None:
        """Give what the picture of this file name shows; None where it is none of ours."""
        parts = name.split(".")
        if len(parts) != 3 or parts[2] != "svg":
            return None
        packed, code = _bytes(parts[0]), _bytes(parts[1])
        if packed is None or code is None or not hmac.compare_digest(code, self._code(packed)):
            return None
        if packed[:1] != bytes([_VERSION]):
            return None
        return tuple(
            Stretch(
                first=first,
                count=count,
                sha=sha.hex()[:_SHA_DIGITS],
                probability=probability / _WHOLE,
            )
            for first, count, sha, probability in _STRETCH.iter_unpack(packed[1:])
        )

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
