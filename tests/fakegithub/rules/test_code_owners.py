"""Code owners as GitHub's documentation describes them."""

from __future__ import annotations

import pytest

from fakegithub.rules.code_owners import _fits, said


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        ("*", "a/b.py", None),
        ("*.js", "web/a.js", "web/a.ts"),
        ("/build/logs/", "build/logs/today/a.txt", "other/build/logs/a.txt"),
        ("docs/*", "docs/a.md", None),
        ("apps/", "src/apps/a.py", "src/apps.py"),
        ("/docs/", "docs/deep/a.md", "src/docs/a.md"),
        ("/shop.py", "shop.py", "src/shop.py"),
    ],
)
def test_a_pattern_fits_as_documented(pattern: str, fits: str, not_: str | None) -> None:
    assert _fits(pattern, fits)
    assert not_ is None or not _fits(pattern, not_)


def test_who_is_awaited_is_said_as_github_says_it() -> None:
    assert said(["a"]) == "Waiting on code owner review from a."
    assert said(["a", "b"]) == "Waiting on code owner review from a and/or b."
    assert said(["a", "b", "c"]) == "Waiting on code owner review from a, b, and/or c."
