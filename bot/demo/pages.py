"""Plain pages for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from bot.demo.server import DemoGitHub


def routes(github: DemoGitHub) -> list[web.RouteDef]:
    """Routes at `/{owner}/{repo}/…` (html_url addresses)."""
    del github
    return []
