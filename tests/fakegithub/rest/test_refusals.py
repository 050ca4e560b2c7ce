"""What a repository is told to refuse is refused as GitHub does, and can be again allowed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from demo.person import Person, Rejected
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from fakegithub.world.refusals import KINDS, Kind, Status
from tests.fakegithub.saying import refused

_WORKFLOW = "on: [workflow_dispatch]\njobs:\n  one:\n    steps:\n      - run: 'true'\n"


@dataclass
class Scene:
    """An App's hands on a repository with one of everything."""

    hands: Person
    sha: str
    issue: int
    pull: int
    node: str
    comment: int
    comment_node: str
    run: int


@pytest.fixture
async def scene(alice: Person, bot: Person) -> Scene:
    await alice.push("main", {".github/workflows/hand.yml": _WORKFLOW}, "A workflow")
    issue = await bot.open_issue("It broke")
    pull = await alice.open_pull_request("One", {"a": "1"}, branch="one")
    shown = await alice.pull_request(pull)
    comment = await bot.comment(pull, "On it.")
    run = await bot.create_check_run(shown["head"]["sha"], "unit")
    return Scene(
        bot, shown["head"]["sha"], issue, pull, shown["node_id"],
        comment["id"], comment["node_id"], run["id"],
    )  # fmt: skip


Act = Callable[[Scene], Awaitable[Any]]


async def _mutate(hands: Person, name: str, node: str, more: str = "pullRequestId: $id") -> None:
    query = f"mutation($id: ID!) {{ {name}(input: {{{more}}}) {{ clientMutationId }} }}"
    answer = await hands.graphql(query, id=node)
    if answer.get("errors"):
        raise Rejected(200, answer["errors"])


