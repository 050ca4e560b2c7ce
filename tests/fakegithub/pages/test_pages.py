"""A person looks at the pages and uses their forms."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from typing import Any

import aiohttp
import pytest

from demo.person import Person
from fakegithub.changes import checks
from fakegithub.pages.markdown import Renderer
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeIssue, FakeRepository, FakeUser, Protection

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'too'"


@dataclass
class Visitor:
    """A browser without JavaScript: follows links, keeps cookies, sends forms."""

    session: aiohttp.ClientSession
    page: str

    async def look(self, path: str = "", status: int = 200) -> str:
        async with self.session.get(self.page + path) as response:
            assert response.status == status, path
            if status == 200:
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            return await response.text()

    async def send(self, path: str, headers: dict[str, str] | None = None, **form: str) -> Any:
        async with self.session.post(self.page + path, data=form, headers=headers) as response:
            return response.status, await response.text()


@dataclass
class Scene:
    visitor: Visitor
    repository: FakeRepository
    pull: FakeIssue
    alice: FakeUser


@pytest.fixture
async def scene(github: DemoGitHub, repository: FakeRepository) -> AsyncIterator[Scene]:
    alice = github.create_user(f"alice-{repository.id}")
    github.set_collaborator(repository, alice.login, "write")
    async with (
        Person(github.url, alice.token, repository.full_name) as person,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        files = {"src/app.py": "print('bye')\n"}
        number = await person.open_pull_request(HOSTILE, files, branch="topic")
        await person.comment(number, f"Hello @{alice.login}, see #{number}. {HOSTILE}")
        page = f"{github.url}/{repository.full_name}"
        yield Scene(Visitor(session, page), repository, repository.issues[number], alice)


async def test_every_page_of_a_pull_request_can_be_read(scene: Scene) -> None:
    number, visitor = scene.pull.number, scene.visitor
    conversation = await visitor.look(f"/pull/{number}")
    assert "wants to merge" in conversation
    assert "Merge pull request" in conversation
    assert "print(&#39;bye&#39;)" in await visitor.look(f"/pull/{number}/files")
    assert "/commit/" in await visitor.look(f"/pull/{number}/commits")
    assert "Nothing was checked here" in await visitor.look(f"/pull/{number}/checks")
    for path in ("", "/issues", "/pulls", "/commits/main", "/tree/main", "/tree/main/src",
                 "/blob/main/src/app.py", "/actions"):  # fmt: skip
        assert "<h1>" in await visitor.look(path)
    head = scene.repository.git.branch("topic")
    assert "print(&#39;bye&#39;)" in await visitor.look(f"/commit/{head}")
    assert await visitor.look("/raw/topic/src/app.py") == "print('bye')\n"
    await visitor.look("/issues/999", status=404)
    await visitor.look("/blob/main/no/such/file", status=404)


async def test_an_issues_address_leads_to_the_pull_request(scene: Scene) -> None:
    assert "wants to merge" in await scene.visitor.look(f"/issues/{scene.pull.number}")


async def test_hostile_text_is_text_on_every_page(scene: Scene) -> None:
    for path in ("", "/pulls", f"/pull/{scene.pull.number}", f"/pull/{scene.pull.number}/files"):
        html = await scene.visitor.look(path)
        assert "<script" not in html
        assert "<img" not in html
        assert not re.search(r"<[^>]*onerror", html)
    assert HOSTILE in unescape(await scene.visitor.look(f"/pull/{scene.pull.number}"))


async def test_a_comment_is_written_as_the_chosen_person(scene: Scene) -> None:
    path = f"/pull/{scene.pull.number}"
    status, html = await scene.visitor.send(
        f"/issues/{scene.pull.number}/comment",
        **{"body": "/revert\r\nbecause it is red", "as": scene.alice.login,
           "back": f"/{scene.repository.full_name}{path}"},
    )  # fmt: skip
    assert status == 200
    assert "because it is red" in html
    comment = scene.pull.comments[-1]
    assert (comment.user, comment.body) == (scene.alice, "/revert\nbecause it is red")


async def test_a_label_is_added_and_taken_off(scene: Scene) -> None:
    where = f"/issues/{scene.pull.number}"
    await scene.visitor.send(f"{where}/label", label="bug", **{"as": scene.alice.login})
    assert [label.name for label in scene.pull.labels] == ["bug"]
    await scene.visitor.send(f"{where}/unlabel", label="bug", **{"as": scene.alice.login})
    assert scene.pull.labels == []


async def test_a_pull_request_is_merged_by_its_button(scene: Scene) -> None:
    back = f"/{scene.repository.full_name}/pull/{scene.pull.number}"
    _, html = await scene.visitor.send(
        f"/issues/{scene.pull.number}/merge", method="squash",
        **{"as": scene.alice.login, "back": back},
    )  # fmt: skip
    assert scene.pull.pull is not None
    assert scene.pull.pull.merged_at is not None
    assert "Merged" in html


async def test_what_blocks_a_merge_is_said(github: DemoGitHub, scene: Scene) -> None:
    github.protect(
        scene.repository,
        "main",
        Protection(checks=[("smoke", None)], reviews=1, enforce_admins=True),
    )
    where = f"/pull/{scene.pull.number}"
    html = unescape(await scene.visitor.look(where))
    assert "At least 1 approving review is required" in html
    assert "expected, not reported yet" in html
    assert "Merge pull request" not in html
    _, html = await scene.visitor.send(
        f"/issues/{scene.pull.number}/merge",
        **{"as": scene.alice.login, "back": f"/{scene.repository.full_name}{where}"},
    )  # fmt: skip
    assert 'role="alert"' in html, "GitHub's refusal is shown"


async def test_the_visitor_stays_who_they_chose_to_be(github: DemoGitHub, scene: Scene) -> None:
    bob = github.create_user(f"bob-{scene.repository.id}")
    async with scene.visitor.session.post(
        f"{github.url}/session", data={"login": bob.login, "back": "//elsewhere.example"}
    ) as response:
        assert str(response.url) == f"{github.url}/", "never led elsewhere"
    assert f"<option selected>{bob.login}" in await scene.visitor.look()
    await scene.visitor.send(f"/issues/{scene.pull.number}/comment", body="as bob")
    assert scene.pull.comments[-1].user is bob


async def test_a_form_sent_from_another_site_is_refused(scene: Scene) -> None:
    before = len(scene.pull.comments)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, _ = await scene.visitor.send(
            f"/issues/{scene.pull.number}/comment", headers, body="forged"
        )
        assert status == 403
    assert len(scene.pull.comments) == before


async def test_a_check_shows_its_words_and_its_buttons_work(
    github: DemoGitHub, scene: Scene, app: FakeApp
) -> None:
    head = scene.repository.git.branch("topic") or ""
    body = {
        "status": "in_progress",
        "output": {"title": "Looking", "summary": "**3** of 7 <script>x</script>"},
        "actions": [{"label": "Cancel", "description": "Stop", "identifier": "cancel"}],
    }
    run = checks.create(github.world, scene.repository, app, "bisect", head, body)
    html = await scene.visitor.look(f"/runs/{run.id}")
    assert "<strong>3</strong> of 7" in html
    assert "<script" not in html
    pressed: list[Any] = []
    github.world.listen(pressed.append)
    alice = {"as": scene.alice.login}
    await scene.visitor.send(f"/runs/{run.id}/press", identifier="cancel", **alice)
    await scene.visitor.send(f"/runs/{run.id}/rerequest", **alice)
    github.world.listeners.remove(pressed.append)
    assert [event.action for event in pressed] == ["requested_action", "rerequested"]


async def test_a_workflow_run_and_its_log_can_be_read(github: DemoGitHub, scene: Scene) -> None:
    text = "on: push\njobs:\n  smoke:\n    steps:\n      - run: echo '<b>loud</b>'\n"
    github.commit(scene.repository, {".github/workflows/ci.yml": text}, "Add CI")
    await github.runner.settle()
    run = list(github.runner.runs.values())[-1]
    assert "Add CI" in await scene.visitor.look("/actions")
    assert "smoke" in await scene.visitor.look(f"/actions/runs/{run.id}")
    job = run.jobs["smoke"]
    shown = await scene.visitor.look(f"/actions/runs/{run.id}/job/{job.id}")
    assert "&lt;b&gt;loud&lt;/b&gt;" in shown
    assert "<b>loud</b>" in await scene.visitor.look(f"/actions/runs/{run.id}/job/{job.id}/log.txt")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("see #12", '<a href="P/issues/12"'),
        ("by @mona-l", '<a href="S/mona-l"'),
        ("[#12](https://x.example)", '<a href="https://x.example"'),
        ("- [x] done", "☑ done"),
        ("<details><summary>more</summary>\n\ntext\n</details>", "<summary>more</summary>"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "<td>2</td>"),
        ("`#12`", "<code>#12</code>"),
    ],
)
def test_markdown_reads_as_people_expect(text: str, html: str) -> None:
    assert html in Renderer("P", "S").html(text).replace(' rel="nofollow noopener"', "")


@pytest.mark.parametrize(
    "text",
    [
        "<!-- playbooks:status -->",
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "<a href='javascript:alert(1)'>x</a>",
        "<img src=x onerror=alert(1)>",
        "<div style='position:fixed'>x</div>",
        "<form action=/session><button>x</button></form>",
    ],
)
def test_markdown_can_do_nothing_but_be_read(text: str) -> None:
    html = Renderer("/p", "/s").html(text)
    for forbidden in ("<!--", "<script", "javascript:", "onerror", "style=", "<form", "<img"):
        assert forbidden not in html.replace("[x](javascript:alert(1))", "")
