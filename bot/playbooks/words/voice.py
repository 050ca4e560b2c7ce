"""Where words go: the sticky status, the incident issue, the pull request, our check-run.

Each playbook's `text` knows the words, `telling` knows how to put one in place exactly once; here
is which of them go where, and when they need not be said again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.github.calls.checks import Button, CheckReport, Conclusion
from bot.github.models import Issue
from bot.playbooks.incidents.case import Case
from bot.playbooks.run import Run
from bot.playbooks.words import wording
from bot.playbooks.words.keeping import keep
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.telling import Telling, concluded
from bot.triggers import Value


@dataclass(frozen=True)
class OurCheck:
    """What our check-run on a commit says.

    Attributes:
        name: its stable name.
        head: the commit.
        title: the headline.
        summary: Markdown below it.
        buttons: offered while something can still be done.
        conclusion: concludes it otherwise than the standing would.
    """

    name: str
    head: str
    title: str
    summary: str
    buttons: tuple[Button, ...] = ()
    conclusion: Conclusion | None = None


@dataclass(frozen=True)
class Saying:
    """What every place says at one moment; None where a place has nothing to say yet."""

    standing: Standing
    status: str
    issue: str
    section: str | None = None
    check: OurCheck | None = None


class _Said(Value):
    """Where the words stand, to find them again without looking through lists."""

    status: int | None = None
    check: int | None = None


class Voice:
    """Speaks for one Run. Says the same thing twice only to places that lost it."""

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
        self._said: Saying | None = None
        self._asked: set[str] = set()
        self._status_id: int | None = None
        self._check_run: tuple[str, int | None] = ("", None)

    async def open_issue(
        self, case: Case, title: str, body: str, *, labels: tuple[str, ...] | None = None
    ) -> int:
        """Open the incident issue and give its number.

        Args:
            case: the facts.
            title: plain text.
            body: Markdown.
            labels: None: those of an incident.
        """
        labels = labels or ("incident", f"severity:{case.severity}")
        issue = await self._run.step(
            "open the incident issue",
            Issue,
            lambda again: self._telling.open_issue(
                title,
                body,
                labels=labels,
                assignees=wording.assignees(case),
                look_first=again or self._attempt > 1,
            ),
        )
        return issue.number

    async def first_status(self, saying: Saying) -> None:
        """Put the sticky status where people asked."""
        await self._keep_with_the_run(saying.standing)
        self._said = saying

        async def tell(again: bool) -> _Said:
            return _Said(status=await self._status(saying, again or self._attempt > 1))

        self._keep(await self._run.step("say that it has begun", _Said, tell))

    async def status(self, saying: Saying) -> None:
        """Change only the sticky status."""
        if saying == self._said:
            return
        await self._keep_with_the_run(saying.standing)
        self._said = saying

        async def tell(_: bool) -> _Said:
            return _Said(status=await self._status(saying, True))

        self._keep(await self._run.step("say where it stands", _Said, tell))

    async def everywhere(self, case: Case, saying: Saying) -> None:
        """Make status, issue, pull request and check-run say the same, if they do not yet."""
        if saying == self._said:
            return
        await self._keep_with_the_run(saying.standing)
        is_first, self._said = self._said is None, saying

        async def tell(look_first: bool) -> _Said:
            again = look_first or not is_first or self._attempt > 1
            status = await self._status(saying, again)
            if case.issue is not None and again:
                await self._telling.update_issue(case.issue, saying.issue)
            if case.pull_request is not None and saying.section is not None:
                await self._telling.section(case.pull_request, saying.section)
            return _Said(status=status, check=await self._check(saying, look_first))

        self._keep(await self._run.step("tell people where it stands", _Said, tell), saying)

    async def verified(self, saying: Saying) -> None:
        """Conclude our check-run before the merge: a rule may require it."""
        if saying == self._said or saying.check is None:
            return
        await self._keep_with_the_run(saying.standing)
        self._said = saying
        concluded = replace(saying, check=replace(saying.check, conclusion="success"))

        async def conclude(look_first: bool) -> _Said:
            return _Said(check=await self._check(concluded, look_first))

        self._keep(await self._run.step("report it as verified", _Said, conclude), saying)

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
        await self._answer("ask the requester", case, key, wording.needs_you(case, standing))

    async def final_word(self, case: Case, standing: Standing) -> None:
        """The one new comment at the end."""
        await self._answer("have the final word", case, "done", wording.final_word(case, standing))

    async def comment(self, name: str, number: int, key: str, body: str) -> None:
        """Write one new comment, as the step `name`, on whatever issue or pull request."""
        again = "" if self._attempt == 1 else f"-{self._attempt}"

        async def comment(look_first: bool) -> bool:
            await self._telling.comment(number, f"{key}{again}", body, look_first=look_first)
            return True

        await self._run.step(name, bool, comment)

    async def close_issue(self, case: Case, standing: Standing) -> None:
        """Close the incident issue, unless somebody is still needed."""
        number = case.issue
        if number is None or standing.state == "needs you":
            return

        async def close(_: bool) -> bool:
            await self._telling.close_issue(number, completed=standing.state == "done")
            return True

        await self._run.step("close the incident issue", bool, close)

    async def _keep_with_the_run(self, standing: Standing) -> None:
        # Before people are told: GitHub may be down for long, and the cockpit is not.
        if self._said is None or standing != self._said.standing:
            await keep(self._run, standing)

    def _keep(self, said: _Said, saying: Saying | None = None) -> None:
        self._status_id = said.status or self._status_id
        if said.check is not None and saying is not None and saying.check is not None:
            self._check_run = saying.check.head, said.check

    async def _status(self, saying: Saying, look_first: bool) -> int | None:
        if self._asked_on is None:
            return None
        return await self._telling.status(
            self._asked_on, saying.status, known=self._status_id, look_first=look_first
        )

    async def _answer(self, name: str, case: Case, key: str, body: str) -> None:
        number = self._asked_on or case.issue
        if number is not None:
            await self.comment(name, number, key, body)

    async def _check(self, saying: Saying, look_first: bool) -> int | None:
        check = saying.check
        if check is None:
            return None
        known_head, known = self._check_run
        return await self._telling.check(
            known if check.head == known_head else None,
            check.head,
            check.name,
            CheckReport(
                title=check.title,
                summary=check.summary,
                conclusion=check.conclusion or concluded(saying.standing),
                buttons=() if saying.standing.state in ("done", "stopped") else check.buttons,
            ),
            look_first=look_first,
        )
