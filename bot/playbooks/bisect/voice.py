"""Where a bisect's words go: status, incident issue, check-run on the bad end, fix pull request."""

from __future__ import annotations

from collections.abc import Sequence

from bot import markdown
from bot.github.checks import Button
from bot.github.models import Issue
from bot.playbooks.bisect import text as words
from bot.playbooks.bisect.lab import TrialRow
from bot.playbooks.bisect.text import BisectCase
from bot.playbooks.revert.text import assignees
from bot.playbooks.run import Run
from bot.playbooks.standing import Standing
from bot.playbooks.telling import Telling
from bot.triggers import Value

BISECT_CHECK = "bisect"
_BUTTONS = (
    Button("Cancel", "End this search (/cancel)", "cancel"),
    Button("Skip", "Leave out what is tried now (/skip)", "skip"),
    Button("Retry", "Search on, with a new budget (/retry)", "retry"),
)
_TITLES = {
    "working": "Looking for the culprit",
    "needs you": "Needs a person",
    "done": "Culprit found and reverted",
    "stopped": "Ended",
}


class _Said(Value):
    """Where the words stand, to find them again without looking through lists."""

    status: int | None = None
    check: int | None = None


class BisectVoice:
    """Speaks for one bisect. Says the same thing twice only to places that lost it."""

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
        self._said: object = None
        self._asked: set[str] = set()
        self._status_id: int | None = None
        self._check_id: int | None = None

    async def open_issue(self, case: BisectCase, standing: Standing) -> int:
        """Open the incident issue and give its number."""
        issue = await self._run.step(
            "open the incident issue",
            Issue,
            lambda again: self._telling.open_issue(
                words.issue_title(case),
                words.issue_body(case, standing, ""),
                labels=("incident", f"severity:{case.severity}"),
                assignees=assignees(case),
                look_first=again or self._attempt > 1,
            ),
        )
        return issue.number

    async def everywhere(
        self,
        case: BisectCase,
        standing: Standing,
        *,
        picture: str = "",
        trials: Sequence[TrialRow] = (),
        section: str | None = None,
    ) -> None:
        """Make every place say the same, if it does not yet.

        Args:
            case: the facts.
            standing: what to say.
            picture: how the suspicion is spread, as Markdown.
            trials: what was tried.
            section: what the fix pull request's description says, where there is one.
        """
        saying = (case, standing, picture, tuple(trials), section)
        if saying == self._said:
            return
        is_first, self._said = self._said is None, saying

        async def tell(look_first: bool) -> _Said:
            again = look_first or not is_first or self._attempt > 1
            status = await self._status(case, standing, again)
            if case.issue is not None and (again or picture):
                body = words.issue_body(case, standing, picture)
                await self._telling.update_issue(case.issue, body)
            if case.pull_request is not None and section is not None:
                await self._telling.section(case.pull_request, section)
            summary = words.check_summary(case, standing, picture, trials)
            check = await self._telling.check(
                self._check_id,
                case.bad,
                BISECT_CHECK,
                standing,
                summary,
                title=_TITLES[standing.state],
                # Progress, not a verdict on the commit: it never stands in the way of a merge.
                conclusion=None if standing.state == "working" else "neutral",
                buttons=_BUTTONS,
                look_first=again,
            )
            return _Said(status=status, check=check)

        said = await self._run.step("tell people where it stands", _Said, tell)
        self._status_id = said.status or self._status_id
        self._check_id = said.check or self._check_id

    def start_over(self) -> None:
        """Somebody said `/retry`: if it stops again they want to hear of it again."""
        self._asked.clear()
        self._round += 1

    async def ask(self, case: BisectCase, standing: Standing, why: str) -> None:
        """Ask the requester for something, once for each reason."""
        if why in self._asked:
            return
        self._asked.add(why)
        again = "" if self._round == 1 else f"-{self._round}"
        key = f"needs-you-{why.replace(' ', '-')}{again}"
        number = self._asked_on or case.issue
        await self._comment("ask the requester", number, key, words.needs_you(case, standing))

    async def final_word(self, case: BisectCase, standing: Standing) -> None:
        """The one new comment at the end."""
        number = self._asked_on or case.issue
        await self._comment("have the final word", number, "done", words.final_word(case, standing))

    async def on_the_culprit(self, number: int, body: str) -> None:
        """The one comment on the pull request that brought the culprit."""
        await self._comment("tell the culprit's pull request", number, "culprit", body)

    async def close_issue(self, case: BisectCase, standing: Standing) -> None:
        """Close the incident issue, unless somebody is still needed."""
        number = case.issue
        if number is None or standing.state == "needs you":
            return

        async def close(_: bool) -> bool:
            await self._telling.close_issue(number, completed=standing.state == "done")
            return True

        await self._run.step("close the incident issue", bool, close)

    async def _status(self, case: BisectCase, standing: Standing, look_first: bool) -> int | None:
        if self._asked_on is None:
            return None
        return await self._telling.status(
            self._asked_on,
            words.status(case, standing),
            known=self._status_id,
            look_first=look_first,
        )

    async def _comment(self, name: str, number: int | None, key: str, body: str) -> None:
        if number is None:
            return
        again = "" if self._attempt == 1 else f"-{self._attempt}"

        async def comment(look_first: bool) -> bool:
            await self._telling.comment(number, f"{key}{again}", body, look_first=look_first)
            return True

        await self._run.step(name, bool, comment)


def as_picture(chart: str) -> str:
    """Show a text chart as a code block with a caption."""
    caption = "Probability that the culprit is there, oldest commits first:"
    return f"{caption}\n\n{markdown.fence(chart)}"
