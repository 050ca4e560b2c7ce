"""A check fails on main, and nobody says a word: what the bot does by itself, and what never."""

from __future__ import annotations

from functools import partial

import pytest

from bot.records import runs
from bot.triggers import (
    OURSELVES,
    PullRequestTarget,
    RevertRequest,
    Source,
    SourceKind,
    Trigger,
    derived_id,
)
from fakegithub.world.model import FakeInstallation
from tests.playbooks.autorevert.judging import (
    CONFIG,
    FLAKY,
    WORKFLOW,
    audited,
    breaks,
    evaluated,
    flags_committed,
    judged,
    self_work_pause,
    with_evals,
)
from tests.playbooks.bisect.bisecting import approved
from tests.shop import Shop


async def test_an_eval_drop_after_self_work_is_reproduced_then_reverted_and_merged(
    shop: Shop,
) -> None:
    await with_evals(shop)
    culprit = await breaks(shop, "self-work")
    hotfix = await shop.merged_hotfix()
    assert f"#{culprit}" in hotfix["title"]
    assert await shop.alice.file("broken") is None
    said = await judged(shop)
    assert said.data["decision"] == "revert"
    assert int(str(said.data["fails"])) >= 3
    pause = await self_work_pause(shop)
    assert pause is not None
    assert "eval" in pause.reason
    report = await shop.eventually(lambda: shop.report_of(hotfix, "playbooks/records"))
    assert report["requested_by"] == "incident-playbooks"
    assert report["trigger"]["source"] == "check_run"
    await shop.alone()


@pytest.mark.thorough
async def test_a_persons_change_is_prepared_and_left_to_a_person(shop: Shop) -> None:
    await with_evals(shop)
    culprit = await breaks(shop)
    hotfix = await shop.hotfix()
    said = await shop.standing(culprit, "`/approve`")
    assert "it is green" in said
    assert (await shop.alice.pull_request(hotfix["number"]))["state"] == "open"

    async def asked() -> list[str]:
        return [words for words in await shop.from_bot(culprit) if words.startswith("@bob ")]

    # The status is edited before the new comment is written.
    assert len(await shop.eventually(asked)) == 1, "whose change it is was not asked"
    assert await self_work_pause(shop) is None
    await shop.says(hotfix["number"], "/approve")
    await shop.merged_hotfix()
    await shop.alone()


@pytest.mark.thorough
async def test_where_a_person_was_quicker_the_bots_own_revert_joins_without_a_word(
    shop: Shop,
) -> None:
    await with_evals(shop)
    shop.verdicts = {}  # the hotfix stays open until both have asked
    culprit = await breaks(shop)
    answer = await shop.says(culprit, "/revert")
    await shop.hotfix()
    said = await judged(shop)
    assert said.data["decision"] == "revert"
    await shop.alone()
    await answer.reaction()
    assert not [words for words in await shop.from_bot(culprit) if "already" in words]
    assert len(await shop.hotfixes()) == 1


@pytest.mark.thorough
async def test_where_a_person_was_done_before_the_bots_own_revert_ends_without_a_word(
    shop: Shop,
) -> None:
    culprit = await shop.broken()
    asked = await shop.says(culprit, "/revert")
    await asked.reaction()
    said = await shop.from_bot(culprit)
    [repository] = await shop.bot.served.served()
    # Decided by the judge while the hotfix was not merged yet, as this request is still on its way.
    late = Trigger(
        source=Source(kind=SourceKind.CHECK_RUN, object_id="revert:late", subject=culprit),
        repository=repository,
        actor=OURSELVES,
        received_at=shop.bot.clock(),
        request=RevertRequest(targets=(PullRequestTarget(number=culprit),), reason="it failed"),
    )
    await shop.bot.inbox.put(late)
    shop.bot.inbox.arrived.set()

    async def ended() -> str | None:
        async with shop.bot.read_only.connect() as conn:
            run = await runs.find(conn, derived_id(late.key, late.received_at))
        return None if run is None or run.is_live else run.reason

    assert "It is already reverted" in str(await shop.eventually(ended))
    await shop.alone()
    assert await shop.from_bot(culprit) == said


