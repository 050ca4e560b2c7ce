"""Whoever may not see a repository sees none of it: on no page, no export, no stream.

The tests walk the route table. A new address without a rule, or with a parameter nobody here
knows, fails them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.app import Bot
from bot.cockpit import permissions
from bot.cockpit.permissions import (
    BELIEVED_FOR,
    LoggedOut,
    Sight,
    Unknown,
    VisitorPermissions,
)
from bot.cockpit.request import AccessRule, PageRoute
from bot.github.errors import BadCredentials, GitHubError, Unavailable
from bot.github.oauth import Visitor as Account
from bot.records import sessions
from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from bot.records.sessions import Session
from bot.triggers import Repository, Role
from fakegithub.server import DemoGitHub
from fakegithub.world.roles import RoleName
from tests.cockpit.conftest import Arrives, known_to_bot
from tests.cockpit.house import House
from tests.cockpit.visitor import Page, Visitor
from tests.shop import Clock, Shop

HUSHED = "zanzibar-acquisition"
SAYS_NOTHING = {"/login/callback", "/static/{name}"}
"""Addresses that are about no repository, whatever their parameters are."""


@pytest.fixture
async def private(house: House, shop: Shop, github: DemoGitHub) -> dict[str, str]:
    """A private repository that alice may see and mallory may not; what is in it, by parameter."""
    shop.repository.private = True
    github.set_collaborator(shop.repository, "mallory", RoleName.NONE)
    incident, run = await house.incident(
        f"Revert {HUSHED}", data={"reason": HUSHED}, reason=f"{HUSHED} waits"
    )
    _, bisect = await house.bisect(f"{HUSHED} is red", subjects=[HUSHED] * 3)
    attempt = await house.ramp(f"{HUSHED}.rank")
    await house.paused(f"{HUSHED} is in danger", f"{HUSHED}.rank")
    await house.config_question(shop.alice)
    return {"incident": incident.id, "run": bisect.id, "request": run.id, "attempt": attempt}


def _path(route: PageRoute, known: dict[str, str]) -> str:
    names = re.findall(r"\{(\w+)[^}]*\}", route.path)
    if route.path in SAYS_NOTHING:
        return route.address.replace("{name}", "cockpit.css")
    unknown = [name for name in names if name not in known]
    assert not unknown, f"{route.path}: say in this test what {unknown} of a repository is"
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: known[found[1]], route.address)


def _asked_everything(path: str, shop: Shop, known: dict[str, str]) -> str:
    """The address with every filter that could lead to the repository."""
    return f"{path}?repo={shop.name}&q={HUSHED}&request={known['request']}&status=open"


def _says(page: Page, shop: Shop, known: dict[str, str]) -> list[str]:
    """What of the repository a page tells beyond the address its visitor typed."""
    body = unquote(unescape(page.text))
    for typed in (str(page.url.path_qs), page.url.path, f"={shop.name}", f'"{shop.name}"'):
        body = body.replace(unquote(typed), "")
    body = body.replace(f'value="{HUSHED}"', "").replace(f"q={HUSHED}", "")
    leaks = [HUSHED, shop.name, shop.repository.name, known["incident"], known["run"]]
    return [word for word in leaks if re.search(rf"{re.escape(word)}(?!\w)", body)]


async def _call(visitor: Visitor, route: PageRoute, path: str, form: dict[str, str]) -> Page:
    if route.method == "GET" and route.path == "/events":
        return await _first_events(visitor, path)
    if route.method == "GET":
        return await visitor.get(path, follow=False)
    return await visitor.post(path, form, follow=False)


async def _first_events(visitor: Visitor, path: str) -> Page:
    found = visitor.session.get(
        visitor.cockpit.with_path(path), headers={"Last-Event-ID": "older"}, allow_redirects=False
    )
    async with found as answer:
        text = ""
        if answer.status == 200:
            async with asyncio.timeout(60):
                while "event:" not in text:
                    text += (await answer.content.readany()).decode()
        return Page(answer.status, answer.url, text, dict(answer.headers))


def _forms(known: dict[str, str], shop: Shop, csrf: str) -> dict[str, str]:
    return {
        "csrf": csrf, "once": "1", "back": "/ui/", "line": "/revert #1", "repo": shop.name,
        "incident": known["incident"], "run": known["run"], "theme": "dark",
    }  # fmt: skip


async def test_every_address_has_a_rule(bot: Bot) -> None:
    for route in bot.cockpit.table:
        assert isinstance(route.rule, AccessRule), route
    open_addresses = {each.path for each in bot.cockpit.table if each.rule is AccessRule.OPEN}
    # Whoever opens another address to everybody has to say so here.
    assert open_addresses == {
        "", "/help", "/login", "/login/start", "/login/callback", "/theme", "/static/{name}",
    }  # fmt: skip


async def test_somebody_without_access_learns_nothing_from_any_address(
    arrives: Arrives, bot: Bot, shop: Shop, private: dict[str, str]
) -> None:
    mallory = await arrives("mallory")
    first = await mallory.get("/ui/")
    assert "You can see no repository that the App is installed on." in first.words
    assert "No incident is open" not in first.words
    csrf = first.forms()[-1]["csrf"]
    form = _forms(private, shop, csrf)
    before = await shop.last_run()
    for route in bot.cockpit.table:
        if route.path == "/logout":
            continue  # tried at the end of this walk it would only end it
        for path in (
            _path(route, private),
            _asked_everything(_path(route, private), shop, private),
        ):
            page = await _call(mallory, route, path, form)
            assert page.status in (200, 303, 400, 403, 404), (route, page.status)
            assert _says(page, shop, private) == [], (route.method, path, page.status)
    without_incident = {k: v for k, v in form.items() if k != "incident"}
    assert (await mallory.post("/ui/act", without_incident)).status == 404
    assert await shop.last_run() == before


async def test_somebody_who_is_not_logged_in_learns_nothing_from_any_address(
    arrives: Arrives, bot: Bot, shop: Shop, private: dict[str, str]
) -> None:
    nobody = await arrives("")
    for route in bot.cockpit.table:
        page = await _call(nobody, route, _path(route, private), _forms(private, shop, "x"))
        allowed = (303, 401) if route.rule is AccessRule.SIGNED_IN else (200, 303, 400)
        assert page.status in allowed, (route, page.status)
        assert _says(page, shop, private) == [], (route.method, route.path)


async def test_somebody_with_access_sees_all_of_it(
    arrives: Arrives, shop: Shop, private: dict[str, str]
) -> None:
    """The walk above would find nothing where there was nothing to find."""
    alice = await arrives("alice")
    for path in (
        f"/ui/?repo={shop.name}", f"/ui/incidents?repo={shop.name}",
        f"/ui/incidents/{private['incident']}",
        f"/ui/bisects/{private['run']}", "/ui/ramps", f"/ui/ramps/{private['attempt']}",
        f"/ui/audit?repo={shop.name}",
        f"/ui/audit/export?repo={shop.name}",
    ):  # fmt: skip
        page = await alice.get(path)
        assert page.status == 200, path
        assert HUSHED in page.text, path
    now = await alice.get(f"/ui/?repo={shop.name}")
    assert f"Configuration of {shop.name} : #" in now.words


@pytest.mark.thorough
async def test_access_that_is_taken_away_ends_within_minutes(
    arrives: Arrives, shop: Shop, github: DemoGitHub, private: dict[str, str], clock: Clock
) -> None:
    alice = await arrives("alice")
    address = f"/ui/incidents/{private['incident']}"
    assert (await alice.get(address)).status == 200
    github.set_collaborator(shop.repository, "alice", RoleName.NONE)
    clock.forward(minutes=6)
    assert (await alice.get(address)).status == 404
    # She takes back at GitHub what she gave the App.
    github.world.app_user_tokens.clear()
    clock.forward(minutes=6)
    assert (await alice.get(address)).url.path == "/ui/login"
    assert (await alice.get("/ui/events")).status == 401


async def test_a_change_without_this_sessions_token_is_refused(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    incident, run = await house.incident("Logins fail")
    alice, bob = await arrives("alice"), await arrives("bob")
    page = await alice.get(f"/ui/incidents/{incident.id}")
    form = page.form("/retry")
    action = form.pop("action")
    for wrong in ("", "guessed", (await bob.get("/ui/")).forms()[-1]["csrf"]):
        refused = await alice.post(action, form | {"csrf": wrong})
        assert refused.status == 403
        assert "nothing was done" in refused.words
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        refused = await alice.post(action, form, follow=True, **headers)
        assert refused.status == 403
    del shop, run


async def test_what_somebody_sees_costs_the_installation_nothing_and_shows_what_is_added_after_it(
    arrives: Arrives, bot: Bot, shop: Shop, github: DemoGitHub
) -> None:
    def asked() -> int:
        sent = bot.github.requests.by_route("cockpit")
        return sum(times for route, times in sent.items() if "collaborators" in route)

    await known_to_bot(bot, shop)
    before = asked()
    alice, mallory = await arrives("alice"), await arrives("mallory")
    page = await alice.get(f"/ui/incidents?repo={shop.name}")
    assert page.status == 200
    assert asked() == before
    names = {"private": True, "to-all": False, "to-her": False}
    for name, is_private in names.items():
        added = github.create_repository(shop.repository.owner, f"{shop.repository.name}-{name}")
        added.private = is_private
        shop.serve_too(added)
        if name != "to-all":
            github.set_collaborator(added, "alice", RoleName.READ)

    async def seen() -> bool:
        bot.served._at = None  # the list is renewed once a minute; a test has no minute
        page = await alice.get("/ui/incidents")
        return f"{shop.name}-private" in page.text

    await shop.eventually(seen)
    page = await alice.get("/ui/incidents")
    assert {name for name in names if f"{shop.name}-{name}" in page.text} == {"private", "to-her"}
    assert f"{shop.name}-" not in (await mallory.get("/ui/incidents")).text


class _Company:
    """Many repositories, and a GitHub that answers a person about them, later, or never."""

    def __init__(self, records: AsyncEngine, repositories: int) -> None:
        self.records = records
        self.now = datetime(2026, 5, 1, tzinfo=UTC)
        self.served = [
            Repository(id=number, owner="acme", name=f"r{number}", installation_id=number % 2)
            for number in range(1, repositories + 1)
        ]
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.fault: GitHubError | None = None
        self.shown: Collection[int] = range(1, repositories + 1)
        self.rights = VisitorPermissions(records, self._served, self._look, lambda: self.now)

    async def log_in(self) -> None:
        """Somebody comes."""
        async with self.records.begin() as conn:
            await sessions.begin(
                conn, "key", login="alice", csrf="x", token=SecretStr("ghu_1"),
                roles=dict.fromkeys(self.shown, Role.WRITE),
                now=self.now, until=self.now + timedelta(hours=12),
            )  # fmt: skip

    async def session(self) -> Session | None:
        async with self.records.connect() as conn:
            return await sessions.find(conn, "key", now=self.now)

    async def sight(self) -> Sight:
        """What they see now."""
        session = await self.session()
        assert session is not None
        return await self.rights.of(session)

    async def _served(self) -> list[Repository]:
        return self.served

    async def _look(self, token: SecretStr) -> Account:
        assert token.get_secret_value() == "ghu_1"
        self.asked += 1
        await self.answers.wait()
        if self.fault is not None:
            raise self.fault
        return Account("alice-renamed", dict.fromkeys(self.shown, Role.WRITE))


@pytest.fixture
async def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Company]:
    """Five hundred repositories: more than one installation may ask about in a minute."""
    monkeypatch.setattr(permissions, "_PATIENCE_S", 0.05)
    await migrate(url_from(tmp_path))
    records = open_database(url_from(tmp_path))
    company = _Company(records, 500)
    yield company
    await company.rights.close()
    await records.dispose()


async def test_access_to_one_of_many_repositories_that_is_taken_away_ends_within_minutes(
    company: _Company,
) -> None:
    await company.log_in()
    company.shown = range(2, 501)
    assert (len((await company.sight()).seen), company.asked) == (500, 0)
    company.now += timedelta(minutes=4, seconds=30)
    # It is read behind the page, which waits for nothing.
    assert len((await company.sight()).seen) == 500
    await asyncio.wait([company.rights._readings.popitem()[1].task])
    assert (len((await company.sight()).seen), company.asked) == (499, 1)
    # Whoever comes back later waits for the answer, and never sees what is gone.
    company.shown, company.now = range(3, 501), company.now + timedelta(minutes=40)
    assert (len((await company.sight()).seen), company.asked) == (498, 2)
    session = await company.session()
    assert session is not None
    assert session.login == "alice-renamed"


async def test_while_github_is_away_what_it_said_last_holds_for_an_hour(company: _Company) -> None:
    await company.log_in()
    company.answers.clear()
    company.now += timedelta(minutes=6)
    began = company.now - timedelta(minutes=6)
    for _ in range(5):
        sight = await company.sight()
        assert (len(sight.seen), sight.as_of) == (500, began)
    company.fault = Unavailable("GitHub does not answer")
    company.answers.set()
    await company.sight()
    # What failed is not asked at every page.
    assert company.asked == 1
    company.now += BELIEVED_FOR
    with pytest.raises(Unknown):
        await company.sight()
    company.fault, company.now = None, company.now + timedelta(minutes=1)
    sight = await company.sight()
    assert (len(sight.seen), sight.as_of) == (500, None)


async def test_a_token_that_its_person_took_back_ends_the_session(company: _Company) -> None:
    await company.log_in()
    company.fault = BadCredentials("Bad credentials")
    company.now += timedelta(minutes=6)
    with pytest.raises(LoggedOut):
        await company.sight()
    assert await company.session() is None


@pytest.mark.parametrize("before", [0, 400])
async def test_what_is_served_after_the_login_is_seen_at_once(
    company: _Company, before: int
) -> None:
    everything, company.served = company.served, company.served[:before]
    company.shown = range(1, before + 1)
    await company.log_in()
    assert len((await company.sight()).seen) == before
    company.served, company.shown = everything, range(1, 501)
    assert len((await company.sight()).seen) == 500
    assert company.asked == 1
