"""`playbooks rehearse` beside a bot at work: what it says of refusals, and that nothing stays."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from bot.rehearsal.assumptions import ASSUMPTIONS, RawAnswer, RehearsalFinding
from bot.rehearsal.rehearsal import NotBegun, not_made_for_it, rehearse
from bot.settings import Settings
from demo.person import Person
from fakegithub.faults.request_faults import Fail
from fakegithub.world.model import FakeRepository, FakeUser, Protection
from fakegithub.world.refusals import KINDS
from tests.cli.test_commands import playbooks
from tests.cli.test_listen import environment_of
from tests.setup.test_terminal import Typed
from tests.shop import Shop, forget_served

_names = count(1)
EVERY_S, PATIENCE_S = 0.5, 3000.0
PARTS = ("scene", "configuration", "revert", "bisect", "pause", "assumptions", "clean up")


class Scratch:
    """A repository made for a rehearsal, and its administrator."""

    def __init__(self, shop: Shop, repository: FakeRepository, person: Person, token: str) -> None:
        self.shop, self.repository, self.person, self.token = shop, repository, person, token
        self.name = repository.full_name
        self.said: list[str] = []

    @property
    def settings(self) -> Settings:
        bot = f"http://127.0.0.1:{self.shop.bot.port}"
        return self.shop.bot.settings.model_copy(update={"playbooks_url": bot})

    @property
    def environment(self) -> dict[str, str]:
        return environment_of(self.shop) | {"GH_TOKEN": self.token}

    async def rehearse(
        self, *, token: str | None = None, patience: float = PATIENCE_S
    ) -> list[RehearsalFinding]:
        return await rehearse(
            self.settings, self.name, self.token if token is None else token, every=EVERY_S,
            patience=patience, say=self.said.append,
        )  # fmt: skip

    async def begins(self, words: str) -> None:
        while not any(words in each for each in self.said):  # noqa: ASYNC110  told from outside
            await asyncio.sleep(0.02)

    def tree(self) -> str:
        git = self.repository.git
        return git.commit(git.refs()["refs/heads/main"]).tree

    async def left(self) -> dict[str, Any]:
        """What a rehearsal may leave behind, apart from closed issues."""
        kept = {"refs/heads/main", "refs/heads/playbooks/records"}
        return {
            "tree": self.tree(),
            "branches": set(self.repository.git.refs("refs/heads/")) - kept,
            "open": [each["title"] for each in await self.person.get("issues", state="open")],
            "labels": {each["name"] for each in await self.person.get("labels")},
        }


@pytest.fixture
async def scratch(shop: Shop, acme: FakeUser, staff: dict[str, FakeUser]) -> AsyncIterator[Scratch]:
    files = {"README.md": "# Scratch\n"}
    repository = shop.github.create_repository(acme, f"scratch-{next(_names)}", files)
    shop.github.set_collaborator(repository, "olivia", "admin")
    shop.serve_too(repository)
    await forget_served(shop.bot)
    token = staff["olivia"].token or ""
    async with Person(shop.github.url, token, repository.full_name) as person:
        yield Scratch(shop, repository, person, token)


def outcomes(found: list[RehearsalFinding]) -> dict[str, str]:
    """What came of each part: the worst of its lines."""
    ranks = ("as assumed", "not tried", "differed", "refused")
    worst: dict[str, str] = {}
    for each in found:
        before = worst.get(each.part, ranks[0])
        worst[each.part] = max(before, each.outcome, key=ranks.index)
    return {part: worst[part] for part in PARTS if part in worst}


def otherwise(found: list[RehearsalFinding]) -> list[RehearsalFinding]:
    """What is not as assumed; how long it takes here is this machine's affair."""
    return [each for each in found if each.outcome != "as assumed" and each.seconds is None]


def words(found: list[RehearsalFinding], part: str) -> str:
    return " ".join(f"{each.what} {each.remedy}" for each in found if each.part == part)


async def test_it_goes_to_its_end_tries_all_that_is_assumed_and_leaves_nothing(
    scratch: Scratch,
) -> None:
    before = await scratch.left()
    found = await scratch.rehearse()
    assert otherwise(found) == []
    assert list(outcomes(found)) == list(PARTS)
    assert sum(each.part == "assumptions" for each in found) == len(ASSUMPTIONS) + 3
    assert await scratch.left() == before


@dataclass(frozen=True)
class Refused:
    """One thing that is refused, which parts meet it, and the words that are to be read there."""

    begin: Callable[[Scratch], object]
    meets: str
    says: str


def _no_way_of_merging(scratch: Scratch) -> None:
    repository = scratch.repository
    repository.allow_merge_commit = repository.allow_squash_merge = False
    repository.allow_rebase_merge = False


