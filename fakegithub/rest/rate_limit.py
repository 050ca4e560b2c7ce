"""How much of the rate limit is left. https://docs.github.com/rest/rate-limit."""

from __future__ import annotations

from fakegithub.access.answers import Answer
from fakegithub.rest.calls import Call, Routes
from fakegithub.world.roles import RoleName

routes = Routes()


@routes.get("/rate_limit", app="", person=RoleName.NONE)
def get_rate_limit(call: Call) -> Answer:
    """What is left; asking costs nothing."""
    limits, key = call.github.limits, call.caller.rate_key

    def row(resource: str) -> dict[str, int]:
        window = limits.window(key, resource)
        left = max(limits.limit - window.used, 0)
        return {"limit": limits.limit, "used": window.used, "remaining": left,
                "reset": window.resets_at}  # fmt: skip

    resources = {name: row(name) for name in ("core", "graphql", "search")}
    return Answer(200, {"resources": resources, "rate": resources["core"]})