ACTS: dict[Kind, Act] = {
    "comment": lambda s: s.hands.comment(s.pull, "Done."),
    "comment_edit": lambda s: s.hands.edit_comment(s.comment, "Done."),
    "comment_deletion": lambda s: s.hands.delete(f"issues/comments/{s.comment}"),
    "reaction": lambda s: s.hands.post(f"issues/comments/{s.comment}/reactions", content="eyes"),
    "reaction_removal": lambda s: s.hands.delete(f"issues/comments/{s.comment}/reactions/1"),
    "issue": lambda s: s.hands.open_issue("Another"),
    "issue_list": lambda s: s.hands.issues(),
    "description": lambda s: s.hands.patch(f"pulls/{s.pull}", body="Better"),
    "state": lambda s: s.hands.patch(f"issues/{s.issue}", state="closed"),
    "label": lambda s: s.hands.label(s.issue, "incident"),
    "assignee": lambda s: s.hands.post(f"issues/{s.issue}/assignees", assignees=["alice"]),
    "check_run": lambda s: s.hands.create_check_run(s.sha, "Incident #1"),
    "check_run_update": lambda s: s.hands.patch(f"check-runs/{s.run}", conclusion="success"),
    "status": lambda s: s.hands.set_status(s.sha, "success"),
    "deployment": lambda s: s.hands.deploy(s.sha, "production"),
    "branch": lambda s: s.hands.post("git/refs", ref="refs/heads/hotfix/1", sha=s.sha),
    "branch_update": lambda s: s.hands.patch("git/refs/heads/one", sha=s.sha),
    "branch_deletion": lambda s: s.hands.delete("git/refs/heads/one"),
    "tree": lambda s: s.hands.post(
        "git/trees", tree=[{"path": "a", "mode": "100644", "type": "blob", "content": "1"}]
    ),
    "commit": lambda s: s.hands.post("git/commits", tree=s.sha, parents=[], message="m"),
    "file": lambda s: s.hands.put("contents/b", message="m", content="YQ=="),
    "pull_request": lambda s: s.hands.open_pull_request("Same", branch="one"),
    "base": lambda s: s.hands.patch(f"pulls/{s.pull}", base="main"),
    "review": lambda s: s.hands.review(s.pull, "COMMENT", "Hm."),
    "reviewer": lambda s: s.hands.post(
        f"pulls/{s.pull}/requested_reviewers", reviewers=["alice"]
    ),
    "merge": lambda s: s.hands.merge(s.pull),
    "update_branch": lambda s: s.hands.put(f"pulls/{s.pull}/update-branch"),
    "auto_merge": lambda s: _mutate(s.hands, "enablePullRequestAutoMerge", s.node),
    "queue": lambda s: _mutate(s.hands, "enqueuePullRequest", s.node),
    "ready": lambda s: _mutate(s.hands, "markPullRequestReadyForReview", s.node),
    "draft": lambda s: _mutate(s.hands, "convertPullRequestToDraft", s.node),
    "hide": lambda s: _mutate(
        s.hands, "minimizeComment", s.comment_node, "subjectId: $id, classifier: OUTDATED"
    ),
    "dispatch": lambda s: s.hands.post("actions/workflows/hand.yml/dispatches", ref="main"),
    "rerun": lambda s: s.hands.post(f"check-runs/{s.run}/rerequest"),
}  # fmt: skip
NOT_AN_APPS = ("status", "deployment")
"""The App under test lacks the permission: a person tries."""
BY_GRAPHQL = ("auto_merge", "queue", "ready", "draft", "hide")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_refused_with_every_status_until_it_is_accepted_again(
    github: DemoGitHub, repository: FakeRepository, scene: Scene, alice: Person, kind: Kind
) -> None:
    if kind in NOT_AN_APPS:
        scene.hands = alice
    before = len(github.contract.violations)
    statuses: list[Status] = [each for each in get_args(Status) if each != 405 or kind == "merge"]
    for status in statuses:
        refusal = repository.refusals.refuse(kind, status, everybody=True)
        for _ in range(2):
            with refused(200 if kind in BY_GRAPHQL else status, refusal.message):
                await ACTS[kind](scene)
        assert refusal.refused == 2
        repository.refusals.accept(kind)
    with suppress(Rejected):  # now for reasons of its own
        await ACTS[kind](scene)
    assert refusal.refused == 2
    assert github.contract.violations[before:] == []


async def test_people_go_on_where_an_app_is_refused(
    repository: FakeRepository, scene: Scene, alice: Person
) -> None:
    repository.refusals.refuse("comment")
    with refused(403, "Resource not accessible by integration"):
        await scene.hands.comment(scene.pull, "On it.")
    assert (await alice.comment(scene.pull, "/revert"))["id"]


async def test_a_refusal_may_be_for_once_and_about_one_name(
    repository: FakeRepository, scene: Scene
) -> None:
    repository.refusals.refuse("comment", times=1)
    repository.refusals.refuse("branch", about="playbooks/*")
    with refused(403):
        await scene.hands.comment(scene.pull, "On it.")
    await scene.hands.comment(scene.pull, "On it.")
    await scene.hands.post("git/refs", ref="refs/heads/hotfix/1", sha=scene.sha)
    with refused(403):
        await scene.hands.post("git/refs", ref="refs/heads/playbooks/records", sha=scene.sha)


async def test_a_merge_may_find_its_base_modified_for_a_moment(
    repository: FakeRepository, scene: Scene
) -> None:
    """https://docs.github.com/rest/pulls/pulls#merge-a-pull-request."""
    repository.refusals.refuse("merge", times=2)
    for _ in range(2):
        with refused(405, "Base branch was modified. Review and try the merge again."):
            await scene.hands.merge(scene.pull)
    assert await scene.hands.merge(scene.pull)