async def test_a_flake_leaves_an_audit_entry_and_nothing_else(shop: Shop) -> None:
    await with_evals(shop, FLAKY)
    # Another job of the same workflow is under way: it can be run again a moment later.
    busy = "This workflow is already running"
    early = shop.repository.refusals.refuse("rerun", message=busy, times=3)
    innocent = await breaks(shop, "self-work", file="flaky")
    said = await judged(shop)
    assert early.refused == 3
    assert said.data["decision"] == "nothing"
    assert "flaked" in str(said.data["reason"])
    await shop.alone()
    assert await shop.hotfixes() == []
    assert await shop.from_bot(innocent) == []
    assert await self_work_pause(shop) is None


@pytest.mark.thorough
async def test_opting_out_leaves_it_to_people(shop: Shop) -> None:
    await with_evals(shop)
    culprit = await breaks(shop, "self-work", "playbook:off")
    await judged(shop)
    [told] = await shop.eventually(lambda: shop.from_bot(culprit))
    assert "opted out" in told
    assert f"`/revert #{culprit}`" in told
    assert await shop.hotfixes() == []


@pytest.mark.thorough
async def test_what_cannot_be_run_again_is_proposed_and_not_done(shop: Shop) -> None:
    await shop.alice.push("main", {".github/playbooks.yml": CONFIG}, "Configure")
    await shop.report("success", "slo", branch="main")
    culprit = await breaks(shop, "self-work")
    await shop.report("failure", "slo", branch="main")
    said = await judged(shop)
    assert said.data["decision"] == "propose"
    [told] = await shop.eventually(lambda: shop.from_bot(culprit))
    assert "it could not be run again, so it may be a flake" in told
    assert await shop.hotfixes() == []


@pytest.mark.thorough
async def test_a_proposal_that_github_would_not_take_is_in_the_audit(shop: Shop) -> None:
    await shop.alice.push("main", {".github/playbooks.yml": CONFIG}, "Configure")
    await shop.report("success", "slo", branch="main")
    culprit = await breaks(shop, "self-work")
    shop.repository.refusals.refuse("comment")
    await shop.report("failure", "slo", branch="main")
    said = await audited(shop, "run.finished")
    [refused] = said.refs["not_done"]
    assert refused.startswith(f"comment on #{culprit}: ")


@pytest.mark.thorough
async def test_several_suspects_are_bisected(shop: Shop) -> None:
    config = CONFIG + "bisect: {workflow: trial.yml}\n"
    await approved(shop, config)
    await shop.alice.push("main", {".github/playbooks.yml": config}, "Configure")
    await shop.report("success", "slo", branch="main")
    await shop.merged("One", {"one.txt": "1\n"})
    await shop.merged("Two", {"two.txt": "2\n"})
    await shop.report("failure", "slo", branch="main")
    said = await judged(shop)
    assert said.data["decision"] == "bisect"

    async def bisecting() -> bool:
        run = await shop.last_run()
        return run is not None and run.playbook == "bisect"

    await shop.eventually(bisecting)
    assert await shop.hotfixes() == []


@pytest.mark.thorough
async def test_a_safety_violation_pauses_self_work_until_a_person_lifts_it(shop: Shop) -> None:
    shop.verdicts["evals"] = "success"
    await with_evals(shop, job="safety")
    await breaks(shop, "self-work")
    await shop.merged_hotfix()
    pause = await self_work_pause(shop)
    assert pause is not None
    assert pause.kind == "safety"
    assert not pause.lifts_itself
    [issue] = await shop.incidents()
    assert "severity:high" in [label["name"] for label in issue["labels"]]
    await shop.alone()


@pytest.mark.thorough
async def test_what_a_person_let_go_on_is_not_held_again_for_the_same_red_check(
    shop: Shop,
) -> None:
    await with_evals(shop, config=f"{CONFIG}triggers: {{autonomy: propose}}\n")
    culprit = await breaks(shop, "self-work")
    await shop.eventually(partial(self_work_pause, shop))
    assert await (await shop.says(culprit, "/unpause because we know")).reaction() == "+1"
    first = await judged(shop)
    await shop.alice.push("main", {"more.txt": "1\n"}, "More")
    assert await evaluated(shop) == "failure"

    async def once_more() -> bool:
        return bool((await judged(shop)).seq > first.seq)

    await shop.eventually(once_more)
    assert await self_work_pause(shop) is None


