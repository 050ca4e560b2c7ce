"""What the pages say, and what they leave behind for others to check."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from html import unescape
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from yarl import URL

from bot.app import Bot
from bot.cockpit import audit, home, live, ramps
from bot.cockpit.home import MOST_HEADS, PER_PAGE
from bot.cockpit.incidents import MOST_RUNS
from bot.cockpit.live import MOST_OF_ONE
from bot.cockpit.permissions import Sight, Unknown
from bot.cockpit.request import KINDS
from bot.cockpit.text import moment
from bot.records import sensitive_config
from bot.records.audit import chain
from bot.records.audit.anchors import Anchor, public_key
from bot.records.audit.chain import GENESIS, AuditEntry
from bot.records.lifecycle import RunState
from bot.records.sensitive_config import ConfigQuestion
from bot.records.sessions import Session
from bot.records.tables.safety import audit_entries
from bot.slash_commands import ENTRIES
from bot.triggers import Repository, Severity
from fakegithub.server import DemoGitHub
from fakegithub.world.roles import RoleName
from tests.cockpit.conftest import Arrives
from tests.cockpit.house import House
from tests.cockpit.visitor import Visitor
from tests.shop import API_TOKEN, Shop


async def test_an_exported_chain_is_proved_without_asking_the_bot(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    await house.incident("Logins fail", data={"reason": "ünïcödé \u2028 and more"})
    await house.incident("Carts are empty")
    alice = await arrives("alice")
    page = await alice.get(f"/ui/audit/export?repo={shop.name}")
    assert page.headers["Content-Disposition"].startswith("attachment")
    *lines, last = page.text.removesuffix("\n").split("\n")
    entries = [AuditEntry.model_validate_json(line) for line in lines]
    proof = json.loads(last)["proof"]

    previous = GENESIS
    for number, entry in enumerate(entries, start=1):
        assert (entry.seq, entry.prev_hash) == (number, previous)
        assert entry.computed_hash() == entry.entry_hash
        previous = entry.entry_hash
    anchor = Anchor.model_validate(proof["head"])
    assert (anchor.seq, anchor.head_hash) == (len(entries), previous)
    assert anchor.is_signed_by(public_key(proof["public_key"].encode()))


async def test_an_altered_chain_is_called_that_on_the_first_page(
    arrives: Arrives, bot: Bot, shop: Shop, house: House
) -> None:
    await house.incident("Logins fail")
    alice = await arrives("alice")
    page = await alice.get(f"/ui/audit/export?repo={shop.name}")
    assert "not anchored" in page.text or "there is no anchor" in page.text
    async with bot.records.begin() as conn:
        await conn.exec_driver_sql("DROP TRIGGER audit_entries_no_update")
        mine = audit_entries.c.repository_id == shop.repository.id
        second = sa.update(audit_entries).where(mine, audit_entries.c.seq == 2)
        await conn.execute(second.values(actor="mallory"))
    await alice.get(f"/ui/audit/export?repo={shop.name}")
    page = await alice.get(f"/ui/?repo={shop.name}")
    assert "altered: entry 2: its content does not match its hash" in page.words
    async with bot.records.begin() as conn:
        # SQLite looks for a trigger of that name in what this connection read of the schema last.
        await conn.execute(sa.select(audit_entries.c.seq).limit(1))
        await conn.exec_driver_sql(
            "CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries "
            "BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END"
        )


async def test_help_lists_every_command_there_is(arrives: Arrives, house: House) -> None:
    del house
    page = await (await arrives("")).get("/ui/help")
    for each in ENTRIES:
        assert f"/{each.name}" in page.words
        assert each.usage in page.words
        assert all(example in page.words for example in each.examples)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("severity=awful", "severity must be one of: low, medium, high, critical"),
        ("status=maybe", "status must be one of: open, triage"),
        ("kind=x", f"kind must be one of: {', '.join(KINDS)}"),
        ("before=1", "before is not an id"),
        ("repo=acme/elsewhere", "no such repository"),
        (f"q={'x' * 300}", "at most 200 characters"),
    ],
)
async def test_a_filter_that_is_not_allowed_is_named_with_what_is(
    arrives: Arrives, house: House, query: str, said: str
) -> None:
    del house
    page = await (await arrives("alice")).get(f"/ui/incidents?{query}")
    assert page.status in (400, 404)
    assert said in page.words


async def test_filters_narrow_what_is_listed(arrives: Arrives, shop: Shop, house: House) -> None:
    await house.incident("Logins fail", severity=Severity.HIGH)
    await house.incident("Paint is odd", severity=Severity.LOW)
    alice = await arrives("alice")
    page = await alice.get(f"/ui/incidents?repo={shop.name}&severity=high&status=open")
    assert "Logins fail" in page.words
    assert "Paint" not in page.words
    page = await alice.get(f"/ui/incidents?repo={shop.name}&q=PAINT")
    assert "Paint is odd" in page.words
    assert "Logins" not in page.words


async def test_the_figures_of_the_first_page_are_about_all_that_is_open_whatever_is_listed(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    await house.incident("Logins fail", severity=Severity.HIGH)
    alice = await arrives("alice")
    for query in ("severity=low", "q=zzz", "kind=bisect", "status=resolved"):
        page = await alice.get(f"/ui/?repo={shop.name}&{query}")
        assert "1 open · 1 high" in page.words, query
        assert ('<li class="tile' in page.text) is (query != "severity=low")
    assert (
        "None of this severity." in (await alice.get(f"/ui/?repo={shop.name}&severity=low")).words
    )


ODD = (
    *(("GET", f"/ui/{form}", 303, "/ui/") for form in ("plan", "act", "theme", "logout")),
    ("POST", "/ui/nowhere", 404, None),
    ("GET", "/ui/incidents/%00", 404, None),
    ("GET", "/ui/bisects/%00", 404, None),
    ("GET", "/ui/ramps/%00", 404, None),
    ("GET", "/ui/?request=%00", 404, None),
    ("HEAD", "/ui/events", 200, None),
    ("PUT", "/ui/help", 405, None),
    ("OPTIONS", "/ui/help", 405, None),
    ("POST", "/ui/help", 405, None),
    ("DELETE", "/ui/theme", 405, None),
    ("HEAD", "/ui/nowhere", 404, None),
)


async def test_an_odd_address_is_answered_at_once(arrives: Arrives, house: House) -> None:
    del house
    alice = await arrives("alice")
    for method, path, status, leads_to in ODD:
        url = URL(f"{alice.cockpit}".rstrip("/") + path, encoded=True)
        form = {"data": {"a": "b"}} if method == "POST" else {}
        async with asyncio.timeout(30):
            async with alice.session.request(method, url, allow_redirects=False, **form) as answer:
                found = (answer.status, answer.headers.get("Location"))
                assert found == (status, leads_to), path
            # A browser's or a proxy's next request may come through the same connection.
            assert (await alice.get("/ui/help")).status == 200


async def test_a_repository_is_called_and_linked_by_the_name_it_has_now(
    arrives: Arrives, bot: Bot, shop: Shop, house: House
) -> None:
    incident, _ = await house.incident("Logins fail")
    name = f"{shop.name}-renamed"
    await shop.olivia.patch("", name=name.partition("/")[2])

    async def known() -> bool:
        bot.served._at = None
        return name in {each.full_name for each in await bot.served.served()}

    await shop.eventually(known)
    alice = await arrives("alice")
    for path in ("/ui/", "/ui/incidents", f"/ui/incidents/{incident.id}"):
        page = await alice.get(path)
        assert name in page.text
        assert not re.search(rf"{shop.name}\b(?!-renamed)", page.text), path
    for link in re.findall(r'href="(/ui/[^"]*repo=[^"]*)"', page.text):
        assert (await alice.get(unescape(link))).status == 200, link
    token = {"Authorization": f"Bearer {API_TOKEN}"}
    for path in (f"/incidents?repository={name}", f"/incidents/{incident.id}"):
        url = f"http://127.0.0.1:{bot.port}{path}"
        async with alice.session.get(url, headers=token) as answer:
            assert re.findall(r'"repository":\s*"([^"]*)"', await answer.text()) == [name]


async def test_what_is_quiet_says_what_to_do_when_it_is_not(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    del house
    page = await (await arrives("alice")).get(f"/ui/?repo={shop.name}")
    assert page.title == f"✓ No incident is open in {shop.name}"
    assert "comment /revert on the pull request that broke it" in page.words


async def test_the_first_page_says_how_things_stand(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    await house.incident(
        "Logins fail",
        severity=Severity.CRITICAL,
        state=RunState.FAILED,
        reason="merge: two reviews are missing",
    )
    await house.paused("the evals are red")
    await house.spent()
    page = await (await arrives("alice")).get(f"/ui/?repo={shop.name}")
    assert page.title == "‼ 1 critical incident open"
    assert "broke off (merge: two reviews are missing). Fix it, then retry." in page.words
    assert "Self-work: paused" in page.words
    assert "the evals are red" in page.words
    assert "reverts a day" in page.words


async def test_what_a_page_leaves_out_it_says_and_leads_to(
    arrives: Arrives, bot: Bot, house: House, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_WAITING", "MOST_LANES", "MOST_TILES", "MOST_ACTIVE"):
        monkeypatch.setattr(home, name, 1)
    monkeypatch.setattr(ramps, "PER_PAGE", 1)
    names = ["llm.rank", "llm.find", "llm.sum"]
    for name in names:
        await house.ramp(name)
    for number in range(2):
        await house.incident(f"Waits {number}", state=RunState.FAILED)
    async with bot.records.begin() as conn:
        for number in range(1, 4):
            await sensitive_config.ask(
                conn,
                ConfigQuestion(
                    repository_id=shop.repository.id, number=number, digest=f"{number}",
                    sections=("caps",), asked_by="bob", asked_at=house.now,
                ),
            )  # fmt: skip
    alice = await arrives("alice")
    page = await alice.get(f"/ui/?repo={shop.name}")
    assert "5 things need you" in page.words
    assert "1 more incident needs somebody" in page.words
    assert "2 more configurations" in page.words
    assert len({n for n in range(1, 4) if f'/{shop.name}/pull/{n}"' in page.text}) == 3
    assert "All 5 open incidents" in page.words
    # Of three ramps under way two are at work on what no tile is about; one of them is shown.
    assert re.search(r"2 more at work, which began later", page.words)
    assert page.text.partition('id="lanes"')[2].partition("</section>")[0].count("<h3>") == 1
    more = re.search(r'href="([^"]+)">All 3 shadows and ramps', page.text)
    assert more
    found, address = [], unescape(more[1])
    while address:
        page = await alice.get(address)
        found += [name for name in names if f"<bdi>{name}</bdi></a></h3>" in page.text]
        older = re.search(r'rel="next" href="([^"]+)"', page.text)
        address = unescape(older[1]) if older else ""
    assert sorted(found) == sorted(names)
    assert "There are no more." in (await alice.get("/ui/ramps?page=999999")).words
    assert (await alice.get("/ui/ramps?page=-1")).status == 400


async def test_an_incident_with_many_runs_shows_the_newest_and_those_at_work_and_leads_to_all(
    arrives: Arrives, house: House
) -> None:
    incident, first = await house.incident("Logins fail", state=RunState.FAILED, reason="no room")
    at_work, *others = await house.tried_again(incident, 2 * MOST_RUNS, house.now)
    alice = await arrives("alice")
    page = await alice.get(f"/ui/incidents/{incident.id}")
    left, seen = {first.id, *others}, 0
    while True:
        shown = set(re.findall(r'id="ids-([0-9a-z]+)"', page.text))
        # What is at work is decided upon, however long ago it began.
        assert at_work in shown
        assert len(shown) <= MOST_RUNS + 1
        assert page.form("/cancel")["run"] == at_work
        assert page.form("/retry")["run"] == at_work
        left, seen = left - shown, seen + 1
        earlier = re.search(r'<a rel="next" href="([^"]+)">Earlier runs', page.text)
        assert ("The newest runs" in page.words) is (seen > 1)
        if earlier is None:
            break
        page = await alice.get(unescape(earlier[1]))
    assert (left, seen) == (set(), 3)
    assert (await alice.get(f"/ui/incidents/{incident.id}?before=x")).status == 400


async def test_a_stream_that_comes_back_is_told_at_once_whether_it_missed_something(
    arrives: Arrives, house: House
) -> None:
    await house.incident("Logins fail")
    alice = await arrives("alice")
    first = await _event(alice, "")
    assert first["event"] == "beat"
    again = await _event(alice, first["id"])
    assert (again["event"], again["id"]) == ("beat", first["id"])
    await house.incident("Carts are empty")
    async with asyncio.timeout(60):
        while (news := await _event(alice, first["id"]))["event"] != "changed":
            pass  # each stream begins with what there is, so this is a look, not a wait
    assert news["id"] != first["id"]


async def test_what_changed_before_a_page_begins_to_listen_is_told_it_at_once(
    arrives: Arrives, house: House
) -> None:
    alice = await arrives("alice")
    await _event(alice, "")

    async def stream() -> str:
        page = (await alice.get("/ui/")).text
        found = re.search(r'data-events="([^"]+)"', page)
        assert found is not None
        return unescape(found[1])

    assert (await _event(alice, "", await stream()))["event"] == "beat"
    begun = await stream()
    await house.incident("Carts are empty")
    async with asyncio.timeout(60):
        while (await _event(alice, "", begun))["event"] != "changed":
            pass  # as above


@pytest.mark.parametrize("is_over", [True, False])
async def test_a_stream_says_that_its_reader_is_logged_out_only_where_that_is_so(
    arrives: Arrives, bot: Bot, house: House, monkeypatch: pytest.MonkeyPatch, *, is_over: bool
) -> None:
    async def away(session: Session) -> Sight:
        raise Unknown(f"what {session.login} may see")

    alice = await arrives("alice")
    monkeypatch.setattr(live, "RIGHTS_SECONDS", -1.0)
    async with alice.session.get(alice.cockpit.with_path("/ui/events")) as stream:
        if is_over:
            await alice.post("/ui/logout", (await alice.get("/ui/help")).forms()[-1])
        else:
            monkeypatch.setattr(bot.cockpit._rights, "of", away)
        await house.incident("Carts are empty")
        async with asyncio.timeout(60):
            said = await stream.text()
    assert ("event: over" in said) is is_over


async def test_closed_pages_leave_their_place_and_one_session_cannot_take_all(
    arrives: Arrives, house: House
) -> None:
    del house
    alice = await arrives("alice")
    for _ in range(MOST_OF_ONE + 1):
        await _event(alice, "")
    url = alice.cockpit.with_path("/ui/events")
    async with AsyncExitStack() as open_pages:
        for _ in range(MOST_OF_ONE):
            page = await open_pages.enter_async_context(alice.session.get(url))
            assert page.status == 200
        async with alice.session.get(url) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "30")


async def test_what_changes_again_and_again_is_told_together(
    arrives: Arrives, bot: Bot, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page that hears of it is made anew: with many of them open that is much work."""
    monkeypatch.setattr(live, "_APART_S", 3.0)
    monkeypatch.setattr(bot.cockpit._live, "_every", 0.1)
    alice = await arrives("alice")
    told: list[str] = []
    async with alice.session.get(alice.cockpit.join(URL("/ui/events"))) as answer:
        async with asyncio.timeout(60):
            while "changed" not in told:
                line = (await answer.content.readline()).decode()
                if line == "event: beat\n" and not told:
                    for _ in range(4):
                        await house.incident("Carts are empty")
                        await asyncio.sleep(0.3)
                told += [line.split()[1]] if line.startswith("event: ") else []
            identity = (await answer.content.readline(), await answer.content.readline())[1]
        page = (await alice.get("/ui/")).text
        assert f"told={identity.decode().split()[1]}" in page
    assert told.count("changed") == 1


