"""Setup in other orders than the one it is made for: what is lost, sent twice, or somebody else's.

Most of it is Setup's pages alone, in this process: no App is there yet, and so no bot.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from bot.settings import CREDENTIALS, load_settings
from bot.setup.proposal import look
from bot.setup.registration import SetupRefused, addresses_of
from bot.setup.site import SetupSite
from fakegithub.faults.request_faults import Fail
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeUser
from tests.cli.test_commands import playbooks
from tests.playbooks.revert.landings import seen as seen_by_the_bot
from tests.setup.test_terminal import Typed
from tests.shop import Shop

HOST = "playbooks.example.org"


class Visitor:
    """Somebody's browser: its cookies, and what GitHub sent it back with."""

    def __init__(self, session: aiohttp.ClientSession, github: DemoGitHub, who: FakeUser) -> None:
        self.session, self.github, self.who = session, github, who

    async def get(self, url: str, **more: Any) -> tuple[int, str]:
        async with self.session.get(url, **more) as answer:
            return answer.status, await answer.text()

    async def post(self, url: str, data: dict[str, str], **more: Any) -> tuple[int, str]:
        async with self.session.post(url, data=data, **more) as answer:
            return answer.status, await answer.text()

    async def press(self, page: str, organization: str = "") -> URL:
        """Register the App as the page asks for it; where GitHub sends the browser then."""
        form = re.search(r'<form method="post" action="([^"]*)">', page)
        wanted = re.search(r'name="manifest" value="([^"]*)"', page)
        assert form, page
        assert wanted, page
        asked = URL(unescape(form[1]))
        data = {
            "manifest": unescape(wanted[1]), "state": asked.query["state"],
            "name": json.loads(unescape(wanted[1]))["name"], "login": self.who.login,
            "organization": organization,
        }  # fmt: skip
        made = f"{self.github.url}/settings/apps"
        async with self.session.post(made, data=data, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return URL(answer.headers["Location"])


class Room:
    """Setup of one data folder, and who is at it."""

    def __init__(self, github: DemoGitHub, data: Path) -> None:
        self.data = data
        self.site = SetupSite("127.0.0.1", 0, None, f"{github.url}/api/v3", data)

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.site.port}/ui/setup"


