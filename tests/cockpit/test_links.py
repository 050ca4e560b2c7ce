"""Where the bot's address is known, every text about an incident links to its page there.

Every link of every text is followed, by somebody who may see it, and so is every `#12`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from html import unescape

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from yarl import URL

from bot.app import Bot
from bot.cockpit.site import Cockpit
from bot.intake.http.entrance import Entrance, prefix_of
from bot.notify import Courier
from bot.records.notifications import Notification, NotificationState
from fakegithub.world.model import FakeApp
from tests.cockpit.chromium import addresses
from tests.cockpit.conftest import Arrives
from tests.cockpit.house import House
from tests.cockpit.visitor import Visitor
from tests.playbooks.alerts.alerting import Sender
from tests.playbooks.bisect.bisecting import fixes, history
from tests.playbooks.providing import CAPABILITY, Providers, providers
from tests.playbooks.rollback.test_playbook import at_25
from tests.shop import Shop

__all__ = ["providers"]

LINK = re.compile(r"https?://[^\s)>\]\"`]+")
NUMBER = re.compile(r"(?<![\w/&#])#(\d+)\b")
BOT = "playbooks[bot]"
FOLDERS = ("docs/decisions", "apps/orchestrator/orchestrator")


@pytest.fixture
def at_home(bot: Bot, cockpit_url: str) -> Iterator[str]:
    """The bot knows where people reach it, as with PLAYBOOKS_URL."""
    before = bot.playbooks.cockpit_url
    object.__setattr__(bot.playbooks, "cockpit_url", cockpit_url)
    bot.pictures._public_url = cockpit_url
    yield cockpit_url
    object.__setattr__(bot.playbooks, "cockpit_url", before)
    bot.pictures._public_url = before


async def said(shop: Shop) -> dict[str, str]:
    """Everything the bot has written in the repository, by where it stands."""
    alice, found = shop.alice, {}
    heads = {await alice.head("main")}
    for issue in await alice.issues():
        number = issue["number"]
        kind = "pull" if "pull_request" in issue else "issue"
        if issue["user"]["login"] == BOT:
            found[f"{kind} #{number}"] = issue["body"] or ""
        for each in await alice.comments(number):
            if each["user"]["login"] == BOT:
                found[f"comment {each['id']} on #{number}"] = each["body"]
        if kind == "pull":
            heads.add((await alice.pull_request(number))["head"]["sha"])
    for sha in heads | {run.head_sha for run in shop.repository.check_runs.values()}:
        for run in (await alice.get(f"commits/{sha}/check-runs", per_page="100"))["check_runs"]:
            if run["app"]["slug"] == "playbooks":
                out = run["output"]
                parts = (out["title"], out["summary"], out["text"], run["details_url"])
                found[f"check {run['name']} on {sha[:9]}"] = "\n".join(p or "" for p in parts)
    for ref in ("main", "playbooks/records"):
        for folder in FOLDERS:
            for path in await _files(shop, folder, ref):
                found[f"{path} on {ref}"] = await alice.file(path, ref) or ""
    return found


async def _files(shop: Shop, folder: str, ref: str) -> list[str]:
    status, listed, _ = await shop.alice.request("GET", f"contents/{folder}", params={"ref": ref})
    if status != 200:
        return []
    paths: list[str] = []
    for each in listed:
        inside = await _files(shop, each["path"], ref) if each["type"] == "dir" else [each["path"]]
        paths += inside
    return paths


async def leads_somewhere(shop: Shop, at_home: str, arrives: Arrives) -> dict[str, str]:
    """Follow every link and every number that the bot has written; everything it wrote."""
    visitor, texts = await arrives("olivia"), await said(shop)
    home = f"{shop.github.url}/{shop.name}"
    links: dict[str, str] = {}
    for where, text in texts.items():
        for link in LINK.findall(text):
            links.setdefault(link.rstrip(".,;:"), where)
        if not where.endswith((".json on main", ".json on playbooks/records")):
            for number in NUMBER.findall(text):
                links.setdefault(f"{home}/issues/{number}", where)
    ours = {each: where for each, where in links.items() if each.startswith((home, at_home))}
    assert any(each.startswith(f"{at_home}/ui/incidents/") for each in ours)
    for link, where in sorted(ours.items()):
        async with visitor.session.get(link) as answer:
            assert answer.status == 200, (link, where, texts[where])
    return texts


def linked(texts: dict[str, str], at_home: str, *wanted: str) -> None:
    """Each of these texts has a link to an incident's page."""
    page = f"{at_home}/ui/incidents/"
    for name in wanted:
        those = {where: text for where, text in texts.items() if where.startswith(name)}
        assert those, (name, list(texts))
        for where, text in those.items():
            assert page in text, (where, text)


