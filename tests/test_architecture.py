"""Imports run only towards the ground; this reads them and holds the arrows."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "monitoring"
FLOORS = {
    **dict.fromkeys(["models", "values", "conf"], 1),
    **dict.fromkeys(["recording", "checking", "alerting"], 2),
    # The two halves of the story: judging, in a transaction, and telling, after it.
    **dict.fromkeys(["tick", "telling"], 3),
    "retention": 3,
    "backtest": 3,
    **dict.fromkeys(["apps", "admin", "management", "templatetags"], 4),
    **dict.fromkeys(["tasks", "journal", "metrics", "checks", "urls", "views"], 4),
}
# Each of these libraries may be imported here and nowhere else.
EDGES = {
    "huey": {"recording/huey.py", "tasks.py"},
    "celery": {"recording/celery.py"},
    "anymail": {"alerting"},
    "prometheus_client": {"metrics.py"},
}
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CASE WHEN)\b")
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if "migrations" not in path.parts]


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_floor_or_below(path: Path) -> None:
    room = room_of(path)
    ours = {name.split(".")[1] for name in imported_by(path) if name.startswith("monitoring.")}
    for other in ours - {room}:
        same_floor_is_free = FLOORS[room] in (1, 4)
        below = FLOORS[other] < FLOORS[room]
        assert below or (same_floor_is_free and FLOORS[other] == FLOORS[room]), f"{path} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_app_never_imports_the_project_nor_a_foreign_library_past_its_edge(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    libraries = {name.split(".")[0] for name in imported_by(path)}
    assert "project" not in libraries
    for library in libraries & EDGES.keys():
        assert place in EDGES[library] or path.relative_to(PACKAGE).parts[0] in EDGES[library], f"{place}: {library}"


def test_values_ask_no_database_and_models_know_no_verbs() -> None:
    for path in (PACKAGE / "values").glob("*.py"):
        assert not any(name.startswith("monitoring.models") for name in imported_by(path)), path


def modules_with(is_it: Callable[[ast.AST], bool]) -> set[str]:
    return {
        str(path.relative_to(PACKAGE)) for path in MODULES if any(map(is_it, ast.walk(ast.parse(path.read_text()))))
    }


def test_raw_sql_stands_only_in_its_places() -> None:
    def is_raw_sql(node: ast.AST) -> bool:
        return (isinstance(node, ast.Attribute) and node.attr == "cursor") or (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SQL.search(node.value))
        )

    # checking/context.py writes a condition of the probe; models/database.py asks for the database's clock.
    assert modules_with(is_raw_sql) == {
        "recording/upsert.py",
        "checking/context.py",
        "checking/probe.py",
        "checking/due.py",
        "alerting/owing.py",
        "models/rows.py",
        "models/database.py",
    }


def test_threads_are_started_only_in_recording() -> None:
    def is_thread(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Thread"

    assert modules_with(is_thread) == {f"recording/{name}.py" for name in ("answering", "spool", "writer")}