def _review(scratch: Scratch) -> None:
    reviewed = Protection(reviews=1, enforce_admins=True)
    scratch.shop.github.protect(scratch.repository, "main", reviewed)


def _pull_requests_only(scratch: Scratch) -> None:
    parameters = {
        "required_approving_review_count": 0,
        "dismiss_stale_reviews_on_push": False,
        "require_code_owner_review": False,
        "require_last_push_approval": False,
        "required_review_thread_resolution": False,
    }
    rules = [{"type": "pull_request", "parameters": parameters}]
    scratch.shop.github.add_ruleset(scratch.repository, "Pull requests", rules)


def _refuse(kind: Any, status: Any = None, **more: Any) -> Callable[[Scratch], object]:
    return lambda scratch: scratch.repository.refusals.refuse(kind, status, **more)


def _only_reads(permission: str) -> Callable[[Scratch], object]:
    def take(scratch: Scratch) -> None:
        installation = scratch.shop.installation()
        installation.permissions = dict(installation.permissions) | {permission: "read"}
        scratch.shop.forget_tokens()

    return take


REFUSED: dict[str, Refused] = {
    "hotfix branches": Refused(
        lambda s: s.shop.github.restrict_refs(s.repository, "hotfix/**"),
        "revert", "add the App to the bypass list"),
    "no way of merging": Refused(_no_way_of_merging, "scene", "allows no way of merging"),
    "a review": Refused(_review, "scene", "Take that rule off the default branch"),
    "workflow files": Refused(_refuse("tree", 404, times=1, everybody=True),
                              "actions", "gh auth refresh -s workflow"),
    "issues are off": Refused(lambda s: setattr(s.repository, "has_issues", False),
                              "bisect", "Switch issues on"),
    "a dispatch": Refused(_refuse("dispatch"), "bisect", "/bisect"),
    "actions: write": Refused(_only_reads("actions"), "bisect", "actions"),
    "contents: write": Refused(_only_reads("contents"), "configuration", "contents"),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_named_with_what_mends_it_and_the_rest_goes_on(
    scratch: Scratch, name: str
) -> None:
    before, refused = await scratch.left(), REFUSED[name]
    refused.begin(scratch)
    found = await scratch.rehearse()
    assert any(each.part == refused.meets and each.outcome == "refused" for each in found), found
    assert refused.says in words(found, refused.meets)
    assert all(each.remedy for each in found if each.outcome in ("refused", "differed"))
    assert await scratch.left() == before
    assert outcomes(found)["clean up"] == "as assumed"


async def test_what_needs_what_was_refused_is_not_tried(scratch: Scratch) -> None:
    _no_way_of_merging(scratch)
    found = outcomes(await scratch.rehearse())
    untried = {part for part, outcome in found.items() if outcome == "not tried"}
    assert untried >= {"configuration", "revert", "bisect", "pause"}


@pytest.mark.thorough
async def test_where_only_pull_requests_change_main_it_goes_to_its_end_all_the_same(
    scratch: Scratch,
) -> None:
    before = await scratch.left()
    _pull_requests_only(scratch)
    found = await scratch.rehearse()
    assert otherwise(found) == []
    assert await scratch.left() == before


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_the_app_is_refused_it_comes_to_an_end_and_leaves_nothing(
    scratch: Scratch, kind: Any
) -> None:
    before = await scratch.left()
    scratch.repository.refusals.refuse(kind)
    found = await scratch.rehearse(patience=20.0)
    assert list(outcomes(found)) == list(PARTS)
    assert all(each.remedy for each in found if each.outcome in ("refused", "differed"))
    scratch.repository.refusals.accept()
    assert await scratch.left() == before


async def test_stopped_in_between_it_cleans_up(scratch: Scratch) -> None:
    before = await scratch.left()
    name = scratch.name
    program = await Typed.run("rehearse", name, "--again", name, "--every", "0.2",
                              **scratch.environment)  # fmt: skip
    try:
        await program.says(r"is merged; asking")
        program.process.send_signal(signal.SIGINT)
        assert await program.ends() == 1, program.said
    finally:
        await program.close()
    assert "what it had begun is cleaned up" in program.said
    assert await scratch.left() == before


@pytest.mark.thorough
async def test_stopped_while_a_command_is_being_posted_it_cleans_up_after_that_too(
    scratch: Scratch,
) -> None:
    before, name = await scratch.left(), scratch.name
    program = await Typed.run("rehearse", name, "--again", name, "--every", "0.2",
                              **scratch.environment)  # fmt: skip
    try:
        with scratch.shop.holding_back(f"{name}/issues/3/comments$", method="POST", times=1) as put:
            await scratch.shop.eventually(put)
            program.process.send_signal(signal.SIGINT)
            await program.says(r"cleaning up")
            await asyncio.sleep(0.5)
        assert await program.ends() == 1, program.said
    finally:
        await program.close()
    assert await scratch.left() == before


async def test_a_repository_that_was_not_made_for_it_is_not_touched(scratch: Scratch) -> None:
    await scratch.person.push("main", {"src/app.py": "1\n"}, "Work")
    before = await scratch.left()
    with pytest.raises(NotBegun, match=r"it has src/app\.py"):
        await scratch.rehearse()
    assert await scratch.left() == before


async def test_nothing_is_begun_where_somebody_or_something_is_missing(scratch: Scratch) -> None:
    for token, why in (("", "No person's token"), ("ghp_nobody", "no person's token")):
        with pytest.raises(NotBegun, match=why):
            await scratch.rehearse(token=token)
    installation = scratch.shop.installation()
    installation.repositories = {scratch.shop.repository.id}
    with pytest.raises(NotBegun, match="The App is not installed on") as refused:
        await scratch.rehearse()
    assert "/installations/new" in refused.value.remedy
    installation.repositories.add(scratch.repository.id)
    scratch.shop.github.set_collaborator(scratch.repository, "olivia", "read")
    with pytest.raises(NotBegun, match="olivia may not push"):
        await scratch.rehearse()


@pytest.mark.sampled("another")
@pytest.mark.parametrize("again", [(), ("--again", "acme/other")], ids=["once", "another"])
def test_nothing_is_touched_unless_it_is_named_twice(again: tuple[str, ...]) -> None:
    three = {"GITHUB_APP_ID": "7", "GITHUB_PRIVATE_KEY": "k", "GITHUB_WEBHOOK_SECRET": "s"}
    done = playbooks("rehearse", "acme/scratch", *again, **three)
    assert done.returncode == 2
    assert "Nothing is touched unless it is named twice" in done.stderr


async def test_without_a_bot_the_program_ends_with_2(scratch: Scratch) -> None:
    told = scratch.environment | {"PLAYBOOKS_URL": "http://127.0.0.1:9"}
    done = await asyncio.to_thread(
        playbooks, "rehearse", scratch.name, "--again", scratch.name, "--json", **told
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "No bot answers at http://127.0.0.1:9. Start it: `playbooks serve`." in done.stderr


async def test_what_github_does_otherwise_is_said_and_ends_the_program_with_1(
    scratch: Scratch,
) -> None:
    _no_way_of_merging(scratch)
    scratch.shop.github.faults.add(Fail(503), method="PATCH", path="/git/refs/", times=None)
    done = await asyncio.to_thread(
        playbooks, "rehearse", scratch.name, "--again", scratch.name, "--every", "0.2", "--json",
        **scratch.environment,
    )  # fmt: skip
    scratch.shop.github.faults.rules.clear()
    found = [RehearsalFinding.model_validate(each) for each in json.loads(done.stdout)]
    assert done.returncode == 1
    assert "moving a branch back: answered 503" in words(found, "assumptions")
    assert "Traceback" not in done.stderr


# --- pure ---


@pytest.mark.parametrize(
    ("files", "titles", "says"),
    [
        (["README.md", "LICENSE", ".gitignore"], [], ""),
        (["README.md", "rehearsal/answer.txt", ".github/workflows/rehearsal.yml"], [], ""),
        (["README.md", "docs/decisions/of-an-incident.md"], ["Rehearsal: set the scene"], ""),
        (["README.md", "a.py", "b.py", "c.py", "d.py"], [], "it has a.py, b.py, c.py and more"),
        ([".github/workflows/ci.yml"], [], "it has .github/workflows/ci.yml"),
        (["README.md"], ["Please help"], "“Please help” is open there"),
    ],
)
def test_only_what_was_made_for_it_is_taken(files: list[str], titles: list[str], says: str) -> None:
    assert not_made_for_it(files, titles) == says


def test_an_answer_differs_by_its_status_its_words_or_what_it_lacks() -> None:
    [signed] = [each for each in ASSUMPTIONS if each.name == "a commit of the App is signed"]
    [there] = [each for each in ASSUMPTIONS if each.name == "making a branch that is there"]
    commit = {"sha": "a", "tree": {"sha": "b"}, "parents": [{"sha": "c"}]}
    good = commit | {"verification": {"verified": True}}
    assert signed.differs(RawAnswer(201, {}, good)) == ""
    unsigned = commit | {"verification": {"verified": False}}
    assert signed.differs(RawAnswer(201, {}, unsigned)).endswith("without verification.verified")
    assert there.differs(RawAnswer(422, {}, {"message": "Reference already exists"})) == ""
    assert "answered 409 (Conflict), not 422" in there.differs(
        RawAnswer(409, {}, {"message": "Conflict"})
    )
    assert "without the words" in there.differs(RawAnswer(422, {}, {"message": "No"}))
