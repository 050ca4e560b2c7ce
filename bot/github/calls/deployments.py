"""Deployments: what a commit was sent to, and how that went.

https://docs.github.com/rest/deployments; the App needs `deployments: read`.
"""

from __future__ import annotations

from bot.github.models import Deployment, DeploymentStatus
from bot.github.transport.channel import Channel

DEPLOYMENTS = "/repos/{owner}/{repo}/deployments"
STATUSES = "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses"


class Deployments:
    """The deployments of the repository; the bot never makes one."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def of(self, sha: str) -> tuple[Deployment, ...]:
        """Give the deployments of one commit, the newest first.

        Raises:
            Forbidden: If the App was not granted `deployments: read`.
        """
        found = self._channel.items(DEPLOYMENTS, query={"sha": sha})
        known = [Deployment.model_validate(data) async for data in found]
        return tuple(sorted(known, key=lambda each: each.id, reverse=True))

    async def statuses(self, deployment_id: int) -> tuple[DeploymentStatus, ...]:
        """Give what was said of a deployment, the newest first."""
        found = self._channel.items(STATUSES, deployment_id=deployment_id)
        known = [DeploymentStatus.model_validate(data) async for data in found]
        return tuple(sorted(known, key=lambda each: each.id, reverse=True))
