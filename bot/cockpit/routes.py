"""The route table: every address of the cockpit, what it does, and who may ask for it.

There is no way to serve an address without a rule; a test walks this table as somebody who may
see nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from bot.cockpit.rendering import ROOT
from bot.cockpit.visit import Visit

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


class AccessRule(StrEnum):
    """Who may ask for an address."""

    OPEN = "open"
    """Anybody: it says nothing about any repository."""
    SIGNED_IN = "signed in"
    """Whoever is logged in, and gets what their repositories have; a change needs their token."""


@dataclass(frozen=True)
class PageRoute:
    """One address below `/ui`. `path` may name `{parameters}`; see `aiohttp`'s routes."""

    method: str
    path: str
    handler: Handler
    rule: AccessRule

    @property
    def address(self) -> str:
        """The whole path."""
        return ROOT + self.path
