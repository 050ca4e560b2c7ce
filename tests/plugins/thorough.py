"""What `make test` leaves to `make thorough`: conversations another one stands for.

    @pytest.mark.thorough                  # this test
    @pytest.mark.sampled("one", "two")     # of this test's parameters, all but these

A conversation with the bot takes seconds, and there are more than a thousand. Before every landing
each way in, each playbook, each ending and each kind of refusal is played once; `make thorough`
plays the others. Whoever names a file or a test gets all that is in it.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="play just the conversations that `make test` leaves out (about an hour)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out; pytest says how many were deselected."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    if unknown := unknown_samples(items):
        raise pytest.UsageError(f"sampled names what is no parameter: {', '.join(unknown)}")
    # A mark on the command line is a choice of its own.
    if config.option.markexpr:
        return
    wanted = bool(config.option.thorough)
    config.hook.pytest_deselected(items=[each for each in items if is_left_out(each) != wanted])
    items[:] = [each for each in items if is_left_out(each) == wanted]


def is_left_out(item: pytest.Item) -> bool:
    """Whether only `make thorough` plays this test."""
    return item.get_closest_marker("thorough") is not None or _is_variant(item)


def unknown_samples(items: list[pytest.Item]) -> list[str]:
    """Parameters that a test's mark names and that it does not have."""
    named, known = set[tuple[str, str]](), set[tuple[str, str]]()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            named |= {(test, name) for name in mark.args}
            known.add((test, _parameters(item)))
    return sorted(f"{test}[{name}]" for test, name in named - known)


def _is_variant(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("sampled")
    return mark is not None and _parameters(item) not in mark.args


def _parameters(item: pytest.Item) -> str:
    called = getattr(item, "callspec", None)
    return "" if called is None else str(called.id)
