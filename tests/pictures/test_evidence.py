"""The picture of a ramp: what it shows, and who can have it drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bot.pictures.addresses import EVIDENCE_FOLDER, FOLDER, LONGEST, PictureAddresses, routes
from bot.pictures.evidence import (
    MOST_POINTS,
    MOST_STAGES,
    NAMES,
    EvidenceChart,
    MetricRow,
    StageMark,
    draw_evidence,
    packed,
    unpacked,
)

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
URL = "https://bot.example"
SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def charts(draw: st.DrawFn) -> EvidenceChart:
    points = draw(st.integers(1, MOST_POINTS))
    share = st.none() | st.floats(-3, 50)
    names = draw(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=9, unique=True))
    rows = [
        MetricRow(
            name=name,
            limit=draw(st.floats(0.5, 20)),
            now=draw(st.floats(-50, 300)),
            course=tuple(draw(st.lists(share, min_size=points, max_size=points))),
        )
        for name in names
    ]
    mark = st.builds(StageMark, at=st.floats(0, 1), percent=st.integers(0, 100))
    return EvidenceChart(
        seconds=draw(st.integers(0, 10**7)),
        stages=tuple(draw(st.lists(mark, max_size=MOST_STAGES))),
        rows=tuple(rows),
    )


@given(charts())
def test_an_address_holds_all_that_its_picture_shows(chart: EvidenceChart) -> None:
    addresses = PictureAddresses(KEY, URL)
    address = addresses.of_evidence(chart)
    assert address is not None
    name = address.removeprefix(f"{URL}{EVIDENCE_FOLDER}/")
    assert len(name) <= LONGEST
    read = addresses.read_evidence(name)
    assert read is not None
    assert read.seconds == chart.seconds
    for shown, meant in zip(read.stages, chart.stages, strict=True):
        assert shown.percent == meant.percent
        assert shown.at == pytest.approx(meant.at, abs=0.003)
    for row, expected in zip(read.rows, chart.rows, strict=True):
        assert row.name == expected.name
        assert row.crossed == expected.crossed
        assert row.limit == pytest.approx(expected.limit, abs=0.001)
        assert row.now == pytest.approx(expected.now, abs=0.01)
        for share, meant_share in zip(row.course, expected.course, strict=True):
            if meant_share is None:
                assert share is None
            else:
                assert share == pytest.approx(min(max(meant_share, 0), 1.27), abs=0.006)


@given(st.binary(max_size=300))
def test_whatever_is_no_chart_is_none_or_can_be_drawn(content: bytes) -> None:
    found = unpacked(content)
    if found is not None:
        ET.fromstring(draw_evidence(found))  # noqa: S314  ours
        assert unpacked(packed(found)) is not None


@given(charts())
def test_it_is_well_formed_with_words_for_who_cannot_see(chart: EvidenceChart) -> None:
    root = ET.fromstring(draw_evidence(chart))  # noqa: S314  ours
    assert len(root.findall(f"{SVG}g")) == len(chart.rows)
    assert root.get("role") == "img"
    said = root.findtext(f"{SVG}desc")
    over = [NAMES[row.name] for row in chart.rows if row.crossed]
    assert said == (
        f"Beyond its limit: {', '.join(over)}." if over else "No metric reached its limit."
    )


def test_without_a_public_address_or_points_there_is_no_picture() -> None:
    chart = EvidenceChart(
        seconds=1, stages=(), rows=(MetricRow(name="cost", limit=1, now=0, course=(0,)),)
    )
    assert PictureAddresses(KEY, None).of_evidence(chart) is None
    assert PictureAddresses(KEY, URL).of_evidence(None) is None


async def test_it_is_served_to_whoever_has_its_address_and_to_nobody_else() -> None:
    addresses = PictureAddresses(KEY, URL)
    rows = (MetricRow(name="error", limit=4.2, now=5.0, course=(0.1, None, 1.2)),)
    chart = EvidenceChart(seconds=3000, stages=(StageMark(at=0, percent=5),), rows=rows)
    app = web.Application()
    app.add_routes(routes(addresses))
    async with TestClient(TestServer(app)) as client:
        name = (addresses.of_evidence(chart) or "").rpartition("/")[2]
        async with client.get(f"{EVIDENCE_FOLDER}/{name}") as response:
            assert response.status == 200
            assert response.content_type == "image/svg+xml"
            assert "Beyond its limit: errors." in await response.text()
        # A picture of one kind is none of the other; and one changed letter makes it none at all.
        wrong = [f"{FOLDER}/{name}", f"{EVIDENCE_FOLDER}/{name.replace('.', '.A', 1)}"]
        for path in wrong:
            async with client.get(path) as response:
                assert response.status == 404