async def test_what_changes_with_a_merge_has_changed_before_the_merger_is_answered(
    github: DemoGitHub, repository: FakeRepository, bot: Person, alice: Person
) -> None:
    pulls = [
        await person.open_pull_request(f"By {branch}", {branch: "1"}, branch=branch)
        for person, branch in ((alice, "alice"), (bot, "bot"), (bot, "again"))
    ]
    github.upon_merge(repository, lambda: repository.refusals.refuse("comment", times=1))
    await alice.merge(pulls[0])
    await bot.comment(pulls[0], "A person's merge changes nothing.")
    await bot.merge(pulls[1])
    with refused(403):
        await bot.comment(pulls[1], "Reverted.")
    await bot.merge(pulls[2])
    await bot.comment(pulls[2], "Only once.")


# Locked conversations


async def test_in_a_locked_conversation_only_people_with_write_access_speak(
    scene: Scene, alice: Person, eve: Person
) -> None:
    """https://docs.github.com/communities/moderating-comments-and-conversations/locking-conversations."""
    theirs = await eve.comment(scene.pull, "Me too")
    await alice.put(f"issues/{scene.pull}/lock")
    words = "Unable to create comment because issue is locked."
    for person, own in ((scene.hands, scene.comment), (eve, theirs["id"])):
        with refused(403, words):
            await person.comment(scene.pull, "Hello")
        with refused(403, words):
            await person.edit_comment(own, "Hello")
        with refused(403, words):
            await person.delete(f"issues/comments/{own}")
        for path in (f"issues/{scene.pull}", f"issues/comments/{own}"):
            with refused(403, "because issue is locked."):
                await person.post(f"{path}/reactions", content="eyes")
        with refused(403, words):
            await person.review(scene.pull, "COMMENT", "Hello")
    assert (await alice.comment(scene.pull, "/revert"))["id"]
    with refused(200, "because issue is locked."):
        await ACTS["hide"](scene)

    # What is no comment stays possible, and so do other conversations.
    await scene.hands.label(scene.pull, "incident")
    await scene.hands.patch(f"pulls/{scene.pull}", body="Better")
    await scene.hands.comment(scene.issue, "Hello")
    await alice.delete(f"issues/{scene.pull}/lock")
    await scene.hands.edit_comment(scene.comment, "Hello")


# Issues switched off


async def test_where_issues_are_off_they_are_gone_and_pull_requests_go_on(
    repository: FakeRepository, scene: Scene, mona: Person
) -> None:
    """https://docs.github.com/rest/issues/issues#create-an-issue."""
    said = await scene.hands.comment(scene.issue, "On it.")
    await mona.call("PATCH", "", {"has_issues": False})
    assert (await scene.hands.get(""))["has_issues"] is False
    assert not repository.has_issues
    gone = f"issues/{scene.issue}"
    acts: list[Callable[[], Awaitable[Any]]] = [
        lambda: scene.hands.open_issue("Another"),
        lambda: scene.hands.issue(scene.issue),
        lambda: scene.hands.patch(gone, state="closed"),
        lambda: scene.hands.comment(scene.issue, "Hello"),
        lambda: scene.hands.comments(scene.issue),
        lambda: scene.hands.edit_comment(said["id"], "Hello"),
        lambda: scene.hands.label(scene.issue, "incident"),
        lambda: scene.hands.post(f"{gone}/assignees", assignees=["alice"]),
        lambda: scene.hands.post(f"{gone}/reactions", content="eyes"),
        lambda: scene.hands.get(f"{gone}/events"),
    ]
    for act in acts:
        with refused(410, "Issues has been disabled in this repository."):
            await act()

    assert [found["number"] for found in await scene.hands.issues()] == [scene.pull]
    await scene.hands.comment(scene.pull, "Hello")
    await scene.hands.label(scene.pull, "incident")
    await scene.hands.post(f"issues/{scene.pull}/reactions", content="eyes")
    await scene.hands.patch(f"pulls/{scene.pull}", title="Better")
    repository.refusals.refuse("issue_list", 410, everybody=True)
    with refused(410, "Issues has been disabled in this repository."):
        await scene.hands.issues()


