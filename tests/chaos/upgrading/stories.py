"""How a Run of each playbook is brought to each of its waits, held there, and let go on.

A story holds at its wait until `finish` lets it go: whatever is started meanwhile finds it there.
"""

from __future__ import annotations

import yaml

from demo.person import Person
from fakegithub.changes import statuses
from fakegithub.world.model import FakePullRequest, FakeRepository
from tests.chaos.judging import AutomaticRevert
from tests.chaos.lane import Lane, eventually
from tests.chaos.plays import Bisect, Play, Revert, Scene
from tests.chaos.provider_plays import ProviderScene, Ramp, Rollback, Shadow, configured, shadowed
from tests.chaos.triaging import Alert
from tests.playbooks.bisect import bisecting
from tests.playbooks.providing import CAPABILITY, POLICY

FOLLOWING = "pull_request/watch:_listen"
CONFIRMING = "pull_request/finish:_confirm"
RECOVERING = "pull_request/recovery:recovery"
AGREEING = "pull_request/approval:_answer"

REACHES: dict[str, tuple[str, ...]] = {
    "revert/playbook:_cancelled_already": ("revert",),
    AGREEING: ("revert",),
    FOLLOWING: ("revert", "bisect", "rollback"),
    CONFIRMING: ("revert", "bisect", "rollback"),
    RECOVERING: ("revert", "bisect", "rollback"),
    "bisect/search:_turns": ("bisect",),
    "bisect/verify:_make": ("bisect",),
    "bisect/playbook:_pause": ("bisect",),
    "shadow/playbook:compare": ("shadow",),
    "ramp/playbook:_listen": ("ramp",),
    "autorevert/playbook:to_its_end": ("judge",),
    "alerts/playbook:_to_its_end": ("triage",),
}
"""Each place in the code where a Run waits, and the playbooks whose Runs come there.

That the list of places is complete is read in the code; that no other playbook comes to one, in
what the stories did.
"""


class Story:
    """One playbook, brought to one wait."""

    name: str
    playbook: str
    place: str
    at_once = False
    """Whether the wait only takes what has come already."""
    play: Play

    may_be_repeated: tuple[str, ...] = ()
    """What may be said once more or less, by its hidden marker."""

    once_brought = False
    """Whether it comes to wait there before it was brought to where it is to be stopped."""

    async def prepare(self, lane: Lane) -> Scene:
        """Everything up to the question."""
        return await self.play.prepare(lane)

    async def bring(self, lane: Lane, scene: Scene) -> None:
        """What people and CI do until it waits there."""

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        """Let it go on, to its end."""
        await self.play.to_its_end(lane, scene, comment)

    async def begin_anew(self, lane: Lane, scene: Scene, told: int | None) -> None:
        """Its Run is over, and people were told on `told`: have it begin again, to its end."""
        assert told is not None, "nobody was told"
        comment = await scene.person.comment(told, "/retry")
        await self.play.to_its_end(lane, scene, int(comment["id"]))


# --- a proposal waits, whose ever it is ---


class Checks(Story):
    """Its proposal waits for CI."""

    place = FOLLOWING

    def __init__(self, playbook: str, play: Play) -> None:
        self.name, self.playbook, self.play = f"{playbook}: for checks", playbook, play

    async def prepare(self, lane: Lane) -> Scene:
        scene = await super().prepare(lane)
        lane.ci.silent = True
        return scene

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        lane.ci.silent = False
        lane.ci.report(scene.repository, (await proposed(lane, scene)).head_sha)
        await super().finish(lane, scene, comment)

    async def begin_anew(self, lane: Lane, scene: Scene, told: int | None) -> None:
        lane.ci.silent = False
        await super().begin_anew(lane, scene, told)


class BeforeTheMerge(Story):
    """Everything is green: a last word of a person would count."""

    place, at_once = FOLLOWING, True

    def __init__(self, playbook: str, play: Play) -> None:
        self.name, self.playbook, self.play = f"{playbook}: before the merge", playbook, play


