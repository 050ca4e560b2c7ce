"""What playbooks act through. A playbook that needs less says so by taking less."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.config import Config
from bot.git.mirror import Mirror
from bot.github.client import RepositoryClient
from bot.pictures.addresses import PictureAddresses
from bot.records.branch_record import RecordStore
from bot.trials.pool import TrialPool
from bot.triggers import Trigger


@dataclass(frozen=True)
class Patience:
    """How long to wait: for a look without a delivery, and for a person, before giving up.

    `look_later` is for a look at what only people elsewhere can change, `other_bots` for another
    bot that may answer to the same `/help`. `reruns_begin` is how long a check that was asked to
    run again may take to begin: its App may take the request and do nothing.
    """

    look_again: timedelta = timedelta(minutes=2)
    look_later: timedelta = timedelta(minutes=10)
    give_up: timedelta = timedelta(days=14)
    reruns_begin: timedelta = timedelta(minutes=5)
    other_bots: timedelta = timedelta(seconds=10)


@dataclass(frozen=True)
class Resources:
    """What a playbook acts through, bound to one repository. These are all its side effects."""

    github: RepositoryClient
    mirror: Mirror
    signing_key: Ed25519PrivateKey
    store: RecordStore
    """What was put on the records branch."""
    web_url: str
    """The repository's page on GitHub."""
    patience: Patience
    put: Callable[[Trigger], Awaitable[object]]
    """Asks for something more; a Trigger with the same key at most once."""
    settled: Callable[[Config], Awaitable[Config]]
    """The configuration with its sensitive sections as a Founder approved them."""
    pool: TrialPool
    """Sandboxes on this server."""
    pictures: PictureAddresses
    """Where people find pictures."""
    cockpit_url: str | None
    """Where people reach this bot's pages; None where that is not known."""

    def page_of(self, incident: str) -> str | None:
        """The address of an incident's page in the cockpit."""
        return None if self.cockpit_url is None else f"{self.cockpit_url}/ui/incidents/{incident}"
