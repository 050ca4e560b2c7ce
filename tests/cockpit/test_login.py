"""Logging in by way of GitHub, and out."""

from __future__ import annotations

from bot.app import Bot
from bot.demo.github.server import DemoGitHub
from bot.records.cockpit.sessions import hash_of
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


async def test_the_key_in_the_browser_is_unreadable_for_scripts_and_only_its_hash_is_stored(
    arrives: Arrives, bot: Bot, shop: Shop, github: DemoGitHub
) -> None:
    del shop
    alice = await arrives("alice")
    [cookie] = [each for each in alice.session.cookie_jar if each.key == "playbooks"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    async with bot.read_only.connect() as conn:
        stored = str((await conn.exec_driver_sql("SELECT * FROM sessions")).all())
    assert hash_of(cookie.value) in stored
    assert cookie.value not in stored
    assert github.world.app_user_tokens == {}


async def test_after_logging_out_the_old_key_opens_nothing(arrives: Arrives, house: House) -> None:
    del house
    alice = await arrives("alice")
    page = await alice.get("/ui/")
    key = {each.key: each.value for each in alice.session.cookie_jar}
    csrf = page.forms()[-1]["csrf"]

    page = await alice.post("/ui/logout", {"csrf": csrf})

    assert page.url.path == "/ui/login"
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
    assert (await alice.get(back)).status == 400


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
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "/ui/../x"):
        alice = await arrives("")
        page = await alice.log_in("alice", back=elsewhere)
        assert page.url.path == "/ui/"
        assert page.url.host == alice.cockpit.host