class Confirm(Story):
    """It is merged into a branch that moved, and CI has not said yet what that made of it."""

    place = CONFIRMING

    def __init__(self, playbook: str, play: Play) -> None:
        self.name, self.playbook, self.play = f"{playbook}: {self._what}", playbook, play

    _what = "for the merged branch"

    async def prepare(self, lane: Lane) -> Scene:
        scene = await super().prepare(lane)
        lane.ci.silent = True
        return scene

    async def bring(self, lane: Lane, scene: Scene) -> None:
        pull = await proposed(lane, scene)
        # As it would for the fix, CI looks at neither: what is merged is another tree.
        await scene.person.push("main", {"other.py": "1\n"}, "Another change")
        lane.ci.report(scene.repository, pull.head_sha)

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        lane.ci.report(scene.repository, await merged(lane, scene))
        lane.ci.silent = False
        await super().finish(lane, scene, comment)


class Recover(Confirm):
    """It is merged, and the branch is red all the same."""

    place = RECOVERING
    _what = "for a red branch to recover"

    async def bring(self, lane: Lane, scene: Scene) -> None:
        await super().bring(lane, scene)
        sha = await merged(lane, scene)
        statuses.create(
            lane.github.world, scene.repository, sha, "failure", "smoke", scene.repository.owner
        )


async def proposed(lane: Lane, scene: Scene) -> FakePullRequest:
    """Wait for the proposal's pull request."""

    async def look() -> FakePullRequest | None:
        heads = ("hotfix/", "hotfix-", "fix/", "fix-")
        pulls = [i.pull for i in scene.repository.issues.values() if i.pull]
        return next((p for p in pulls if p.head_ref.startswith(heads)), None)

    found: FakePullRequest = await eventually(look, lane.life)
    return found


async def merged(lane: Lane, scene: Scene) -> str:
    """Wait until the proposal is merged; the commit."""
    pull = await proposed(lane, scene)

    async def look() -> str | None:
        return pull.merge_commit_sha if pull.merged_at else None

    return str(await eventually(look, lane.life))


# --- revert ---


class HeardAlready(Story):
    """It hears whether somebody cancelled it before it began."""

    name, playbook = "revert: before it begins", "revert"
    place, at_once = "revert/playbook:_cancelled_already", True
    play = Revert()


class NothingCounts(Story):
    """No check says anything about its hotfix: a person decides."""

    name, playbook, place = "revert: for an approval", "revert", FOLLOWING
    play = Revert()
    once_brought = True

    async def prepare(self, lane: Lane) -> Scene:
        lane.ci.silent = True
        return await super().prepare(lane)

    async def bring(self, lane: Lane, scene: Scene) -> None:
        await said(lane, scene, "/approve")

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        await scene.person.comment(scene.number, "/approve")
        await super().finish(lane, scene, comment)


class ToBegin(Story):
    """Nobody asked for it: it waits for a yes before anything is done."""

    name, playbook, place = "revert: for a yes to begin", "revert", AGREEING
    play = Alert()

    async def prepare(self, lane: Lane) -> Scene:
        scene = await super().prepare(lane)
        repository, alice = scene.repository, scene.person
        lane.github.set_collaborator(repository, lane.alice.login, "admin")
        number = await alice.open_pull_request(
            "Propose only",
            {".github/playbooks.yml": "triggers: {autonomy: propose}\n"},
            branch="careful",
        )
        await alice.merge(number, "squash")
        await alice.delete("git/refs/heads/careful")
        approved = await alice.comment(number, "/approve")

        async def settled() -> bool:
            return "+1" in lane.reactions(repository, int(approved["id"]))

        await eventually(settled, lane.life)
        return scene

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        issue = await asking(lane, scene.repository, "Decide whether this revert begins")
        await scene.person.comment(issue, "/approve")
        await super().finish(lane, scene, comment)


