"""What is rehearsed, part by part, and how nothing is left of it.

On a repository made for it a person breaks something, merges it and asks the running bot to undo
it, to find it, and to pause. Everything is looked up on GitHub, where people would see it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Literal

from bot.doctor import answers
from bot.errors import Passing
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError, in_words
from bot.github.models import App
from bot.github.transport.http import new_session
from bot.github.transport.redaction import keep_secret
from bot.playbooks.checks.results import CONFIG_CHECK, GATE_CHECK
from bot.rehearsal.assumptions import RawGitHub, RehearsalFinding, StepRefused, try_assumptions
from bot.rehearsal.scratch import BRANCHES, CHECK, RULES_OF_BRANCHES, TITLE, ScratchRepository
from bot.settings import Settings
from bot.setup.proposal import BRANCH as PROPOSAL
from bot.setup.proposal import open_proposal
from bot.wiring.readings import github_of

Say = Callable[[str], None]
Act = Callable[[], Awaitable[None]]
LABEL = "self-work"
_ANSWER, _PRICE = "rehearsal/answer.txt", "rehearsal/price.txt"
_FILES = {_ANSWER: "42\n", _PRICE: "1\n"}
_TEST = "grep -qx 42 rehearsal/answer.txt"
_WORKFLOWS = {
    ".github/workflows/rehearsal.yml": f"""name: rehearsal
on: [push, pull_request]
permissions:
  contents: read
jobs:
  {CHECK}:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: {_TEST}
""",
    ".github/workflows/rehearsal-trial.yml": f"""name: rehearsal trial
run-name: trial ${{{{ inputs.trial_id }}}}
on:
  workflow_dispatch:
    inputs:
      sha: {{required: true}}
      trial_id: {{required: true}}
permissions:
  contents: read
jobs:
  trial:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {{ref: "${{{{ inputs.sha }}}}"}}
      - name: {CHECK}
        run: {_TEST}
""",
}
_CONFIG = f"""# For one rehearsal; it is taken out again at its end.
checks: {{smoke: [{CHECK}]}}
bisect: {{workflow: rehearsal-trial.yml, trials: 40, parallel: 4}}
triggers: {{autonomy: off}}
"""
"""Without autonomy, so that only what is asked for happens."""
_HISTORY, _CULPRIT = 5, 3
_HARMLESS = re.compile(
    r"(?:README|LICENSE|SECURITY|CONTRIBUTING)[^/]*|\.git(?:ignore|attributes)|rehearsal/.*"
    r"|\.github/(?:playbooks\.yml|workflows/rehearsal[^/]*)"
    # What the bot's own records were at the end of a rehearsal that was cut off.
    r"|docs/decisions/.*|apps/orchestrator/.*|self/spec_report\.json",
    re.IGNORECASE,
)
_HOTFIXES, _FIXES = ("hotfix/", "hotfix-"), ("fix/",)
_OURS = (*_HOTFIXES, *_FIXES, BRANCHES, PROPOSAL, "playbooks/outcomes")
_REACTION_S, _CHECK_S, _HOTFIX_S = 10.0, 180.0, 60.0
"""Seconds within which we assume a first reaction, a workflow's end, and a proposed hotfix."""
_CANCELLED_S = 60.0
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "configuration": ("scene",),
    "revert": ("scene",),
    "bisect": ("scene", "configuration"),
    "pause": ("scene",),
}


class NotBegun(StepRefused):
    """Nothing was touched: it cannot be rehearsed like this."""


def not_made_for_it(files: Collection[str], titles: Collection[str]) -> str:
    """Say why a repository does not look as if it were made for a rehearsal; empty: it does.

    Pure. Args:
        files: the paths of its default branch.
        titles: of the issues and pull requests that others have open there.
    """
    if theirs := [path for path in files if not _HARMLESS.fullmatch(path)]:
        return f"it has {', '.join(theirs[:3])}{' and more' if len(theirs) > 3 else ''}"
    foreign = [title for title in titles if not title.startswith(TITLE)]
    return f"“{foreign[0]}” is open there" if foreign else ""


