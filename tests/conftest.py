"""The order of the tests, no limits by the clock, and less work for the garbage collector.

Those that run a lesson's notebook come first, lesson by lesson. So each notebook runs once, however many
processes share the tests: they divide them in this order, and one that has nothing left takes others' last
tests. Hypothesis measures no example by the clock, which says more of a shared machine than of the code.

Libraries and tests are a million objects that live to the end. The collector would walk through them again
and again: it is off while they are gathered, and leaves them alone afterwards.
"""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import lesson_runs

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def lesson_of(item: pytest.Item) -> str:
    """The number of the lesson whose notebook a test runs; "99" where it runs none."""
    if getattr(getattr(item, "module", None), "run", None) is not lesson_runs.run:
        return "99"
    params = getattr(getattr(item, "callspec", None), "params", {})
    if isinstance(path := params.get("path"), Path):
        return path.name[:2]
    named = re.search(r"lesson_(\d+)", item.name)
    return f"{int(named[1]):02}" if named else params.get("lesson", "99")


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lesson_of)