async def asking(lane: Lane, repository: FakeRepository, words: str) -> int:
    """Wait for the issue whose text holds these words; its number."""

    async def look() -> int | None:
        found = (n for n, i in repository.issues.items() if not i.pull and words in (i.body or ""))
        return next(found, None)

    return int(await eventually(look, lane.life))


async def said(lane: Lane, scene: Scene, words: str) -> None:
    """Wait until a comment by an App holds these words."""

    async def look() -> bool:
        comments = [c for issue in scene.repository.issues.values() for c in issue.comments]
        return any(words in c.body for c in comments if c.user.login.endswith("[bot]"))

    await eventually(look, lane.life)


# --- bisect ---


class Unhurried(Bisect):
    """Its trials take a moment, so that it has to wait for them."""

    trial = "sleep 0.7; test ! -e bug"


class Searching(Story):
    """Trials of its search are under way."""

    name, playbook, place = "bisect: for trials of the search", "bisect", "bisect/search:_turns"
    play = Unhurried()


class Verifying(Story):
    """Trials of the suspect are under way."""

    name, playbook, place = "bisect: for trials of the suspect", "bisect", "bisect/verify:_make"
    play = Unhurried()


class Paused(Story):
    """It has no trials to make, and people's word leads it on."""

    name, playbook, place = "bisect: paused", "bisect", "bisect/playbook:_pause"
    play = Bisect()
    commits, culprit = 8, 5
    # Six words of two people are heard at once, or one after the other.
    may_be_repeated = ("needs-you-paused",)

    async def prepare(self, lane: Lane) -> Scene:
        repository = lane.repository()
        alice = lane.person(repository)
        first = await alice.push("main", {"notes.txt": "begin\n"}, "Begin")
        made = bisecting.put_commits(lane.github, repository, first, self.commits, self.culprit)
        with lane.deaf():
            statuses.create(
                lane.github.world, repository, made[-1], "failure", "smoke", repository.owner
            )
        issue = await alice.open_issue("main is red")
        return Scene(lane, repository, alice, issue, f"/bisect {first}..main check smoke")

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        git = scene.repository.git
        made = git.rev_list(git.refs("refs/heads/")["refs/heads/main"])[self.commits :: -1]
        words = f"/good {made[self.culprit - 1]}\n/bad {made[self.culprit]}\n/bad {made[-1]}"
        bob = lane.github.create_user(f"work-{lane.port}")
        lane.github.set_collaborator(scene.repository, bob.login, "write")
        async with Person(lane.github.url, bob.token or "", scene.repository.full_name) as hands:
            await scene.person.comment(scene.number, words)
            await hands.comment(scene.number, words)
            await super().finish(lane, scene, comment)


class Asked(Story):
    """Its fix is green, and a person decides about the merge."""

    name, playbook, place = "bisect: for an approval", "bisect", FOLLOWING
    play = Bisect()
    once_brought = True

    async def bring(self, lane: Lane, scene: Scene) -> None:
        await said(lane, scene, "needs-you-person")


class FixBeforeTheMerge(BeforeTheMerge):
    """It is approved: a last word of a person would count."""

    async def bring(self, lane: Lane, scene: Scene) -> None:
        await said(lane, scene, "needs-you-person")
        await scene.person.comment(scene.number, "/approve")

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        await lane.carried_out(scene.repository, comment)


class FixConfirm(Confirm):
    """Approved and merged into a branch that moved."""

    async def prepare(self, lane: Lane) -> Scene:
        return await self.play.prepare(lane)

    async def bring(self, lane: Lane, scene: Scene) -> None:
        await said(lane, scene, "needs-you-person")
        lane.ci.silent = True
        await scene.person.push("main", {"other.py": "1\n"}, "Another change")
        await scene.person.comment(scene.number, "/approve")

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        lane.ci.report(scene.repository, await merged(lane, scene))
        lane.ci.silent = False
        await lane.carried_out(scene.repository, comment)


