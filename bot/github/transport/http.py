"""Addresses that requests may go to, and the exchange itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from aiohttp.hdrs import PROXY_AUTHORIZATION
from aiohttp.typedefs import LooseHeaders
from yarl import URL

from bot.github.transport.retry import HttpAnswer, Lost

PUBLIC_API = "https://api.github.com"


@dataclass(frozen=True)
class Addresses:
    """The three addresses of one GitHub, none with a trailing slash."""

    rest: str
    graphql: str
    web: str

    @classmethod
    def derive(
        cls, api_url: str = PUBLIC_API, *, graphql_url: str | None = None, url: str | None = None
    ) -> Addresses:
        """Derive the addresses from the REST address; `graphql_url` and `url` override.

        - github.com: `https://api.github.com` → `https://api.github.com/graphql`,
          `https://github.com`;
        - GitHub Enterprise Cloud with data residency: `https://api.SUB.ghe.com` →
          `https://SUB.ghe.com`;
        - GitHub Enterprise Server: `https://HOST/api/v3` → `https://HOST/api/graphql`,
          `https://HOST`.

        Raises:
            ValueError: If an address is not http(s), carries a password, or the others cannot
                be derived from it.
        """
        rest = _checked(api_url, "GITHUB_API_URL")
        parts = urlsplit(rest)
        if parts.path == "/api/v3":
            root = rest.removesuffix("/api/v3")
            graphql, web = f"{root}/api/graphql", root
        elif parts.netloc.startswith("api.") and parts.path == "":
            graphql, web = f"{rest}/graphql", f"{parts.scheme}://{parts.netloc[4:]}"
        elif graphql_url and url:
            graphql, web = graphql_url, url
        else:
            raise ValueError(
                f"GITHUB_API_URL is {rest}, which is neither https://api.… nor https://…/api/v3: "
                "set GITHUB_GRAPHQL_URL and GITHUB_URL too."
            )
        return cls(
            rest=rest,
            graphql=_checked(graphql_url or graphql, "GITHUB_GRAPHQL_URL"),
            web=_checked(url or web, "GITHUB_URL"),
        )

    def git(self, owner: str, name: str) -> str:
        """Give the address git fetches one repository from, without credentials."""
        return f"{self.web}/{quote(owner, safe='')}/{quote(name, safe='')}.git"

    def is_ours(self, url: str) -> bool:
        """Tell whether `url` is on the REST address's own host: only there may a token go."""
        ours, theirs = urlsplit(self.rest), urlsplit(url)
        return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)


def _checked(address: str, setting: str) -> str:
    address = address.strip().rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{setting} must be an http or https address, not {address!r}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{setting} must be a plain address, without user, query or fragment.")
    return address


CONNECTIONS = 50
"""Requests under way at once, all installations together; GitHub bears 100."""


class _Request(aiohttp.ClientRequest):
    """One that goes through the proxy that the environment names.

    aiohttp's own `trust_env` reads `~/.netrc` too, for every request: a login that stands there is
    sent along, and what carries a token already is refused with a `ValueError`.
    """

    def update_proxy(
        self,
        proxy: URL | None,
        proxy_auth: aiohttp.BasicAuth | None,
        proxy_headers: LooseHeaders | None,
    ) -> None:
        if proxy is None and (named := proxy_for(self.url)) is not None:
            proxy = named.with_user(None)
            if named.user is not None:
                login = aiohttp.encode_basic_auth(named.user, named.password or "")
                # A tunnel has a request of its own; without one this request is the proxy's.
                proxy_headers = {PROXY_AUTHORIZATION: login}
                if not self.is_ssl():
                    self.headers[PROXY_AUTHORIZATION] = login
        super().update_proxy(proxy, proxy_auth, proxy_headers)


def proxy_for(url: URL) -> URL | None:
    """Give the proxy by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; None: without one.

    Nothing goes through one to this machine itself, such as to the bot that runs here.

    Raises:
        ValueError: what is named is no address of a proxy that speaks HTTP.
    """
    if _is_here(url.host or ""):
        return None
    address = getproxies_environment().get(url.scheme)
    if address is None or proxy_bypass(url.authority):
        return None
    address = address.strip()
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in {"http", "https"} or not proxy.host:
        # It may hold a password.
        raise ValueError("is no address of an HTTP proxy, such as http://HOST:3128")
    return proxy


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def new_session(timeout_seconds: float, *, read_bufsize: int = 2**16) -> aiohttp.ClientSession:
    """Open an HTTP session; the client of GitHub has one. Call it inside the running event loop.

    Args:
        timeout_seconds: how long to wait for a part of an answer; four times that for all of it.
        read_bufsize: bytes of an answer that are kept for who reads them.
    """
    return aiohttp.ClientSession(
        request_class=_Request,
        read_bufsize=read_bufsize,
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(
            total=4 * timeout_seconds, sock_connect=10, sock_read=timeout_seconds
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> HttpAnswer | Lost:
    """Send one request and read the whole answer; redirects are not followed.

    Args:
        session: sends it.
        method: of HTTP.
        url: where; it is sent exactly as it is, so it is percent-encoded already.
        headers: all of them.
        body: what is sent; None: nothing.
    """
    try:
        async with session.request(
            method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
        ) as response:
            content = await response.read()
            named = {name.lower(): value for name, value in response.headers.items()}
            if _is_by_another(response.status, response.content_type):
                return Lost(f"a proxy, firewall or log-in page answered for GitHub "
                            f"({response.status})")  # fmt: skip
            return HttpAnswer(response.status, named, content)
    except (
        aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError
    ) as error:  # fmt: skip
        return Lost(_unreached(error), sent=False)
    except aiohttp.ClientPayloadError:
        return Lost("the answer was cut short")
    except TimeoutError:
        return Lost("no answer in time")
    except (aiohttp.ClientError, ConnectionError) as error:
        return Lost(f"the connection broke ({type(error).__name__})")


def _is_by_another(status: int, content_type: str) -> bool:
    """Whether something on the way has answered: GitHub grants and refuses in no page."""
    return status == 407 or (content_type == "text/html" and (status < 300 or status in {401, 403}))


def _unreached(error: Exception) -> str:
    """Say why nothing was sent, without the addresses that the error names."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {error.status}"
        case aiohttp.ClientProxyConnectionError():
            return "the proxy could not be reached"
        case aiohttp.ClientConnectorCertificateError():
            return "GitHub's certificate is not trusted here"
        case aiohttp.ClientConnectorSSLError():
            return "TLS with GitHub failed"
        case aiohttp.ClientConnectorDNSError():
            return "GitHub could not be reached: no such host"
        case _:
            return "GitHub could not be reached"
