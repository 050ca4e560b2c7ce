"""Golden journals: the steps that each playbook's story records, as they were released.

A Run that waits for CI while a new release is deployed is replayed from the top: it must meet the
steps that it has recorded, in their order. So a change of that order goes behind `run.patched`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from bot.playbooks.steps import Patch, Step
from bot.playbooks.stored_steps import step_named

FOLDER = Path(__file__).parent / "journals"
REWRITE = "PLAYBOOKS_JOURNALS"
"""Set to `write` to write the journals anew."""

_SMALL = 4
"""A Run of fewer kinds of steps only answers a command."""

_ADVICE = """\
The steps that a {play} records are not those of its golden journal any more:

{difference}

A {play} that waits for CI while this is deployed could not go on: replayed, it would meet another
step than the one it has recorded. Either

1. you meant to change only words: change the step's label in bot/playbooks/steps.py, not its id; or
2. you meant to change what is done: add a member to `Patch` in bot/playbooks/steps.py, keep the
   old way, and put the new one behind `if run.patched(Patch.YOUR_CHANGE):`. Then write the journal
   anew, and commit it with your change: {rewrite}=write make test ARGS=tests/chaos

docs/develop/changing-a-playbook.md has an example of each."""


def journal_of(moments: Iterable[tuple[str, str, str]]) -> list[str]:
    """The kinds of steps of each Run in the order in which it first took them.

    How often a Run looks depends on how quickly others are; in which order it first does what,
    does not.

    Args:
        moments: moment, Run and step, as they came.
    """
    by_run: dict[str, dict[str, None]] = {}
    for moment, run, stored in moments:
        step = step_named(stored)
        if moment == "began" and step is not None:
            by_run.setdefault(run, {})[step.kind.id] = None
    told = sorted(list(steps) for steps in by_run.values() if len(steps) >= _SMALL)
    # What only tells may come before or after a look, as CI is quicker or slower than we are; and
    # who reports is asked only where it is slow.
    return [line for steps in told for line in ("", *_without(steps))][1:]


def _without(steps: Collection[str]) -> list[str]:
    told = {
        Step.PUBLISH_STATUS.id,
        Step.STORE_STATUS.id,
        Step.STORE_PROGRESS.id,
        # Comes only where a ramp has to wait for its evidence.
        Step.READ_POLICY_CHANGE.id,
    }
    told.add(Step.READ_REPORTING_CHECKS.id)
    if Step.INCREASE_TRAFFIC.id in steps:
        # How far a ramp has come when it first has to wait depends on how quickly clients report.
        told.add(Step.READ_FULL_EVIDENCE.id)
    return [step for step in steps if step not in told]


def assert_as_released(play: str, moments: Iterable[tuple[str, str, str]]) -> None:
    """Compare a story's steps with its golden journal; write that where it is asked for.

    A bot that is a program of its own shows no moments: nothing is compared, nothing written.
    """
    moments = list(moments)
    if not moments:
        return
    path = FOLDER / f"{play.replace(' ', '-')}.txt"
    header = f"# patches: {', '.join(Patch)}"
    journal = [header, *journal_of(moments)]
    if os.environ.get(REWRITE) == "write":
        FOLDER.mkdir(exist_ok=True)
        path.write_text("\n".join(journal) + "\n", encoding="utf-8")
        return
    golden = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if golden == journal:
        return
    lines = [f"- {line}" for line in golden if line not in journal]
    lines += [f"+ {line}" for line in journal if line not in golden]
    if not lines:
        at = next(
            i for i, pair in enumerate(zip(golden, journal, strict=False)) if len({*pair}) > 1
        )
        lines = [f"- {golden[at]}", f"+ {journal[at]}", "(the same steps in another order)"]
    said = _ADVICE.format(play=play, difference="\n".join(lines), rewrite=REWRITE)
    raise AssertionError(said)
