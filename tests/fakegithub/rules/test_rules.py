"""https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository."""

from __future__ import annotations

import pytest

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeRepository, Protection
from tests.fakegithub.saying import refused
from tests.people import People


def _required_check(name: str, app: int | None = None) -> dict[str, object]:
    check: dict[str, object] = {"context": name}
    if app is not None:
        check["integration_id"] = app
    return {
        "type": "required_status_checks",
        "parameters": {
            "strict_required_status_checks_policy": False,
            "required_status_checks": [check],
        },
    }


async def _topic(alice: Person) -> int:
    return await alice.open_pull_request("Topic", {"a": "1\n"}, branch="topic")


async def test_a_required_check_holds_merging_until_it_passes(
    github: DemoGitHub, repository: FakeRepository, alice: Person
) -> None:
    """https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches#require-status-checks-before-merging."""
    github.protect(repository, "main", Protection(checks=[("ci", None)]))
    number = await _topic(alice)
    assert (await alice.pull_request(number))["mergeable_state"] == "blocked"
    with refused(405, 'Required status check "ci" is expected'):
        await alice.merge(number)
    sha = await alice.head("topic")
    await alice.set_status(sha, "failure")
    with refused(405, 'Required status check "ci" is failing'):
        await alice.merge(number)
    await alice.set_status(sha, "success")
    assert (await alice.pull_request(number))["mergeable_state"] == "clean"
    await alice.merge(number)


async def test_a_check_pinned_to_an_app_is_not_met_by_anyone_else(
    github: DemoGitHub,
    repository: FakeRepository,
    app: FakeApp,
    people: People,
    alice: Person,
    bot: Person,
) -> None:
    """https://docs.github.com/rest/repos/rules: integration_id."""
    github.add_ruleset(repository, "gate", [_required_check("gate", app.id)])
    number, sha = await _topic(alice), await alice.head("topic")
    await alice.set_status(sha, "success", "gate")
    rival = github.create_app(
        f"rival-{repository.id}", owner=repository.owner, permissions={"checks": "write"}, events=[]
    )
    other = people.installed(github.install(rival, repository.owner, [repository]))
    await other.create_check_run(sha, "gate", "success")
    with refused(405, 'Required status check "gate"'):
        await alice.merge(number)
    await bot.create_check_run(sha, "gate", "success")
    await alice.merge(number)


async def test_a_required_review_must_come_from_someone_with_write_access(
    repository: FakeRepository, github: DemoGitHub, alice: Person, eve: Person, mona: Person
) -> None:
    github.protect(repository, "main", Protection(reviews=1, dismiss_stale_reviews=True))
    number = await _topic(alice)
    await eve.review(number)
    with refused(405, "At least 1 approving review is required"):
        await alice.merge(number)
    await mona.review(number)
    await alice.push("topic", {"b": "2"}, "After the approval")
    with refused(405, "At least 1 approving review is required"):
        await alice.merge(number)
    await mona.review(number, "REQUEST_CHANGES", "No.")
    with refused(405, "Changes were requested"):
        await alice.merge(number)
    await mona.review(number)
    await alice.merge(number)


async def test_a_protected_branch_takes_no_direct_pushes_by_any_way_in(
    repository: FakeRepository, github: DemoGitHub, alice: Person
) -> None:
    rules: list[dict[str, object]] = [
        {"type": "pull_request", "parameters": {"required_approving_review_count": 0}},
        {"type": "non_fast_forward"},
        {"type": "deletion"},
    ]
    github.add_ruleset(repository, "main is safe", rules)
    with refused(422, "Changes must be made through a pull request"):
        await alice.push("main", {"a": "1"}, "Straight in")
    with refused(409, "Changes must be made through a pull request"):
        await alice.put("contents/new", message="m", content="YQ==")
    await alice.merge(await _topic(alice))


async def test_an_app_on_the_bypass_list_may_push(
    repository: FakeRepository, github: DemoGitHub, app: FakeApp, alice: Person, bot: Person
) -> None:
    actor = {"actor_id": app.id, "actor_type": "Integration", "bypass_mode": "always"}
    rule: dict[str, object] = {"type": "update"}
    github.add_ruleset(repository, "only the App", [rule], bypass_actors=[actor])
    with refused(422, "Cannot update this protected ref."):
        await alice.push("main", {"a": "1"}, "No")
    await bot.push("main", {"a": "1"}, "Yes")


