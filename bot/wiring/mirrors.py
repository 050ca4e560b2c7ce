"""The mirrors of all repositories, and the configuration as they have it."""

from __future__ import annotations

from pathlib import Path

from bot.config import Config
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.planning.repository_config import read_config
from bot.triggers import Repository


class Mirrors:
    """One mirror for each repository; always the same object, since it holds a lock."""

    def __init__(self, folder: Path, github: GitHub) -> None:
        """Keep mirrors below `folder`; nothing is fetched before one is used."""
        self._folder = folder
        self._github = github
        self._known: dict[int, Mirror] = {}

    def of(self, repository: Repository) -> Mirror:
        """Give the mirror of a repository, at the address it has now."""
        client = self._github.repository(repository, playbook="mirror", recovery=True)
        mirror = self._known.get(repository.id)
        if mirror is None:
            mirror = Mirror(
                self._folder,
                repository.id,
                client.clone_url,
                client.clone_token,
                client.discard_clone_token,
            )
            self._known[repository.id] = mirror
        mirror.url = client.clone_url
        return mirror

    async def known_config(self, repository: Repository) -> Config:
        """Read the configuration as the mirror has it; the defaults before the first fetch."""
        mirror = self.of(repository)
        if not mirror.path.exists():
            return Config()
        try:
            about = await self._github.repository(repository, playbook="api").about()
            head = await mirror.branch_head(about.default_branch)
            config, _ = await read_config(mirror.git, head)
        except (GitError, GitHubError):
            return Config()
        return config
