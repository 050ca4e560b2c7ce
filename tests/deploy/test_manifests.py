"""What it is deployed with: the image, compose, Kubernetes, systemd, and what they set."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from aiohttp import web
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bot.settings import Settings

HERE = Path(__file__).resolve().parents[2]
DOCKERFILE = (HERE / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((HERE / "deploy/compose.yml").read_text())
REPLICAS = {name: each for name, each in COMPOSE["services"].items() if name.startswith("bot-")}
MANIFESTS = [
    document
    for path in sorted((HERE / "deploy/kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
KNOWN = {name.upper() for name in Settings.model_fields}
KNOWN |= {f"{name}_PATH" for name in KNOWN}
PINNED = dict(
    line.split("==")
    for line in (HERE / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
)


def manifest(kind: str, name: str = "playbooks") -> dict[str, Any]:
    [found] = [
        each for each in MANIFESTS if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return dict(found)


# --- the image ---


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its words."""
    lines = [each for each in DOCKERFILE.splitlines() if not each.lstrip().startswith("#")]
    together = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (each.split(" ", 1)[0], each.split(" ", 1)[1]) for each in together.splitlines() if each
    ]


def last(name: str) -> str:
    return [words for each, words in instructions() if each == name][-1]


def test_the_image_stands_on_a_version_and_runs_without_root_below_an_init() -> None:
    for name, words in instructions():
        if name == "FROM":
            assert re.match(r"python:3\.\d+\.\d+-slim-[a-z]+( AS build)?$", words), words
    assert last("USER") == "10001"
    assert json.loads(last("ENTRYPOINT")) == ["tini", "--", "playbooks"]
    assert json.loads(last("CMD")) == ["serve"]
    assert "/healthz" in last("HEALTHCHECK")
    installs = next(words for _, words in instructions() if "apt-get install" in words)
    assert {"bubblewrap", "git", "tini"} <= set(installs.split())
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in last("LABEL")
    names = re.findall(r"\b([A-Z_]+)=", last("ENV"))
    assert {each for each in names if each.startswith(("PLAYBOOKS_", "LOG_"))} <= KNOWN


async def test_the_image_is_well_also_behind_a_proxy_and_with_quotes_around_its_port() -> None:
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [_, *words] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    for port in ("{}", '"{}"'):
        there = {"PLAYBOOKS_PORT": port.format(runner.addresses[0][1])}
        proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
        done = await asyncio.create_subprocess_exec(sys.executable, *words, env=there | proxy)
        assert await done.wait() == 0
    await runner.cleanup()
    assert asked == ["/healthz"] * 2


def test_dependencies_come_before_the_code_and_are_held_to_their_hashes() -> None:
    steps = [f"{name} {words}" for name, words in instructions()]
    needs = next(i for i, each in enumerate(steps) if each.startswith("COPY deploy/requirements"))
    code = next(i for i, each in enumerate(steps) if each.startswith("COPY bot"))
    between = " ".join(steps[needs:code])
    assert needs < code
    assert between.count("--require-hashes") == between.count("pip install") == 2
    of_code = next(each for each in steps[code:] if "pip wheel" in each)
    assert of_code.count("--no-deps") == 2
    assert "--no-index" in of_code


def locked(name: str) -> dict[str, str]:
    """The versions of a file of requirements; each has its hashes."""
    text = (HERE / "deploy" / name).read_text().replace("\\\n", " ")
    found = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("#"):
            continue
        requirement, _, hashes = line.partition(" ")
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", hashes)) >= 1, line
        package, _, version = requirement.partition("==")
        found[canonicalize_name(re.sub(r"\[.*\]", "", package))] = version.rstrip(" ;")
    return found


def needed(requirements: list[str], seen: dict[str, str] | None = None) -> dict[str, str]:
    """What is needed for these, by the metadata of what is installed here."""
    seen = {} if seen is None else seen
    for text in requirements:
        wanted = Requirement(text)
        extras = [*wanted.extras, ""]
        if wanted.marker and not any(wanted.marker.evaluate({"extra": each}) for each in extras):
            continue
        name = canonicalize_name(wanted.name)
        known = distribution(wanted.name)
        of_extras = [
            each
            for each in known.requires or ()
            if (marker := Requirement(each).marker) is None
            or any(marker.evaluate({"extra": extra}) for extra in extras)
        ]
        plain = [each.split(";")[0] for each in of_extras]
        if name not in seen or wanted.extras:
            seen[name] = known.version
            needed(plain, seen)
    return seen


