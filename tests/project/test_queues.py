"""Each kind of HUEY_URL carries a task through the real thing."""

from pathlib import Path
from typing import Any

import pytest
import redis
from huey.utils import load_class

from project.queueurl import parse
from tests.services import postgres_server, redis_server, tls_redis_server


def carries_a_task(options: dict[str, Any]) -> bool:
    options = dict(options)
    huey = load_class(options.pop("huey_class"))(options.pop("name"), **options)

    @huey.task()
    def add(one: int, other: int) -> int:
        return one + other

    try:
        add(2, 3)
        return huey.execute(huey.dequeue()) == 5
    finally:
        huey.storage.close()


def test_sqlite(tmp_path: Path) -> None:
    assert carries_a_task(parse(f"sqlite:{tmp_path}/queue.sqlite3"))


def test_redis() -> None:
    with redis_server() as url:
        assert carries_a_task(parse(url))


def test_postgresql() -> None:
    with postgres_server() as url:
        assert carries_a_task(parse(url))


@pytest.mark.parametrize("query", ["", "?socket_timeout=5"])
def test_redis_behind_a_certificate_that_nobody_signed_only_when_told_so(query: str) -> None:
    with tls_redis_server() as url:
        with pytest.raises(redis.exceptions.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            carries_a_task(parse(url + query))
        assert carries_a_task(parse(url + query, verify=False))
