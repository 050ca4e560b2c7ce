"""Every step of every playbook: its durable id, its words, and how it is undone.

A step's id is stored in the journal of each Run under way and never changes
(`docs/develop/changing-a-playbook.md`). Its words are for people and may change any day. One table,
so that what a Run can do to the world can be read as a whole. A step without an undo leaves
nothing that anybody would take back: it reads, says something, tidies up, has a check tried again,
or changes our own records. Who is served is no record, and has one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Literal

from bot.records.steps import Reversibility
from bot.triggers import Value


class Duty(StrEnum):
    """What a step is for: only what recovers can fail a Run.

    The rest is tried, noted and passed over (`bot.playbooks.run`): a refused comment leaves
    no branch broken. A change of our own records, and whatever only reads, serves the recovery.
    """

    RECOVERY = "recovery"
    TELLING = "telling"
    """People are told: reactions, comments, issues, labels, assignees, check-runs, edits."""
    TIDYING = "tidying"
    """What is not needed any more is taken away; a person can do it by hand."""
    RECORDING = "recording"
    """Files that record what happened are put on branches."""


class Undo(Value):
    """How far a step can be taken back, and by what.

    Attributes:
        reversibility: how far.
        how: what takes it back, in words; None where nothing does.
        by_itself: whether a Run that is cancelled or fails takes it back by itself. What tells
            people and what rescues stays: the words say what happened, the rescue still holds.
    """

    reversibility: Reversibility
    how: str | None = None
    by_itself: bool = False


def _reversible(how: str, *, by_itself: bool = False) -> Undo:
    return Undo(reversibility=Reversibility.REVERSIBLE, how=how, by_itself=by_itself)


def _compensatable(how: str, *, by_itself: bool = False) -> Undo:
    return Undo(reversibility=Reversibility.COMPENSATABLE, how=how, by_itself=by_itself)


MERGE_IRREVERSIBLE = Undo(reversibility=Reversibility.IRREVERSIBLE)
"""Merging what touches something that cannot be brought back."""

_SPEAKING = _compensatable("a later comment corrects it; what was read stays read")
_BRANCH = _reversible("its branch is deleted", by_itself=True)
_CLOSED = _reversible("it is closed", by_itself=True)
_TRAFFIC = _compensatable(
    "all of it goes back to the baseline; what was answered stays answered", by_itself=True
)


class Step(Enum):
    """A kind of step: `id` is durable, `label` is for people, `undo` is None where none is needed.

    `{item}` in a label stands for what tells steps of the same kind in one Run apart; `duty` says
    whether the Run fails with it.
    """

    def __init__(
        self, id: str, label: str, undo: Undo | None = None, duty: Duty = Duty.RECOVERY
    ) -> None:
        """One row of the table."""
        self.id = id
        self.label = label
        self.undo = undo
        self.duty = duty

    @property
    def words(self) -> str:
        """Its label where all steps of the kind are meant, and no single one."""
        return self.label.replace(" {item}", "")

    @property
    def kind(self) -> Step:
        """Itself: what `ItemStep.kind` is for one with an item."""
        return self

    def of(self, item: str) -> ItemStep:
        """Name one of several steps of this kind in the same Run."""
        return ItemStep(self, item)

    CARRY_ON = ("carry-on", "carry on")
    """What a Run does between its steps; never stored."""

    FOLLOW_PATCHES = ("follow-patches", "begin as this release does: {item}")
    """The first step of each Run: `Patch`es that it follows, by name."""

    READ_CLOCK = ("read-clock", "read the clock")

    # --- A command is read, admitted and answered ---

    REACT = ("react", "react with {item}", None, Duty.TELLING)
    ANSWER = ("answer", "answer", None, Duty.TELLING)
    ANSWER_IN_COCKPIT = ("answer-in-cockpit", "answer in the cockpit: {item}")
    READ_ADMISSION_FACTS = ("read-admission-facts", "read what the sender may do")
    COUNT_AGAINST_CAPS = ("count-against-caps", "count it against the caps")
    GIVE_BACK_CAPS = ("give-back-caps", "count it against no cap")
    READ_CONTEXT = ("read-context", "see what is going on")
    BEGIN_RUN = ("begin-run", "begin the run")
    END_RUN = ("end-run", "end the run")
    CALL_FOUNDER = ("call-founder", "tell the Founder what cannot be told here")
    RECORD_REFUSAL = ("record-refusal", "write the refusal down")
    READ_NEXT_STEPS = ("read-next-steps", "read what is next", None, Duty.TELLING)
    SET_SEVERITY = ("set-severity", "set the severity")
    CHANGE_SEVERITY_LABEL = (
        "change-severity-label",
        "change the severity label",
        _reversible("the label from before is put on again"),
        Duty.TELLING,
    )
    READ_PAUSABLE = ("read-pausable", "see what can be paused")
    PAUSE = ("pause", "pause it")
    READ_PAUSED = ("read-paused", "see what is paused")
    UNPAUSE = ("unpause", "unpause it")
    READ_HELD_HEAD = ("read-held-head", "see what the gate holds")
    RELEASE_HELD_HEAD = ("release-held-head", "let it through")
    READ_JOINED_RUN = ("read-joined-run", "see what is done already")
    ASSIGN_JOINED = (
        "assign-joined",
        "assign whoever asked, too",
        _reversible("they are taken off again"),
        Duty.TELLING,
    )
    READ_APPROVERS = ("read-approvers", "see whose answer counts")
    RECORD_DECISION = ("record-decision", "write the decision down")
    READ_PENDING_CONFIGURATION = (
        "read-pending-configuration",
        "see what configuration is to be approved",
    )
    APPROVE_CONFIGURATION = ("approve-configuration", "approve the configuration")
    REPORT_CONFIGURATION_APPROVED = (
        "report-configuration-approved",
        "report the approved configuration",
        None,
        Duty.TELLING,
    )
    REPORT_CONFIGURATION_APPROVERS = (
        "report-configuration-approvers",
        "report who may approve the configuration",
        None,
        Duty.TELLING,
    )
    READ_INCIDENT_OF_ISSUE = ("read-incident-of-issue", "see whose issue this is")
    READ_RECORD_FILES = ("read-record-files", "read its papers", None, Duty.RECORDING)
    MOVE_INCIDENT = ("move-incident", "the incident is {item}")
    WRITE_RECORD_FILES = ("write-record-files", "put its papers right", None, Duty.RECORDING)

    GIVE_UP_PARKED = ("give-up-parked", "end what waits for another release")
    SETTLE_STRANDED = ("settle-stranded", "settle what an update ended")
    TELL_STRANDED = ("tell-stranded", "tell that an update ended it", _SPEAKING, Duty.TELLING)
    UPDATE_STRANDED_STATUS = (
        "update-stranded-status",
        "correct what is said of what an update ended",
        _reversible("every place is edited in place"),
        Duty.TELLING,
    )

    # --- An incident is opened and written down ---

    OPEN_INCIDENT = ("open-incident", "open the incident")
    OPEN_INCIDENT_ISSUE = (
        "open-incident-issue",
        "open the incident issue",
        _reversible("it is closed"),
        Duty.TELLING,
    )
    REOPEN_INCIDENT_ISSUE = (
        "reopen-incident-issue",
        "open the incident issue again",
        None,
        Duty.TELLING,
    )
    CLOSE_INCIDENT_ISSUE = (
        "close-incident-issue",
        "close the incident issue",
        _reversible("it is opened again"),
        Duty.TIDYING,
    )
    RECORD_INCIDENT_ISSUE = ("record-incident-issue", "record the incident issue")
    RECORD_FILE_PATHS = ("record-file-paths", "note where its papers are")
    RECORD_PROPOSAL = ("record-proposal", "record the proposal")
    REQUEST_APPROVAL = ("request-approval", "ask for an approval")
    RECORD_APPROVAL = ("record-approval", "record the approval")
    VOID_APPROVAL = ("void-approval", "take the question back")
    BEGIN_COMPENSATION = ("begin-compensation", "begin to undo")
    FINISH_RUN = ("finish-run", "finish the run")
    RECORD_INCIDENT = ("record-incident", "record the incident", None, Duty.RECORDING)
    RECORD_OUTCOME = (
        "record-outcome",
        "record the outcome",
        _compensatable("a later commit on the records branch"),
        Duty.RECORDING,
    )
    KEEP_RECORD_FILES = ("keep-record-files", "keep the papers", None, Duty.RECORDING)
    RECORD_ATTEMPT = ("record-attempt", "record the {item}", None, Duty.RECORDING)
    COPY_RECORDS_TO_DEFAULT_BRANCH = (
        "copy-records-to-default-branch",
        "bring the records to the default branch",
        _compensatable("a later commit"),
        Duty.RECORDING,
    )
    READ_STEPS_DONE = ("read-steps-done", "see what was done")

    # --- People are told ---

    STORE_STATUS = ("store-status", "keep where it stands")
    POST_FIRST_STATUS = (
        "post-first-status",
        "say that it has begun",
        _reversible("the status is edited in place"),
        Duty.TELLING,
    )
    UPDATE_STATUS = (
        "update-status",
        "say where it stands",
        _reversible("the status is edited in place"),
        Duty.TELLING,
    )
    PUBLISH_STATUS = (
        "publish-status",
        "tell people where it stands",
        _reversible("every place is edited in place"),
        Duty.TELLING,
    )
    REPORT_VERIFIED = (
        "report-verified",
        "report it as verified",
        _reversible("the check-run is updated"),
        Duty.TELLING,
    )
    ASK_REQUESTER = ("ask-requester", "ask the requester", _SPEAKING, Duty.TELLING)
    POST_FINAL_COMMENT = ("post-final-comment", "post the final comment", _SPEAKING, Duty.TELLING)
    ASSIGN_REQUESTER = (
        "assign-requester",
        "assign the requester",
        _reversible("the pull request is closed"),
        Duty.TELLING,
    )

    # --- A change is proposed and followed ---

    PLAN_REVERT = ("plan-revert", "work out what to revert")
    CHOOSE_CHECKS = ("choose-checks", "see which checks count")
    PUBLISH_HOTFIX = ("publish-hotfix", "publish the hotfix", _BRANCH)
    PUBLISH_FIX = ("publish-fix", "publish the fix", _BRANCH)
    OPEN_HOTFIX_PULL_REQUEST = ("open-hotfix-pull-request", "open the hotfix pull request", _CLOSED)
    OPEN_FIX_PULL_REQUEST = ("open-fix-pull-request", "open the fix pull request", _CLOSED)
    REFIT_HOTFIX = ("refit-hotfix", "fit the hotfix to the moved base", _BRANCH)
    REFIT_FIX = ("refit-fix", "fit the fix to the moved base", _BRANCH)
    READ_PULL_REQUEST = ("read-pull-request", "look at the pull request")
    READ_REPORTING_CHECKS = (
        "read-reporting-checks",
        "see which checks report on pull requests",
    )
    RERUN_CHECKS = (
        "rerun-checks",
        "run again what broke off or may have failed by chance",
        _compensatable("nothing: it only costs CI minutes"),
    )
    MERGE_PULL_REQUEST = (
        "merge-pull-request",
        "merge the pull request",
        _compensatable("`/revert` of what was merged"),
    )
    MERGE_PULL_REQUEST_IRREVERSIBLY = (
        "merge-pull-request-irreversibly",
        "merge the pull request, for good",
        MERGE_IRREVERSIBLE,
    )
    ENQUEUE_PULL_REQUEST = (
        "enqueue-pull-request",
        "put the pull request into the merge queue",
        _compensatable("`/revert` of what was merged"),
    )
    ENQUEUE_PULL_REQUEST_IRREVERSIBLY = (
        "enqueue-pull-request-irreversibly",
        "put the pull request into the merge queue, for good",
        MERGE_IRREVERSIBLE,
    )
    READ_BASE_AFTER_MERGE = ("read-base-after-merge", "see what the base branch is now")
    READ_BASE_CHECKS = ("read-base-checks", "see whether the base branch is green")
    WATCH_BASE_BRANCH = ("watch-base-branch", "watch the base branch")
    DELETE_HOTFIX_BRANCH = (
        "delete-hotfix-branch",
        "delete the hotfix branch",
        _reversible("it is restored from the merged pull request"),
        Duty.TIDYING,
    )
    DELETE_FIX_BRANCH = (
        "delete-fix-branch",
        "delete the fix branch",
        _reversible("it is restored from the merged pull request"),
        Duty.TIDYING,
    )
    CLOSE_EARLIER_ATTEMPTS = (
        "close-earlier-attempts",
        "take earlier attempts back",
        _reversible("they are opened again from their last commits"),
        Duty.TIDYING,
    )
    UNDO_OPEN_HOTFIX_PULL_REQUEST = (
        "undo-open-hotfix-pull-request",
        "undo: open the hotfix pull request",
    )
    UNDO_OPEN_FIX_PULL_REQUEST = ("undo-open-fix-pull-request", "undo: open the fix pull request")
    UNDO_PUBLISH_HOTFIX = ("undo-publish-hotfix", "undo: publish the hotfix")
    UNDO_PUBLISH_FIX = ("undo-publish-fix", "undo: publish the fix")
    REQUEST_BISECT = ("request-bisect", "ask for a bisect")

    # --- A culprit is searched ---

    PLAN_BISECT = ("plan-bisect", "work out what to search")
    READ_RANGE = ("read-range", "read the range")
    READ_APP_ID = ("read-app-id", "see who we are")
    READ_KNOWN_RESULTS = ("read-known-results", "read the results there are")
    FIND_GOOD_END = ("find-good-end", "look for a good end")
    READ_TRIAL_SETTINGS = ("read-trial-settings", "see how commits may be tried")
    READ_EARLIER_TRIALS = ("read-earlier-trials", "read what was tried before")
    READ_SUBJECTS = ("read-subjects", "read who is suspected")
    STORE_PROGRESS = ("store-progress", "show how far it is")
    RESERVE_TRIAL = ("reserve-trial", "reserve a trial")
    DISPATCH_TRIAL = (
        "dispatch-trial",
        "dispatch trial {item}",
        _compensatable(
            "what still runs is cancelled, its refs are removed; what ran has cost its minutes",
            by_itself=True,
        ),
    )
    READ_TRIALS = ("read-trials", "look at the trials")
    WATCH_TRIALS = ("watch-trials", "watch the trials")
    SETTLE_TRIALS = ("settle-trials", "settle trials")
    CANCEL_TRIALS = ("cancel-trials", "cancel trials", None, Duty.TIDYING)
    CLEAN_RUNNER = ("clean-runner", "clear the bench", None, Duty.TIDYING)
    LIST_HIDDEN_REFS = ("list-hidden-refs", "look for hidden refs", None, Duty.TIDYING)
    READ_LIVE_SEARCHES = ("read-live-searches", "see which searches are at work")
    DELETE_HIDDEN_REFS = ("delete-hidden-refs", "remove hidden refs", None, Duty.TIDYING)
    READ_SUSPECT = ("read-suspect", "see who brought it")
    BUILD_REVERT_COMMIT = (
        "build-revert-commit",
        "make a commit without the suspect",
        _reversible("its ref is removed", by_itself=True),
    )
    COMPUTE_FIX = ("compute-fix", "compute the fix")
    READ_FIX_PATHS = ("read-fix-paths", "see what the fix touches")
    COMMENT_ON_CULPRIT = (
        "comment-on-culprit",
        "tell the culprit's pull request",
        None,
        Duty.TELLING,
    )
    RECORD_FINDINGS = ("record-findings", "record what was learnt", None, Duty.RECORDING)

    # --- A candidate is shadowed, ramped and rolled back ---

    PLAN_SHADOW = ("plan-shadow", "work out what to shadow")
    PLAN_RAMP = ("plan-ramp", "work out what to ramp")
    PLAN_ROLLBACK = ("plan-rollback", "see what was observed")
    START_MIRRORING = (
        "start-mirroring",
        "begin to mirror",
        _reversible("nothing is mirrored any more", by_itself=True),
    )
    STOP_MIRRORING = ("stop-mirroring", "stop mirroring", _reversible("`/shadow` begins another"))
    START_TRAFFIC = ("start-traffic", "give the candidate its first traffic", _TRAFFIC)
    INCREASE_TRAFFIC = ("increase-traffic", "give the candidate more traffic", _TRAFFIC)
    PROMOTE_CANDIDATE = (
        "promote-candidate",
        "make the candidate active",
        _compensatable("`/rollback` takes everything back while the baseline can be called"),
    )
    RETURN_TRAFFIC = (
        "return-traffic",
        "give all traffic back",
        _reversible("`/ramp` begins another ramp"),
    )
    TRIP_RAMP = (
        "trip-ramp",
        "give all traffic back and pause",
        _reversible("`/unpause`, then the plan to try again"),
    )
    ROLL_BACK_TRAFFIC = (
        "roll-back-traffic",
        "give all traffic to the baseline",
        _reversible("`/unpause`, then the plan to try again"),
    )
    COMMIT_FLAG_DOCUMENT = (
        "commit-flag-document",
        "commit the flag document",
        _compensatable("a later commit"),
        Duty.RECORDING,
    )
    READ_EVIDENCE = ("read-evidence", "look at the evidence")
    READ_FULL_EVIDENCE = ("read-full-evidence", "look at the evidence in full")
    READ_POLICY_CHANGE = ("read-policy-change", "see whether the policy changed")
    READ_FOUNDER_ROLE = ("read-founder-role", "see whether a Founder said so")
    REQUEST_ROLLBACK = ("request-rollback", "ask for the rollback")
    EXPLAIN_NOTHING_TO_ROLL_BACK = (
        "explain-nothing-to-roll-back",
        "see why there is nothing to take back",
    )
    RECORD_RESHADOW_PLAN = ("record-reshadow-plan", "write down the plan to shadow again")
    CLOSE_SHADOW = ("close-shadow", "close the shadow before")

    # --- A failing check is judged, an alert followed ---

    READ_CHECK = ("read-check", "look at the check")
    RERUN_CHECK = ("rerun-check", "have the check run again")
    WATCH_COMMIT = ("watch-commit", "watch the commit")
    COMMENT_ON_PULL_REQUEST = (
        "comment-on-pull-request",
        "tell the pull request",
        None,
        Duty.TELLING,
    )
    RECORD_JUDGEMENT = ("record-judgement", "write down the judgement")
    REQUEST_PLAYBOOK = ("request-playbook", "ask for the {item}")
    READ_ALERTS = ("read-alerts", "look at the alerts")
    READ_FIRING_ALERTS = ("read-firing-alerts", "see what still fires")
    READ_BLAME = ("read-blame", "see whom it blames")
    RECORD_FOLLOW_UP = ("record-follow-up", "write down what follows")
    STOP_FOLLOWING_ALERTS = ("stop-following-alerts", "stop following the alerts")
    RELEASE_ALERTS = ("release-alerts", "let go of the alerts")
    FIND_WATCHED_ISSUE = ("find-watched-issue", "see where people watch it")
    COMMENT_ROLLBACK_COMMAND = (
        "comment-rollback-command",
        "ask people for the rollback",
        None,
        Duty.TELLING,
    )


@dataclass(frozen=True)
class ItemStep:
    """One of several steps of the same kind in a Run, told apart by `item`."""

    kind: Step
    item: str

    @property
    def id(self) -> str:
        """The durable id: the kind's, a colon and the item."""
        return f"{self.kind.id}:{self.item}"

    @property
    def label(self) -> str:
        """The kind's words with the item in its place."""
        return self.kind.label.format(item=self.item)

    @property
    def undo(self) -> Undo | None:
        """How it is undone, as its kind is."""
        return self.kind.undo

    @property
    def duty(self) -> Duty:
        """What it is for, as its kind is."""
        return self.kind.duty


