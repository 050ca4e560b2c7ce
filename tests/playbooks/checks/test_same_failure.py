"""When two failures of one check are the same failure."""

from __future__ import annotations

from bot.playbooks.checks.results import (
    CodePlace,
    Failure,
    alike,
    headline,
    is_same,
    joined,
    otherwise,
)


def failure(*places: str, says: str = "") -> Failure:
    spots = [
        CodePlace(path=place.partition(":")[0], said=place.partition(":")[2]) for place in places
    ]
    return Failure(headlines=frozenset([headline(says)] if says else []), places=frozenset(spots))


def test_without_anything_to_compare_the_name_of_the_check_decides() -> None:
    assert is_same(failure(), failure())
    assert is_same(failure(says="3 tests failed"), failure())
    assert is_same(failure("shop.py:total is 0"), failure(says="1 test failed"))


def test_counts_times_and_addresses_do_not_make_another_failure() -> None:
    one = failure(says="3 tests failed in 12.5 s at 0x7ffe12")
    assert is_same(one, failure(says="1  tests FAILED in 9.1 s at 0x10ab"))


def test_another_headline_is_another_failure() -> None:
    assert not is_same(failure(says="total is wrong"), failure(says="login is wrong"))


def test_one_common_complaint_makes_it_the_same_whatever_the_headlines() -> None:
    before = failure("shop.py:total is 0", "cart.py:no cart", says="two failed")
    assert is_same(before, failure("cart.py:no cart", says="one failed"))
    assert not is_same(before, failure("cart.py:no shop", says="two failed"))


def test_a_report_that_tells_nothing_leaves_all_in_doubt() -> None:
    told = failure("cart.py:no cart", says="one failed")
    assert joined([told, failure()]) == failure()
    assert joined([told, failure("shop.py:no shop", says="one failed")]).places == {
        CodePlace(path="cart.py", said="no cart"),
        CodePlace(path="shop.py", said="no shop"),
    }


def test_checks_are_sorted_into_alike_and_otherwise() -> None:
    there = {"smoke": failure(says="a"), "links": failure(says="b"), "old": failure(says="c")}
    here = {"smoke": failure(says="a"), "links": failure(says="x"), "new": failure(says="d")}
    assert alike(there, here) == ("old", "smoke")
    assert otherwise(there, here) == ("links",)
