"""Who is told: the addresses of the configuration, else the superusers."""

from collections.abc import Sequence

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.validators import validate_email
from django.db.models import Max

from monitoring.models import Delivery, Message
from monitoring.values.expectation import each_once
from monitoring.values.incident import IncidentState
from monitoring.values.text import storable


def told_of(incidents: Sequence[IncidentState], using: str) -> dict[int, tuple[str, ...]]:
    """By incident id, the addresses that were owed a mail about it, each once whatever its case."""
    deliveries = Delivery.objects.using(using).filter(alert__incident__in=[incident.pk for incident in incidents])
    told: dict[int, list[str]] = {}
    for incident_id, address in deliveries.order_by("id").values_list("alert__incident_id", "address"):
        told.setdefault(incident_id, []).append(address)
    return {incident_id: each_once(addresses) for incident_id, addresses in told.items()}


def last_messages(addresses: Sequence[str], using: str) -> dict[str, Message]:
    """By address, the newest message to it, without its text; addresses without any are left out.

    Addresses may be as somebody typed them.
    """
    to_these = Message.objects.using(using).filter(address__in=map(storable, addresses)).order_by()
    newest = [row["newest"] for row in to_these.values("address").annotate(newest=Max("pk"))]
    messages = Message.objects.using(using).defer("text", "html").filter(pk__in=newest)
    return {message.address: message for message in messages}


def superuser_addresses() -> tuple[str, ...]:
    """The valid addresses of the active superusers, each once, in the order of their accounts.

    Empty if the project's user model has no field for superusers or none for addresses.
    """
    users = get_user_model()
    email = getattr(users, "EMAIL_FIELD", "email")
    if not (_has_field("is_superuser") and _has_field(email)):
        return ()
    superusers = users._default_manager.filter(is_superuser=True)
    if _has_field("is_active"):
        superusers = superusers.filter(is_active=True)
    addresses = superusers.order_by("pk").values_list(email, flat=True)
    return each_once(filter(_is_valid, addresses))


def _has_field(name: str) -> bool:
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _is_valid(address: str | None) -> bool:
    try:
        # The validator lets control characters through.
        validate_email(address if address and address.isprintable() else "")
    except ValidationError:
        return False
    return True
