"""`GET /pictures/…/….svg`: open to whoever has the address, and to nobody else."""

from __future__ import annotations

from aiohttp import web

from bot.pictures.address import EVIDENCE_FOLDER, FOLDER, LONGEST, PictureAddresses
from bot.pictures.evidence import draw_evidence
from bot.pictures.suspicion import draw

_HEADERS = {
    # The same address shows the same picture for ever.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def routes(addresses: PictureAddresses) -> list[web.RouteDef]:
    """Return a route for each kind of picture; what is no picture of ours is 404."""

    async def suspicion(request: web.Request) -> web.Response:
        stretches = addresses.read(request.match_info["name"])
        return _picture(draw(stretches) if stretches else None)

    async def evidence(request: web.Request) -> web.Response:
        chart = addresses.read_evidence(request.match_info["name"])
        return _picture(None if chart is None else draw_evidence(chart))

    name = f"{{name:[A-Za-z0-9_.-]{{1,{LONGEST}}}}}"
    return [
        web.get(f"{FOLDER}/{name}", suspicion),
        web.get(f"{EVIDENCE_FOLDER}/{name}", evidence),
    ]


def _picture(drawn: str | None) -> web.Response:
    if drawn is None:
        raise web.HTTPNotFound
    return web.Response(text=drawn, content_type="image/svg+xml", charset="utf-8", headers=_HEADERS)
