"""GitHub as the playbooks need it: App authentication, one client, and the calls."""

from bot.github.client import GitHub, RepositoryClient

__all__ = ["GitHub", "RepositoryClient"]
