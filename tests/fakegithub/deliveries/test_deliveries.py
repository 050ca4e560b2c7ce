"""Webhooks: https://docs.github.com/webhooks and https://docs.github.com/rest/apps/webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from fakegithub.changes import statuses
from fakegithub.deliveries import deliveries
from fakegithub.deliveries.delivery_faults import Delay, Duplicate, Lose, Reorder
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from tests.contracts.download import OPENAPI
from tests.fakegithub.calling import Caller, as_app, as_installation
from tests.fakegithub.receiving import Receiver

SECRET = "a shared secret"  # noqa: S105 - of this test alone


@dataclass
class Hooked:
    """An App whose webhooks go to a receiver, installed on one repository."""

    github: DemoGitHub
    receiver: Receiver
    app: FakeApp
    installation: FakeInstallation
    repository: FakeRepository
    owner: FakeUser

    @property
    def api(self) -> Caller:
        return as_app(self.github, self.app)

    def report(self, context: str) -> None:
        """Make one event: a commit status."""
        sha = self.repository.git.branch("main")
        assert sha is not None
        statuses.create(self.github.world, self.repository, sha, "success", context, self.owner)

    async def settle(self) -> list[str]:
        await self.github.deliveries.settle()
        return [payload["context"] for payload in self.receiver.payloads if "context" in payload]


@pytest.fixture
async def hooked() -> AsyncIterator[Hooked]:
    contract = OPENAPI.path if OPENAPI.ready else None
    async with DemoGitHub(contract=contract) as github, Receiver() as receiver:
        owner = github.create_user("org", organization=True)
        repository = github.create_repository(owner, "r", {"a": "1"})
        app = github.create_app(
            "hooked", owner=owner, permissions={"statuses": "read", "contents": "read"},
            events=["status", "push"], webhook_url=receiver.url, secret=SECRET,
        )  # fmt: skip
        installation = github.install(app, owner)
        await github.deliveries.settle()
        receiver.came.clear()
        yield Hooked(github, receiver, app, installation, repository, owner)


async def test_a_delivery_is_signed_and_says_what_it_is(hooked: Hooked) -> None:
    hooked.report("ci")
    await hooked.settle()
    headers, body = hooked.receiver.came[0]
    assert headers["X-GitHub-Event"] == "status"
    assert headers["X-Hub-Signature-256"] == deliveries.signature(SECRET, body)
    assert len(headers["X-GitHub-Delivery"]) == 36
    payload = hooked.receiver.payloads[0]
    assert payload["installation"]["id"] == hooked.installation.id
    assert payload["repository"]["full_name"] == "org/r"
    assert payload["sender"]["login"] == "org"


async def test_deliveries_come_in_order_each_with_its_own_guid(hooked: Hooked) -> None:
    wanted = [f"ci-{number}" for number in range(20)]
    for context in wanted:
        hooked.report(context)
    assert await hooked.settle() == wanted
    assert len(set(hooked.receiver.guids)) == 20


async def test_events_that_were_not_asked_for_are_not_sent(hooked: Hooked) -> None:
    hooked.installation.events.remove("push")
    hooked.github.commit(hooked.repository, {"b": "2"}, "More")
    hooked.report("ci")
    await hooked.settle()
    assert hooked.receiver.events == ["status"]


async def test_a_suspended_or_removed_installation_hears_nothing(hooked: Hooked) -> None:
    hooked.installation.suspended_at = hooked.github.world.now()
    hooked.report("while suspended")
    hooked.installation.suspended_at = None
    hooked.report("back again")
    del hooked.github.world.installations[hooked.installation.id]
    hooked.report("while removed")
    assert await hooked.settle() == ["back again"]


async def test_a_failed_delivery_is_listed_and_sent_again_with_its_guid(hooked: Hooked) -> None:
    hooked.receiver.status = 503
    hooked.report("ci")
    await hooked.settle()
    listed = (await hooked.api.get("/app/hook/deliveries", status="failure")).body
    assert [(each["status_code"], each["event"]) for each in listed] == [(503, "status")]
    hooked.receiver.status = 200
    path = f"/app/hook/deliveries/{listed[0]['id']}"
    assert (await hooked.api.post(f"{path}/attempts")).status == 202
    await hooked.settle()
    assert len(set(hooked.receiver.guids)) == 1
    newest = (await hooked.api.get("/app/hook/deliveries")).body[0]
    assert (newest["guid"], newest["redelivery"], newest["status"]) == (
        listed[0]["guid"], True, "OK",
    )  # fmt: skip
    whole = (await hooked.api.get(path)).body
    assert whole["request"]["payload"]["context"] == "ci"
    assert whole["response"]["payload"] == "noted"


async def test_nobody_listening_and_a_late_answer_are_failures(hooked: Hooked) -> None:
    hooked.github.deliveries.answer_within = 0.2
    hooked.receiver.delay = 0.5
    hooked.report("late")
    await hooked.settle()
    hooked.app.webhook_url = "http://127.0.0.1:1/"
    hooked.report("nobody")
    await hooked.settle()
    listed = (await hooked.api.get("/app/hook/deliveries", status="failure")).body
    assert [each["status"] for each in listed] == ["failed to connect to host", "timed out"]


async def test_the_list_is_walked_by_cursor(hooked: Hooked) -> None:
    for number in range(5):
        hooked.report(f"ci-{number}")
    await hooked.settle()
    seen, path = [], "/app/hook/deliveries?per_page=2"
    while path:
        page = await hooked.api.get(path)
        assert len(page.body) <= 2
        seen += [each["id"] for each in page.body]
        link = page.headers.get("Link", "")
        path = link.split(">")[0].removeprefix(f"<{hooked.github.world.api}")
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 6, "five, and the installation itself"
    assert (await hooked.api.get("/app/hook/deliveries", cursor="x")).status == 400


async def test_after_three_days_a_delivery_is_forgotten(hooked: Hooked) -> None:
    hooked.report("ci")
    await hooked.settle()
    for delivery in hooked.github.deliveries.log.values():
        assert delivery.delivered_at is not None
        delivery.delivered_at -= timedelta(days=3, seconds=1)
    assert (await hooked.api.get("/app/hook/deliveries")).body == []


async def test_only_the_app_itself_sees_its_deliveries(hooked: Hooked) -> None:
    caller = as_installation(hooked.github, hooked.installation)
    assert (await caller.get("/app/hook/deliveries")).status == 401


async def test_a_payload_over_25_mb_is_never_sent(hooked: Hooked) -> None:
    hooked.report("x" * deliveries.LARGEST_PAYLOAD)
    hooked.report("small")
    assert await hooked.settle() == ["small"]


async def test_the_hooks_address_can_be_changed(hooked: Hooked) -> None:
    changed = await hooked.api.patch("/app/hook/config", {"url": "http://127.0.0.1:1/x"})
    assert (changed.status, changed.body["url"]) == (200, "http://127.0.0.1:1/x")
    assert (await hooked.api.get("/app/hook/config")).body["secret"] == "*" * 8


async def test_deliveries_can_be_lost_with_or_without_a_trace(hooked: Hooked) -> None:
    hooked.github.faults.on_delivery(Lose(recorded=True), event="status")
    hooked.github.faults.on_delivery(Lose(recorded=False), event="status")
    for context in ("traced", "untraced", "arrives"):
        hooked.report(context)
    assert await hooked.settle() == ["arrives"]
    failed = (await hooked.api.get("/app/hook/deliveries", status="failure")).body
    assert len(failed) == 1


async def test_deliveries_can_be_doubled_delayed_and_reordered(hooked: Hooked) -> None:
    faults = hooked.github.faults
    faults.on_delivery(Duplicate(3))
    hooked.report("thrice")
    faults.on_delivery(Delay(0.2))
    hooked.report("late")
    faults.on_delivery(Reorder())
    hooked.report("second")
    hooked.report("first")
    assert await hooked.settle() == ["thrice"] * 3 + ["first", "second", "late"]
    assert len(set(hooked.receiver.guids)) == 4


async def test_a_reordered_delivery_with_no_successor_still_comes(hooked: Hooked) -> None:
    hooked.github.faults.on_delivery(Reorder(seconds=0.05))
    hooked.report("alone")
    assert await hooked.settle() == ["alone"]
