"""Where a revert's words go: the sticky status, the incident issue, the hotfix and its check-run.

`revert_text` knows the words, `telling` knows how to put one in place exactly once; here is which
of them go where.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from bot.github.checks import Button
from bot.github.models import Issue
from bot.playbooks import revert_text as words
from bot.playbooks.checks import Counting
from bot.playbooks.revert_text import Case
from bot.playbooks.run import Run
from bot.playbooks.standing import Standing
from bot.playbooks.telling import Telling

HOTFIX_CHECK = "hotfix"
_BUTTONS = (
    Button("Retry", "Look again, wait once more", "retry"),
    Button("Cancel", "Close the hotfix, delete its branch", "cancel"),
)


class Voice:
    """Speaks for one revert. Says the same thing twice only to places that lost it."""

    def __init__(self, run: Run, telling: Telling, asked_on: int | None) -> None:
        """Prepare.

        Args:
            run: the Run; everything said is one of its steps.
            telling: puts words in their places.
            asked_on: the issue or pull request where people look for an answer, if any.
        """
        self._run = run
        self._telling = telling
        self._asked_on = asked_on
        self._said: Standing | None = None
        self._asked: set[str] = set()
        self._check_run = ("", 0)

    async def open_issue(self, case: Case, standing: Standing) -> int:
        """Open the incident issue and give its number."""
        issue = await self._run.step(
            "open the incident issue",
            Issue,
            lambda again: self._telling.open_issue(
                words.issue_title(case),
                words.issue_body(case, standing),
                labels=("incident", f"severity:{case.severity}"),
                assignees=words.assignees(case),
                look_first=again,
            ),
        )
        return issue.number

    async def first_status(self, case: Case, standing: Standing) -> None:
        """Put the sticky status where people asked."""
        self._said = standing
        await self._run.step("say that it has begun", bool, partial(self._status, case, standing))

    async def status(self, case: Case, standing: Standing) -> None:
        """Change only the sticky status."""
        if standing != self._said:
            self._said = standing
            await self._run.step(
                "say where it stands", bool, lambda _: self._status(case, standing, True)
            )

    async def everywhere(
        self, case: Case, counting: Counting, standing: Standing, head: str
    ) -> None:
        """Make status, issue, pull request and check-run say the same, if they do not yet."""
        if standing == self._said:
            return
        self._said = standing

        async def tell(look_first: bool) -> int:
            await self._status(case, standing, True)
            if case.issue is not None:
                await self._telling.update_issue(case.issue, words.issue_body(case, standing))
            if case.pull_request is None:
                return 0
            section = words.pull_request_section(case, counting, standing)
            await self._telling.section(case.pull_request, section)
            return await self._check(case, standing, head, look_first)

        self._check_run = head, await self._run.step("tell people where it stands", int, tell)

    async def verified(self, case: Case, standing: Standing, head: str) -> None:
        """Conclude our check-run before the merge: a rule may require it."""
        if standing == self._said:
            return
        self._said = standing

        async def conclude(look_first: bool) -> int:
            return await self._check(case, standing, head, look_first, conclusion="success")

        self._check_run = head, await self._run.step("report it as verified", int, conclude)

    async def ask(self, case: Case, standing: Standing, why: str) -> None:
        """Ask the requester for something, once for each reason."""
        if why in self._asked:
            return
        self._asked.add(why)
        key = f"needs-you-{why.replace(' ', '-')}"
        await self._comment("ask the requester", case, key, words.needs_you(case, standing))

    async def final_word(self, case: Case, standing: Standing) -> None:
        """The one new comment at the end."""
        await self._comment("have the final word", case, "done", words.final_word(case, standing))

    async def close_issue(self, case: Case, standing: Standing) -> None:
        """Close the incident issue, unless somebody is still needed."""
        number = case.issue
        if number is None or standing.state == "needs you":
            return

        async def close(_: bool) -> bool:
            done = standing.state == "done"
            await self._telling.close_issue(number, completed=done)
            return True

        await self._run.step("close the incident issue", bool, close)

    async def _status(self, case: Case, standing: Standing, look_first: bool) -> bool:
        if self._asked_on is not None:
            body = words.status(case, standing)
            await self._telling.status(self._asked_on, body, look_first=look_first)
        return True

    async def _comment(self, name: str, case: Case, key: str, body: str) -> None:
        number = self._asked_on or case.issue
        if number is None:
            return

        async def comment(look_first: bool) -> bool:
            await self._telling.comment(number, key, body, look_first=look_first)
            return True

        await self._run.step(name, bool, comment)

    async def _check(
        self,
        case: Case,
        standing: Standing,
        head: str,
        look_first: bool,
        conclusion: Literal["success"] | None = None,
    ) -> int:
        known_head, known = self._check_run
        return await self._telling.check(
            known if head == known_head else None,
            head,
            HOTFIX_CHECK,
            standing,
            words.status(case, standing),
            title=words.check_title(standing),
            conclusion=conclusion,
            buttons=_BUTTONS,
            look_first=look_first,
        )
