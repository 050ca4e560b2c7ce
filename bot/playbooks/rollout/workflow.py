"""A shadow or ramp under way, its records, and the rollback it may ask for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from pydantic import JsonValue

from bot import markdown
from bot.canary.policy import Policy
from bot.canary.report import RampReport, ShadowDiffReport
from bot.playbooks.incident.branches import about_capability
from bot.playbooks.incident.context import Opened, case_of
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.publisher import PublishedStatus
from bot.playbooks.incident.record_files import RecordFile
from bot.playbooks.incident.report_base import Result, pointers
from bot.playbooks.incident.workflow import IncidentWorkflow
from bot.playbooks.rollout.capability import CapabilitySettings
from bot.playbooks.rollout.evidence import chart_of
from bot.playbooks.rollout.messages import RolloutMessages, status
from bot.playbooks.rollout.ports import RolloutResources
from bot.playbooks.run import Run, StepFailed
from bot.playbooks.steps import Patch, Step
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, Pointer, render
from bot.records.documents.artifacts import canonical_bytes
from bot.records.documents.reports import Reshadow
from bot.records.lifecycle import IncidentStatus
from bot.traffic.evidence_log import BreachFound
from bot.triggers import OURSELVES, RollbackRequest, Source, SourceKind, Trigger


@dataclass(frozen=True, slots=True)
class WeighedCandidate:
    """What a shadow and a ramp say differently.

    Attributes:
        title: of the record.
        problem: sentences.
        drivers: sentences.
        chosen: what is done.
        because: why, the end of a sentence.
        otherwise: what was passed over for it, beside a better baseline and doing nothing.
        forgone: what is lost by a better baseline instead.
        nothing: doing nothing.
        consequences: of what is done.
        confirmation: when it counts as right, a sentence.
        more: further pointers.
    """

    title: str
    problem: tuple[str, ...]
    drivers: tuple[str, ...]
    chosen: Option
    because: str
    otherwise: Option
    forgone: str
    nothing: Option
    consequences: Option
    confirmation: str
    more: tuple[Pointer, ...] = ()


def decision(
    case: RolloutMessages, policy: Policy, weighed: WeighedCandidate, *, at: datetime, audit: Anchor
) -> str:
    """Write the ADR: proposed, its outcome pending."""
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=weighed.title,
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=weighed.problem,
            drivers=weighed.drivers,
            options=(
                weighed.chosen,
                weighed.otherwise,
                Option(
                    name="Forward fix",
                    good=("the baseline gets better, and nobody changes the provider.",),
                    bad=(weighed.forgone,),
                ),
                weighed.nothing,
            ),
            chosen=weighed.chosen.name,
            because=weighed.because,
            consequences=weighed.consequences,
            confirmation=weighed.confirmation,
            more=(*pointers(case), *weighed.more),
            seed=policy.seed,
            audit=audit,
        )
    )


P = TypeVar("P", bound=CapabilitySettings)
C = TypeVar("C", bound=RolloutMessages)
R = TypeVar("R", ShadowDiffReport, RampReport)

TELL_EVERY = timedelta(minutes=10)
"""As long as nothing changes but the numbers, the issue is brought up to date so often."""


class RolloutWorkflow(IncidentWorkflow[P, C], Generic[P, C, R]):
    """One shadow or ramp under way.

    Attributes:
        report: what is known of it; None before the first look.
    """

    report: R | None = None
    parts: RolloutResources

    def __init__(
        self,
        run: Run,
        trigger: Trigger,
        plan: P,
        parts: RolloutResources,
        opened: Opened,
        facts: type[C],
        kind: Literal["shadow", "ramp"],
        title: str,
        **more: Any,
    ) -> None:
        """Begin, or begin again after a crash.

        Args:
            run: the Run.
            trigger: the request.
            plan: what was settled.
            parts: what it acts through.
            opened: the incident.
            facts: the kind of case.
            kind: the playbook.
            title: of the incident (plain text).
            more: the facts that only this kind of case has.
        """
        case = case_of(
            facts,
            trigger,
            opened,
            plan,
            kind=kind,
            proposal="fix",
            title=title,
            web_url=parts.web_url,
            short=run.patched(Patch.SHORT_BRANCH_NAMES),
            about=about_capability(plan.capability),
            capability=plan.capability,
            baseline=plan.policy.baseline,
            candidate=plan.candidate,
            policy=plan.policy.digest,
            reported=False,
            **more,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=trigger.source.subject)
        self._title = title
        self._told: tuple[object, datetime] | None = None

    @abstractmethod
    def weighed(self) -> WeighedCandidate:
        """What was weighed before it began, for the decision record."""

    @abstractmethod
    def issue_body(self, standing: StatusMessage, picture: str | None) -> str:
        """What its issue says; `picture`: the address of its evidence, where there is one."""

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = decision(
            self.case, self.plan.policy, self.weighed(), at=at, audit=self.recorder.anchor
        )

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What the status and the issue say of a standing."""
        del head
        chart = None if self.report is None else chart_of(self.report)
        issue = self.issue_body(standing, self.parts.pictures.of_evidence(chart))
        return PublishedStatus(standing, status(self.case, standing), issue)

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The decision record, and the report once there is one."""
        del result
        adr = RecordFile(path=self.case.adr, content=markdown.for_file(self.adr))
        if self.report is None:
            return (adr,)
        written = canonical_bytes(self.report).decode()
        return adr, RecordFile(path=self.case.artifact, content=markdown.for_file(written))

    async def announce(self, standing: StatusMessage) -> None:
        """Open its issue and write its decision record, before a request reaches the candidate."""
        kind, now = self.case.kind, await self.run.now()
        self.happened(now, f"{kind} asked for")
        if self.case.issue is None:
            body = self.saying(standing, None).issue
            await self.open_issue(self._title, body, labels=(kind,))
        await self.recorder.papers(adr=self.case.adr, artifact=self.case.artifact)
        self.decide(now)
        files = self.record_files(Result())
        await self.record(Step.RECORD_ATTEMPT.of(kind), files, f"Open {kind} {self.case.incident}")
        await self.publisher.first_status(self.saying(standing, None))

    def is_news(self, what: object, now: datetime) -> bool:
        """Tell whether people are to be told now: it changed, or was said some time ago."""
        if self._told is not None:
            before, at = self._told
            if before == what and now - at < TELL_EVERY:
                return False
        self._told = what, now
        return True

    async def decline(self) -> None:
        """It broke off: a retry is another one, with an incident and evidence of its own."""
        with suppress(StepFailed):
            await self.recorder.move(f"{self.case.kind}.broke off", IncidentStatus.DECLINED)


REPORTED = "reported"
"""How an anomaly is named that came as an alert or a person's word: nothing was measured."""


