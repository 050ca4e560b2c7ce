"""Every address derives from the REST address."""

from __future__ import annotations

import pytest

from bot.github.transport.http import Addresses


@pytest.mark.parametrize(
    ("api", "graphql", "web"),
    [
        ("https://api.github.com", "https://api.github.com/graphql", "https://github.com"),
        ("https://api.acme.ghe.com/", "https://api.acme.ghe.com/graphql", "https://acme.ghe.com"),
        ("https://git.acme.org/api/v3", "https://git.acme.org/api/graphql", "https://git.acme.org"),
        ("http://127.0.0.1:8/api/v3/", "http://127.0.0.1:8/api/graphql", "http://127.0.0.1:8"),
    ],
)
def test_graphql_and_git_follow_from_the_rest_address(api: str, graphql: str, web: str) -> None:
    addresses = Addresses.derive(api)
    assert (addresses.graphql, addresses.web) == (graphql, web)
    assert addresses.git("octo-org", "hello") == f"{web}/octo-org/hello.git"


def test_overrides_win() -> None:
    addresses = Addresses.derive(
        "https://proxy.example/gh", graphql_url="https://proxy.example/gql", url="https://g.example"
    )
    assert addresses == Addresses(
        "https://proxy.example/gh", "https://proxy.example/gql", "https://g.example"
    )


@pytest.mark.parametrize(
    "api",
    [
        "ftp://api.github.com",
        "api.github.com",
        "https://someone:secret@api.github.com",
        "https://api.github.com?x=1",
        "https://proxy.example/gh",
    ],
)
def test_an_address_nothing_follows_from_is_refused(api: str) -> None:
    with pytest.raises(ValueError, match="GITHUB_API_URL"):
        Addresses.derive(api)


def test_a_repository_cannot_break_out_of_its_git_address() -> None:
    git = Addresses.derive().git("octo/../evil", "x?y#z")
    assert git == "https://github.com/octo%2F..%2Fevil/x%3Fy%23z.git"


@pytest.mark.parametrize(
    "url", ["https://api.github.com.evil.example/x", "http://api.github.com/x", "https://evil/x"]
)
def test_a_token_never_goes_to_another_host(url: str) -> None:
    assert not Addresses.derive().is_ours(url)
    assert Addresses.derive().is_ours("https://api.github.com/repositories/1")