async def test_every_link_of_a_reverts_texts_leads_somewhere(
    shop: Shop, at_home: str, arrives: Arrives
) -> None:
    number = await shop.broken()
    await shop.says(number, "/revert")
    hotfix = await shop.merged_hotfix()
    await shop.final_word(number)
    [incident] = await shop.incidents()
    texts = await leads_somewhere(shop, at_home, arrives)
    linked(texts, at_home, f"issue #{incident['number']}", f"pull #{hotfix['number']}", "check hot")
    assert any(where.startswith("docs/decisions/") for where in texts)
    status, *_ = [text for text in await shop.from_bot(number) if text.startswith("**")]
    assert f"{at_home}/ui/incidents/" in status


@pytest.mark.thorough
async def test_every_link_of_a_bisects_texts_leads_somewhere(
    shop: Shop, at_home: str, arrives: Arrives
) -> None:
    past = await history(shop, 6, 4)
    await past.says_ci_on_the_end("failure")
    asked, answer = await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    shop.verdicts = {"smoke": "success"}
    await shop.alice.set_status(fix["head"]["sha"], "success", "smoke")
    await shop.told(asked, "Merge fix", times=1)
    await shop.says(asked, "/approve")
    assert await answer.reaction() == "+1"
    [incident] = await shop.incidents()
    texts = await leads_somewhere(shop, at_home, arrives)
    linked(texts, at_home, f"issue #{incident['number']}", f"pull #{fix['number']}", "check bisect")


@pytest.mark.thorough
async def test_every_link_of_a_shadows_a_ramps_and_a_rollbacks_texts_leads_somewhere(
    providers: Providers, at_home: str, arrives: Arrives
) -> None:
    shop = providers.shop
    issue = await at_25(providers)
    answer = await shop.says(issue, f"/rollback {CAPABILITY} because its answers read oddly")
    reaction = await answer.reaction()
    assert reaction == "+1", (await shop.from_bot(issue))[-3:]
    await shop.told(issue, "is merged into `main`", times=1)
    texts = await leads_somewhere(shop, at_home, arrives)
    every = [each["number"] for each in await shop.alice.issues() if each["user"]["login"] == BOT]
    assert len(every) == 4  # shadow, ramp, incident, fix
    for number in every:
        linked(texts, at_home, *(w for w in texts if w.split(" ", 1)[1] == f"#{number}"))


@pytest.mark.thorough
async def test_every_link_of_an_alerts_texts_leads_somewhere(
    shop: Shop, at_home: str, arrives: Arrives
) -> None:
    async with aiohttp.ClientSession() as http:
        sender = Sender(shop, http)
        await shop.broken()
        await sender.just_now("slo.breach", summary="errors", severity="high")
        incident = await sender.incident("active")
        await shop.eventually(shop.hotfixes)
        texts = await leads_somewhere(shop, at_home, arrives)
        linked(texts, at_home, f"issue #{incident.issue}")


@pytest.mark.thorough
async def test_a_notification_links_to_its_incident(
    shop: Shop, at_home: str, arrives: Arrives, bot: Bot
) -> None:
    number = await shop.broken()
    await shop.says(number, "/revert")
    incident = await shop.incident_of(await shop.merged_hotfix())
    now = bot.clock()
    message = Notification(
        id="one", repository_id=shop.repository.id, incident_id=incident, audience="founder",
        title="An incident", body="Main is broken.", state=NotificationState.PENDING, reason=None,
        attempts=0, due_at=now, created_at=now, settled_at=None,
    )  # fmt: skip
    courier = Courier(
        bot.records, (), clock=bot.clock, web_url=shop.github.url, cockpit_url=at_home
    )
    links = LINK.findall(await courier._body(message))
    assert f"{at_home}/ui/incidents/{incident}" in links
    assert f"{shop.github.url}/{shop.name}/issues/" in "\n".join(links)
    visitor = await arrives("olivia")
    for link in links:
        async with visitor.session.get(link) as answer:
            assert answer.status == 200, link


