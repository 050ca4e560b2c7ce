"""Logging in by way of GitHub, and out."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from yarl import URL

from bot.app import Bot
from bot.cockpit.login import MOST_AT_ONCE, Seal
from bot.cockpit.request import inside
from bot.records import sessions as stored
from bot.records.sessions import hash_of
from bot.records.tables.intake import logins, sessions
from fakegithub.faults.request_faults import Held
from fakegithub.server import DemoGitHub
from tests.cockpit.conftest import Arrives
from tests.cockpit.house import House
from tests.shop import Shop


async def test_whoever_is_not_logged_in_is_sent_to_the_login_and_comes_back_afterwards(
    arrives: Arrives, house: House
) -> None:
    incident, _ = await house.incident("Logins fail")
    nobody = await arrives("")
    page = await nobody.get(f"/ui/incidents/{incident.id}")
    assert page.title == "Incident Playbooks"
    assert "Log in with GitHub" in page.words

    page = await nobody.log_in("alice", back=page.url.query["back"])

    assert page.title == "Logins fail"


async def test_neither_the_key_in_the_browser_nor_the_persons_token_can_be_read_from_the_records(
    arrives: Arrives, bot: Bot, shop: Shop, github: DemoGitHub
) -> None:
    del shop
    before = {*github.world.app_user_tokens}
    alice = await arrives("alice")
    [cookie] = [each for each in alice.session.cookie_jar if each.key == "playbooks"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    async with bot.read_only.connect() as conn:
        in_rows = str((await conn.exec_driver_sql("SELECT * FROM sessions")).all())
    assert hash_of(cookie.value) in in_rows
    assert cookie.value not in in_rows
    [token] = github.world.app_user_tokens.keys() - before
    assert token not in in_rows
    await alice.post("/ui/logout", {"csrf": (await alice.get("/ui/")).forms()[-1]["csrf"]})
    assert token not in github.world.app_user_tokens


async def test_one_account_keeps_a_few_sessions_however_often_it_logs_in(
    bot: Bot, shop: Shop
) -> None:
    """Whoever has an account at GitHub may log in, and sees what they may see."""
    del shop
    now = datetime(2026, 5, 1, tzinfo=UTC)
    people = {"olivia": 1, "stranger": 3 * stored.MOST_OF_ONE}
    async with bot.records.begin() as conn:
        for login, times in people.items():
            for n in range(times):
                await stored.begin(
                    conn, f"{login} {n}", login=login, csrf="x", token=SecretStr("x"), roles={},
                    now=now, until=now + timedelta(hours=12, seconds=n),
                )  # fmt: skip
        kept = {
            (login, n)
            for login, times in people.items()
            for n in range(times)
            if await stored.find(conn, f"{login} {n}", now=now)
        }
        await conn.execute(sa.delete(sessions).where(sessions.c.login.in_(people)))
    newest = range(2 * stored.MOST_OF_ONE, 3 * stored.MOST_OF_ONE)
    assert kept == {("olivia", 0), *(("stranger", n) for n in newest)}


async def test_after_logging_out_the_old_key_opens_nothing(arrives: Arrives, house: House) -> None:
    del house
    alice = await arrives("alice")
    page = await alice.get("/ui/")
    key = {each.key: each.value for each in alice.session.cookie_jar}
    csrf = page.forms()[-1]["csrf"]

    page = await alice.post("/ui/logout", {"csrf": csrf})

    assert page.url.path == "/ui/login"
    # A form that was open in another tab: its page is come back to, and no other.
    for referrer, back in (
        (f"{alice.cockpit}/ui/incidents?status=open", "/ui/incidents?status=open"),
        ("https://evil.example/ui/../x", "/ui/"),
        ("http://[", ""),
        ("", ""),
    ):
        page = await alice.post("/ui/act", {"csrf": csrf, "line": "/status"}, Referer=referrer)
        assert page.status == 401
        assert "You are not logged in any more: nothing was done." in page.words
        login = re.search(r'href="/ui/login(?:\?back=([^"]*))?">Log in', page.text)
        assert login
        assert unquote(login[1] or "") == back
    thief = await arrives("")
    thief.session.cookie_jar.update_cookies(key, thief.cockpit)
    assert (await thief.get("/ui/", follow=False)).status == 303


async def test_a_login_begun_in_another_browser_is_refused(arrives: Arrives, house: House) -> None:
    del house
    attacker, victim = await arrives(""), await arrives("")
    begun = await attacker.get("/ui/login/start?back=/ui/", follow=False)
    state = begun.headers["Location"].partition("state=")[2].partition("&")[0]
    await victim.get("/ui/login/start", follow=False)
    page = await victim.get(f"/ui/login/callback?code=x&state={state}")
    assert page.status == 400
    assert "not begun in this browser" in page.words


async def test_a_callback_works_once(arrives: Arrives, house: House) -> None:
    del house
    alice = await arrives("")
    asked = await alice.get("/ui/login/start?back=/ui/help")
    form = dict(asked.url.query) | {"login": "alice"}
    async with alice.session.post(
        asked.url.with_query(None), data=form, allow_redirects=False
    ) as answer:
        back = answer.headers["Location"]
    assert (await alice.get(back)).status == 200
    # Opened again it leads to where its visitor is logged in by now, and nobody else.
    assert (await alice.get(back)).url.path == "/ui/"
    assert (await (await arrives("")).get(back)).status == 400


async def test_of_two_tabs_that_log_in_at_once_the_newer_one_does_and_then_both_are(
    arrives: Arrives, house: House
) -> None:
    del house
    alice = await arrives("")
    backs = []
    for _ in range(2):
        asked = await alice.get("/ui/login/start?back=/ui/help")
        form = dict(asked.url.query) | {"login": "alice"}
        async with alice.session.post(
            asked.url.with_query(None), data=form, allow_redirects=False
        ) as answer:
            backs.append(answer.headers["Location"])
    first = await alice.get(backs[0])
    assert (first.status, "or another one was begun after it" in first.words) == (400, True)
    assert (await alice.get(backs[1])).url.path == "/ui/help"
    assert (await alice.get(backs[0])).url.path == "/ui/"


async def test_saying_no_at_github_is_said_plainly(arrives: Arrives, house: House) -> None:
    del house
    alice = await arrives("")
    asked = await alice.get("/ui/login/start")
    form = dict(asked.url.query) | {"denied": "yes"}
    async with alice.session.post(asked.url.with_query(None), data=form) as answer:
        assert answer.status == 403
        assert "GitHub did not let you in" in await answer.text()


async def test_the_page_to_come_back_to_is_never_elsewhere(arrives: Arrives, house: House) -> None:
    del house
    for elsewhere in ("https://evil.example/", "https:/ui/x"):
        alice = await arrives("")
        page = await alice.log_in("alice", back=elsewhere)
        assert page.url.path == "/ui/"
        assert page.url.host == alice.cockpit.host


HOSTS = ["evil.example", "evil.example/ui/", "evil.example@ui/"]
BEFORE = [
    "https://", "https:/", "https:", "HTTPS:", "javascript:/ui/", "data:/ui/", "//", "///", "/\\",
    "\\\\", "/ui//", "/ui/\\", "/ui/..//", "/ui/../", "/ui/./", "/ui/%2e%2e/", "/ui/.%2e//",
    "/ui/%2f", "/ui/%5c", "/ui/%252f", "/ui/%25252f", "/%2f", "/%5c", "%2f%2f", "/ui@", "/ui:",
    "/ui%40", "/\t/", "\t//", " //", "/ui/\n/", "/ui/%0a", "/ui/%0d%0aLocation:", "/ui/\x00",
    "/ui/%00", "/ui/\u2028", "/ui/%" + "25" * 1000 + "2f",
    "/ui/%e2%80%ae", "/ui/;/../", "/ui/..;/", "/uix/", "/u%69x/", "", "/", "ui/", "./ui/", "?", "#",
]  # fmt: skip


@pytest.mark.parametrize("before", BEFORE, ids=ascii)
def test_no_way_of_writing_an_address_leads_elsewhere(before: str) -> None:
    for host in HOSTS:
        found = URL("http://here/ui/login").join(URL(inside(before + host)))
        assert inside(before + host) == "/ui/"
        assert (found.host, found.path) == ("here", "/ui/")


@pytest.mark.parametrize(
    "ours",
    [
        "/ui",
        "/ui/",
        "/ui/incidents/01ab?repo=acme%2Fapp&page=2",
        "/ui/start?line=%2Frevert%20%2312",
    ],
)
def test_pages_of_ours_are_come_back_to(ours: str) -> None:
    assert URL(inside(ours)) == URL(ours)


async def test_strangers_who_come_back_with_no_good_code_leave_room_for_everybody_else(
    arrives: Arrives, house: House, github: DemoGitHub
) -> None:
    del house
    stranger, let_go = await arrives(""), asyncio.Event()
    begun = await stranger.get("/ui/login/start?back=/ui/", follow=False)
    state = URL(begun.headers["Location"]).query["state"]
    github.faults.add(
        Held(let_go), method="POST", path="/login/oauth/access_token", times=MOST_AT_ONCE
    )
    back = [
        asyncio.create_task(stranger.get(f"/ui/login/callback?code={n}&state={state}"))
        for n in range(30)
    ]
    try:
        for turned_away in islice(asyncio.as_completed(back, timeout=10), 30 - MOST_AT_ONCE):
            assert (await turned_away).status == 503
    finally:
        let_go.set()
    statuses = [(await each).status for each in back]
    assert statuses.count(403) == MOST_AT_ONCE
    assert (await (await arrives("")).log_in("alice")).status == 200


async def test_beginning_to_log_in_leaves_nothing_here(arrives: Arrives, bot: Bot) -> None:
    async def rows() -> int:
        async with bot.read_only.connect() as conn:
            return sum(
                [
                    int(await conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
                    for table in (logins, sessions)
                ]
            )

    nobody = await arrives("")
    before = await rows()
    states = set()
    for _ in range(300):
        begun = await nobody.get("/ui/login/start?back=/ui/help", follow=False)
        states.add(URL(begun.headers["Location"]).query["state"])
    assert len(states) == 300
    assert await rows() == before


def test_a_login_that_began_is_known_again_and_nothing_else_is() -> None:
    now, life = datetime(2025, 8, 17, tzinfo=UTC), timedelta(minutes=10)
    seal = Seal(b"a key")
    pending, cookie = seal.begin("/ui/help", now + life)
    assert seal.find(cookie, now, life) == pending
    assert pending.back == "/ui/help"
    body, _, signature = cookie.partition(".")
    for other in (
        "", ".", cookie[:-1], cookie + "x", body, f".{signature}", "é.é",
        f"{body[:-4]}AAAA.{signature}",
        Seal(b"another key").begin("/ui/help", now + life)[1],
    ):  # fmt: skip
        assert seal.find(other, now, life) is None
    assert seal.find(cookie, now + life, life) is None
    assert seal.begin("/ui/" + "x" * 5000, now + life)[0].back == ""
