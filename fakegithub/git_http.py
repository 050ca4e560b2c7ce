"""Git over HTTP, by git's own `http-backend`. https://git-scm.com/docs/git-http-backend."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

from aiohttp import web

from fakegithub.access import credentials, sight
from fakegithub.access.answers import RequestRefused
from fakegithub.access.callers import Caller
from fakegithub.changes import pushes
from fakegithub.git.bare import clean_environment
from fakegithub.rules import push_rules, requirements
from fakegithub.rules.requirements import Who
from fakegithub.site import Site
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName

_CHUNK = 64 * 1024
_HEADS = "refs/heads/"

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(github: Site) -> list[web.RouteDef]:
    """Fetching and pushing at `/{owner}/{repo}.git`."""
    base = "/{owner}/{repo:[^/]+?}{dot:(?:\\.git)?}"
    return [
        web.get(f"{base}/info/refs", _serve(github, "info/refs"), allow_head=False),
        web.post(f"{base}/git-upload-pack", _serve(github, "git-upload-pack")),
        web.post(f"{base}/git-receive-pack", _serve(github, "git-receive-pack")),
    ]


def _serve(github: Site, what: str) -> Serve:
    async def serve(request: web.Request) -> web.StreamResponse:
        writes = "git-receive-pack" in (what, request.query.get("service"))
        try:
            caller = credentials.authenticate(github.world, request.headers.get("Authorization"))
        except RequestRefused:
            return _unauthorized()
        repository = github.world.repository(
            request.match_info["owner"], request.match_info["repo"]
        )
        if caller.kind == "app" or (writes and caller.kind == "nobody"):
            return _unauthorized()
        if repository is None or not sight.sees(caller, repository):
            if caller.kind == "nobody":
                return _unauthorized()
            return web.Response(status=404, text="Repository not found.\n")
        if not _may(caller, repository, writes=writes):
            return web.Response(status=403, text=f"Permission to {repository.full_name} denied.\n")
        return await _backend(github, request, repository, caller, what)

    return serve


def _unauthorized() -> web.Response:
    return web.Response(
        status=401, headers={"WWW-Authenticate": 'Basic realm="GitHub"'},
        text="Authentication failed.\n",
    )  # fmt: skip


def _may(caller: Caller, repository: FakeRepository, *, writes: bool) -> bool:
    if caller.kind == "installation":
        return caller.may("contents=write" if writes else "contents=read")
    if caller.user is None:
        return not writes
    return repository.role_of(caller.user).at_least(RoleName.WRITE if writes else RoleName.READ)


async def _backend(
    github: Site,
    request: web.Request,
    repository: FakeRepository,
    caller: Caller,
    what: str,
) -> web.StreamResponse:
    body = await request.read() if request.method == "POST" else b""
    environment = _cgi(github, request, repository, what, body)
    pushing = what == "git-receive-pack" and caller.user is not None
    if pushing:
        environment |= _rules(github, repository, caller, body)
    before = repository.git.refs() if pushing else {}
    process = await asyncio.create_subprocess_exec(
        "git", "http-backend", env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("git http-backend has no pipes")
    feeding = asyncio.create_task(_feed(process.stdin, body))
    try:
        if pushing:
            # A client that was told "done" must find the push's consequences, so: collect first.
            output = await process.stdout.read()
            await process.wait()
            _after_push(github, repository, caller, before)
            return _whole(output)
        response, rest = await _begun(process.stdout)
        try:
            await response.prepare(request)
            await response.write(rest)
            while chunk := await process.stdout.read(_CHUNK):
                await response.write(chunk)
            await response.write_eof()
        except ConnectionError:
            # Whoever asked is gone. A process whose output nobody reads is waited for without end.
            process.kill()
            while await process.stdout.read(_CHUNK):
                pass
        await process.wait()
        return response
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    finally:
        feeding.cancel()


def _cgi(
    github: Site, request: web.Request, repository: FakeRepository, what: str, body: bytes
) -> dict[str, str]:
    return {
        **clean_environment(),
        "GIT_PROJECT_ROOT": str(github.world.root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repository.git.path.name}/{what}",
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REMOTE_USER": "demo",
        "REMOTE_ADDR": "127.0.0.1",
    }


async def _feed(stdin: asyncio.StreamWriter, body: bytes) -> None:
    try:
        stdin.write(body)
        await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        stdin.close()


def _split(output: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, rest = output.partition(b"\r\n\r\n")
    headers, status = {}, 200
    for line in head.decode(errors="replace").splitlines():
        name, _, value = line.partition(": ")
        if name.lower() == "status":
            status = int(value.split()[0])
        elif name.lower() != "content-length":
            headers[name] = value
    return status, headers, rest


def _whole(output: bytes) -> web.Response:
    status, headers, body = _split(output)
    return web.Response(status=status, headers=headers, body=body)


async def _begun(stdout: asyncio.StreamReader) -> tuple[web.StreamResponse, bytes]:
    first = b""
    while b"\r\n\r\n" not in first and (chunk := await stdout.read(_CHUNK)):
        first += chunk
    status, headers, rest = _split(first)
    return web.StreamResponse(status=status, headers=headers), rest


def _commands(body: bytes) -> list[tuple[str, str, str]]:
    """Old, new and ref of each update a push asks for (pkt-lines before the flush)."""
    found, at = [], 0
    while at + 4 <= len(body):
        size = int(body[at : at + 4], 16)
        if size < 4:
            break
        line = body[at + 4 : at + size].split(b"\0")[0].decode(errors="replace").rstrip("\n")
        old, _, rest = line.partition(" ")
        new, _, ref = rest.partition(" ")
        found.append((old, new, ref))
        at += size
    return found


def _rules(github: Site, repository: FakeRepository, caller: Caller, body: bytes) -> dict[str, str]:
    """What the pre-receive hook must refuse in this push.

    New commits are not here yet, so what depends on them is left to the hook; but no check can
    have passed on them, and no pushed commit is verified.
    """
    if caller.user is None:
        return {}
    who = Who(caller.user, caller.app)
    refused, no_force, linear = [], [], []
    for _, new, ref in _commands(body):
        after = None if set(new) == {"0"} else new
        needs = requirements.of(repository, ref.removeprefix(_HEADS), who)
        if after is None or repository.git.object_type(after) is not None:
            blocked = push_rules.refusal(github.world, repository, ref, after, who) is not None
        else:
            blocked = push_rules.refusal_unseen(repository, ref, who) is not None
        refused += [ref] if blocked else []
        no_force += [ref] if needs.no_force else []
        linear += [ref] if needs.linear else []
    limited = caller.kind == "installation" and not caller.may("workflows=write")
    return {
        "DEMO_REFUSE": "\n".join(refused),
        "DEMO_NO_FORCE": "\n".join(no_force),
        "DEMO_LINEAR": "\n".join(linear),
        "DEMO_NO_WORKFLOWS": "1" if limited else "",
    }


def _after_push(
    github: Site, repository: FakeRepository, caller: Caller, before: dict[str, str]
) -> None:
    if caller.user is None:
        return
    after = repository.git.refs()
    for ref in sorted(before.keys() | after.keys()):
        if ref.startswith(("refs/heads/", "refs/tags/")) and before.get(ref) != after.get(ref):
            pushes.landed(
                github.world, repository, ref, before.get(ref), after.get(ref), caller.user,
                caller.app,
            )  # fmt: skip


def basic(token: str) -> str:
    """The Authorization header that git sends for a token."""
    return "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
