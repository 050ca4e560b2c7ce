"""What the split decides on: whole requests, or keys that stay where they are."""

from __future__ import annotations

import hashlib

from pydantic import JsonValue


class FirstEvents:
    """Lets only the first event of a key count, and again when the split may have moved the key.

    A key's requests resemble each other, so they are one draw of the split, not many: counting
    each of them made false alarms of 88%. Splits are nested: a key on the candidate stays there.
    A key seen on the baseline at `p` percent is drawn anew when the split grows to `q`: it moves
    with probability `(q - p) / (100 - p)`, whatever it did before. That draw counts too.

    Keys are kept as 64 bits of their SHA-256; memory grows with the keys of one ramp.
    """

    def __init__(self) -> None:
        """Start without having seen any key."""
        self._kept_at: dict[int, int] = {}

    def draw(self, key: str, percent: int, *, candidate: bool) -> float | None:
        """Tell the probability with which this event's arm was drawn; None: it is no new draw.

        Args:
            key: what the split decides on.
            percent: the candidate's share under the generation that decided.
            candidate: whether the candidate served.
        """
        name = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        before = self._kept_at.get(name, 0)
        if percent <= before:
            return None
        self._kept_at[name] = 100 if candidate else percent
        return (percent - before) / (100 - before)

    def save(self) -> JsonValue:
        """Write the state as JSON; keys are hexadecimal."""
        return [[f"{name:016x}", percent] for name, percent in sorted(self._kept_at.items())]

    @classmethod
    def restored(cls, saved: JsonValue) -> FirstEvents:
        """Make it of what `save` wrote.

        Raises:
            ValueError: it is not what `save` writes.
        """
        found = cls()
        for entry in saved if isinstance(saved, list) else [None]:
            match entry:
                case [str(name), int(percent)]:
                    found._kept_at[int(name, 16)] = percent
                case _:
                    raise ValueError("These are not the keys of a ramp.")
        return found