@pytest.mark.thorough
async def test_a_smoke_check_that_breaks_on_main_is_reverted_too(shop: Shop) -> None:
    shop.verdicts = {}
    config = "checks: {smoke: [unit]}\n"
    await with_evals(shop, config=config, job="unit")
    await breaks(shop, "self-work")
    hotfix = await shop.hotfix()
    said = await shop.standing(await _culprit(shop), "evals are not configured")
    assert "`/approve`" in said
    await shop.says(hotfix["number"], "/approve")
    await shop.merged_hotfix()
    await shop.alone()


@pytest.mark.thorough
async def test_checks_that_nobody_named_move_nothing(shop: Shop) -> None:
    await with_evals(shop, config="checks: {smoke: [smoke]}\n")
    await breaks(shop, "self-work")
    assert await evaluated(shop) == "failure"
    await shop.looked_again()
    await shop.alone()
    assert await shop.hotfixes() == []


async def test_trials_on_main_never_become_triggers(shop: Shop) -> None:
    await with_evals(shop)
    trial = WORKFLOW.replace("COMMAND", "false").replace("on: [push]", "on: [workflow_dispatch]")
    await shop.alice.push("main", {".github/workflows/trial.yml": trial}, "Try commits")
    await evaluated(shop)
    await shop.alice.post("actions/workflows/trial.yml/dispatches", ref="main")
    said = await judged(shop)
    assert said.data["reason"] == "the check passes again"
    assert await shop.hotfixes() == []


async def _culprit(shop: Shop) -> int:
    pulls = await shop.alice.get("pulls", state="closed", per_page="100")
    return next(int(p["number"]) for p in pulls if p["title"] == "Cheaper prompts")


@pytest.mark.thorough
async def test_self_work_that_a_persons_work_came_with_is_left_to_a_person(shop: Shop) -> None:
    await with_evals(shop)
    await shop.bob.push("agent", {"broken": "yes\n"}, "Cheaper prompts", onto="main")
    await shop.bob.push("person", {"mine.txt": "mine\n"}, "Mine", onto="agent")
    agent = await shop.bob.open_pull_request("Cheaper prompts", branch="agent")
    person = await shop.bob.open_pull_request("Mine", branch="person", base="agent")
    await shop.alice.label(agent, "self-work")
    await shop.bob.merge(person, "merge")
    await shop.bob.merge(agent, "merge")
    hotfix = await shop.hotfix()
    assert f"#{agent}" in hotfix["title"]
    assert f"#{person}" in hotfix["title"]
    await shop.standing(agent, "`/approve`")
    assert await shop.alice.file("mine.txt") == "mine\n"
    await shop.alone()
    assert (await shop.alice.pull_request(hotfix["number"]))["merged_at"] is None


@pytest.mark.thorough
async def test_our_own_commits_are_never_suspects(shop: Shop) -> None:
    await with_evals(shop)
    await flags_committed(shop)
    culprit = await breaks(shop, "self-work")
    hotfix = await shop.merged_hotfix()
    assert f"#{culprit}" in hotfix["title"]
    said = await judged(shop)
    assert said.data["decision"] == "revert"
    assert len(said.refs["suspects"]) == 1
    await shop.alone()


@pytest.mark.thorough
async def test_a_failure_behind_many_other_suites_is_seen(
    shop: Shop, ci_app: FakeInstallation
) -> None:
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [unit]}\n"})
    repository, app = shop.repository, ci_app.app
    shop.github.report_check(repository, app, await shop.alice.head("main"), "unit", "success")
    await shop.merged("Cheaper prompts", {"broken": "yes\n"})
    head = await shop.alice.head("main")
    for number in range(12):
        shop.github.report_check(repository, app, head, f"other-{number}", "success")
    repository.refusals.refuse("rerun")
    shop.github.report_check(repository, app, head, "unit", "failure")
    said = await judged(shop)
    assert said.data["decision"] == "propose"
    assert "it failed once" in said.data["reason"]


@pytest.mark.thorough
async def test_a_default_branch_renamed_under_a_red_check_is_judged_by_its_new_name(
    shop: Shop,
) -> None:
    await with_evals(shop)
    culprit = await breaks(shop, "self-work")
    await shop.olivia.post("branches/main/rename", new_name="trunk")
    said = await judged(shop)
    assert said.data["decision"] == "revert"
    hotfix = await shop.hotfix()
    assert f"#{culprit}" in hotfix["title"]
    assert hotfix["base"]["ref"] == "trunk"
    await shop.alone()
