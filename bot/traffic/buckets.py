"""Which arm a targeting key belongs to: flagd's own arithmetic, so that every resolver agrees.

flagd hashes the CBOR encoding of the bucketing value with MurmurHash3 (x86, 32 bits, seed 0) and
scales it to the sum of the weights: `(hash * total) >> 32` (flagd-core 2, "fractional"). With
weights that always sum to 100 and the candidate first, a key below 5 is below 25 too: the split
is nested, and no key flips back while the candidate's share grows.
"""

from __future__ import annotations

from bot.traffic.split import Split

_MASK = 0xFFFFFFFF


def bucketing_prefix(capability: str, salt: str) -> str:
    """What is hashed together with the targeting key, in front of it."""
    return f"{capability}:{salt}:"


def is_candidate(capability: str, split: Split, targeting_key: str) -> bool:
    """Tell whether the split gives this key to the candidate."""
    hashed = murmur3(cbor_text(bucketing_prefix(capability, split.salt) + targeting_key))
    return (hashed * 100) >> 32 < split.percent


def cbor_text(text: str) -> bytes:
    """Encode a text string in CBOR (RFC 8949, section 3.1, major type 3), shortest form."""
    data = text.encode("utf-8")
    length = len(data)
    if length < 24:
        head = bytes([0x60 + length])
    elif length < 0x100:
        head = bytes([0x78, length])
    elif length < 0x10000:
        head = b"\x79" + length.to_bytes(2, "big")
    else:
        head = b"\x7a" + length.to_bytes(4, "big")
    return head + data


def murmur3(data: bytes) -> int:
    """MurmurHash3, x86, 32 bits, seed 0 (Appleby 2011, public domain reference)."""
    hashed = 0
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        hashed ^= _scramble(int.from_bytes(data[start : start + 4], "little"))
        hashed = (_rotated(hashed, 13) * 5 + 0xE6546B64) & _MASK
    hashed ^= _scramble(int.from_bytes(data[whole:], "little"))
    hashed ^= len(data)
    hashed = ((hashed ^ (hashed >> 16)) * 0x85EBCA6B) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * 0xC2B2AE35) & _MASK
    return hashed ^ (hashed >> 16)


def _scramble(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK
