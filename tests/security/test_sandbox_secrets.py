"""Nothing the bot can read is readable in a trial, and what trials print holds no secret."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from bot.culprit.evidence import TrialOutcome
from bot.doctor import _sandbox
from bot.github.transport.redaction import keep_secret, redact
from bot.playbooks.bisect.runners import _judged
from bot.settings import Settings
from bot.trials.mounts import places_of, read_mounts
from bot.trials.outcome import TrialJudgement
from bot.trials.sandbox import (
    Bubblewrap,
    HostView,
    SandboxError,
    Showing,
    WritableFolders,
    require,
    server_view,
)
from tests.playbooks.bisect.bisecting import history
from tests.playbooks.bisect.test_benches import in_the_sandbox, shell
from tests.shop import Shop
from tests.trials.conftest import RunnerFor, place_of_work, repository, runner_for
from tests.trials.kit import Repository, needs_bubblewrap

__all__ = ["place_of_work", "repository", "runner_for"]

KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJxSecretSecretSecret\n-----END PRIVATE"


@dataclass
class Host:
    """A folder of programs that trials may read, in which somebody put the bot's data, too."""

    programs: Path
    data: Path
    key: Path

    @property
    def showing(self) -> Showing:
        return Showing(readable=(self.programs,), hidden=(self.data, self.key))


@pytest.fixture
def host() -> Iterator[Host]:
    # Not below /tmp: of that no trial sees anything anyway.
    programs = Path(tempfile.mkdtemp(dir="/var/tmp"))
    data = programs / "playbooks/var"
    data.mkdir(parents=True)
    (data / "signing-key.pem").write_text(KEY)
    (programs / "tool").write_text("a tool")
    key = programs / "app.pem"
    key.write_text(KEY)
    yield Host(programs, data, key)
    shutil.rmtree(programs)


async def tried(
    repository: Repository, runner_for: RunnerFor, view: HostView, script: str
) -> tuple[TrialOutcome, str]:
    runner = runner_for("/bin/sh", "-c", script, sandbox=Bubblewrap(view))
    result = await runner.run(repository.commit({"a": "1"}), "spy")
    return result.judgement.outcome, result.output


@needs_bubblewrap
async def test_data_and_keys_beside_programs_are_masked(
    repository: Repository, runner_for: RunnerFor, host: Host
) -> None:
    (host.programs / "link").symlink_to(host.data)
    script = (
        f"cat {host.programs}/tool; find {host.programs} -type f -exec cat {{}} + ; "
        f"cat {host.programs}/link/*; ls -A {host.data}; echo x > {host.data}/x; true"
    )
    view = server_view({}, host.showing)
    outcome, output = await tried(repository, runner_for, view, script)
    assert outcome is TrialOutcome.PASS
    assert "a tool" in output
    assert "Secret" not in output
    assert "[redacted]" not in output
    assert not (host.data / "x").exists()


@needs_bubblewrap
@pytest.mark.parametrize("folder", ["/opt", "/srv", "/home", "/root", "/var", "/usr/local/etc"])
async def test_only_what_is_listed_is_seen(
    repository: Repository, runner_for: RunnerFor, folder: str
) -> None:
    script = f"ls -A {folder} 2>/dev/null | grep . && exit 1; exit 0"
    outcome, output = await tried(repository, runner_for, server_view({}), script)
    assert (outcome, output.strip()) == (TrialOutcome.PASS, "")