async def test_restricted_pushes_name_who_may(
    repository: FakeRepository, github: DemoGitHub, app: FakeApp, alice: Person, bot: Person
) -> None:
    github.protect(repository, "main", Protection(push_users=["alice"], push_apps=[]))
    await alice.push("main", {"a": "1"}, "Named")
    with refused(422, "not authorized to push"):
        await bot.push("main", {"a": "2"}, "Not named")
    repository.protections["main"].push_apps = [app.slug]
    await bot.push("main", {"a": "2"}, "Named now")


async def test_linear_history_allows_no_merge_commit(
    repository: FakeRepository, github: DemoGitHub, alice: Person
) -> None:
    github.protect(repository, "main", Protection(linear_history=True))
    number = await _topic(alice)
    with refused(405, "merge commits"):
        await alice.merge(number, "merge")
    await alice.merge(number, "rebase")


async def test_required_signatures_allow_what_github_signs(
    repository: FakeRepository, github: DemoGitHub, alice: Person
) -> None:
    """https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches#require-signed-commits."""
    github.protect(repository, "main", Protection(signatures=True))
    number = await _topic(alice)
    for method in ("merge", "rebase"):
        with refused(405, "verified signatures"):
            await alice.merge(number, method)
    await alice.merge(number, "squash")


async def test_a_strict_branch_wants_the_head_up_to_date(
    repository: FakeRepository, github: DemoGitHub, alice: Person, mona: Person
) -> None:
    github.protect(repository, "main", Protection(checks=[], strict=True))
    number = await _topic(alice)
    await mona.push("main", {"other": "x"}, "An admin may")
    assert (await alice.pull_request(number))["mergeable_state"] == "behind"
    with refused(405, "not up to date"):
        await alice.merge(number)
    await alice.put(f"pulls/{number}/update-branch")
    await alice.merge(number)


async def test_administrators_pass_classic_protection_unless_it_includes_them(
    repository: FakeRepository, github: DemoGitHub, alice: Person, mona: Person
) -> None:
    """https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches#do-not-allow-bypassing-the-above-settings."""
    github.protect(repository, "main", Protection(reviews=1))
    await mona.merge(await _topic(alice))
    repository.protections["main"].enforce_admins = True
    number = await alice.open_pull_request("Two", {"b": "1"}, branch="two")
    with refused(405, "approving review"):
        await mona.merge(number)


async def test_rules_are_read_per_branch_and_by_administrators_in_full(
    app: FakeApp, alice: Person, mona: Person
) -> None:
    """https://docs.github.com/rest/repos/rules#get-rules-for-a-branch."""
    made = await mona.post(
        "rulesets", name="gate", target="branch", enforcement="active",
        conditions={"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}},
        rules=[_required_check("gate", app.id)],
    )  # fmt: skip
    (rule,) = await alice.get("rules/branches/main")
    assert rule["ruleset_id"] == made["id"]
    assert rule["parameters"]["required_status_checks"][0]["integration_id"] == app.id
    assert await alice.get("rules/branches/other") == []
    assert "bypass_actors" not in await alice.get(f"rulesets/{made['id']}")
    assert (await mona.get(f"rulesets/{made['id']}"))["bypass_actors"] == []
    assert (await alice.get("branches/main"))["protected"] is True

    with refused(403):
        await alice.get("branches/main/protection")
    with refused(404, "Branch not protected"):
        await mona.get("branches/main/protection")
    await mona.put(
        "branches/main/protection", enforce_admins=True, restrictions=None,
        required_status_checks={
            "strict": True, "contexts": [], "checks": [{"context": "ci", "app_id": -1}],
        },
        required_pull_request_reviews={"required_approving_review_count": 2},
    )  # fmt: skip
    protection = await mona.get("branches/main/protection")
    assert protection["required_status_checks"]["contexts"] == ["ci"]
    assert protection["required_pull_request_reviews"]["required_approving_review_count"] == 2
    await mona.delete(f"rulesets/{made['id']}")
    assert await alice.get("rules/branches/main") == []


@pytest.mark.parametrize("method", ["squash", "rebase"])
async def test_a_rule_may_allow_some_merge_methods_only(
    repository: FakeRepository, github: DemoGitHub, alice: Person, method: str
) -> None:
    parameters = {"required_approving_review_count": 0, "allowed_merge_methods": [method]}
    github.add_ruleset(repository, "way", [{"type": "pull_request", "parameters": parameters}])
    number = await _topic(alice)
    with refused(405, "not allowed"):
        await alice.merge(number, "merge")
    await alice.merge(number, method)