AnyStep = Step | ItemStep


@dataclass(frozen=True)
class ProposalSteps:
    """The steps by which a change is proposed: a hotfix's and a fix's are told apart."""

    publish: Step
    open: Step
    refit: Step
    delete_branch: Step
    undo_publish: Step
    undo_open: Step


_PROPOSALS = {
    "hotfix": ProposalSteps(
        publish=Step.PUBLISH_HOTFIX,
        open=Step.OPEN_HOTFIX_PULL_REQUEST,
        refit=Step.REFIT_HOTFIX,
        delete_branch=Step.DELETE_HOTFIX_BRANCH,
        undo_publish=Step.UNDO_PUBLISH_HOTFIX,
        undo_open=Step.UNDO_OPEN_HOTFIX_PULL_REQUEST,
    ),
    "fix": ProposalSteps(
        publish=Step.PUBLISH_FIX,
        open=Step.OPEN_FIX_PULL_REQUEST,
        refit=Step.REFIT_FIX,
        delete_branch=Step.DELETE_FIX_BRANCH,
        undo_publish=Step.UNDO_PUBLISH_FIX,
        undo_open=Step.UNDO_OPEN_FIX_PULL_REQUEST,
    ),
}


def steps_of(proposal: Literal["hotfix", "fix"]) -> ProposalSteps:
    """The steps by which a proposal of this kind is made and taken back."""
    return _PROPOSALS[proposal]


