"""Faults that pass by themselves, and what of any fault may be said where everybody reads it."""

from __future__ import annotations

import re
from datetime import datetime


class Passing(Exception):
    """Something outside did not work just now and may work later.

    The work may have been done all the same: whoever tries again looks first.

    Attributes:
        until: when trying again makes sense, where the other side said so.
    """

    until: datetime | None = None


class Guarded(Exception):
    """An error whose own words hold what a program on this host said: they are for the log.

    Attributes:
        in_public: what people may read instead.
    """

    in_public: str = "something on this server failed; its log says more"


_PATH = re.compile(
    r"(?<![\w/.~#`}-])/(?!/)[^\s'\"`,;:()<>{}\[\]]+/[^\s'\"`,;:()<>{}\[\]]*(?![{\w])"
)
"""Two segments at least: a single one is a command. With braces it is a route of GitHub's."""


def without_paths(text: str) -> str:
    """Leave out where files lie on this host: that is of use to nobody who only reads."""
    return _PATH.sub("[a path on the server]", text)
