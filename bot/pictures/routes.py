"""`GET /pictures/suspicion/….svg`: open to whoever has the address, and to nobody else."""

from __future__ import annotations

from aiohttp import web

from bot.pictures.address import FOLDER, PictureAddresses
from bot.pictures.suspicion import draw

_HEADERS = {
    # The same address shows the same picture for ever.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def routes(addresses: PictureAddresses) -> list[web.RouteDef]:
    """Return the one route; what is no picture of ours is 404."""

    async def serve(request: web.Request) -> web.Response:
        stretches = addresses.read(request.match_info["name"])
        if not stretches:
            raise web.HTTPNotFound
        return web.Response(
            text=draw(stretches), content_type="image/svg+xml", charset="utf-8", headers=_HEADERS
        )

    return [web.get(f"{FOLDER}/{{name:[A-Za-z0-9_.-]{{1,2000}}}}", serve)]
