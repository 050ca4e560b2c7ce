"""The stage a story plays on: a shop's repository, its people, the App and the bot, on loopback.

Nothing is pretended: the repository is real git, its checks really run, and the bot is the whole
bot, told only the addresses and keys that GitHub would have given it.
"""

from __future__ import annotations

import random
import secrets
import socket
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from bot.app import Bot
from bot.github.client import EVENTS, PERMISSIONS
from bot.playbooks.run import Patience
from bot.records import pauses
from bot.settings import Settings
from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository

OWNER, NAME = "acme", "shop"
_CART = '''"""A shopping cart."""


def total(prices, discount=0.0):
    """The sum of all prices, less the discount."""
    return round(sum(prices) * (1 - discount), 2)
'''
_TEST = """import unittest

from shop.cart import total


class CartTest(unittest.TestCase):
    def test_the_total_is_the_sum(self):
        self.assertEqual(total([1.5, 2.5]), 4.0)

    def test_a_discount_is_taken_off(self):
        self.assertEqual(total([100], discount=0.1), 90.0)


if __name__ == "__main__":
    unittest.main()
"""
_EVALS = '''"""How often does the cart agree with receipts that customers signed?"""

from shop.cart import total

RECEIPTS = [([n * 1.1, n * 2.2], 0.05 * (n % 4)) for n in range(1, 201)]
agreed = sum(
    total(prices, discount) == round(sum(prices) * (1 - discount), 2)
    for prices, discount in RECEIPTS
)
score = agreed / len(RECEIPTS)
print(f"score {score:.3f} (needs 0.990)")
raise SystemExit(score < 0.99)
'''
_WORKFLOW = """name: checks
on: [push, pull_request]
jobs:
  smoke:
    steps:
      - uses: actions/checkout@v4
      - run: python -m unittest discover -s tests -t .
  evals:
    steps:
      - uses: actions/checkout@v4
      - run: python -m evals.receipts
"""
_CONFIG = """checks:
  smoke: [smoke]
  evals: [evals]
"""
_ROLES = {
    "olivia": "admin",
    "alice": "maintain",
    "bob": "write",
    "agent": "write",
    "mallory": "read",
}
FILES: Mapping[str, str] = {
    "README.md": "# Shop\n\nA small shop, with a cart that adds up.\n",
    "shop/__init__.py": "",
    "shop/cart.py": _CART,
    "tests/__init__.py": "",
    "tests/test_cart.py": _TEST,
    "evals/__init__.py": "",
    "evals/receipts.py": _EVALS,
    ".github/workflows/checks.yml": _WORKFLOW,
    ".github/playbooks.yml": _CONFIG,
}

_T = TypeVar("_T")


class Stage:
    """Everything a story needs, started with `async with`."""

    def __init__(self, *, port: int, seed: int, contract: Path | None = None) -> None:
        """Prepare; `port` is the demo GitHub's, 0 takes a free one."""
        self._port = port
        self._exit = AsyncExitStack()
        self.github = DemoGitHub(
            rng=random.Random(seed),  # noqa: S311  repeatable tokens of a demo guard nothing
            contract=contract,
        )
        self.api_token = secrets.token_urlsafe(24)
        self.people: dict[str, Person] = {}
        self.repository: FakeRepository
        self.bot: Bot

    async def __aenter__(self) -> Stage:
        """Start the GitHub, then the bot, and introduce them to each other."""
        await self.github.start(port=self._port)
        self._exit.push_async_callback(self.github.stop)
        owner = self.github.create_user(OWNER, organization=True)
        users = {login: self.github.create_user(login) for login in _ROLES}
        secret = secrets.token_urlsafe(32)
        app = self.github.create_app(
            "incident-playbooks",
            owner=owner,
            permissions=PERMISSIONS,
            events=list(EVENTS),
            secret=secret,
        )
        app.callback_urls = ["http://127.0.0.1/ui/login/callback"]
        self.github.install(app, owner)
        self.repository = self.github.create_repository(owner, NAME, FILES)
        for login, role in _ROLES.items():
            self.github.set_collaborator(self.repository, login, role)
            person = Person(self.github.url, users[login].token, f"{OWNER}/{NAME}")
            self.people[login] = await self._exit.enter_async_context(person)
        data = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="playbooks-demo-")))
        digest = sha256(self.api_token.encode()).hexdigest()
        bots_port = _free_port()
        self.bot = Bot(
            Settings.model_validate(
                {
                    "github_api_url": f"{self.github.url}/api/v3",
                    "github_app_id": app.id,
                    "github_private_key": app.private_key,
                    "github_webhook_secret": secret,
                    "github_client_id": app.client_id,
                    "github_client_secret": app.client_secret,
                    "playbooks_data": data,
                    "playbooks_port": bots_port,
                    # Known beforehand, so that every text can link to the cockpit.
                    "playbooks_url": f"http://127.0.0.1:{bots_port}",
                    "playbooks_replica": "demo",
                    "playbooks_api_tokens": f"demo:admin:*:{digest}",
                }
            ),
            patience=Patience(look_again=timedelta(seconds=20)),
        )
        await self.bot.start()
        self._exit.push_async_callback(self.bot.stop)
        app.webhook_url = f"{self.bot_url}/webhooks/github"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything; nothing is left behind."""
        await self._exit.aclose()

    async def keep(self, context: AbstractAsyncContextManager[_T]) -> _T:
        """Enter something that stays until everything stops."""
        return await self._exit.enter_async_context(context)

    async def api(self, path: str) -> Any:
        """GET something of the bot's API, such as `/incidents`."""
        headers = {"Authorization": f"Bearer {self.api_token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{self.bot_url}{path}") as response,
        ):
            response.raise_for_status()
            return await response.json()

    async def pause_of(self, capability: str) -> str | None:
        """Why a capability is paused; None where it is not."""
        async with self.bot.read_only.connect() as conn:
            pause = await pauses.in_force(conn, self.repository.id, capability)
        return None if pause is None else pause.reason

    @property
    def bot_url(self) -> str:
        """Where the bot listens."""
        return f"http://127.0.0.1:{self.bot.port}"

    @property
    def home(self) -> str:
        """The repository's page."""
        return f"{self.github.url}/{OWNER}/{NAME}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
