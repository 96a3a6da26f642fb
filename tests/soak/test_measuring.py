"""A soak that counts wrong would say that nothing grows."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.soak.measuring import Sample, judge


def samples(**grows: Callable[[int], dict[str, Any]]) -> list[Sample]:
    """Sixty of a site on which nothing grows, but for what is said otherwise."""
    made = []
    for n in range(60):
        over = {name: grow(n) for name, grow in grows.items()}
        memory = {"web": 100.0, "worker": 70.0 + n % 3} | over.get("memory", {})
        opened = {"files of web": 20} | over.get("opened", {})
        rows = {"monitoring_alert": 100 + n % 10, "auth_user": 1} | over.get("rows", {})
        made.append(Sample(5.0 * n, memory, opened, rows))
    return made


def test_where_nothing_grows_nothing_is_said_to() -> None:
    assert judge(samples()).grown == []


def test_what_grows_while_it_warms_up_has_not_grown() -> None:
    assert judge(samples(memory=lambda n: {"web": 100.0 + min(n, 20)})).grown == []


def test_what_is_open_for_a_moment_has_not_leaked() -> None:
    assert judge(samples(opened=lambda n: {"files of web": 20 + (n == 55)})).grown == []


@pytest.mark.parametrize(
    ("grows", "grown"),
    [
        ({"memory": lambda n: {"worker": 70 + n / 5}}, ["memory of worker, MB"]),
        ({"opened": lambda n: {"files of web": 20 + n // 40}}, ["files of web"]),
        ({"rows": lambda n: {"auth_user": 1 + n // 50}}, ["rows of auth_user"]),
        ({"rows": lambda n: {"monitoring_alert": 100 + 2 * n}}, ["rows of monitoring_alert"]),
    ],
)
def test_what_grows_is_named(grows: dict[str, Callable[[int], dict[str, Any]]], grown: list[str]) -> None:
    assert judge(samples(**grows)).grown == grown
