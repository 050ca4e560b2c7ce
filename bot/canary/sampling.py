"""Which requests are mirrored: decided by the request itself, so that it can be replayed."""

from __future__ import annotations

import hashlib

HASH = "sha256(seed|request id)"
"""How reports name the rule."""
_WHOLE = 1 << 64


def sampled(seed: str, request_id: str, rate: float) -> bool:
    """Tell whether a request belongs to the sample.

    The first 64 bits of SHA-256 of `seed|request id`, as a fraction of 2^64, are below `rate`.
    So a larger rate (0 to 1) holds every request of a smaller one.
    """
    digest = hashlib.sha256(f"{seed}|{request_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < rate * _WHOLE
