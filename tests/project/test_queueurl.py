from typing import Any

import pytest
from huey.utils import load_class

from project.queueurl import parse


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("sqlite:var/huey.sqlite3", {"huey_class": "huey.SqliteHuey", "filename": "var/huey.sqlite3", "timeout": 20}),
        ("sqlite:///srv/queue.db", {"huey_class": "huey.SqliteHuey", "filename": "/srv/queue.db", "timeout": 20}),
        ("redis://localhost:6379/1", {"huey_class": "huey.RedisHuey", "url": "redis://localhost:6379/1"}),
        ("postgres://u:p@h/db", {"huey_class": "huey.PostgresHuey", "dsn": "postgres://u:p@h/db"}),
    ],
)
def test_a_url_says_which_huey_and_where(url: str, options: dict[str, Any]) -> None:
    assert parse(url) == {"name": "tasks", **options}
    load_class(options["huey_class"])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://x", "unknown scheme 'amqp'; use sqlite:FILE, redis://"),
        ("redis:/:s3cret@host", "no host where it belongs; write redis://:password@host:port/number"),
        ("rediss://:12/s3cret@host", "no host where it belongs"),
        ("postgres:/u:s3cret@host/name", "^must be postgres://user:password@host/database; in a password, write %23"),
        ("postgres://u:1/s3cret@host/name", "^must be postgres://user:password@host/database"),
        ("sqlite:", "the file is missing; write, for example, sqlite:var/huey.sqlite3"),
    ],
)
def test_a_wrong_url_is_refused_with_the_way_out(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(url)