@pytest.fixture
async def room(github: DemoGitHub, tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(github, tmp_path / "data")
    await room.site.open()
    yield room
    await room.site.close()


@pytest.fixture
async def visitor(github: DemoGitHub, tmp_path: Path) -> AsyncIterator[Visitor]:
    who = github.create_user(f"visitor-{abs(hash(tmp_path))}")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Visitor(session, github, who)


async def test_what_is_loaded_again_or_comes_twice_changes_nothing(
    room: Room, visitor: Visitor
) -> None:
    for _ in range(2):  # The address, and the same once more in the same browser.
        status, page = await visitor.get(room.site.address)
        assert status == 200
    back = await visitor.press(page)
    kept = ""
    for _ in range(3):
        async with visitor.session.get(back, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"].endswith("/installations/new")
        now = (room.data / CREDENTIALS).read_text()
        assert now == (kept or now)
        kept = now
    status, page = await visitor.get(room.home)
    assert status == 200
    assert "The bot is starting" in page


async def test_a_second_app_is_said_to_be_one_too_many(room: Room, visitor: Visitor) -> None:
    _, page = await visitor.get(room.site.address)
    first, second = await visitor.press(page), await visitor.press(_named_otherwise(page))
    await visitor.get(str(first), allow_redirects=False)
    kept = (room.data / CREDENTIALS).read_text()
    status, said = await visitor.get(str(second), allow_redirects=False)
    assert status == 400
    assert "is the App of this bot already" in said
    assert "delete it on GitHub" in said
    assert (room.data / CREDENTIALS).read_text() == kept


def _named_otherwise(page: str) -> str:
    return re.sub(r"incident-playbooks-\w{6}", "incident-playbooks-another", page)


async def test_keys_that_cannot_be_kept_are_not_lost(room: Room, visitor: Visitor) -> None:
    _, page = await visitor.get(room.site.address)
    back = await visitor.press(page)
    room.data.parent.mkdir(exist_ok=True)
    room.data.write_text("a file where the folder is to be")
    status, said = await visitor.get(str(back), allow_redirects=False)
    assert status == 400
    assert "cannot be written" in said
    assert "load this page again" in said
    assert not room.site.registered.is_set()
    room.data.unlink()
    status, _ = await visitor.get(str(back), allow_redirects=False)
    assert status == 303
    assert json.loads((room.data / CREDENTIALS).read_text())["github_private_key"]


async def test_of_two_setups_of_one_folder_the_first_keeps_its_app(
    github: DemoGitHub, room: Room, visitor: Visitor
) -> None:
    other = Room(github, room.data)
    await other.site.open()
    try:
        _, page = await visitor.get(room.site.address)
        # One browser for both: each has a cookie of its own.
        _, others = await visitor.get(other.site.address)
        back, too_late = await visitor.press(page), await visitor.press(others)
        assert (await visitor.get(str(back), allow_redirects=False))[0] == 303
        kept = (room.data / CREDENTIALS).read_text()
        status, said = await visitor.get(str(too_late), allow_redirects=False)
        assert status == 400
        assert "holds the keys of another App" in said
        assert (room.data / CREDENTIALS).read_text() == kept
    finally:
        await other.site.close()


async def test_while_github_is_away_its_code_is_not_lost(
    github: DemoGitHub, room: Room, visitor: Visitor
) -> None:
    _, page = await visitor.get(room.site.address)
    back = await visitor.press(page)
    github.faults.add(Fail(503), method="POST", path="/conversions$", times=1)
    status, said = await visitor.get(str(back), allow_redirects=False)
    assert status == 400
    assert "GitHub does not answer (503). Load this page again" in said
    assert (await visitor.get(str(back), allow_redirects=False))[0] == 303


async def test_a_code_that_github_does_not_know_registers_nothing(
    room: Room, visitor: Visitor
) -> None:
    _, page = await visitor.get(room.site.address)
    back = await visitor.press(page)
    for code in ("", "another", "../../user"):
        status, said = await visitor.get(str(back.update_query(code=code)), allow_redirects=False)
        assert status == 400
        assert "Begin again" in said
    assert not room.data.exists()


async def test_who_lost_the_cookie_is_told_how_to_go_on(room: Room, visitor: Visitor) -> None:
    _, page = await visitor.get(room.site.address)
    back = await visitor.press(page)
    cookies = visitor.session.cookie_jar
    kept = {each.key: each.value for each in cookies}
    cookies.clear()
    status, said = await visitor.get(str(back), allow_redirects=False)
    assert status == 403
    assert "For a new one start the bot again" in said
    cookies.update_cookies(kept, URL(room.home))
    assert (await visitor.get(str(back), allow_redirects=False))[0] == 303
    cookies.clear()
    status, said = await visitor.get(room.home)
    assert status == 403
    assert "`playbooks setup` in a terminal goes on" in unescape(said)


async def test_an_organization_s_app_is_the_organization_s(
    github: DemoGitHub, room: Room, visitor: Visitor
) -> None:
    mill = github.create_user(f"{visitor.who.login}-inc"[:39], organization=True)
    await visitor.get(room.site.address)
    _, page = await visitor.get(f"{room.home}?organization={mill.login}")
    assert f"/organizations/{mill.login}/settings/apps/new?state=" in page
    await visitor.get(str(await visitor.press(page, mill.login)), allow_redirects=False)
    assert room.site.given is not None
    assert room.site.given.owner == mill.login


async def test_the_address_that_was_typed_is_the_one_the_bot_goes_by(
    room: Room, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await visitor.get(room.site.address)
    _, page = await visitor.get(f"{room.home}?url=https://{HOST}/")
    assert f"https://{HOST}/webhooks/github" in page
    back = await visitor.press(page)
    assert back.host == HOST
    # Its proxy leads here.
    here = URL(room.home).with_path(back.path).with_query(back.query)
    assert (await visitor.get(str(here), allow_redirects=False))[0] == 303
    monkeypatch.delenv("PLAYBOOKS_URL", raising=False)
    monkeypatch.setenv("PLAYBOOKS_DATA", str(room.data))
    assert load_settings().public_url == f"https://{HOST}"
    monkeypatch.setenv("PLAYBOOKS_URL", "https://moved.example.org")
    assert load_settings().public_url == "https://moved.example.org"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Origin": f"https://{HOST}", "Host": HOST}, "out of date"),
        ({"Origin": "https://evil.example"}, "another site"),
        ({"Origin": "null"}, "another site"),
        ({"Origin": "http://["}, "another site"),
        ({"Sec-Fetch-Site": "cross-site"}, "another site"),
    ],
    ids=["behind a proxy", "another site", "no site", "nonsense", "as browsers say it"],
)
async def test_a_form_counts_only_from_here(
    room: Room, visitor: Visitor, headers: dict[str, str], says: str
) -> None:
    await visitor.get(room.site.address)
    status, said = await visitor.post(f"{room.home}/propose", {"repo": "a/b"}, headers=headers)
    assert status == 400
    assert says in said


async def test_a_link_on_another_site_fills_nothing_in(room: Room, visitor: Visitor) -> None:
    await visitor.get(room.site.address)
    there = f"{room.home}?url=https://evil.example&hook=https://evil.example&github=evil.example"
    _, page = await visitor.get(there, headers={"Sec-Fetch-Site": "cross-site"})
    assert "evil.example" not in page


NO_ADDRESSES = ["https://[", "http://host:port", "ftp://host", "host/", "https://", "https://h:0"]


@pytest.mark.parametrize("given", NO_ADDRESSES)
async def test_what_is_no_address_is_refused_in_words(
    room: Room, visitor: Visitor, given: str
) -> None:
    await visitor.get(room.site.address)
    for field in ("url", "hook"):
        async with visitor.session.get(room.home, params={field: given}) as answer:
            said = await answer.text()
            assert answer.status == 400, said
            assert "address is like https://" in said


@pytest.mark.parametrize(
    ("given", "api", "web"),
    [
        ("", "https://api.github.com", "https://github.com"),
        ("GitHub.com/acme", "https://api.github.com", "https://github.com"),
        ("acme.ghe.com", "https://api.acme.ghe.com", "https://acme.ghe.com"),
        ("https://ghes.example.org", "https://ghes.example.org/api/v3", "https://ghes.example.org"),
        ("ghes.example.org/api/v3/", "https://ghes.example.org/api/v3", "https://ghes.example.org"),
        ("http://10.0.0.7:8443", "http://10.0.0.7:8443/api/v3", "http://10.0.0.7:8443"),
        ("https://[", "", ""),
        ("ftp://ghes.example.org", "", ""),
        ("https://user:password@ghes.example.org", "", ""),
    ],
)
def test_a_github_is_named_as_it_is_seen_in_a_browser(given: str, api: str, web: str) -> None:
    if not api:
        with pytest.raises(SetupRefused, match="is not the address of a GitHub"):
            addresses_of(given)
        return
    found = addresses_of(given)
    assert (found.rest, found.web) == (api, web)


@pytest.mark.thorough
async def test_after_a_restart_setup_leads_on_and_an_app_that_is_gone_is_named(
    github: DemoGitHub, room: Room, visitor: Visitor
) -> None:
    _, page = await visitor.get(room.site.address)
    await visitor.get(str(await visitor.press(page)), allow_redirects=False)
    await room.site.close()
    environment = {"PLAYBOOKS_DATA": str(room.data), "PLAYBOOKS_PORT": "0"}
    serve = await Typed.run("serve", **environment)
    try:
        found = re.search(r"port=(\d+)", (await serve.says(r"listening\s.*port=\d+\s")))
        assert found
        installed = f"http://127.0.0.1:{found[1]}/ui/setup/installed?setup_action=install"
        status, page = await visitor.get(installed)
        assert status == 200
        assert "Log in" in page
    finally:
        serve.process.terminate()
        await serve.ends()
    [app] = [each for each in github.world.apps.values() if each.owner is visitor.who]
    del github.world.apps[app.id]
    gone = await asyncio.to_thread(playbooks, "serve", **environment)
    assert gone.returncode == 2
    assert f"GitHub knows no App {app.id}" in gone.stderr
    (room.data / CREDENTIALS).unlink()  # As it says.
    serve = await Typed.run("serve", **environment)
    try:
        await serve.says(r"Nothing is set up yet\. Open this, once:\s+http://\S+token=")
    finally:
        await serve.close()


@pytest.mark.parametrize("kept", ["[]", "nonsense", '"a"', ""])
def test_what_setup_did_not_write_is_said_in_one_line(tmp_path: Path, kept: str) -> None:
    (tmp_path / CREDENTIALS).write_text(kept)
    done = playbooks("serve", PLAYBOOKS_DATA=str(tmp_path))
    assert done.returncode == 2
    assert "credentials.json: is not what Setup wrote." in done.stderr
    assert "Traceback" not in done.stderr


async def test_of_a_repository_too_large_to_list_what_concerns_us_is_seen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.alice.push(
        "main",
        {".github/workflows/ci.yml": "on: push\njobs: {}\n", "aaa/1.txt": "1", "aaa/2.txt": "2",
         "docs/CODEOWNERS": "* @alice\n", "zzz/db/migrate/1.rb": "1"},
        "Grow",
    )  # fmt: skip
    monkeypatch.setattr("fakegithub.rest.git_data._MOST_ENTRIES", 8)
    seen = await look(shop.bot.github.repository(seen_by_the_bot(shop), playbook="setup"))
    assert list(seen.workflows) == [".github/workflows/ci.yml"]
    assert seen.owners == ("alice",)
    assert not seen.has_file