def _said(error: GitHubError | Passing | StepRefused) -> str:
    return in_words(error) if isinstance(error, GitHubError) else str(error)


class Rehearsal:
    """One rehearsal. `begin`, then `play`."""

    def __init__(self, github: GitHub, person: RawGitHub, name: str, say: Say) -> None:
        """Prepare; nothing is asked before `begin`.

        Args:
            github: as the App.
            person: sends the requests of whoever rehearses.
            name: `owner/name` of the repository.
            say: told what is being done, a line each.
        """
        self._github, self._person, self._name, self._say = github, person, name, say
        self.findings: list[RehearsalFinding] = []
        self._facts: dict[str, Any] = {}
        self._is_paused = False

    # --- may it be? ---

    async def begin(self, app: Callable[[int, int], RawGitHub], **how: float) -> None:
        """Look whether it can be rehearsed here; nothing is touched, but an empty repository.

        Args:
            app: sends requests as an installation, for one repository's id.
            how: `every` and `patience` of `ScratchRepository`.

        Raises:
            NotBegun: says why not, and what mends it.
        """
        me = await self._person.ask("GET", "/user")
        if me.status != 200 or me.data.get("type") != "User":
            ours = "Take one of yours: GH_TOKEN=$(gh auth token)"
            raise NotBegun("GH_TOKEN is no person's token.", ours)
        login = str(me.data["login"])
        about = await self._person.ask("GET", "")
        if about.status != 200:
            make = f"Make it: gh repo create {self._name} --private --add-readme"
            raise NotBegun(f"{login} sees no repository {self._name}.", make)
        if not (about.data.get("permissions") or {}).get("push") or about.data.get("archived"):
            own = "Take a repository of your own."
            raise NotBegun(f"{login} may not push to {self._name}.", own)
        client, us = await self._as_app()
        here = client.repository
        self._app = app(here.installation_id, here.id)
        self._client = client
        self._branch = str(about.data["default_branch"])
        self._scratch = ScratchRepository(
            self._person, client, login=login, bot=us.bot_login, branch=self._branch,
            timed=lambda part, what, took: self._timed(part, what, took, _REACTION_S), **how,
        )  # fmt: skip
        try:
            await self._look_inside(us)
        except (GitHubError, Passing) as error:
            raise NotBegun(f"The App cannot work: {_said(error)}.", _DOCTOR) from error

    async def _as_app(self) -> tuple[RepositoryClient, App]:
        owner, _, name = self._name.partition("/")
        try:
            found = await self._github.installations.find_repository(owner, name)
            us = await self._github.ourselves.app()
        except (GitHubError, Passing) as error:
            raise NotBegun(f"The App cannot work: {_said(error)}.", _DOCTOR) from error
        if found is None:
            page = f"{self._github.addresses.web}/apps/{us.slug}/installations/new"
            raise NotBegun(f"The App is not installed on {self._name}.", f"Install it: {page}")
        return self._github.repository(found, playbook="rehearsal"), us

    async def _look_inside(self, us: App) -> None:
        tip = await self._client.git.tip(self._branch)
        if tip is None:
            body = {"message": "Begin", "content": "IyBTY3JhdGNoCg==", "branch": self._branch}
            await self._person.must("PUT", "contents/README.md", body, status=201)
            tip = await self._client.git.tip(self._branch)
        if tip is None:
            raise NotBegun(f"{self._name} stays empty.", "Put a README there, then try again.")
        tree = await self._client.git.tree(tip.tree, recursive=True)
        still_open = await self._person.must("GET", "issues?state=open&per_page=100")
        why = not_made_for_it(
            [each.path for each in tree if each.type == "blob"],
            [str(e["title"]) for e in still_open if e["user"]["login"] != us.bot_login],
        )
        if why:
            raise NotBegun(
                f"{self._name} is not made for a rehearsal: {why}.",
                "Name a repository that was made for it, and has a README at most.",
            )
        self._tip = tip
        self._labels = await self._label_names()

    # --- the whole ---

    async def play(self) -> list[RehearsalFinding]:
        """Play all parts, then clean up, also where it is stopped in between; what came of each."""
        parts: dict[str, Act] = {
            "scene": self._set_the_scene,
            "configuration": self._configure,
            "revert": self._revert,
            "bisect": self._bisect,
            "pause": self._pause,
            "assumptions": self._assume,
        }
        try:
            for part, act in parts.items():
                await self._play_part(part, act)
        finally:
            self._say("cleaning up")
            await asyncio.shield(self._clean_up())
        return self.findings

    async def _play_part(self, part: str, act: Act) -> None:
        refused = {each.part for each in self.findings if each.outcome == "refused"}
        if lacking := [each for each in _NEEDS.get(part, ()) if each in refused]:
            self._note(part, "not tried", f"It needs what was refused: {lacking[0]}.")
            return
        self._say(part)
        began = time.monotonic()
        try:
            await act()
        except StepRefused as refusal:
            self._note(part, "refused", str(refusal), refusal.remedy or _SEE)
        except (GitHubError, Passing) as error:
            self._note(part, "refused", f"{_said(error)}.", "Mend that, then rehearse again.")
        else:
            if part != "assumptions":
                took = time.monotonic() - began
                self._note(part, "as assumed", "It went to its end.", seconds=took)

    def _note(
        self,
        part: str,
        outcome: Literal["as assumed", "differed", "refused", "not tried"],
        what: str,
        remedy: str = "",
        seconds: float | None = None,
    ) -> None:
        took = None if seconds is None else round(seconds, 1)
        self.findings.append(
            RehearsalFinding(part=part, outcome=outcome, what=what, remedy=remedy, seconds=took)
        )

    def _timed(self, part: str, what: str, seconds: float, assumed: float) -> None:
        if seconds <= assumed:
            self._note(part, "as assumed", what, seconds=seconds)
        else:
            late = f"{what}: we assume {assumed:g} s at most."
            self._note(part, "differed", late, _DOCTOR, seconds)

    # --- the parts ---

    async def _set_the_scene(self) -> None:
        title, scratch = "set the scene", self._scratch
        self._facts |= {"branch": self._branch, "login": scratch.login, "before": self._tip.sha,
                        "tree": self._tip.tree}  # fmt: skip
        try:
            number = await scratch.propose(title, _FILES | _WORKFLOWS, "scene")
        except StepRefused as refusal:
            remedy = "Give the token that right: gh auth refresh -s workflow"
            self._without_actions(f"The workflows cannot be put there. {refusal}", remedy)
            number = await scratch.propose(title, _FILES, "scene")
        if not scratch.by_hand:
            try:
                await scratch.green(number, longest=_CHECK_S)
            except StepRefused as refusal:
                remedy = "Are Actions on? Settings, Actions, General."
                self._without_actions(f"No workflow has passed. {refusal}", remedy)
        await scratch.green(number)
        await self._merge(number)

    def _without_actions(self, what: str, remedy: str) -> None:
        what += f" From now on `{CHECK}` is a status by hand, and no commit is tried."
        self._note("actions", "refused", what, remedy)
        self._scratch.by_hand = True

    async def _merge(self, number: int, method: str = "") -> None:
        await self._scratch.merge(number, method)
        self._facts |= self._scratch.merged

    async def _configure(self) -> None:
        if self._scratch.by_hand:
            raise StepRefused("Without Actions there is nothing to configure.")
        pull = await open_proposal(self._client, _CONFIG)

        async def judged() -> str | None:
            return (await self._scratch.checks(pull.head.sha)).get(CONFIG_CHECK)

        what = f"`{CONFIG_CHECK}` on #{pull.number}"
        said = await self._scratch.until(judged, what)
        if said == "neutral":
            await self._scratch.ask(pull.number, "/approve")
        elif said != "success":
            raise StepRefused(f"{what} ended as {said}.", "Read it there.")
        await self._scratch.green(pull.number)
        await self._merge(pull.number)

    async def _revert(self) -> None:
        number = await self._scratch.propose("a change to be undone", {_PRICE: "0\n"}, "change")
        await self._scratch.green(number)
        await self._merge(number)
        self._say(f"revert: #{number} is merged; asking for it to be undone")
        began, seen = time.monotonic(), dict[int, float]()

        async def watch() -> None:
            for pull in await self._scratch.pulls(*_HOTFIXES):
                seen.setdefault(pull["number"], time.monotonic() - began)

        words = "/revert because this is a rehearsal"
        self._facts["comment"] = await self._scratch.ask(number, words, watch=watch)
        if not seen or await self._scratch.text(_PRICE) != _FILES[_PRICE]:
            raise StepRefused(f"{words} on #{number} ended, and its change is still there.")
        [(hotfix, took), *_] = seen.items()
        self._timed("revert", f"the hotfix #{hotfix} is proposed", took, _HOTFIX_S)

    async def _bisect(self) -> None:
        scratch, start = self._scratch, await self._scratch.head()
        head = start
        for step in range(1, _HISTORY + 1):
            files = {f"rehearsal/step-{step}.txt": f"{step}\n"}
            changes = {_ANSWER: "41\n"} if step == _CULPRIT else files
            head = await scratch.commit(head, await scratch.tree(head, changes), f"Step {step}")
        await self._land(head)
        issue = await self._person.must(
            "POST", "issues", {"title": f"{TITLE}since when is it red?"}, status=201,
            remedy="Switch issues on: Settings, General, Features.",
        )  # fmt: skip
        merged = set[int]()

        async def merge_fix() -> bool:
            found = [pull["number"] for pull in await scratch.pulls(*_FIXES)]
            for number in {*found} - merged:
                merged.add(number)
                self._say(f"bisect: the fix is #{number}")
                await scratch.green(number)
                await self._merge(number)
                return True
            return False

        words = f"/bisect {start[:12]}..{self._branch} check {CHECK}"
        self._say(f"bisect: {_HISTORY} commits; each trial is a workflow run, it takes minutes")
        await scratch.ask(issue["number"], words, answer=merge_fix)
        if await scratch.text(_ANSWER) != _FILES[_ANSWER]:
            raise StepRefused(f"{words} ended, and what broke it is still there.")

    async def _land(self, head: str) -> None:
        """Bring commits to the default branch, each as it is: by a push, else by a merge."""
        if not (why := await self._scratch.push(head)):
            return
        if "merge" not in await self._scratch.methods():
            raise StepRefused(
                f"{self._branch} takes no push ({why}) and no merge commit: there is no history "
                "to search in.",
                "Allow one of them for the rehearsal: Settings, General, Pull Requests.",
            )
        await self._merge(await self._scratch.open("a history", head, "history"), "merge")

    async def _pause(self) -> None:
        head = await self._scratch.head()
        tree = await self._scratch.tree(head, {"rehearsal/agent.txt": "1\n"})
        title = f"{TITLE}work of an agent"
        # In nobody's name, and opened by the App: whoever writes self-work may not lift its pause.
        sha = await self._scratch.commit(head, tree, title, by="agent")
        branch = await self._scratch.make_branch("agent", sha)
        pull = await self._client.pulls.ensure_pull_request(
            head=branch, base=self._branch, title=title, body="", look_first=False
        )
        number = self._facts["open"] = pull.number
        await self._person.must("POST", f"issues/{number}/labels", {"labels": [LABEL]})

        async def is_(wanted: str) -> bool:
            return (await self._scratch.checks(pull.head.sha)).get(GATE_CHECK) == wanted

        self._is_paused = True
        await self._scratch.ask(number, f"/pause {LABEL} because this is a rehearsal")
        await self._scratch.until(lambda: is_("failure"), f"`{GATE_CHECK}` red on #{number}")
        await self._scratch.ask(number, f"/unpause {LABEL}")
        self._is_paused = False
        await self._scratch.until(lambda: is_("success"), f"`{GATE_CHECK}` green on #{number}")

    async def _assume(self) -> None:
        self._facts["head"] = await self._scratch.head()
        self.findings += await try_assumptions(self._app, self._facts)

    # --- and nothing is left ---

    async def _clean_up(self) -> None:
        """Take away what can be; what cannot is said, with what to do by hand."""
        works: dict[str, Act] = {
            "what waits is not stopped": self._cancel,
            "the pause is not lifted": self._unpause,
            "something stays open": self._close_all,
            "the default branch is not put back": self._restore,
            "branches stay": self._delete_branches,
            "labels stay": self._delete_labels,
        }
        for what, work in works.items():
            try:
                await work()
            except (StepRefused, GitHubError, Passing) as error:
                by_hand = "Do it by hand, or delete the repository."
                self._note("clean up", "refused", f"{what}: {_said(error)}", by_hand)
        if not any(each.part == "clean up" for each in self.findings):
            done = "closed issues and playbooks/records stay until the repository is deleted."
            self._note("clean up", "as assumed", f"Everything is put back; {done}")

    async def _cancel(self) -> None:
        self._scratch.patience = min(self._scratch.patience, _CANCELLED_S)
        for number, comment in (await self._scratch.asked()).items():
            try:
                await self._scratch.ask(number, "/cancel")
            except StepRefused as refusal:
                self._say(f"clean up: {refusal}")
            # Heard late it would begin, or go on, when all else is put back.
            await self._scratch.answered(comment, number)

    async def _unpause(self) -> None:
        if self._is_paused:
            await self._scratch.ask(self._facts["open"], f"/unpause {LABEL}")

    async def _close_all(self) -> None:
        for each in await self._person.must("GET", "issues?state=open&per_page=100"):
            if self._scratch.is_new(each):
                where = f"issues/{each['number']}"
                await self._person.must("PATCH", where, {"state": "closed"})

    async def _restore(self) -> None:
        now = await self._client.git.tip(self._branch)
        if now is None or now.tree == self._tip.tree:
            return
        title = "put back what was"
        back = await self._scratch.commit(now.sha, self._tip.tree, f"{TITLE}{title}")
        if await self._scratch.push(back):
            await self._scratch.merge(await self._scratch.open(title, back, "restore"))

    async def _delete_branches(self) -> None:
        for ref in await self._person.must("GET", "git/matching-refs/heads/"):
            name = ref["ref"].removeprefix("refs/heads/")
            if name.startswith(_OURS):
                where = f"git/refs/heads/{name}"
                await self._person.must("DELETE", where, status=204, remedy=RULES_OF_BRANCHES)

    async def _delete_labels(self) -> None:
        for name in await self._label_names() - self._labels:
            await self._person.must("DELETE", f"labels/{name}", status=204)

    async def _label_names(self) -> set[str]:
        found = await self._person.must("GET", "labels?per_page=100")
        return {str(each["name"]) for each in found}


