"""One `HUEY_URL` for every queue that Huey can keep its tasks in.

sqlite:var/huey.sqlite3   redis://host:6379/0   rediss://…   postgres://user:password@host/database
"""

from typing import Any
from urllib.parse import unquote

from environs import EnvError

from project.mailurl import complaint_about, require_host, require_slashes, split

NAME = "tasks"


def parse(url: str, verify: bool = True) -> dict[str, Any]:
    """Settings for Huey's `HUEY` dict; `verify` says whether a rediss server's certificate is verified.

    Raises EnvError (a ValueError), naming what is wrong and what would be right.
    """
    parts = split(url)
    match parts.scheme:
        case "sqlite":
            filename = unquote(parts.netloc + parts.path)
            if not filename:
                raise EnvError("the file is missing; write, for example, sqlite:var/huey.sqlite3")
            # Huey's own file, never Django's: both would wait on one write lock.
            return {"huey_class": "huey.SqliteHuey", "name": NAME, "filename": filename, "timeout": 20}
        case "redis" | "rediss":
            require_host(parts, f"{parts.scheme}://:password@host:port/number")
            # Part of the URL, since Huey refuses a URL with options beside it.
            trusting = parts.scheme == "rediss" and not verify
            unverified = f"{'&' if parts.query else '?'}ssl_cert_reqs=none" if trusting else ""
            return {"huey_class": "huey.RedisHuey", "name": NAME, "url": url + unverified}
        case "postgres" | "postgresql":
            require_slashes(url, parts, "postgres://user:password@host/database")
            return {"huey_class": "huey.PostgresHuey", "name": NAME, "dsn": url}
    raise EnvError(f"{complaint_about(parts.scheme)}; use sqlite:FILE, redis://, rediss:// or postgres://")