class Patch(StrEnum):
    """Changes of playbooks that Runs begun before them do not follow (`Run.patched`).

    A Run notes, as it begins, which of these its code knows. A patch is deleted, with the old way,
    once no Run is left that began before it: two weeks after its release, since none waits longer.
    Then its name goes to `RETIRED_PATCHES`, where journals that have it are still understood.
    """

    SHORT_BRANCH_NAMES = "short-branch-names"
    A_WORD_JOINS = "a-word-joins"
    PATIENT_WITH_CHECKS = "patient-with-checks"
    WATCHED_WHILE_PAUSED = "watched-while-paused"
    FOREIGN_HEADS = "foreign-heads"
    ONE_YES = "one-yes"
    OVERTAKEN_PLANS = "overtaken-plans"
    CHANCE_AFTER_MERGE = "chance-after-merge"
    REFUSALS_ARE_RECORDED = "refusals-are-recorded"
    STEPS_TELL_THE_TIME = "steps-tell-the-time"
    BOUND_TO_BASE = "bound-to-base"
    ASKED_STAGES = "asked-stages"
    ONLY_WHAT_IS_OPEN = "only-what-is-open"
    RIVALS_WEIGHED = "rivals-weighed"
    RUNS_SHARED = "runs-shared"
    NUMBERS_RIVALS = "numbers-rivals"
    NUMBERS_SIFTED = "numbers-sifted"
    NUMBERS_BALANCED = "numbers-balanced"
    PASSING_CONFLICTS = "passing-conflicts"
    PLANNED_AGAIN = "planned-again"
    WORDS_WHILE_CHECKING = "words-while-checking"
    SETTINGS_READ_AGAIN = "settings-read-again"
    JOINED_RUNS_END = "joined-runs-end"
    EARLIER_BREAKS_LIKELIER = "earlier-breaks-likelier"
    GONE_ISSUES = "gone-issues"
    STAGES_ANSWERED = "stages-answered"
    JOINED_FLAGS = "joined-flags"
    NUMBERS_IN_STEPS = "numbers-in-steps"
    ONE_WORD_EACH = "one-word-each"
    FLAPPING_ALERTS = "flapping-alerts"


