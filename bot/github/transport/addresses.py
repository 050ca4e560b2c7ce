"""Where one GitHub lives: its REST, GraphQL and git addresses, from the REST address alone."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

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