def test_what_the_image_installs_is_what_is_tested() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    wanted = needed([*project["dependencies"], *project["optional-dependencies"]["otel"]])
    constraints = {canonicalize_name(name): version for name, version in PINNED.items()}
    found = locked("requirements.txt")
    assert found == {name: constraints[name] for name in wanted}
    assert locked("requirements-build.txt").keys() == {"setuptools"}


# --- compose ---


def test_compose_starts_two_replicas_on_postgresql_and_sets_what_there_is() -> None:
    assert len(REPLICAS) == 2
    for name, each in REPLICAS.items():
        assert each["environment"].keys() <= KNOWN
        assert each["environment"]["PLAYBOOKS_REPLICA"] == name
        assert each["depends_on"]["database"]["condition"] == "service_healthy"
        assert each["ports"][0].startswith("127.0.0.1:")
        given = {f"/run/secrets/{secret}" for secret in each["secrets"]}
        read = {str(v) for v in each["environment"].values() if str(v).startswith("/run/secrets/")}
        assert read == given
        assert set(each["secrets"]) <= COMPOSE["secrets"].keys()
    volumes = [tuple(each["volumes"]) for each in REPLICAS.values()]
    assert len(set(volumes)) == 2, "one data folder is one replica's"
    image = COMPOSE["services"]["database"]["image"]
    assert re.fullmatch(r"postgres:\d+\.\d+-[a-z]+", image)


def test_no_secret_that_is_put_where_the_documents_say_is_committed_or_sent_to_docker() -> None:
    files = [str(Path("deploy") / each["file"]) for each in COMPOSE["secrets"].values()]
    files += ["deploy/.env", "app.pem", "var/credentials.json"]
    command = ["git", "check-ignore", "--no-index", *files]
    ignored = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    assert ignored.stdout.split() == files
    unsent = (HERE / ".dockerignore").read_text().split()
    assert {"deploy/.env", "deploy/secrets", "*.pem", "var"} <= set(unsent)


def test_docker_itself_understands_compose() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False).returncode:  # noqa: S603
        pytest.skip("docker's compose is not here")
    given = {"GITHUB_APP_ID": "1", "GITHUB_CLIENT_ID": "Iv1", "PLAYBOOKS_URL": "https://x"}
    order = [docker, "compose", "-f", str(HERE / "deploy/compose.yml"), "config", "--quiet"]
    done = subprocess.run(order, env=given, capture_output=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr.decode()


# --- Kubernetes ---


@pytest.mark.parametrize("version", ["1.30", "1.34"])
@pytest.mark.parametrize("document", MANIFESTS, ids=lambda each: str(each["kind"]))
def test_kubernetes_understands_each_manifest(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_kubernetes_runs_two_replicas_with_probes_and_secrets() -> None:
    spec = manifest("StatefulSet")["spec"]
    assert spec["replicas"] == 2
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["securityContext"]["runAsUser"] == int(last("USER"))
    environment = {each["name"]: each for each in container["env"]}
    assert environment.keys() <= KNOWN
    keys = manifest("Secret")["stringData"].keys()
    for each in environment.values():
        if "secretKeyRef" in each.get("valueFrom", {}):
            assert each["valueFrom"]["secretKeyRef"]["key"] in keys
        elif each.get("value", "").startswith("/secrets/"):
            assert each["value"].removeprefix("/secrets/") in keys
    replica = environment["PLAYBOOKS_REPLICA"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert replica == "metadata.name"
    labels = spec["template"]["metadata"]["labels"]
    budget = manifest("PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    for name in ("playbooks", spec["serviceName"]):
        assert manifest("Service", name)["spec"]["selector"].items() <= labels.items()


# --- systemd ---


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = (HERE / "deploy/playbooks.service").read_text()
    set_there = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    assert set_there.keys() <= KNOWN
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    # It looks for the program, which is installed elsewhere.
    copy = tmp_path / "playbooks.service"
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE))
    order = [analyze, "verify", "--man=no", str(copy)]
    done = subprocess.run(order, capture_output=True, text=True, check=False)  # noqa: S603
    if "Failed to" in done.stderr and "playbooks.service" not in done.stderr:
        pytest.skip(f"systemd cannot look here: {done.stderr.strip()[:200]}")
    assert (done.returncode, "playbooks.service" in done.stderr) == (0, False), done.stderr