# What the plan and the release have


async def test_a_private_repository_on_the_free_plan_has_no_rules_and_no_drafts(
    github: DemoGitHub, repository: FakeRepository, mona: Person
) -> None:
    """https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/about-rulesets."""
    github.restrict_refs(repository, "main")
    repository.private, repository.plan = True, "free"
    words = "Upgrade to GitHub Pro or make this repository public to enable this feature."
    for path in ("rules/branches/main", "rulesets", "branches/main/protection"):
        with refused(403, words):
            await mona.get(path)
    await mona.push("main", {"a": "1"}, "Nothing forbids it")
    assert (await mona.get("branches/main"))["protected"] is False
    with refused(422, "Draft pull requests are not supported in this repository."):
        await mona.open_pull_request("One", {"b": "1"}, branch="one", draft=True)
    number = await mona.open_pull_request("One", branch="one")
    node = (await mona.pull_request(number))["node_id"]
    with refused(200, "Draft pull requests are not supported"):
        await _mutate(mona, "convertPullRequestToDraft", node)

    repository.private = False
    assert len(await mona.get("rulesets")) == 1


async def test_pro_has_rules_in_a_private_repository_but_no_drafts(
    repository: FakeRepository, mona: Person
) -> None:
    """https://docs.github.com/rest/pulls/pulls#create-a-pull-request."""
    repository.private, repository.plan = True, "pro"
    assert await mona.get("rules/branches/main") == []
    with refused(422, "Draft pull requests are not supported in this repository."):
        await mona.open_pull_request("One", {"b": "1"}, branch="one", draft=True)
    repository.plan = "team"
    assert await mona.open_pull_request("Two", {"b": "1"}, branch="two", draft=True)


async def test_older_releases_of_ghes_know_neither_rulesets_nor_run_details(
    repository: FakeRepository, scene: Scene
) -> None:
    """https://docs.github.com/enterprise-server@3.19/rest/actions/workflows."""
    path = "actions/workflows/hand.yml/dispatches"
    repository.ghes = (3, 10)
    for rules in ("rules/branches/main", "rulesets"):
        with refused(404):
            await scene.hands.get(rules)
    for release in ((3, 10), (3, 19)):
        repository.ghes = release
        with refused(422, '"return_run_details" is not a permitted key.'):
            await scene.hands.post(path, ref="main", return_run_details=True)
        await scene.hands.post(path, ref="main")
    assert await scene.hands.get("rules/branches/main") == []
    repository.ghes = (3, 20)
    assert (await scene.hands.post(path, ref="main", return_run_details=True))["workflow_run_id"]


# Branches


@pytest.mark.parametrize("folder", ["hotfix", "fix", "playbooks"])
async def test_a_ruleset_keeps_a_folder_of_branches_for_those_who_may_bypass_it(
    github: DemoGitHub, repository: FakeRepository, scene: Scene, folder: str
) -> None:
    """https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/available-rules-for-rulesets."""
    hands, ref = scene.hands, f"refs/heads/{folder}/1"
    main = await hands.head("main")
    ruleset = github.restrict_refs(repository, f"{folder}/**")
    (shown, *_) = await hands.get(f"rules/branches/{folder}/1")
    assert (shown["type"], shown["ruleset_id"]) == ("creation", ruleset.id)
    violated = "Repository rule violations found"
    with refused(422, violated) as created:
        await hands.post("git/refs", ref=ref, sha=main)
    assert "Cannot create ref due to creations being restricted." in str(created.value)
    repository.refusals.silent_rules = True
    with refused(422, "Reference update failed"):
        await hands.post("git/refs", ref=ref, sha=main)

    github.commit(repository, {"a": "1"}, "There already", branch=f"{folder}/1")
    with refused(422, violated) as updated:
        await hands.patch(f"git/{ref}", sha=scene.sha, force=True)
    assert "Cannot update this protected ref." in str(updated.value)
    with refused(422, violated) as deleted:
        await hands.delete(f"git/{ref}")
    assert "Cannot delete this branch" in str(deleted.value)
    with refused(409, violated):
        await hands.put("contents/b", message="m", content="YQ==", branch=f"{folder}/1")
    await hands.post("git/refs", ref="refs/heads/elsewhere/1", sha=main)

    repository.rulesets.clear()
    app = next(a for a in github.world.apps.values() if a.slug == "incident-playbooks")
    github.restrict_refs(repository, f"{folder}/**", bypass=[app])
    await hands.delete(f"git/{ref}")
    await hands.post("git/refs", ref=ref, sha=main)


