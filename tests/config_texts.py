"""Texts that try to be `.github/playbooks.yml`: by chance, by grammar, or good ones spoilt."""

from __future__ import annotations

from hypothesis import strategies as st

GOOD = """\
artifacts: {root: reports}
adr: {directory: docs/adr}
checks:
  smoke: [build, "test (ubuntu-latest, 3.11)"]
  preview: [pr-*]
  timeout_minutes: 5
triggers: {autonomy: off, young_hours: 3}
self_work: {label: robot, authors: ["@acme-agent", "dependabot[bot]"]}
founder: {people: [olivia], paths: [db/migrations/**], approval_hours: 24}
budgets: {llm: {unit: usd, limit: 12.5, window: day}}
caps: {reverts_a_day: 3}
commands: {revert: maintain}
revert: {merge_method: squash}
bisect:
  runner: sandbox
  commands: {build: [make], smoke: [make, test]}
  overlay: [tools]
  confidence: 0.95
flags: {path: flags/flagd.json, commits: end}
capabilities:
  llm.summarize:
    baseline: a
    candidates: [b, c]
    stages: [{percent: 5}, {percent: 100}]
    max_silence: 10m
"""

_PIECES = (
    *("&a ", "*a", "!!str ", "!!python/object:os.system ", "!x ", "<<: ", "? ", "- ", ": ", ", "),
    *("[", "]", "{", "}", "'", '"', "|\n", ">-\n", "---\n", "...\n", "%YAML 1.2\n", "\t", "# x\n"),
    *("2001-13-45", "2001-12-14t21:59:43.10-05:00", "190:20:30", "1:30", ".nan", "-.inf", "1e999"),
    *("9" * 5000, "0b_", "0x", "08", "._", "-.", "=", "~", "yes", "off", "null", "1.5", "-0"),
    *("\0", "\x1b", "\x85", "\u2028", "\ufeff", "\ud800", '"\\ud800"', '"\\0"', "\U0001f600"),
    *("checks", "smoke", "founder", "people", "budgets", "limit", "unit", "capabilities", "bisect"),
    *("metrics", "prometheus", "stages", "percent", "test (a, b)", "(", ")", "@bob", "\r", "\n"),
    *("\n  ", "\n    ", "\n", "a: ", "x", "[" * 30, "{a: " * 30),
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(_PIECES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=4,
)
_NAMES = (
    *("artifacts", "adr", "checks", "triggers", "self_work", "founder", "budgets", "caps"),
    *("commands", "revert", "bisect", "flags", "capabilities", "root", "directory", "smoke"),
    *("autonomy", "authors", "people", "paths", "limit", "unit", "runner", "overlay", "path"),
    *("baseline", "candidates", "metrics", "stages", "prometheus", "approval_hours", "llm.a", "k"),
)
_SECTIONS = st.recursive(
    _VALUES,
    lambda inner: st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    """A good file in which a few places were cut out, doubled, or had something put into them."""
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 12)))
        put = draw(st.sampled_from(_PIECES) | st.text(max_size=4))
        text = text[:at] + put + draw(st.sampled_from(("", text[at:to]))) + text[to:]
    return text


pieces = st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)
sections = _SECTIONS.map(lambda data: repr(data).replace("None", "null"))
texts = st.text(max_size=100) | pieces | sections | spoilt()
sources = texts | st.binary(max_size=100) | texts.map(lambda text: text.encode("utf-16", "replace"))