_DOCTOR = "Run `playbooks doctor`: it says what is in the way."
_SEE = "Look at it on GitHub, then rehearse again."


async def rehearse(
    settings: Settings,
    repository: str,
    token: str | None,
    *,
    every: float,
    patience: float,
    say: Say,
) -> list[RehearsalFinding]:
    """Rehearse in a repository, beside the bot that runs with these settings.

    Args:
        settings: of the App, and where its bot answers.
        repository: `owner/name`.
        token: of a person who may write there.
        every: seconds between two looks.
        patience: seconds that anything may take.
        say: told what is being done, a line each.

    Raises:
        NotBegun: nothing was touched; says why and what mends it.
    """
    if not token:
        raise NotBegun("No person's token is given: only people's comments are commands.",
                       "Set GH_TOKEN, for instance: GH_TOKEN=$(gh auth token)")  # fmt: skip
    keep_secret([token])
    where = settings.playbooks_url or settings.url_here
    if not await answers(where):
        raise NotBegun(f"No bot answers at {where}.", "Start it: `playbooks serve`.")

    async def persons() -> str:
        return token

    async with github_of(settings) as github, new_session(30.0) as session:
        here = github.addresses

        def app(installation: int, repository_id: int) -> RawGitHub:
            async def token_of() -> str:
                return await github.token(installation, repository_id=repository_id)

            return RawGitHub(session, here, repository, token_of)

        person = RawGitHub(session, here, repository, persons)
        rehearsal = Rehearsal(github, person, repository, say)
        await rehearsal.begin(app, every=every, patience=patience)
        return await rehearsal.play()
