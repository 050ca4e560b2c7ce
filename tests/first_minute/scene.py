"""The repository of one cell: what was merged, what is refused, and whether main is safe again.

"Safe" is read from the files of main: the bad change is gone, nobody else's work is, and exactly
one commit took it away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.config_approvals import approved_ahead
from tests.first_minute.product import Cell, Moment, Trouble
from tests.first_minute.town import HeldCi, Town
from tests.first_minute.words import Spoken
from tests.shop import BAD, GOOD, Shop

CONFIG = ".github/playbooks.yml"
WITH_EVALS = "checks: {smoke: [smoke], evals: [quality]}\n"
CONFIGS: dict[Trouble, str | None] = {
    Trouble.NO_CONFIG: None,
    Trouble.DEPLOY_ONLY: None,
    Trouble.NO_EVALS: "checks: {smoke: [smoke]}\n",
    Trouble.FLAKY: "checks: {smoke: [smoke, unit], evals: [quality]}\n",
    Trouble.CAPPED: WITH_EVALS + "caps: {reverts_a_day: 0, hotfix_pull_requests_a_day: 0}\n",
}
LATER = {"later.txt": "by somebody else, later\n"}
MINE = {"mine.txt": "of another pull request\n"}
ON_TOP = BAD.replace("return 0\n", "return 0  # in cents\n")
RESOLVED = GOOD.replace("return sum(prices)\n", "return sum(prices)  # in cents\n")
PREPARED_S = 300.0
"""Seconds a cell may take to be set up, also on a machine that has much else to do."""
OURS = ("apps/orchestrator/", "docs/decisions/", "self/")
"""Where the bot leaves its records."""


@dataclass
class Scene:
    """A merged pull request that broke main, before anybody has said a word."""

    town: Town
    cell: Cell
    shop: Shop
    ci: HeldCi
    spoken: Spoken
    offending: int = 0
    bad: str = ""
    expected: dict[str, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """Bring the bad change to main, among others' work; then GitHub begins to refuse."""
        shop, trouble = self.shop, self.cell.trouble
        await self.town.known(shop.repository)
        if trouble is not Trouble.NO_EVALS:
            shop.verdicts["quality"] = "success"
        if trouble is Trouble.DEPLOY_ONLY:
            shop.deploys["deploy"] = "success"
        if trouble is Trouble.FLAKY:
            shop.attempts["unit"] = ["failure", "success"]
        await self.ci.report(await shop.alice.head("main"))
        self.offending = await self._land()
        self.bad = await shop.alice.head("main")
        if trouble is Trouble.NO_DRAFTS:
            shop.github.commit(shop.repository, {"shop.py": ON_TOP}, "Say the unit")
            self.bad = await shop.alice.head("main")
        author = self.town.staff["bob"]
        shop.github.commit(shop.repository, LATER, "Something else", author=author)
        self.expected = self.files() | {
            "shop.py": RESOLVED if trouble is Trouble.NO_DRAFTS else GOOD
        }
        if trouble is Trouble.PAUSED:
            answer = await shop.says(self.offending, "/pause self-work because of the weather")
            await answer.reaction()
        await shop.github.deliveries.settle(PREPARED_S)
        if self.cell.moment is Moment.BEFORE:
            self.refuse()
        elif self.cell.moment is Moment.AFTER:
            shop.github.upon_merge(shop.repository, self.refuse)

    async def _land(self) -> int:
        shop, bob = self.shop, self.shop.bob
        if self.cell.trouble not in (Trouble.STACK, Trouble.BATCH):
            return await shop.broken()
        await bob.push("totals", {"shop.py": BAD}, "Faster totals", onto="main")
        stacked = self.cell.trouble is Trouble.STACK
        base = "totals" if stacked else "main"
        await shop.alice.push("mine", dict(MINE), "Mine", onto=base)
        one = await bob.open_pull_request("Faster totals", branch="totals")
        two = await shop.alice.open_pull_request("Mine", branch="mine", base=base)
        if stacked:
            await shop.alice.merge(two, "merge")
            await bob.merge(one, "merge")
        else:
            await bob.merge_together(one, two)
        return one

    def refuse(self) -> None:
        """Have GitHub refuse what this cell is about, from now on."""
        trouble, repository, github = self.cell.trouble, self.shop.repository, self.shop.github
        refusals = repository.refusals
        after = self.cell.moment is Moment.AFTER
        match trouble:
            case Trouble.COMMENT:
                refusals.refuse("comment")
            case Trouble.REACTION:
                refusals.refuse("reaction")
            case Trouble.ISSUE:
                refusals.refuse("issue")
                refusals.refuse("state")
            case Trouble.LABEL:
                refusals.refuse("label")
            case Trouble.ASSIGNEE:
                refusals.refuse("assignee")
            case Trouble.CHECK_RUN:
                refusals.refuse("check_run")
                refusals.refuse("check_run_update")
            case Trouble.COMMENT_EDIT:
                refusals.refuse("comment_edit")
            case Trouble.DESCRIPTION:
                refusals.refuse("description")
            case Trouble.BRANCH_DELETION:
                refusals.refuse("branch_deletion")
            case Trouble.RECORDS_BRANCH:
                refusals.refuse("branch", about="playbooks*")
            case Trouble.LOCKED:
                for issue in repository.issues.values():
                    issue.locked = after or issue.number == self.offending
            case Trouble.ISSUES_OFF:
                repository.has_issues = False
            case Trouble.FREE_PLAN:
                repository.private, repository.plan = True, "free"
            case Trouble.NO_DRAFTS:
                repository.private, repository.plan = True, "pro"
            case Trouble.HOTFIX_RULES:
                github.restrict_refs(repository, "hotfix/**", "hotfix*")
            case Trouble.RECORDS_RULES:
                github.restrict_refs(repository, "playbooks/**", "playbooks*")
            case Trouble.HOTFIX_TAKEN:
                self._take("hotfix")
            case Trouble.RECORDS_TAKEN:
                self._take("playbooks")
            case Trouble.BASE_MODIFIED:
                refusals.refuse("merge", times=2)

    def _take(self, name: str) -> None:
        """Somebody makes a branch of this name, and deletes what is in its way."""
        git = self.shop.repository.git
        for ref in git.refs(f"refs/heads/{name}/"):
            git.update_ref(ref, None)
        self.shop.github.commit(self.shop.repository, {"a": "1"}, "In the way", branch=name)

    def files(self) -> dict[str, str]:
        """The files of main, without the bot's records."""
        git = self.shop.repository.git
        entries = git.tree("refs/heads/main", recursive=True)
        return {
            entry.path: git.read(entry.sha).decode()
            for entry in entries
            if entry.type == "blob" and not entry.path.startswith(OURS)
        }

    @property
    def is_safe(self) -> bool:
        """Whether the bad change is gone, and nobody else's work is."""
        return self.files() == self.expected

    def reverts(self) -> int:
        """How many commits of main have touched the broken file since."""
        git = self.shop.repository.git
        range_ = f"{self.bad}..refs/heads/main"
        return len(git.rev_list("--first-parent", range_, "--", "shop.py"))

    def unsafe(self) -> list[str]:
        """What is wrong with main, in words."""
        wrong, found = [], self.files()
        if found.get("shop.py") != self.expected["shop.py"]:
            wrong.append("the bad change is still there")
        wrong += [
            f"{path} is gone or changed"
            for path, text in self.expected.items()
            if path != "shop.py" and found.get(path) != text
        ]
        wrong += [f"{path} is new" for path in found.keys() - self.expected.keys()]
        if not wrong and (times := self.reverts()) != 1:
            wrong.append(f"{times} commits took it away")
        return wrong


@asynccontextmanager
async def scene(town: Town, cell: Cell) -> AsyncIterator[Scene]:
    """Set one cell up; everything of it ends with it."""
    config = CONFIGS.get(cell.trouble, WITH_EVALS)
    files = {"README.md": "# Shop\n", "shop.py": GOOD}
    if config is not None:
        files[CONFIG] = config
    async with town.shop(files) as (shop, ci):
        if cell.trouble is Trouble.CAPPED and config is not None:
            await approved_ahead(town.bot.records, shop.repository.id, config, town.clock())
        spoken = Spoken(shop.repository)
        shop.github.world.listen(spoken.hear)
        try:
            made = Scene(town, cell, shop, ci, spoken)
            async with asyncio.timeout(PREPARED_S):
                await made.prepare()
            yield made
        finally:
            shop.github.world.listeners.remove(spoken.hear)
