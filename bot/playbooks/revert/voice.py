"""Where a revert's words go: the sticky status, the incident issue, the hotfix and its check-run.

`text` knows the words, `telling` knows how to put one in place exactly once; here is which
of them go where.
"""

from __future__ import annotations

from typing import Literal

from bot.github.checks import Button
from bot.github.models import Issue
from bot.playbooks.checks import Counting
from bot.playbooks.revert import text as words
from bot.playbooks.revert.text import Case
from bot.playbooks.run import Run
from bot.playbooks.standing import Standing
from bot.playbooks.telling import Telling
from bot.triggers import Value

HOTFIX_CHECK = "hotfix"
_RETRY = Button("Retry", "Look again, wait once more (/retry)", "retry")
_CANCEL = Button("Cancel", "Close the hotfix (/cancel)", "cancel")
_APPROVE = Button("Approve", "Merge it all the same (/approve)", "approve")


class _Said(Value):
    """Where the words stand, to find them again without looking through lists."""

    status: int | None = None
    check: int | None = None


class Voice:
    """Speaks for one revert. Says the same thing twice only to places that lost it."""

    def __init__(self, run: Run, telling: Telling, asked_on: int | None, attempt: int) -> None:
        """Prepare.

        Args:
            run: the Run; everything said is one of its steps.
            telling: puts words in their places.
            asked_on: the issue or pull request where people look for an answer, if any.
            attempt: which attempt at the incident this is; later ones speak anew.
        """
        self._run = run
        self._telling = telling
        self._asked_on = asked_on
        self._attempt = attempt
        self._round = 1
        self._said: Standing | None = None
        self._asked: set[str] = set()
        self._status_id: int | None = None
        self._check_run: tuple[str, int | None] = ("", None)

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
                look_first=again or self._attempt > 1,
            ),
        )
        return issue.number

    async def first_status(self, case: Case, standing: Standing) -> None:
        """Put the sticky status where people asked."""
        self._said = standing

        async def tell(again: bool) -> _Said:
            return _Said(status=await self._status(case, standing, again or self._attempt > 1))

        self._keep(await self._run.step("say that it has begun", _Said, tell))

    async def status(self, case: Case, standing: Standing) -> None:
        """Change only the sticky status."""
        if standing == self._said:
            return
        self._said = standing

        async def tell(_: bool) -> _Said:
            return _Said(status=await self._status(case, standing, True))

        self._keep(await self._run.step("say where it stands", _Said, tell))

    async def everywhere(
        self, case: Case, counting: Counting, standing: Standing, head: str | None
    ) -> None:
        """Make status, issue, pull request and check-run say the same, if they do not yet."""
        if standing == self._said:
            return
        self._said = standing

        async def tell(look_first: bool) -> _Said:
            status = await self._status(case, standing, True)
            if case.issue is not None:
                await self._telling.update_issue(case.issue, words.issue_body(case, standing))
            if case.pull_request is None or head is None:
                return _Said(status=status)
            section = words.pull_request_section(case, counting, standing)
            await self._telling.section(case.pull_request, section)
            check = await self._check(case, standing, head, look_first)
            return _Said(status=status, check=check)

        self._keep(await self._run.step("tell people where it stands", _Said, tell), head)

    async def verified(self, case: Case, standing: Standing, head: str) -> None:
        """Conclude our check-run before the merge: a rule may require it."""
        if standing == self._said:
            return
        self._said = standing

        async def conclude(look_first: bool) -> _Said:
            check = await self._check(case, standing, head, look_first, conclusion="success")
            return _Said(check=check)

        self._keep(await self._run.step("report it as verified", _Said, conclude), head)

    def start_over(self) -> None:
        """Somebody said `/retry`: if it fails again they want to hear of it again."""
        self._asked.clear()
        self._round += 1

    async def ask(self, case: Case, standing: Standing, why: str) -> None:
        """Ask the requester for something, once for each reason."""
        if why in self._asked:
            return
        self._asked.add(why)
        again = "" if self._round == 1 else f"-{self._round}"
        key = f"needs-you-{why.replace(' ', '-')}{again}"
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

    def _keep(self, said: _Said, head: str | None = None) -> None:
        self._status_id = said.status or self._status_id
        if said.check is not None and head is not None:
            self._check_run = head, said.check

    async def _status(self, case: Case, standing: Standing, look_first: bool) -> int | None:
        if self._asked_on is None:
            return None
        return await self._telling.status(
            self._asked_on,
            words.status(case, standing),
            known=self._status_id,
            look_first=look_first,
        )

    async def _comment(self, name: str, case: Case, key: str, body: str) -> None:
        number = self._asked_on or case.issue
        if number is None:
            return
        again = "" if self._attempt == 1 else f"-{self._attempt}"

        async def comment(look_first: bool) -> bool:
            await self._telling.comment(number, f"{key}{again}", body, look_first=look_first)
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
        approve = (_APPROVE,) if standing.approvable else ()
        return await self._telling.check(
            known if head == known_head else None,
            head,
            HOTFIX_CHECK,
            standing,
            words.status(case, standing),
            title=words.check_title(standing),
            conclusion=conclusion,
            buttons=(*approve, _RETRY, _CANCEL),
            look_first=look_first,
        )
