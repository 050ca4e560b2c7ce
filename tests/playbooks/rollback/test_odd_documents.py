"""The committed flag document as anybody may leave it: a rollback sets its flag all the same."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from bot.git.process import Git
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.rollback.plan import SettingFlags, with_flag
from bot.traffic.flagd import Split, flag_document, read_flags, what_is_wrong
from tests.git.history_builder import History
from tests.playbooks.providing import CAPABILITY, Providers
from tests.playbooks.rollback.test_playbook import fix
from tests.traffic.trials import serving

PATH = "flags/flagd.json"
SERVED = flag_document([serving(Split(baseline="provider-a"), 9)])
FLAG = SERVED["flags"][CAPABILITY]


def flagged(**changes: Any) -> str:
    """A document with a flag of ours that somebody changed."""
    return json.dumps(SERVED | {"flags": {CAPABILITY: FLAG | changes}})


def besides(more: str) -> str:
    """A document with more beside its flags."""
    return '{"metadata": {"generation": 5}, "flags": {}, ' + more + "}"


UNUSABLE = {
    "a variant that is a list": flagged(defaultVariant=[]),
    "a variant that is a mapping": flagged(defaultVariant={}),
    "a fallback that is a list": flagged(
        targeting={
            "if": [
                {"!!": [{"var": "targetingKey"}]},
                {"fractional": [{"cat": [f"{CAPABILITY}:1:", {"var": "targetingKey"}]}]},
                [],
            ]
        }
    ),
    "half a character": flagged(variants={"baseline": "\ud800"}),
    "half a character in a name": besides('"\\ud800": 1'),
    "nested without end": besides('"x": ' + "[" * 100_000 + "]" * 100_000),
    "no number": besides('"x": NaN'),
    "a number beyond all": besides('"x": 1e999'),
}
USABLE = {
    "no metadata": flagged(metadata=None),
    "metadata that are a list": flagged(metadata=[1]),
    "what another tool keeps there": besides('"$evaluators": {"mine": {}}'),
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_a_document_that_cannot_be_used_is_replaced_whole(text: str) -> None:
    assert "it cannot be used" in str(what_is_wrong(text, SERVED))
    assert read_flags(with_flag(text, CAPABILITY, FLAG, 9)) == SERVED


@pytest.mark.parametrize("text", USABLE.values(), ids=USABLE)
def test_what_stands_beside_our_flag_stays(text: str) -> None:
    assert what_is_wrong(text, SERVED) is None
    expected = json.loads(text) | {"metadata": {"generation": 9}, "flags": {CAPABILITY: FLAG}}
    assert read_flags(with_flag(text, CAPABILITY, FLAG, 9)) == expected


class _Mirror:
    """Reads one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git

    async def read(self, look: Callable[[Git], Awaitable[Any]]) -> Any:
        return await look(self._git)


def a_folder(root: Path) -> None:
    (root / PATH).mkdir(parents=True)
    (root / PATH / "a").write_text("1")


def a_link(root: Path) -> None:
    (root / "flags").mkdir()
    (root / PATH).symlink_to("elsewhere.json")


def five_mebibytes(root: Path) -> None:
    (root / "flags").mkdir()
    (root / PATH).write_text(" " * 5 * 1024 * 1024)


@pytest.mark.parametrize("there", [a_folder, a_link, five_mebibytes])
async def test_whatever_stands_in_its_place_gives_way(
    there: Callable[[Path], None], tmp_path: Path
) -> None:
    history = History.start(tmp_path / "work")
    there(history.path)
    history.git("add", "--all")
    history.git("commit", "--quiet", "--message", "odd")
    mirror = cast(HistoryMirror, _Mirror(Git(history.git_dir)))
    setting = SettingFlags(mirror, PATH, CAPABILITY, FLAG, 9)
    fixed = await setting.onto(history.head)
    assert history.git("ls-tree", "-r", "--format=%(objectmode) %(path)", fixed.tree) == (
        f"100644 {PATH}"
    )
    assert read_flags(history.git("show", f"{fixed.tree}:{PATH}")) == SERVED


@pytest.mark.thorough
async def test_a_rollback_does_not_stop_at_a_document_that_nobody_can_write_again(
    providers: Providers,
) -> None:
    shop = providers.shop
    issue = await shop.alice.open_issue("Try provider-b", "It may be better.")
    await shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    await providers.mirroring()
    # Older than what is served, and favouring nobody, it may stay as it is.
    odd = '{"metadata": {"generation": 0}, "flags": {}, "\\ud800": 1}'
    await shop.alice.push("main", {PATH: odd}, "Flags of another tool")
    await shop.says(issue, f"/rollback {CAPABILITY} because it is too slow")
    pull = await fix(providers)
    there = json.loads(await shop.alice.file(PATH, pull["head"]["ref"]) or "{}")
    assert there["flags"][CAPABILITY] == await providers.flag()