async def test_open_pages_hear_of_what_is_spent(arrives: Arrives, house: House) -> None:
    alice = await arrives("alice")
    first = await _event(alice, "")
    await house.spent()
    async with asyncio.timeout(60):
        while (await _event(alice, first["id"]))["event"] != "changed":
            pass  # as above


async def test_many_repositories_are_shown_and_asked_about_a_dozen_at_a_time(
    arrives: Arrives,
    bot: Bot,
    shop: Shop,
    house: House,
    github: DemoGitHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await house.spent()
    for number in range(13):
        made = github.create_repository(
            shop.repository.owner, f"{shop.repository.name}-{number:02}", {"README.md": "#"}
        )
        github.set_collaborator(made, "alice", RoleName.READ)
        shop.serve_too(made)

    async def known() -> bool:
        bot.served._at = None
        return f"{shop.name}-12" in {each.full_name for each in await bot.served.served()}

    await shop.eventually(known)
    asked: set[int] = set()

    async def anchors(repository: Repository) -> Sequence[Anchor]:
        asked.add(repository.id)
        return ()

    monkeypatch.setattr(bot.cockpit._chains, "_anchors", anchors)
    monkeypatch.setattr(bot.cockpit._chains, "_known", {})
    monkeypatch.setattr(bot.cockpit._chains, "_round_at", audit._NEVER)
    for each in await bot.served.served():
        async with bot.records.begin() as conn:
            await chain.append(conn, each.id, "said", actor="alice", at=house.now)
    alice = await arrives("alice")
    for _ in range(3):
        page = await alice.get("/ui/")
        listed = page.text.partition('id="chains"')[2].partition("</ul>")[0]
        assert listed.count("<li>") == MOST_HEADS
        assert re.search(r"\d+ more audit chains", page.words)
    assert len(asked) <= audit.MOST_IN_A_ROUND
    address = f"/ui/budgets?after={quote(shop.name[:-1])}"
    found: list[str] = []
    for _ in range(3):
        page = await alice.get(address)
        names = re.findall(r'<h2 id="r\d+"><bdi>([^<]+)</bdi>', page.text)
        assert len(names) <= PER_PAGE
        assert len(names) == PER_PAGE or 'rel="next"' not in page.text
        found += names
        more = re.search(r'rel="next" href="([^"]+)"', page.text)
        if more is None:
            break
        address = unescape(more[1])
    assert found == sorted(set(found))
    assert [shop.name, f"{shop.name}-00"] == found[: found.index(f"{shop.name}-01")][-2:]
    # Nothing is begun in a repository that nobody chose.
    start = await alice.get("/ui/start")
    options = re.findall(r"<option[^>]*>([^<]+)</option>", start.text)
    assert options == ["choose …", *sorted(options[1:])]
    assert len(options) > 13
    only = await alice.get(f"/ui/budgets?repo={shop.name}")
    assert "reverts a day ▲ nearly used up 80.0% 8 of 10" in only.words
    assert "hotfix PRs a day 0.0% 0 of 10" in only.words
    assert "No budget is set." in only.words


async def _event(visitor: Visitor, known: str, stream: str = "/ui/events") -> dict[str, str]:
    headers = {"Last-Event-ID": known} if known else {}
    url = visitor.cockpit.join(URL(stream))
    async with visitor.session.get(url, headers=headers) as answer:
        text = ""
        while "\n\n" not in text.partition("event:")[2]:
            assert not answer.content.at_eof(), (answer.status, text)
            text += (await answer.content.readany()).decode()
    found = text[text.index("event:") :].partition("\n\n")[0].splitlines()
    return dict(line.split(": ", 1) for line in found)


def test_times_are_told_in_the_larger_unit() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert ">just now<" in moment(now, now)
    assert ">3 min ago<" in moment(now.replace(minute=0), now.replace(minute=3, second=40))
    assert ">in 2 h<" in moment(now.replace(hour=5), now)
