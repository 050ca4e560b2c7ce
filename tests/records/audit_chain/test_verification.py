"""`audit verify` finds what was done to a chain, says where, and claims nothing it cannot know."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cockpit.audit import Chains
from bot.records.audit import chain as audit
from bot.records.audit.anchors import ANCHORS_PATH, Anchor, public_pem, read_anchors, sign
from bot.records.audit.chain import GENESIS, AuditEntry, AuditHead
from bot.records.audit.verify import (
    Altered,
    AuditReport,
    CannotCheck,
    ExitCode,
    Intact,
    Truncated,
    audit_verify,
    verify,
)
from bot.records.database import reading
from bot.triggers import Repository
from tests.records.examples import NOON

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def chain(length: int, actor: str = "alice") -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for seq in range(1, length + 1):
        unhashed = AuditEntry(
            repository_id=1,
            seq=seq,
            time=NOON + timedelta(seconds=seq),
            actor=actor,
            action="x",
            incident=None,
            run=None,
            refs={},
            data={"n": seq},
            prev_hash=entries[-1].entry_hash if entries else GENESIS,
            entry_hash="",
        )
        entries.append(unhashed.model_copy(update={"entry_hash": unhashed.computed_hash()}))
    return entries


def anchors(entries: Sequence[AuditEntry], *seqs: int) -> list[Anchor]:
    return [sign(entries[seq - 1].head, KEY, NOON) for seq in seqs]


TEN = chain(10)
PUBLIC = KEY.public_key()
CHAINS = 9


def test_an_intact_chain_with_an_anchor_is_intact() -> None:
    assert verify(TEN, anchors(TEN, 5, 10), PUBLIC) == Intact(entries=10, anchored=10)


def test_entries_after_the_last_anchor_are_said_to_be_only_chained() -> None:
    verdict = verify(TEN, anchors(TEN, 7), PUBLIC)
    assert verdict == Intact(entries=10, anchored=7)
    assert str(verdict).endswith("the last 3 are chained but not anchored yet")


def test_without_an_anchor_nothing_is_called_intact() -> None:
    verdict = verify(TEN, [], PUBLIC)
    assert isinstance(verdict, CannotCheck)
    assert "there is no anchor" in verdict.reason


def test_an_anchor_of_another_key_is_no_anchor() -> None:
    forged = [sign(TEN[-1].head, OTHER_KEY, NOON)]
    verdict = verify(TEN, forged, PUBLIC)
    assert isinstance(verdict, CannotCheck)
    assert "signed by this key" in verdict.reason


def test_an_anchor_of_an_unknown_key_beside_a_genuine_one_is_reported() -> None:
    forged = sign(AuditHead(repository_id=1, seq=99, head_hash="f" * 64), OTHER_KEY, NOON)
    verdict = verify(TEN, [forged, *anchors(TEN, 10)], PUBLIC)
    assert isinstance(verdict, CannotCheck)
    assert "entry 99" in verdict.reason
    assert "unknown key" in verdict.reason


@pytest.mark.parametrize("last", [1, 5, 9])
def test_a_cut_chain_is_not_intact_under_any_key(last: int) -> None:
    by_another = [sign(TEN[-1].head, OTHER_KEY, NOON)]
    for keys in (PUBLIC, OTHER_KEY.public_key(), (PUBLIC, OTHER_KEY.public_key())):
        verdict = verify(TEN[:last], [*anchors(TEN, last), *by_another], keys)
        assert not isinstance(verdict, Intact)
    both = verify(TEN, [*anchors(TEN, 5), *by_another], (PUBLIC, OTHER_KEY.public_key()))
    assert both == Intact(entries=10, anchored=10)


@pytest.mark.parametrize(
    "field", ["repository_id", "time", "actor", "action", "incident", "run", "refs", "data"]
)
def test_a_change_of_any_field_is_found_where_it_is(field: str) -> None:
    other = {
        "repository_id": 2,
        "time": NOON,
        "refs": {"a": 1},
        "data": {"n": "5"},
    }.get(field, "mallory")
    changed = [e.model_copy(update={field: other}) if e.seq == 5 else e for e in TEN]
    verdict = verify(changed, anchors(TEN, 10), PUBLIC)
    assert isinstance(verdict, Altered)
    assert verdict.entry == 5


@pytest.mark.parametrize("removed", [1, 5, 9])
def test_a_removed_entry_is_named(removed: int) -> None:
    rest = [entry for entry in TEN if entry.seq != removed]
    assert verify(rest, anchors(TEN, 10), PUBLIC) == Altered(entry=removed, reason="it was removed")


def test_a_removed_entry_is_found_when_the_rest_is_renumbered() -> None:
    rest = [entry for entry in TEN if entry.seq != 5]
    renumbered = [entry.model_copy(update={"seq": seq}) for seq, entry in enumerate(rest, start=1)]
    verdict = verify(renumbered, anchors(TEN, 10), PUBLIC)
    assert isinstance(verdict, Altered)
    assert verdict.entry == 5


@pytest.mark.parametrize("left", [0, 1, 9])
def test_a_cut_tail_is_found_by_an_anchor(left: int) -> None:
    verdict = verify(TEN[:left], anchors(TEN, 10), PUBLIC)
    assert isinstance(verdict, Truncated)
    assert verdict.entry == left + 1


def test_a_cut_tail_is_found_by_the_head_row_the_cutter_forgot() -> None:
    verdict = verify(TEN[:8], anchors(TEN, 5), PUBLIC, TEN[-1].head)
    assert isinstance(verdict, Truncated)
    assert verdict.entry == 9


def test_a_chain_written_anew_is_found_by_an_anchor() -> None:
    verdict = verify(chain(10, "mallory"), anchors(TEN, 4, 10), PUBLIC)
    assert isinstance(verdict, Altered)
    assert verdict.entry == 4
    assert "entries 1 to 4 were rewritten" in verdict.reason


def test_a_chain_written_anew_from_the_middle_is_placed_between_two_anchors() -> None:
    forged = chain(10, "mallory")
    spliced = TEN[:6]
    for entry in forged[6:]:
        follows = entry.model_copy(update={"prev_hash": spliced[-1].entry_hash})
        spliced.append(follows.model_copy(update={"entry_hash": follows.computed_hash()}))
    verdict = verify(spliced, anchors(TEN, 6, 10), PUBLIC)
    assert isinstance(verdict, Altered)
    assert "entries 7 to 10 were rewritten" in verdict.reason


def test_entries_added_behind_the_head_are_found() -> None:
    verdict = verify(TEN, anchors(TEN, 5), PUBLIC, TEN[7].head)
    assert verdict == Altered(entry=9, reason="it was added without moving the chain's head")


@given(st.data())
def test_no_single_change_to_an_anchored_chain_goes_unseen(data: st.DataObject) -> None:
    entries = list(TEN)
    position = data.draw(st.integers(0, 9))
    match data.draw(st.sampled_from(["remove", "swap", "edit", "rehash", "cut", "repeat"])):
        case "remove":
            del entries[position]
        case "swap":
            other = (position + 1) % 10
            entries[position], entries[other] = entries[other], entries[position]
        case "edit":
            entries[position] = entries[position].model_copy(update={"actor": "mallory"})
        case "rehash":
            edited = entries[position].model_copy(update={"actor": "mallory"})
            rehashed = {"entry_hash": edited.computed_hash()}
            entries[position] = edited.model_copy(update=rehashed)
        case "cut":
            del entries[position:]
        case _:
            entries.insert(position, entries[position])
    verdict = verify(entries, anchors(TEN, 10), PUBLIC)
    assert isinstance(verdict, Altered | Truncated)


# The whole way: a real database, tampered with, real anchor files, real git.


@pytest.fixture
async def evidence(engine: AsyncEngine, tmp_path: Path) -> tuple[Path, Path]:
    """Ten entries of each of some repositories, with their anchors and the public key on disk."""
    text = ""
    async with engine.begin() as conn:
        for repository in range(1, CHAINS + 1):
            for number in range(10):
                entry = await audit.append(
                    conn, repository, "x", actor="alice", at=NOON, data={"n": number}
                )
            text += sign(entry.head, KEY, NOON).line()
    anchors_file, key_file = tmp_path / "anchors.jsonl", tmp_path / "key.pub"
    anchors_file.write_text(text)
    key_file.write_bytes(public_pem(PUBLIC))
    return anchors_file, key_file


async def tamper(engine: AsyncEngine, *statements: str) -> None:
    """Do what someone with every right on the database can do."""
    async with engine.begin() as conn:
        if engine.dialect.name == "sqlite":
            for name in ("update", "delete", "replace"):
                await conn.exec_driver_sql(f"DROP TRIGGER audit_entries_no_{name}")
        else:
            await conn.exec_driver_sql("ALTER TABLE audit_entries DISABLE TRIGGER USER")
        for statement in statements:
            await conn.exec_driver_sql(statement)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def only(report: AuditReport, repository_id: int) -> object:
    [found] = [c.verdict for c in report.chains if c.repository_id == repository_id]
    return found


async def test_an_untouched_database_is_intact(url: str, evidence: tuple[Path, Path]) -> None:
    report = await audit_verify(url, *evidence)
    assert report.lines() == [
        f"repository {number}: intact: 10 entries, anchored up to entry 10"
        for number in range(1, CHAINS + 1)
    ]
    assert report.code is ExitCode.INTACT


async def test_what_was_done_to_the_rows_of_each_chain_is_found_and_placed(
    url: str, engine: AsyncEngine, evidence: tuple[Path, Path]
) -> None:
    row, chain_of = "audit_entries SET {} WHERE seq = 4 AND repository_id =", "repository_id ="
    done = [
        ("UPDATE " + row.format("actor = 'mallory'"), Altered, 4),
        ("UPDATE " + row.format("""data = '{"n": 3}'"""), Altered, 4),
        ("UPDATE " + row.format("data = 'no json'"), Altered, 4),
        ("UPDATE " + row.format("prev_hash = 'no hash'"), Altered, 4),
        ("UPDATE " + row.format("time = 'yesterday'"), Altered, 4),
        (f"DELETE FROM audit_entries WHERE seq = 4 AND {chain_of}", Altered, 4),  # noqa: S608 - a test's own words
        (f"DELETE FROM audit_entries WHERE seq > 7 AND {chain_of}", Truncated, 8),  # noqa: S608 - a test's own words
        (f"DELETE FROM audit_entries WHERE {chain_of}", Truncated, 1),  # noqa: S608 - a test's own words
    ]
    statements = [f"{statement} {place}" for place, (statement, _, _) in enumerate(done, start=1)]
    await tamper(engine, *statements)
    report = await audit_verify(url, *evidence)
    found = [only(report, place) for place in range(1, CHAINS + 1)]
    assert [(type(verdict), verdict.entry) for verdict in found[:-1]] == [  # type: ignore[attr-defined]
        (kind, entry) for _, kind, entry in done
    ]
    assert found[-1] == Intact(entries=10, anchored=10)
    assert report.code is ExitCode.ALTERED


async def test_a_tail_cut_off_together_with_its_head_is_found(
    url: str, engine: AsyncEngine, evidence: tuple[Path, Path]
) -> None:
    await tamper(
        engine,
        "DELETE FROM audit_entries WHERE seq > 7",
        "UPDATE audit_heads SET seq = 7, head_hash ="
        " (SELECT entry_hash FROM audit_entries e WHERE e.seq = 7"
        "  AND e.repository_id = audit_heads.repository_id)",
    )
    report = await audit_verify(url, *evidence)
    assert report.code is ExitCode.TRUNCATED
    assert "ends at entry 7, but a signed anchor names entry 10" in report.lines()[0]
    assert "or somebody cut off the end" in report.lines()[0]


@pytest.mark.parametrize("while_reading", ["read", "head_of", "anchors"])
async def test_a_chain_that_grows_while_it_is_checked_is_not_called_cut_or_altered(
    url: str,
    engine: AsyncEngine,
    evidence: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    while_reading: str,
) -> None:
    signed = read_anchors(evidence[0].read_text())

    async def grow() -> None:
        async with engine.begin() as conn:
            added = await audit.append(conn, 1, "x", actor="alice", at=NOON)
        signed.append(sign(added.head, KEY, NOON))

    async def anchors_of(_: Repository) -> list[Anchor]:
        if while_reading == "anchors":
            await grow()
        return [each for each in signed if each.repository_id == 1]

    if while_reading != "anchors":
        once, reads = iter([grow]), getattr(audit, while_reading)

        async def reading_it(*given: Any, **more: Any) -> Any:
            found = await reads(*given, **more)
            for each in once:
                await each()
            return found

        monkeypatch.setattr(audit, while_reading, reading_it)
    here = Repository(id=1, owner="acme", name="app", installation_id=1)
    cockpit = Chains(reading(engine), anchors_of, KEY, lambda: NOON)
    checked = await cockpit.now(here)
    assert checked.verdict.code is ExitCode.INTACT, checked
    once = iter([grow])
    report = await audit_verify(url, *evidence)
    assert report.code is ExitCode.INTACT, report.lines()


async def test_a_whole_database_emptied_is_found(
    url: str, engine: AsyncEngine, evidence: tuple[Path, Path]
) -> None:
    await tamper(engine, "DELETE FROM audit_entries", "DELETE FROM audit_heads")
    report = await audit_verify(url, *evidence)
    assert report.code is ExitCode.TRUNCATED
    assert [chain.repository_id for chain in report.chains] == list(range(1, CHAINS + 1))


async def test_without_anchors_the_exit_code_says_could_not_check(
    url: str, evidence: tuple[Path, Path]
) -> None:
    evidence[0].write_text("")
    report = await audit_verify(url, *evidence)
    assert report.code is ExitCode.CANNOT_CHECK


async def test_an_anchor_of_an_unknown_key_makes_the_exit_code_1_and_is_said(
    url: str, evidence: tuple[Path, Path]
) -> None:
    theirs = sign(AuditHead(repository_id=4, seq=99, head_hash="f" * 64), OTHER_KEY, NOON)
    evidence[0].write_text(evidence[0].read_text() + theirs.line())
    report = await audit_verify(url, *evidence)
    assert report.code == 1
    [said] = [line for line in report.lines() if "unknown key" in line]
    assert said.startswith("repository 4: ")
    assert "entry 99" in said
    assert only(report, 5) == Intact(entries=10, anchored=10)


async def test_an_alteration_is_told_even_without_anchors(
    url: str, engine: AsyncEngine, evidence: tuple[Path, Path]
) -> None:
    evidence[0].write_text("")
    await tamper(engine, "UPDATE audit_entries SET actor = 'mallory' WHERE seq = 4")
    assert (await audit_verify(url, *evidence)).code is ExitCode.ALTERED


async def test_anchors_are_read_from_the_records_branch_of_a_repository(
    url: str, engine: AsyncEngine, evidence: tuple[Path, Path], tmp_path: Path
) -> None:
    repository = tmp_path / "repository"

    def git(*arguments: str, at: Path = repository) -> None:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
        subprocess.run(command, cwd=at, check=True, capture_output=True)  # noqa: S603 - our own words

    repository.mkdir()
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "start")
    report = await audit_verify(url, repository, evidence[1])
    assert report.code is ExitCode.CANNOT_CHECK
    assert "fetch that branch first" in report.lines()[0]

    git("checkout", "-q", "-b", "playbooks/records")
    (repository / ANCHORS_PATH).parent.mkdir()
    (repository / ANCHORS_PATH).write_text(evidence[0].read_text())
    git("add", ".")
    git("commit", "-q", "-m", "anchors")
    git("checkout", "-q", "main")
    assert (await audit_verify(url, repository, evidence[1])).code is ExitCode.INTACT
    shallow = tmp_path / "shallow"
    git("clone", "-q", "--depth", "1", repository.as_uri(), str(shallow))
    git("fetch", "-q", "origin", "playbooks/records", at=shallow)
    assert (await audit_verify(url, shallow, evidence[1])).code is ExitCode.INTACT
    await tamper(engine, "DELETE FROM audit_entries WHERE seq = 10")
    assert (await audit_verify(url, repository, evidence[1])).code is ExitCode.TRUNCATED


@pytest.mark.parametrize("missing", ["database", "anchors", "key", "tables"])
async def test_what_is_missing_is_said_and_nothing_is_made(missing: str, tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("database", "anchors", "key")}
    paths["key"].write_bytes(public_pem(PUBLIC))
    paths["anchors"].write_text("")
    paths["database"].write_bytes(b"")
    if missing != "tables":
        paths[missing].unlink()
    report = await audit_verify(f"sqlite:///{paths['database']}", paths["anchors"], paths["key"])
    assert report.code is ExitCode.CANNOT_CHECK
    assert report.problem
    expected = "no such table: audit" if missing == "tables" else str(paths[missing])
    assert expected in report.lines()[0]
    assert "Errno" not in report.lines()[0]
    assert names_in(tmp_path) == set(paths) - {missing}
