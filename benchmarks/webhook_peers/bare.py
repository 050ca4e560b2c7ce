"""The least that takes GitHub's webhooks in Python: gidgethub on aiohttp, nothing stored.

python benchmarks/webhook_peers/bare.py PORT SECRET
"""

from __future__ import annotations

import sys

from aiohttp import web
from gidgethub import ValidationFailure
from gidgethub.routing import Router
from gidgethub.sansio import Event

router = Router()


@router.register("issue_comment", action="created")
async def commented(event: Event) -> bool:
    """Whether a line of the comment is a command."""
    return any(line.startswith("/") for line in event.data["comment"]["body"].splitlines())


async def receive(request: web.Request) -> web.Response:
    """Answer one delivery: 202 if something was asked for, 200 if not."""
    body = await request.read()
    try:
        event = Event.from_http(request.headers, body, secret=sys.argv[2])
    except ValidationFailure as error:
        return web.json_response({"error": str(error)}, status=401)
    asked = [await handler(event) for handler in router.fetch(event)]
    if any(asked):
        return web.json_response({"triggers": 1, "hints": 0}, status=202)
    return web.json_response({"nothing": "no command in it"})


if __name__ == "__main__":
    application = web.Application(client_max_size=25 * 2**20)
    application.add_routes([web.post("/webhooks/github", receive)])
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
