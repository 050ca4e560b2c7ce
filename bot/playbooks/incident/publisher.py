"""Publishes a status to the issue, the comment, the description and the check-run.

Everything here is an ensure: found by its hidden marker or external id, and created only when
missing. Edits notify nobody; new comments do, so there is one at "needs you" and one at the end.

Each playbook's `messages` has the words, `StatusPlaces` puts one in its place exactly once; here is
which of them go where, and when they need not be said again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.github.calls.checks import Button, CheckReport, Conclusion
from bot.github.errors import NotFound
from bot.github.markers import BODY_LIMIT, marked
from bot.github.models import Issue
from bot.playbooks.incident import phrases
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.ports import StatusGitHub, runs
from bot.playbooks.run import Effect, NotAllowed, Run, Tried, Tries, attempt
from bot.playbooks.steps import Step
from bot.triggers import Value


async def keep(run: Run, standing: StatusMessage) -> None:
    """Keep what people are about to be told."""
    now = await run.now()

    async def change(conn: AsyncConnection) -> bool:
        await runs.stand(
            conn,
            run.id,
            at=now,
            state=standing.state,
            headline=standing.headline,
            details=standing.details,
        )
        return True

    await run.write(Step.STORE_STATUS, bool, change)


_CONCLUSIONS: dict[str, Conclusion | None] = {
    "working": None,
    "needs you": "action_required",
    "done": "success",
    "stopped": "cancelled",
}


@dataclass(frozen=True)
class StatusPlaces:
    """Speaks for one incident.

    Attributes:
        github: the repository.
        incident: the incident's id, part of every marker.
        since: nothing of ours is older than this: when the Trigger was received.
        run: the Run's id, the check-run's external id.
    """

    github: StatusGitHub
    incident: str
    since: datetime
    run: str

    async def open_issue(
        self,
        title: str,
        body: str,
        *,
        labels: tuple[str, ...],
        assignees: tuple[str, ...],
        look_first: bool,
    ) -> Issue:
        """Open the incident issue."""
        return await self.github.issues.ensure_issue(
            key=f"incident:{self.incident}",
            title=title,
            body=body,
            labels=labels,
            assignees=assignees,
            since=self.since,
            look_first=look_first,
        )

    async def update_issue(self, number: int, body: str, *, calls: bool = False) -> None:
        """Make the incident issue say `body`; where that `calls` for somebody, it is open."""
        body = marked(body, f"incident:{self.incident}")
        issue = await self.github.issues.update(number, body=body)
        if calls and issue.state == "closed":
            await self.github.issues.reopen(number)

    async def close_issue(self, number: int, *, completed: bool, body: str | None = None) -> None:
        """Close the incident issue, as done or as not planned; `body`: what it says from now on."""
        if body is not None:
            body = marked(body, f"incident:{self.incident}")
        reason: Literal["completed", "not_planned"] = "completed" if completed else "not_planned"
        # One that somebody deleted needs no closing, by us or by hand.
        with suppress(NotFound):
            await self.github.issues.close(number, reason, body)

    async def status(self, number: int, body: str, *, known: int | None, look_first: bool) -> int:
        """Keep the one sticky status on an issue or pull request up to date, and give its id.

        `known` is the comment's id where it is known: lists may lag behind.
        """
        comment = await self.github.comments.sticky_comment(
            number,
            key=f"status:{self.incident}",
            body=body,
            since=self.since,
            look_first=look_first,
            comment_id=known,
        )
        return comment.id

    async def comment(self, number: int, key: str, body: str, *, look_first: bool) -> None:
        """Write one new comment, which notifies whom it mentions."""
        await self.github.comments.ensure_comment(
            number,
            key=f"{key}:{self.incident}",
            body=body,
            since=self.since,
            look_first=look_first,
        )

    async def section(self, number: int, content: str) -> None:
        """Rewrite our section of a pull request's description; the rest is its author's."""
        pull = await self.github.pulls.get(number)
        body = markdown.with_section(pull.body or "", "status", content, limit=BODY_LIMIT)
        if body != (pull.body or ""):
            await self.github.pulls.update(number, body=body)

    async def check(
        self, known: int | None, head: str, name: str, report: CheckReport, *, look_first: bool
    ) -> int:
        """Report on a commit through our check-run, and give its id.

        Args:
            known: the check-run's id on this commit, where it is known already.
            head: the commit.
            name: the check-run's stable name.
            report: what it says.
            look_first: whether it may be there already.
        """
        return await self.github.checks.ensure_reported(
            known,
            head_sha=head,
            name=name,
            external_id=self.run,
            report=report,
            look_first=look_first,
        )


def concluded(standing: StatusMessage) -> Conclusion | None:
    """How a check-run ends that says this standing; None: it is still at work."""
    if standing.withheld:
        return "failure"
    # A review that is missing says nothing against what was verified.
    if standing.state == "needs you" and standing.is_verified:
        return "success"
    return _CONCLUSIONS[standing.state]


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
class PublishedStatus:
    """What every place says at one moment; None where a place has nothing to say yet."""

    standing: StatusMessage
    status: str
    issue: str
    section: str | None = None
    check: OurCheck | None = None


class _Said(Value):
    """Where the words stand, to find them again without looking through lists.

    `tried` are the places, each with why it was refused where it was.
    """

    status: int | None = None
    check: int | None = None
    tried: tuple[Tried, ...] = ()


class StatusPublisher:
    """Speaks for one Run. Says the same thing twice only to places that lost it.

    Where nobody may speak (a locked conversation, issues that are switched off) is passed over;
    each place is tried again whenever there is something new to say.
    """

    def __init__(
        self,
        run: Run,
        status_places: StatusPlaces,
        asked_on: int | None,
        attempt: int,
        page: str | None = None,
    ) -> None:
        """Prepare.

        Args:
            run: the Run; everything said is one of its steps.
            status_places: puts words in their places.
            asked_on: the issue or pull request where people look for an answer, if any.
            attempt: which attempt at the incident this is; later ones speak again.
            page: the incident's page in the cockpit, where people can reach that.
        """
        self._run = run
        self._status_places = status_places
        self._asked_on = asked_on
        self._attempt = attempt
        self._page = page
        self._round = 1
        self._said: PublishedStatus | None = None
        self._asked: set[str] = set()
        # What broke off before was told with a mention; one is enough for everybody.
        self._all_were_called = attempt > 1
        self._called: set[str] = set()
        self._status_id: int | None = None
        self._check_run: tuple[str, int | None] = ("", None)
        self.is_unheard = False
        """Whether what was said last was refused in every place."""

    async def open_issue(
        self, case: IncidentContext, title: str, body: str, *, labels: tuple[str, ...] | None = None
    ) -> int | None:
        """Open the incident issue and give its number; None where none can be opened.

        Args:
            case: the facts.
            title: plain text.
            body: Markdown.
            labels: None: those of an incident.
        """
        labels = labels or ("incident", f"severity:{case.severity}")
        issue = await attempt(
            self._run,
            Step.OPEN_INCIDENT_ISSUE,
            Issue,
            lambda again: self._status_places.open_issue(
                title,
                body,
                labels=labels,
                assignees=phrases.assignees(case),
                look_first=again or self._attempt > 1,
            ),
            what="open an issue",
            otherwise=None,
        )
        return None if issue is None else issue.number

    async def first_status(self, saying: PublishedStatus) -> None:
        """Put the sticky status where people asked."""
        await self._keep_with_the_run(saying.standing)
        self._said = saying

        async def tell(again: bool) -> _Said:
            return await self._only_status(saying, again or self._attempt > 1)

        self._keep(await self._tell(Step.POST_FIRST_STATUS, tell))

    async def status(self, saying: PublishedStatus) -> None:
        """Change only the sticky status."""
        if saying == self._said:
            return
        await self._keep_with_the_run(saying.standing)
        self._said = saying

        async def tell(_: bool) -> _Said:
            return await self._only_status(saying, True)

        self._keep(await self._tell(Step.UPDATE_STATUS, tell))

    async def everywhere(
        self, case: IncidentContext, saying: PublishedStatus, *, last: bool = False
    ) -> None:
        """Make status, issue, pull request and check-run say the same, if they do not yet.

        The `last` time the issue is left to `close_issue`, where that closes it.
        """
        if saying == self._said:
            return
        await self._keep_with_the_run(saying.standing)
        is_first, self._said = self._said is None, saying

        async def tell(look_first: bool) -> _Said:
            again, tries = look_first or not is_first or self._attempt > 1, Tries()
            status = await self._status(saying, again, tries)
            closes = last and saying.standing.state != "needs you"
            if case.issue is not None and again and not closes:
                number, calls = case.issue, saying.standing.state == "needs you"
                update = self._status_places.update_issue(number, saying.issue, calls=calls)
                await tries.go(f"edit #{number}", update)
            if case.pull_request is not None and saying.section is not None:
                number = case.pull_request
                rewrite = self._status_places.section(number, saying.section)
                await tries.go(f"edit the description of #{number}", rewrite)
            check = await self._check(saying, look_first, tries)
            return _Said(status=status, check=check, tried=tuple(tries.tried))

        self._keep(await self._tell(Step.PUBLISH_STATUS, tell), saying)

    async def verified(self, saying: PublishedStatus, *, is_awaited: bool) -> None:
        """Conclude our check-run before the merge, where a rule may require it.

        Where none does, the last word concludes it, a moment later.
        """
        if saying == self._said or saying.check is None:
            return
        await self._keep_with_the_run(saying.standing)
        self._said = saying
        concluded = replace(saying, check=replace(saying.check, conclusion="success"))

        async def conclude(look_first: bool) -> _Said:
            tries = Tries()
            if not is_awaited:
                return _Said()
            check = await self._check(concluded, look_first, tries)
            return _Said(check=check, tried=tuple(tries.tried))

        self._keep(await self._tell(Step.REPORT_VERIFIED, conclude), saying)

    def start_over(self) -> None:
        """Somebody said `/retry`: if it fails again they want to hear of it again."""
        self._asked.clear()
        self._round += 1

    async def ask(self, case: IncidentContext, standing: StatusMessage, why: str) -> None:
        """Ask the requester for something, once for each reason."""
        if why in self._asked:
            return
        self._asked.add(why)
        again = "" if self._round == 1 else f"-{self._round}"
        key = f"needs-you-{why.replace(' ', '-')}{again}"
        body = phrases.needs_you(case, standing, called=self._call(case))
        await self._answer(Step.ASK_REQUESTER, case, key, body)

    def _call(self, case: IncidentContext) -> frozenset[str]:
        """Who was called before; from now on those of the case are, too."""
        people = phrases.people_of(case)
        if self._all_were_called:
            self._called.update(people)
            self._all_were_called = False
        before = frozenset(self._called)
        self._called.update(people)
        return before

    async def final_word(self, case: IncidentContext, standing: StatusMessage) -> None:
        """The one new comment at the end."""
        body = phrases.final_word(case, standing, called=self._call(case))
        await self._answer(Step.POST_FINAL_COMMENT, case, "done", body)

    async def comment(self, step: Step, number: int, key: str, body: str) -> None:
        """Write one new comment, as this step, on whatever issue or pull request."""
        await self._comment(step, (number,), key, body, what=f"comment on #{number}")

    async def close_issue(self, case: IncidentContext, standing: StatusMessage) -> None:
        """Close the incident issue, unless somebody is still needed."""
        number = case.issue
        if number is None or standing.state == "needs you":
            return

        body = self._said.issue if self._said is not None else None

        async def close(_: bool) -> bool:
            is_done = standing.state == "done"
            await self._status_places.close_issue(number, completed=is_done, body=body)
            return True

        await attempt(
            self._run,
            Step.CLOSE_INCIDENT_ISSUE,
            bool,
            close,
            what=f"close #{number}",
            otherwise=False,
        )

    async def _keep_with_the_run(self, standing: StatusMessage) -> None:
        # Before people are told: GitHub may be down for long, and the cockpit is not.
        if self._said is None or standing != self._said.standing:
            await keep(self._run, standing)

    async def _tell(self, step: Step, tell: Effect[_Said]) -> _Said:
        said = await attempt(self._run, step, _Said, tell, what=step.label, otherwise=_Said())
        self._run.untold.take(said.tried)
        self.is_unheard = all(each.why for each in said.tried)
        return said

    def _keep(self, said: _Said, saying: PublishedStatus | None = None) -> None:
        self._status_id = said.status or self._status_id
        if said.check is not None and saying is not None and saying.check is not None:
            self._check_run = saying.check.head, said.check

    async def _only_status(self, saying: PublishedStatus, look_first: bool) -> _Said:
        tries = Tries()
        status = await self._status(saying, look_first, tries)
        return _Said(status=status, tried=tuple(tries.tried))

    async def _status(self, saying: PublishedStatus, look_first: bool, tries: Tries) -> int | None:
        if self._asked_on is None:
            return None
        status = self._status_places.status(
            self._asked_on, saying.status, known=self._status_id, look_first=look_first
        )
        what = "comment on" if self._status_id is None else "edit my comment on"
        return await tries.go(f"{what} #{self._asked_on}", status)

    async def _answer(self, step: Step, case: IncidentContext, key: str, body: str) -> None:
        """Comment where people asked; where that is refused, where else they may look."""
        offenders = [each.number for each in case.offenders]
        places = (self._asked_on, case.issue, case.pull_request, *offenders)
        numbers = tuple(dict.fromkeys(each for each in places if each is not None))
        # A bare commit that nobody asked about, with issues switched off: the check-run has it.
        if numbers:
            await self._comment(step, numbers, key, body, what=step.label)

    async def _comment(
        self, step: Step, numbers: tuple[int, ...], key: str, body: str, *, what: str
    ) -> None:
        """Comment in the first of these places that takes it."""
        again = "" if self._attempt == 1 else f"-{self._attempt}"

        async def comment(look_first: bool) -> bool:
            tries = Tries()
            for number in numbers:
                write = self._status_places.comment(
                    number, f"{key}{again}", body, look_first=look_first
                )
                await tries.go(f"comment on #{number}", write)
                if tries.tried[-1].why is None:
                    return True
            raise NotAllowed(tries.tried[0].why or "")

        await attempt(self._run, step, bool, comment, what=what, otherwise=False)

    async def _check(self, saying: PublishedStatus, look_first: bool, tries: Tries) -> int | None:
        check = saying.check
        if check is None:
            return None
        known_head, known = self._check_run
        report = self._status_places.check(
            known if check.head == known_head else None,
            check.head,
            check.name,
            CheckReport(
                title=check.title,
                summary=check.summary,
                conclusion=check.conclusion or concluded(saying.standing),
                url=self._page,
                buttons=() if saying.standing.state in ("done", "stopped") else check.buttons,
            ),
            look_first=look_first,
        )
        return await tries.go(f"report the check {markdown.code(check.name)}", report)
