"""What an entry of a ledger holds, as bytes: written once, read by whoever adds it up."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from bot.canary.observations import Observation

_LEVEL = 1


def pack(observations: Iterable[Observation]) -> bytes:
    """Write accepted observations, a line of JSON each, compressed."""
    lines = b"\n".join(seen.model_dump_json(exclude_none=True).encode() for seen in observations)
    return zlib.compress(lines, _LEVEL)


def unpack(content: bytes) -> Sequence[Observation]:
    """Read what `pack` wrote."""
    lines = zlib.decompress(content).split(b"\n")
    return [Observation.model_validate_json(line) for line in lines]
