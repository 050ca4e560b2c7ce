"""Steps as journals and tables have them: by id, or in the prose of Runs begun before 2026-11-29.

Until then the words that people read were the durable identity. What such Runs have recorded is
still understood here.
"""

from __future__ import annotations

import hashlib

from bot.playbooks.steps import RETIRED_PATCHES, AnyStep, ItemStep, Patch, Step

_PROSE: dict[str, Step] = {
    "read the clock": Step.READ_CLOCK,
    "react with {item}": Step.REACT,
    "answer": Step.ANSWER,
    "answer in the cockpit: {item}": Step.ANSWER_IN_COCKPIT,
    "read what the sender may do": Step.READ_ADMISSION_FACTS,
    "count it against the caps": Step.COUNT_AGAINST_CAPS,
    "see what is going on": Step.READ_CONTEXT,
    "begin the run": Step.BEGIN_RUN,
    "end the run": Step.END_RUN,
    "read what is next": Step.READ_NEXT_STEPS,
    "set the severity": Step.SET_SEVERITY,
    "change the severity label": Step.CHANGE_SEVERITY_LABEL,
    "see what can be paused": Step.READ_PAUSABLE,
    "pause it": Step.PAUSE,
    "see what is paused": Step.READ_PAUSED,
    "unpause it": Step.UNPAUSE,
    "see what the gate holds": Step.READ_HELD_HEAD,
    "let it through": Step.RELEASE_HELD_HEAD,
    "see whose answer counts": Step.READ_APPROVERS,
    "write the decision down": Step.RECORD_DECISION,
    "see what configuration is to be approved": Step.READ_PENDING_CONFIGURATION,
    "approve the configuration": Step.APPROVE_CONFIGURATION,
    "report the approved configuration": Step.REPORT_CONFIGURATION_APPROVED,
    "report who may approve the configuration": Step.REPORT_CONFIGURATION_APPROVERS,
    "see whose issue this is": Step.READ_INCIDENT_OF_ISSUE,
    "read its papers": Step.READ_RECORD_FILES,
    "the incident is {item}": Step.MOVE_INCIDENT,
    "put its papers right": Step.WRITE_RECORD_FILES,
    "open the incident": Step.OPEN_INCIDENT,
    "open the incident issue": Step.OPEN_INCIDENT_ISSUE,
    "open the incident issue again": Step.REOPEN_INCIDENT_ISSUE,
    "close the incident issue": Step.CLOSE_INCIDENT_ISSUE,
    "record the incident issue": Step.RECORD_INCIDENT_ISSUE,
    "note where its papers are": Step.RECORD_FILE_PATHS,
    "record the proposal": Step.RECORD_PROPOSAL,
    "ask for an approval": Step.REQUEST_APPROVAL,
    "record the approval": Step.RECORD_APPROVAL,
    "take the question back": Step.VOID_APPROVAL,
    "begin to undo": Step.BEGIN_COMPENSATION,
    "finish the run": Step.FINISH_RUN,
    "record the incident": Step.RECORD_INCIDENT,
    "record the outcome": Step.RECORD_OUTCOME,
    "keep the papers": Step.KEEP_RECORD_FILES,
    "record the {item}": Step.RECORD_ATTEMPT,
    "bring the records to the default branch": Step.COPY_RECORDS_TO_DEFAULT_BRANCH,
    "see what was done": Step.READ_STEPS_DONE,
    "keep where it stands": Step.STORE_STATUS,
    "say that it has begun": Step.POST_FIRST_STATUS,
    "say where it stands": Step.UPDATE_STATUS,
    "tell people where it stands": Step.PUBLISH_STATUS,
    "report it as verified": Step.REPORT_VERIFIED,
    "ask the requester": Step.ASK_REQUESTER,
    "have the final word": Step.POST_FINAL_COMMENT,
    "assign the requester": Step.ASSIGN_REQUESTER,
    "work out what to revert": Step.PLAN_REVERT,
    "see which checks count": Step.CHOOSE_CHECKS,
    "publish the hotfix": Step.PUBLISH_HOTFIX,
    "publish the fix": Step.PUBLISH_FIX,
    "open the hotfix pull request": Step.OPEN_HOTFIX_PULL_REQUEST,
    "open the fix pull request": Step.OPEN_FIX_PULL_REQUEST,
    "fit the hotfix to the moved base": Step.REFIT_HOTFIX,
    "fit the fix to the moved base": Step.REFIT_FIX,
    "look at the pull request": Step.READ_PULL_REQUEST,
    "run again what broke off": Step.RERUN_CHECKS,
    "merge the pull request": Step.MERGE_PULL_REQUEST,
    "merge the pull request, for good": Step.MERGE_PULL_REQUEST_IRREVERSIBLY,
    "put the pull request into the merge queue": Step.ENQUEUE_PULL_REQUEST,
    "put the pull request into the merge queue, for good": Step.ENQUEUE_PULL_REQUEST_IRREVERSIBLY,
    "see what the base branch is now": Step.READ_BASE_AFTER_MERGE,
    "see whether the base branch is green": Step.READ_BASE_CHECKS,
    "watch the base branch": Step.WATCH_BASE_BRANCH,
    "delete the hotfix branch": Step.DELETE_HOTFIX_BRANCH,
    "delete the fix branch": Step.DELETE_FIX_BRANCH,
    "take earlier attempts back": Step.CLOSE_EARLIER_ATTEMPTS,
    "undo: open the hotfix pull request": Step.UNDO_OPEN_HOTFIX_PULL_REQUEST,
    "undo: open the fix pull request": Step.UNDO_OPEN_FIX_PULL_REQUEST,
    "undo: publish the hotfix": Step.UNDO_PUBLISH_HOTFIX,
    "undo: publish the fix": Step.UNDO_PUBLISH_FIX,
    "ask for a bisect": Step.REQUEST_BISECT,
    "work out what to search": Step.PLAN_BISECT,
    "read the range": Step.READ_RANGE,
    "see who we are": Step.READ_APP_ID,
    "read the results there are": Step.READ_KNOWN_RESULTS,
    "look for a good end": Step.FIND_GOOD_END,
    "read what was tried before": Step.READ_EARLIER_TRIALS,
    "read who is suspected": Step.READ_SUBJECTS,
    "show how far it is": Step.STORE_PROGRESS,
    "reserve a trial": Step.RESERVE_TRIAL,
    "dispatch trial {item}": Step.DISPATCH_TRIAL,
    "look at the trials": Step.READ_TRIALS,
    "watch the trials": Step.WATCH_TRIALS,
    "settle trials": Step.SETTLE_TRIALS,
    "cancel trials": Step.CANCEL_TRIALS,
    "clear the bench": Step.CLEAN_RUNNER,
    "look for hidden refs": Step.LIST_HIDDEN_REFS,
    "see which searches are at work": Step.READ_LIVE_SEARCHES,
    "remove hidden refs": Step.DELETE_HIDDEN_REFS,
    "see who brought it": Step.READ_SUSPECT,
    "make a commit without the suspect": Step.BUILD_REVERT_COMMIT,
    "compute the fix": Step.COMPUTE_FIX,
    "see what the fix touches": Step.READ_FIX_PATHS,
    "tell the culprit's pull request": Step.COMMENT_ON_CULPRIT,
    "record what was learnt": Step.RECORD_FINDINGS,
    "work out what to shadow": Step.PLAN_SHADOW,
    "work out what to ramp": Step.PLAN_RAMP,
    "see what was observed": Step.PLAN_ROLLBACK,
    "begin to mirror": Step.START_MIRRORING,
    "stop mirroring": Step.STOP_MIRRORING,
    "give the candidate its first traffic": Step.START_TRAFFIC,
    "give the candidate more traffic": Step.INCREASE_TRAFFIC,
    "make the candidate active": Step.PROMOTE_CANDIDATE,
    "give all traffic back": Step.RETURN_TRAFFIC,
    "give all traffic back and pause": Step.TRIP_RAMP,
    "give all traffic to the baseline": Step.ROLL_BACK_TRAFFIC,
    "commit the flag document": Step.COMMIT_FLAG_DOCUMENT,
    "look at the evidence": Step.READ_EVIDENCE,
    "look at the evidence in full": Step.READ_FULL_EVIDENCE,
    "see whether the policy changed": Step.READ_POLICY_CHANGE,
    "see whether a Founder said so": Step.READ_FOUNDER_ROLE,
    "ask for the rollback": Step.REQUEST_ROLLBACK,
    "see why there is nothing to take back": Step.EXPLAIN_NOTHING_TO_ROLL_BACK,
    "write down the plan to shadow again": Step.RECORD_RESHADOW_PLAN,
    "close the shadow before": Step.CLOSE_SHADOW,
    "look at the check": Step.READ_CHECK,
    "have the check run again": Step.RERUN_CHECK,
    "watch the commit": Step.WATCH_COMMIT,
    "tell the pull request": Step.COMMENT_ON_PULL_REQUEST,
    "write down the judgement": Step.RECORD_JUDGEMENT,
    "ask for the {item}": Step.REQUEST_PLAYBOOK,
    "look at the alerts": Step.READ_ALERTS,
    "see what still fires": Step.READ_FIRING_ALERTS,
    "see whom it blames": Step.READ_BLAME,
    "write down what follows": Step.RECORD_FOLLOW_UP,
    "stop following the alerts": Step.STOP_FOLLOWING_ALERTS,
    "let go of the alerts": Step.RELEASE_ALERTS,
    "see where people watch it": Step.FIND_WATCHED_ISSUE,
    "ask people for the rollback": Step.COMMENT_ROLLBACK_COMMAND,
}
"""What such Runs have in their journals. Delete this, and the prose in `step_named`, once no
Run is left that began then: two weeks after the deployment, since none waits longer."""

