"""What runs and context models tell: names and types to choose from, and whether a task of a name ever ran."""

from difflib import get_close_matches

from monitoring.conf import conf
from monitoring.models import BackgroundTask, Monitor, database_alias
from monitoring.values.context_model import find_context_model
from monitoring.values.text import storable_name

RUNS_LOOKED_AT = 20_000  # the newest ones: for the names of all runs the whole table would have to be read
INSTANCES_LOOKED_AT = 5_000  # the newest of a context model: their types need not be indexed
TYPES_MAX = 200
NAMES_MAX = 50  # that begin with the same text


def seen_names() -> list[str]:
    """The task names among the newest runs, sorted; one statement."""
    newest = BackgroundTask.objects.using(database_alias()).order_by("-id").values_list("task_name", flat=True)
    # Not DISTINCT: SQLite would read the names of all runs for it, and PostgreSQL would look up each of these.
    return sorted(set(newest[:RUNS_LOOKED_AT]))


def names_beginning(text: str) -> list[str]:
    """The text itself, then the task names that begin with it among the newest runs and the monitors."""
    monitored = Monitor.objects.using(database_alias()).filter(task_name__startswith=text).order_by()
    names = {*seen_names(), *monitored.values_list("task_name", flat=True).distinct()[:NAMES_MAX]}
    return [text, *sorted(name for name in names if name.startswith(text) and name != text)][:NAMES_MAX]


def ever_ran(task_name: str) -> bool:
    """Whether a run of exactly this name is known, of any age and status."""
    return BackgroundTask.objects.using(database_alias()).filter(task_name=storable_name(task_name)).exists()


def near_names(name: str, known: list[str]) -> list[str]:
    """Up to three known names that may have been meant by this one, the nearest first.

    Capitals do not matter, and of a name with dots its last part may be meant: `bake` of `orders.tasks.bake`.
    """
    known_as: dict[str, list[str]] = {}
    for each in known:
        for form in _forms(each) if each != name else ():
            known_as.setdefault(form, []).append(each)
    near = [match for form in _forms(name) for match in get_close_matches(form, known_as, 3)]
    return list(dict.fromkeys(each for match in near for each in known_as[match]))[:3]


def _forms(name: str) -> list[str]:
    whole = name.lower()
    return list(dict.fromkeys([whole, whole.rpartition(".")[2] or whole]))


def context_models() -> list[str]:
    """The context models of MONITORING["CONTEXT_FIELDS"] that are installed here, as the setting writes them."""
    return [path for path in conf().CONTEXT_FIELDS if _is_installed(path)]


def context_types() -> list[str]:
    """The types of the newest instances of each installed context model, sorted; one SQL statement per model."""
    found: set[str] = set()
    for path in context_models():
        context = find_context_model(path)
        if context.type_field:
            newest = context.model._base_manager.order_by("-pk").values_list(context.type_field, flat=True)
            found |= {str(each) for each in newest[:INSTANCES_LOOKED_AT] if each not in (None, "")}
    return sorted(found)[:TYPES_MAX]


def _is_installed(path: str) -> bool:
    try:
        find_context_model(path)
    except LookupError:
        return False
    return True
