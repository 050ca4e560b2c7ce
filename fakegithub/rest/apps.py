"""What Apps ask about themselves. https://docs.github.com/rest/apps/apps."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.access.credentials import issue_token
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import repositories
from fakegithub.shapes.apps import present_app, present_installation
from fakegithub.world.model import FakeApp, FakeInstallation
from fakegithub.world.world import covers, timestamp

routes = Routes()


def _app(call: Call) -> FakeApp:
    if call.caller.app is None:
        raise not_found()
    return call.caller.app


def _installation(call: Call) -> FakeInstallation:
    installation = call.world.installations.get(call.number("installation_id"))
    if installation is None or installation.app is not _app(call):
        raise not_found()
    return installation


@routes.get("/app", jwt=True)
def get_app(call: Call) -> Answer:
    """The App whose JWT this is."""
    mine = [i for i in call.world.installations.values() if i.app is _app(call)]
    return Answer(200, present_app(call.world, _app(call)) | {"installations_count": len(mine)})


@routes.get("/app/installations", jwt=True)
def list_installations(call: Call) -> Answer:
    """Where the App is installed."""
    mine = [i for i in call.world.installations.values() if i.app is _app(call)]
    return call.page([present_installation(call.world, i) for i in mine])


@routes.get("/app/installations/{installation_id}", jwt=True)
def get_installation(call: Call) -> Answer:
    """One installation of the App."""
    return Answer(200, present_installation(call.world, _installation(call)))


@routes.get("/repos/{owner}/{repo}/installation", jwt=True)
def get_repository_installation(call: Call) -> Answer:
    """The App's installation on a repository."""
    installation = call.world.installation_of(_app(call), call.repository)
    if installation is None:
        raise not_found()
    return Answer(200, present_installation(call.world, installation))


@routes.post("/app/installations/{installation_id}/access_tokens", jwt=True)
def create_token(call: Call) -> Answer:
    """A token for one hour, narrowed to `permissions`, `repositories`, `repository_ids`."""
    installation, body, world = _installation(call), call.body, call.world
    names = {str(name).lower() for name in body.get("repositories", [])}
    wanted = set(body.get("repository_ids", []))
    visible = [r for r in world.repositories.values() if covers(installation, r)]
    chosen = [r for r in visible if r.id in wanted or r.name.lower() in names]
    narrowed = bool(names or wanted)
    if narrowed and len(chosen) < max(len(names), len(wanted)):
        raise RequestRefused(
            422,
            "There is at least one repository that does not exist or is not accessible to the "
            "parent installation.",
        )
    token = issue_token(
        world, installation, body.get("permissions") or None,
        frozenset(r.id for r in chosen) if narrowed else None,
    )  # fmt: skip
    everything = installation.repositories is None and not narrowed
    answer: dict[str, Any] = {
        "token": token.token,
        "expires_at": timestamp(token.expires_at),
        "permissions": token.permissions,
        "repository_selection": "all" if everything else "selected",
    }
    if narrowed:
        answer["repositories"] = [repositories.present(world, r) for r in chosen]
    return Answer(201, answer)


@routes.delete("/installation/token", app="")
def revoke_token(call: Call) -> Answer:
    """Give the calling installation token back."""
    call.world.installation_tokens.pop(call.caller.token, None)
    return Answer(204)
