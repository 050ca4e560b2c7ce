"""The picture of a search: what it shows, and who can have it drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bot.pictures.addresses import FOLDER, MOST_STRETCHES, PictureAddresses, routes
from bot.pictures.evidence import Stretch, draw

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
URL = "https://bot.example"
SVG = "{http://www.w3.org/2000/svg}"
STRETCHES = st.lists(
    st.builds(
        Stretch,
        first=st.integers(1, 2**32 - 1),
        count=st.integers(1, 65_535),
        sha=st.text("0123456789abcdef", min_size=40, max_size=40),
        probability=st.floats(0, 1),
    ),
    min_size=1,
    max_size=MOST_STRETCHES,
)


def three() -> Sequence[Stretch]:
    return (
        Stretch(first=1, count=10, sha="a" * 40, probability=0.02),
        Stretch(first=11, count=10, sha="b" * 40, probability=0.95),
        Stretch(first=21, count=9, sha="c" * 40, probability=0.03),
    )


def name_of(address: str | None) -> str:
    assert address is not None
    return address.removeprefix(f"{URL}{FOLDER}/")


@given(STRETCHES)
def test_an_address_holds_all_that_its_picture_shows(stretches: list[Stretch]) -> None:
    addresses = PictureAddresses(KEY, URL)
    read = addresses.read(name_of(addresses.of(stretches)))
    assert read is not None
    for shown, meant in zip(read, stretches, strict=True):
        assert (shown.first, shown.count, shown.sha) == (meant.first, meant.count, meant.sha[:9])
        assert shown.probability == pytest.approx(meant.probability, abs=1e-5)


@given(st.text(max_size=100))
def test_nobody_else_can_make_an_address(name: str) -> None:
    assert PictureAddresses(KEY, URL).read(name) is None


def test_an_address_of_another_bot_or_changed_in_one_place_is_none() -> None:
    name = name_of(PictureAddresses(KEY, URL).of(three()))
    assert PictureAddresses(OTHER, URL).read(name) is None
    for place in range(0, len(name), 7):
        changed = name[:place] + ("A" if name[place] != "A" else "B") + name[place + 1 :]
        assert PictureAddresses(KEY, URL).read(changed) is None


def test_without_a_public_address_there_is_no_picture() -> None:
    assert PictureAddresses(KEY, None).of(three()) is None


@given(STRETCHES)
def test_it_is_well_formed_with_a_bar_for_each_stretch_and_words_for_who_cannot_see(
    stretches: list[Stretch],
) -> None:
    root = ET.fromstring(draw(stretches))  # noqa: S314  ours
    assert len(root.findall(f"{SVG}rect")) == len(stretches)
    assert root.get("role") == "img"
    description = root.find(f"{SVG}desc")
    assert description is not None
    assert description.text
    assert "The likeliest of" in description.text


async def test_it_is_served_without_a_login_and_may_be_kept_for_ever() -> None:
    addresses = PictureAddresses(KEY, URL)
    app = web.Application()
    app.add_routes(routes(addresses))
    async with TestClient(TestServer(app)) as client:
        name = name_of(addresses.of(three()))
        async with client.get(f"{FOLDER}/{name}") as response:
            assert response.status == 200
            assert response.content_type == "image/svg+xml"
            assert "immutable" in response.headers["Cache-Control"]
            assert "bbbbbbbbb 95.0%" in await response.text()
        async with client.get(f"{FOLDER}/{name.replace('.', '.A', 1)}") as response:
            assert response.status == 404