class FixRecover(FixConfirm):
    """Approved and merged, and the branch is red all the same."""

    place = RECOVERING
    _what = "for a red branch to recover"

    async def bring(self, lane: Lane, scene: Scene) -> None:
        await super().bring(lane, scene)
        sha = await merged(lane, scene)
        statuses.create(
            lane.github.world, scene.repository, sha, "failure", "smoke", scene.repository.owner
        )


# --- providers ---


class Mirroring(Story):
    """Evidence of a shadow is gathered."""

    name, playbook, place = "shadow: for evidence", "shadow", "shadow/playbook:compare"
    play = Shadow()


class Ramping(Story):
    """Evidence of a ramp's stage is gathered."""

    name, playbook, place = "ramp: for evidence", "ramp", "ramp/playbook:_listen"
    play = Ramp()


class RampToBegin(Story):
    """The first stage needs somebody's approval."""

    name, playbook, place = "ramp: for an approval", "ramp", "ramp/playbook:_listen"
    play = Ramp()

    async def prepare(self, lane: Lane) -> ProviderScene:
        scene = await configured(lane, f"/ramp {CAPABILITY}")
        text = yaml.safe_dump({"capabilities": {CAPABILITY: POLICY | {"approvals": {5: 1}}}})
        await scene.person.push("main", {".github/playbooks.yml": text}, "Approvals")
        await shadowed(lane, scene)
        return scene

    async def finish(self, lane: Lane, scene: Scene, comment: int) -> None:
        await scene.person.comment(scene.number, "/approve")
        await super().finish(lane, scene, comment)


# --- nobody asked ---


class UnhurriedEvals(AutomaticRevert):
    """Its evals take a moment, so that the judge has to wait for them."""

    command = "sleep 1; test ! -e broken"


class Judging(Story):
    """A check runs again, to see whether it fails again."""

    name, playbook, place = (
        "judge: for a check to run again",
        "judge",
        "autorevert/playbook:to_its_end",
    )
    play = UnhurriedEvals()

    async def begin_anew(self, lane: Lane, scene: Scene, told: int | None) -> None:
        # It only looks, so it looks again by itself.
        assert told is None, "somebody was told of a look"
        await self.play.to_its_end(lane, scene, 0)


class Triaging(Story):
    """An alert fires."""

    name, playbook, place = (
        "triage: for the alert to clear",
        "triage",
        "alerts/playbook:_to_its_end",
    )
    play = Alert()

    async def begin_anew(self, lane: Lane, scene: Scene, told: int | None) -> None:
        # It is followed anew by itself: there is nothing to retry, and that is said.
        assert told is not None, "nobody was told"
        await said(lane, scene, "I already follow them again")
        # While a revert is under way here, `/retry` is for that.
        await Alert().reverted(lane, scene, at_work=1)
        comment = await scene.person.comment(told, "/retry")
        answer = await lane.answer(scene.repository, int(comment["id"]))
        assert answer == "confused", "a `/retry` that changes nothing was said to be done"
        await self.play.to_its_end(lane, scene, 0)


STORIES: tuple[Story, ...] = (
    HeardAlready(),
    ToBegin(),
    Checks("revert", Revert()),
    NothingCounts(),
    BeforeTheMerge("revert", Revert()),
    Confirm("revert", Revert()),
    Recover("revert", Revert()),
    Searching(),
    Verifying(),
    Paused(),
    Asked(),
    FixBeforeTheMerge("bisect", Bisect()),
    FixConfirm("bisect", Bisect()),
    FixRecover("bisect", Bisect()),
    Mirroring(),
    RampToBegin(),
    Ramping(),
    Checks("rollback", Rollback()),
    BeforeTheMerge("rollback", Rollback()),
    Confirm("rollback", Rollback()),
    Recover("rollback", Rollback()),
    Judging(),
    Triaging(),
)