RETIRED_PATCHES: tuple[str, ...] = ()
"""Patches that every living Run follows."""


class WaitPoint(StrEnum):
    """Where a Run waits for a Signal or for time to pass; an upgrade finds Runs at each of them."""

    BEFORE_PUBLISHING = "before-publishing"
    AGREEMENT = "agreement"
    PULL_REQUEST = "pull-request"
    BASE_AFTER_MERGE = "base-after-merge"
    BASE_RECOVERY = "base-recovery"
    TRIALS = "trials"
    VERIFICATION = "verification"
    PAUSED_SEARCH = "paused-search"
    SHADOW = "shadow"
    RAMP = "ramp"
    CHECK_RERUN = "check-rerun"
    ALERTS = "alerts"


WAITS: dict[str, tuple[WaitPoint, ...]] = {
    "revert": (
        WaitPoint.AGREEMENT,
        WaitPoint.PULL_REQUEST,
        WaitPoint.BASE_AFTER_MERGE,
        WaitPoint.BASE_RECOVERY,
    ),
    "bisect": (
        WaitPoint.TRIALS,
        WaitPoint.VERIFICATION,
        WaitPoint.PAUSED_SEARCH,
        WaitPoint.PULL_REQUEST,
        WaitPoint.BASE_AFTER_MERGE,
        WaitPoint.BASE_RECOVERY,
    ),
    "shadow": (WaitPoint.SHADOW,),
    "ramp": (WaitPoint.RAMP,),
    "rollback": (WaitPoint.PULL_REQUEST, WaitPoint.BASE_AFTER_MERGE, WaitPoint.BASE_RECOVERY),
    "judge": (WaitPoint.CHECK_RERUN,),
    "triage": (WaitPoint.ALERTS,),
}
"""The waits that a Run of each playbook can reach. `BEFORE_PUBLISHING` only looks, and goes on."""


