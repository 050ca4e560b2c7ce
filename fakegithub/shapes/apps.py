"""Apps and their installations as the REST API shows them."""

from __future__ import annotations

from typing import Any

from fakegithub.shapes import users
from fakegithub.world.model import FakeApp, FakeInstallation
from fakegithub.world.world import World, node_id, timestamp


def present_app(world: World, app: FakeApp) -> dict[str, Any]:
    """An App as it stands in check-runs, comments and `GET /app`."""
    moment = timestamp(app.created_at)
    return {
        "id": app.id,
        "slug": app.slug,
        "client_id": app.client_id,
        "node_id": node_id("App", app.id),
        "owner": users.present(world, app.owner),
        "name": app.name,
        "description": None,
        "external_url": app.webhook_url or f"{world.url}/apps/{app.slug}",
        "html_url": f"{world.url}/apps/{app.slug}",
        "created_at": moment,
        "updated_at": moment,
        "permissions": dict(app.permissions),
        "events": list(app.events),
    }


def present_installation(world: World, installation: FakeInstallation) -> dict[str, Any]:
    """An installation as `GET /app/installations` and installation events show it."""
    moment = timestamp(installation.created_at)
    api = f"{world.api}/app/installations/{installation.id}"
    suspended = installation.suspended_at
    is_enterprise = installation.account.type == "Enterprise"
    present = users.present_enterprise if is_enterprise else users.present
    return {
        "id": installation.id,
        "client_id": installation.app.client_id,
        "account": present(world, installation.account),
        "repository_selection": "all" if installation.repositories is None else "selected",
        "access_tokens_url": f"{api}/access_tokens",
        "repositories_url": f"{world.api}/installation/repositories",
        "html_url": f"{world.url}/settings/installations/{installation.id}",
        "app_id": installation.app.id,
        "app_slug": installation.app.slug,
        "target_id": installation.account.id,
        "target_type": installation.account.type,
        "permissions": dict(installation.permissions),
        "events": list(installation.events),
        "created_at": moment,
        "updated_at": moment,
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": users.present(world, installation.account) if suspended else None,
        "suspended_at": timestamp(suspended) if suspended else None,
    }