_ASKED = "Asked for by "


def reported_by(login: str, reason: str | None) -> BreachFound:
    """What a person or an alert says is wrong; where they gave no reason, that they asked."""
    return BreachFound(metric=REPORTED, evidence=reason or f"{_ASKED}{login}.")


def why_taken_back(metric: str, evidence: str) -> str:
    """Say why traffic went back (plain text): what was measured, or the reason somebody gave."""
    if metric != REPORTED or evidence.startswith(_ASKED):
        return evidence
    return f"Reason given: {evidence}"


def is_reported(breach: BreachFound) -> bool:
    """Tell whether a rollback found this anomaly itself, so that it need not be asked for."""
    return breach.metric == REPORTED


async def ask_for_rollback(
    run: Run, trigger: Trigger, capability: str, breach: BreachFound, parts: RolloutResources
) -> None:
    """Start the rollback of what this Run watched; asked twice it is the same rollback.

    Args:
        run: the Run that watched; the rollback is asked for as a step of it.
        trigger: what this Run was started by; the rollback is of the same repository.
        capability: whose traffic is taken back.
        breach: why; its sentence is the reason that people read.
        parts: has the Run of the rollback started.

    Raises:
        StepFailed: it could not be asked for.
    """
    request = Trigger(
        source=Source(kind=SourceKind.RUN, object_id=run.id),
        repository=trigger.repository,
        actor=OURSELVES,
        received_at=await run.now(),
        request=RollbackRequest(capability=capability, reason=breach.evidence),
    )

    async def ask(_: bool) -> bool:
        await parts.ask(request)
        return True

    await run.step(Step.REQUEST_ROLLBACK, bool, ask)


def plan_refs(candidate: str | None, plan: Reshadow) -> dict[str, JsonValue]:
    """Write a plan to re-shadow for the audit chain, where the next shadow finds it."""
    return {"reshadow": {"candidate": candidate, **plan.model_dump(mode="json")}}


def planned_pairs(written: Iterable[Mapping[str, JsonValue]], candidate: str) -> int:
    """Read how many pairs the last plan wants of this candidate; 0 where none says so."""
    for refs in written:
        plan = refs.get("reshadow")
        if isinstance(plan, dict) and plan.get("candidate") == candidate and plan.get("needed"):
            pairs = plan.get("min_pairs")
            return pairs if isinstance(pairs, int) else 0
    return 0