_BY_ID: dict[str, Step] = {step.id: step for step in Step}


def _code() -> str:
    known = "\n".join([*sorted(_BY_ID), *RETIRED_PATCHES, *Patch])
    return f"steps-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


CODE = _code()
"""Names the code that knows just these steps and patches: any such code may continue a Run that
another of the same name began."""


def step_named(stored: str) -> AnyStep | None:
    """Find the step that is stored like this; None: this code knows no such step."""
    if found := _BY_ID.get(stored) or _PROSE.get(stored):
        return found
    kind, colon, item = stored.partition(":")
    if colon and kind in _BY_ID:
        return _BY_ID[kind].of(item)
    for prose, step in _PROSE.items():
        before, braces, _ = prose.partition("{item}")
        if braces and stored.startswith(before):
            return step.of(stored.removeprefix(before))
    return None


def label_of(stored: str) -> str:
    """Say a stored step in words; what this code does not know is said as it is stored."""
    step = step_named(stored)
    return stored if step is None else step.label


def prose_of(step: AnyStep) -> str | None:
    """What a Run begun before 2026-11-29 calls this step; None: it was not there then."""
    prose = next((prose for prose, each in _PROSE.items() if each is step.kind), None)
    return prose.format(item=step.item) if prose and isinstance(step, ItemStep) else prose
