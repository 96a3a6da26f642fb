"""The context model that a config names by a path such as `gap.models.IngestorSession`."""

from dataclasses import dataclass

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CompositePrimaryKey, Model

from monitoring.conf import conf
from monitoring.values.text import head


@dataclass(frozen=True, slots=True)
class ContextModel:
    """A model whose instances runs are about, and the field that tells their types apart (None: it has no types)."""

    model: type[Model]
    type_field: str | None


def find_model(path: str) -> type[Model]:
    """Looks the path up in Django's app registry and never imports it.

    `gap.models.IngestorSession` and `gap.IngestorSession` both mean the model IngestorSession of the installed app
    whose label or module is `gap`. Raises LookupError with a one-line message.
    """
    owner, _, name = path.rpartition(".")
    if not owner or not all(part.isidentifier() for part in path.split(".")):
        raise LookupError(f"{head(path, 80)!r} is not the path of a model, such as 'gap.models.IngestorSession'")
    owner = f"{owner}.".partition(".models.")[0].removesuffix(".")
    for app in apps.get_app_configs():
        if owner in (app.label, app.name):
            try:
                return app.get_model(name)
            except LookupError:
                raise LookupError(f"the app {owner!r} has no model {name!r}") from None
    raise LookupError(f"no installed app has the label or module {owner!r}")


def find_context_model(path: str) -> ContextModel:
    """Raises LookupError like `find_model`, and also when CONTEXT_FIELDS names a field that the model does not have."""
    model = find_model(path)
    if isinstance(model._meta.pk, CompositePrimaryKey):
        raise LookupError(f"{model._meta.label} has a composite key, and a context id is a single value")
    type_field = next((field for known, field in conf().CONTEXT_FIELDS.items() if _means(known, model)), None)
    if type_field:
        try:
            has_column = model._meta.get_field(type_field).concrete
        except FieldDoesNotExist:
            has_column = False
        if not has_column:
            raise LookupError(
                f"{model._meta.label} has no field {type_field!r}, which MONITORING['CONTEXT_FIELDS'] names"
            )
    return ContextModel(model, type_field)


def _means(path: str, model: type[Model]) -> bool:
    try:
        return find_model(path) is model
    except LookupError:
        return False  # CONTEXT_FIELDS may name apps that are not installed here
