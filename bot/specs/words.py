"""Every word a pull request's spec section says, as pure functions (Markdown out)."""

from __future__ import annotations

from collections.abc import Sequence

from bot import markdown
from bot.records.documents.spec_report import SPEC_REPORT_PATH, SpecReport, spec_table
from bot.specs.reading import SpecFault

SECTION = "spec"
"""The name of our section in the description."""
LONGEST_TABLE = 30_000
"""Characters; a longer table is left out, since descriptions end at 65,536."""

_SHORT = 9


def table(report: SpecReport, head: str, file_url: str) -> str:
    """Show a report, brought up to date, as the pull request's section."""
    shown = spec_table(report)
    count = report.summary
    unmet = f"{count.unmet} of {len(report.spec)} requirements"
    first = (
        f"**Look at the requirements below: {unmet} are not met.**"
        if count.unmet
        else "**Nothing to do for you yet: some requirements below are not known yet.**"
        if count.unknown
        else "**Every requirement below is met.**"
    )
    if len(shown) > LONGEST_TABLE:
        shown = f"{count.met} met, {count.unmet} unmet, {count.unknown} not known yet. " + (
            "The table is too long to be shown here."
        )
    return (
        f"{first}\n\nFrom {markdown.link(SPEC_REPORT_PATH, file_url)} at "
        f"{markdown.code(head[:_SHORT])}, with what the checks say now.\n\n{shown}"
    )


def invalid(faults: Sequence[SpecFault], head: str, file_url: str) -> str:
    """Say what is wrong with the file and what to do."""
    listed = "\n".join(
        f"- {markdown.code(fault.field)}: {markdown.text(fault.what, limit=300)}"
        if fault.field
        else f"- the file: {markdown.text(fault.what, limit=300)}"
        for fault in faults
    )
    return (
        f"**Mend {markdown.link(SPEC_REPORT_PATH, file_url)}, or take it out of this pull "
        f"request: it is no spec report.**\n\nAt {markdown.code(head[:_SHORT])}:\n\n{listed}\n\n"
        f"Expected is JSON of the schema {markdown.code('incident-playbooks/spec/1')}."
    )