async def test_rules_may_forbid_only_the_tidying(
    github: DemoGitHub, repository: FakeRepository, scene: Scene
) -> None:
    github.restrict_refs(repository, "hotfix/**", rules=["deletion"])
    await scene.hands.post("git/refs", ref="refs/heads/hotfix/1", sha=scene.sha)
    with refused(422, "Repository rule violations found"):
        await scene.hands.delete("git/refs/heads/hotfix/1")


@pytest.mark.parametrize("name", ["hotfix", "fix", "playbooks"])
async def test_a_branch_in_the_way_makes_names_below_it_impossible(
    github: DemoGitHub, repository: FakeRepository, scene: Scene, alice: Person, name: str
) -> None:
    """https://docs.github.com/rest/git/refs#create-a-reference; git keeps refs as files."""
    github.commit(repository, {"a": "1"}, "In the way", branch=name)
    with refused(422) as told:
        await scene.hands.post("git/refs", ref=f"refs/heads/{name}/1", sha=scene.sha)
    assert told.value.answer["message"] == "Reference update failed"
    assert await alice.head(name)
    await alice.delete(f"git/refs/heads/{name}")
    await scene.hands.post("git/refs", ref=f"refs/heads/{name}/1", sha=scene.sha)
    with refused(422, "Reference update failed"):
        await alice.post("git/refs", ref=f"refs/heads/{name}", sha=scene.sha)


# Without a switch


async def test_an_issue_for_somebody_without_access_is_a_mistake_adding_them_is_not(
    scene: Scene, eve: Person
) -> None:
    """https://docs.github.com/rest/issues/issues#create-an-issue."""
    for login in ("eve", "ghost", "octo-org"):
        with refused(422, "Validation Failed") as told:
            await scene.hands.post("issues", title="Who?", assignees=["alice", login])
        assert told.value.answer["errors"] == [
            {"value": login, "resource": "Issue", "field": "assignees", "code": "invalid"}
        ]
        with refused(422, "Validation Failed"):
            await scene.hands.patch(f"issues/{scene.issue}", assignees=[login])
    issue = await scene.hands.post(f"issues/{scene.issue}/assignees", assignees=["alice", "eve"])
    assert [user["login"] for user in issue["assignees"]] == ["alice"]
    # Who may not set them at all is not told.
    dropped = await eve.post("issues", title="Who?", assignees=["ghost"])
    assert dropped["assignees"] == []


async def test_a_tree_is_based_on_a_tree_and_not_on_a_commit(scene: Scene) -> None:
    """https://docs.github.com/rest/git/trees#create-a-tree."""
    entries = [{"path": "b", "mode": "100644", "type": "blob", "content": "1"}]
    with refused(422, "is not a valid tree"):
        await scene.hands.post("git/trees", base_tree=scene.sha, tree=entries)
    with refused(404):
        await scene.hands.post("git/trees", base_tree="0" * 40, tree=entries)
    tree = (await scene.hands.get(f"git/commits/{scene.sha}"))["tree"]["sha"]
    made = await scene.hands.post("git/trees", base_tree=tree, tree=entries)
    assert {"a", "b"} <= {entry["path"] for entry in made["tree"]}