class PlannedStep(Value):
    """One step of a plan: its durable id, its words, and how it is undone."""

    id: str
    label: str
    undo: Undo


USUAL: dict[str, tuple[Step, ...]] = {
    "revert": (Step.PUBLISH_HOTFIX, Step.OPEN_HOTFIX_PULL_REQUEST, Step.MERGE_PULL_REQUEST),
    "bisect": (
        Step.DISPATCH_TRIAL,
        Step.PUBLISH_FIX,
        Step.OPEN_FIX_PULL_REQUEST,
        Step.MERGE_PULL_REQUEST,
    ),
    "shadow": (Step.START_MIRRORING,),
    "ramp": (Step.START_TRAFFIC, Step.INCREASE_TRAFFIC, Step.PROMOTE_CANDIDATE),
    "rollback": (
        Step.ROLL_BACK_TRAFFIC,
        Step.PUBLISH_FIX,
        Step.OPEN_FIX_PULL_REQUEST,
        Step.MERGE_PULL_REQUEST,
    ),
}
"""What each playbook does to the world, as far as that is known before there is a plan."""


def planned(playbook: str, irreversible: Collection[str] = ()) -> tuple[PlannedStep, ...]:
    """The steps of a plan.

    Args:
        playbook: which.
        irreversible: what it touches that nothing brings back: then its merge is for good.
    """
    steps = []
    for step in USUAL.get(playbook, ()):
        undo = step.undo or MERGE_IRREVERSIBLE
        if irreversible and step is Step.MERGE_PULL_REQUEST:
            undo = MERGE_IRREVERSIBLE
        steps.append(PlannedStep(id=step.id, label=step.words, undo=undo))
    return tuple(steps)


def worst(steps: Iterable[PlannedStep]) -> Reversibility:
    """How far all of it can be taken back: as far as the step that can least."""
    order = list(Reversibility)
    known = [step.undo.reversibility for step in steps]
    return max(known, key=order.index, default=Reversibility.REVERSIBLE)
