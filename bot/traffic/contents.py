"""What an entry of a ledger holds, as bytes: written once, read by whoever adds it up."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from pydantic import TypeAdapter

from bot.canary.counters import Counted
from bot.canary.observations import Observation

_LEVEL = 1
_OBSERVATIONS = TypeAdapter(tuple[Observation, ...])


def pack(observations: Sequence[Observation]) -> bytes:
    """Write accepted observations as one JSON array, compressed."""
    written = _OBSERVATIONS.dump_json(tuple(observations), exclude_none=True)
    return zlib.compress(written, _LEVEL)


def unpack(content: bytes) -> Sequence[Observation]:
    """Read what `pack` wrote."""
    return _OBSERVATIONS.validate_json(zlib.decompress(content))


def pack_counts(counted: Counted) -> bytes:
    """Write a reading of counters, compressed."""
    return zlib.compress(counted.model_dump_json().encode(), _LEVEL)


def unpack_counts(content: bytes) -> Counted:
    """Read what `pack_counts` wrote."""
    return Counted.model_validate_json(zlib.decompress(content))