async def test_the_bots_address_itself_leads_to_the_cockpit(cockpit_url: str, bot: Bot) -> None:
    assert bot.port
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{cockpit_url}/", allow_redirects=False) as answer,
    ):
        assert answer.status == 302
        assert answer.headers["Location"] == "/ui/"


@asynccontextmanager
async def below_a_path(bot: Bot, app: FakeApp, path: str) -> AsyncIterator[Visitor]:
    """Somebody at a proxy that shows the cockpit below `path`, and takes that away."""
    inside = 0

    async def pass_on(request: web.Request) -> web.Response:
        url = URL(f"http://127.0.0.1:{inside}{request.raw_path.removeprefix(path)}", encoded=True)
        headers = {k: v for k, v in request.headers.items() if k in ("Cookie", "Content-Type")}
        async with aiohttp.request(
            request.method, url, data=await request.read(), headers=headers, allow_redirects=False
        ) as answer:
            kept = [(k, v) for k, v in answer.headers.items() if k in ("Location", "Set-Cookie")]
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                headers=CIMultiDict(kept),
                content_type=answer.content_type,
            )

    proxy = web.Application()
    proxy.router.add_route("*", f"{path}/{{rest:.*}}", pass_on)
    async with (
        TestServer(proxy, host="127.0.0.1") as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        public = f"http://127.0.0.1:{server.port}{path}"
        cockpit = Cockpit(replace(bot.cockpit._parts, url=lambda: public, prefix=prefix_of(public)))
        application = web.Application()
        application.add_routes(cockpit.routes())
        entrance = Entrance(application, url=public)
        inside = await entrance.open("127.0.0.1", 0)
        app.callback_urls.append(f"http://127.0.0.1{path}/ui/login/callback")
        try:
            yield Visitor(public, session)
        finally:
            app.callback_urls.pop()
            await cockpit.close()
            await entrance.close()


async def test_below_a_path_every_address_of_every_page_leads_back_to_it(
    bot: Bot, shop: Shop, house: House, playbooks_app: FakeApp
) -> None:
    ids = await house.busy()
    async with below_a_path(bot, playbooks_app, "/tools/playbooks") as alice:
        here = alice.cockpit.path
        page = await alice.log_in("alice", f"/ui/incidents/{ids['incident']}", below=here)
        assert page.url.path == f"{here}/ui/incidents/{ids['incident']}"
        for address in (f"{here}/", f"{here}/docs", *(
            f"{here}{each}" for each in addresses(bot.cockpit.table, ids, shop.name).values()
        )):  # fmt: skip
            page = await alice.get(address)
            assert page.url.path.startswith(f"{here}/"), address
            found = re.findall(r'(?:href|src|action|data-events)="(/[^"]*)"', page.text)
            assert [each for each in found if not each.startswith(f"{here}/ui/")] == []
        assert 'aria-current="page"' in (await alice.get(f"{here}/ui/audit")).text
        for link in found:
            if "/events" not in link:
                assert (await alice.get(unescape(link))).status == 200, link
        dark = next(each for each in page.forms() if each["action"].endswith("/theme"))
        dark["theme"] = "dark"
        page = await alice.post(dark.pop("action"), dark)
        assert (page.url.path, 'data-theme="dark"' in page.text) == (f"{here}/ui/start", True)


@pytest.mark.thorough
async def test_a_bisect_that_waits_for_a_person_is_not_shown_as_searching(
    shop: Shop, arrives: Arrives
) -> None:
    past = await history(shop, 3, 2, trial=None)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.standing(issue, "I cannot try commits here")
    run = await shop.last_run()
    assert run is not None
    page = await (await arrives("olivia")).get(f"/ui/bisects/{run.id}")
    assert "needs you" in page.words
    assert "A person is needed" in page.words
    assert "it searches" not in page.words
    assert "running" not in page.words.split("What broke")[0]