@needs_bubblewrap
async def test_nobody_elses_processes_or_environment_are_seen(
    repository: Repository, runner_for: RunnerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", "a-secret-of-the-bot")
    script = "cat /proc/*/environ | tr '\\0' '\\n'; ls /proc | grep -c '^[0-9]'"
    _, output = await tried(repository, runner_for, server_view({}), script)
    assert "a-secret-of-the-bot" not in output
    assert "PYTEST" not in output
    assert int(output.split()[-1]) < 10


def test_data_that_holds_the_programs_refuses_the_sandbox() -> None:
    with pytest.raises(SandboxError, match="PLAYBOOKS_SANDBOX=off"):
        server_view({}, Showing(hidden=(Path("/usr"),)))


@needs_bubblewrap
def test_a_view_that_leaks_is_refused(host: Host, tmp_path: Path) -> None:
    whole = server_view({}, Showing(readable=(host.programs,)))
    leaking = HostView(whole.mounts, whole.environment, hidden=(host.data,))
    with pytest.raises(SandboxError, match="a trial could read"):
        require(Bubblewrap(leaking), WritableFolders(tmp_path, tmp_path, tmp_path))
    require(
        Bubblewrap(server_view({}, host.showing)), WritableFolders(tmp_path, tmp_path, tmp_path)
    )


def test_a_folder_is_found_at_every_place_it_is_mounted() -> None:
    mounts = read_mounts(
        "22 1 0:21 / / rw - overlay overlay rw\n"
        "30 22 8:1 /srv/playbooks /data rw - ext4 /dev/sda1 rw\n"
        "31 22 8:1 /srv /usr/share/all\\040of rw - ext4 /dev/sda1 rw\n"
        "32 22 8:1 /srv/playbooks/mirrors /usr/lib/m rw - ext4 /dev/sda1 rw\n"
        "33 22 8:2 /srv /usr/lib/other rw - ext4 /dev/sdb1 rw\n"
    )
    assert places_of(Path("/data"), mounts) == {
        Path("/data"), Path("/usr/share/all of/playbooks"), Path("/usr/lib/m"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "ghs_0123456789abcdefghijABCDEFGHIJ012345",
        "github_pat_11ABCDEFG0abcdefghijkl_0123456789",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        "a-webhook-secret-of-ours",
        "MC4CAQAwBQYDK2VwBCIEIJxSecretSecretSecret",
    ],
)
async def test_what_trials_print_is_redacted_wherever_it_goes(
    repository: Repository, runner_for: RunnerFor, secret: str
) -> None:
    keep_secret(["a-webhook-secret-of-ours", KEY])
    result_file = json.dumps({"fingerprint": [f"told {secret}"], "metrics": {secret: 1}})
    (repository.folder / "result").write_text(result_file)
    (repository.folder / "said").write_text(f"  | {secret}\n")
    runner = runner_for("/bin/sh", "-c", "cat said; cp result $PLAYBOOKS_RESULT; exit 1")
    result = await runner.run(repository.commit(), "loud")
    judged = _judged(result)
    for text in (result.output, judged.model_dump_json()):
        assert "[redacted]" in text
        assert secret not in text
    said = TrialJudgement(
        outcome=TrialOutcome.FAIL, reason=f"{secret} failed", fingerprint=(secret,)
    )
    assert secret not in said.model_dump_json()


def test_a_key_is_known_line_by_line() -> None:
    keep_secret([KEY])
    assert "JxSecret" not in redact(KEY.replace("\n", "\\n"))


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize(
    "printed",
    [
        lambda text: base64.b64encode(text).decode(),
        lambda text: base64.urlsafe_b64encode(text).decode(),
        lambda text: text.hex(),
        lambda text: quote(text.decode(), safe=""),
        lambda text: json.dumps(text.decode()),
    ],
    ids=["base64", "base64 for addresses", "hex", "an address", "JSON"],
)
def test_a_secret_is_known_as_it_may_be_written(
    printed: Callable[[bytes], str], before: str
) -> None:
    text = "a+webhook/secret?of~ours>"
    keep_secret([text])
    said = printed(f"{before}{text}{before}".encode())
    assert "[redacted]" in redact(said)
    # Of the letters that belong to what stands around it, four at most are left.
    assert len(redact(said).replace("[redacted]", "")) <= len(printed(before.encode())) * 2 + 4


def test_a_whole_key_in_base64_is_known_line_by_line() -> None:
    keep_secret([KEY])
    for said in (base64.encodebytes(KEY.encode()), base64.b64encode(KEY.encode())):
        for line in said.decode().splitlines():
            assert len(redact(line)) < 20


def settings(tmp_path: Path, **more: object) -> Settings:
    given = {"github_app_id": 1, "github_private_key": KEY, "github_webhook_secret": "s" * 20}
    return Settings.model_validate({**given, "playbooks_data": tmp_path, **more})


def test_what_is_secret_is_known_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.pem"
    file.write_text(KEY)
    monkeypatch.setenv("GITHUB_PRIVATE_KEY_PATH", str(file))
    given = settings(tmp_path / "var", database_url="sqlite+aiosqlite:////opt/db/p.db")
    assert {tmp_path / "var", file, Path("/opt/db/p.db")} <= set(given.secret_places())
    assert {KEY, "s" * 20} <= set(given.secrets())


async def test_a_server_without_a_sandbox_says_so(tmp_path: Path) -> None:
    finding = await _sandbox(settings(tmp_path, playbooks_sandbox="OFF"))
    assert finding.ok
    assert "PLAYBOOKS_SANDBOX=off" in finding.what
    assert "bisect: {workflow: …}" in finding.remedy


async def test_switched_off_it_tries_nothing_and_says_what_to_set(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.bot.pool, "is_off", True)
    past = await history(shop, 6, 4, trial=None, more=in_the_sandbox(shell("test ! -e bug")))
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "I cannot try commits here: set `bisect.workflow`")
    assert "it is switched off" in said
