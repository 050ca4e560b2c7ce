"""Keeps the start and the end of what a command prints, however much that is."""

from __future__ import annotations

HEAD_BYTES = 64 << 10
TAIL_BYTES = 192 << 10


class StreamEnds:
    """The first 64 KiB and the last 192 KiB of a stream, and how long it was."""

    def __init__(self) -> None:
        """Start empty."""
        self.total_bytes = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next piece."""
        self.total_bytes += len(chunk)
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room > 0 else chunk
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def text(self) -> str:
        """Return what was kept; where something was left out, a line says how much."""
        tail = bytes(self._tail[-TAIL_BYTES:])
        left_out = self.total_bytes - len(self._head) - len(tail)
        gap = f"\n[… {left_out:,} bytes left out …]\n".encode() if left_out else b""
        return (bytes(self._head) + gap + tail).decode("utf-8", "replace")
