"""Who is told: the addresses of the configuration, else the superusers."""

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.validators import validate_email


def superuser_addresses() -> tuple[str, ...]:
    """The valid addresses of the active superusers, each once, in the order of their accounts.

    Empty where the project's user model keeps no superusers or no addresses as fields.
    """
    users = get_user_model()
    email = getattr(users, "EMAIL_FIELD", "email")
    if not (_has_field("is_superuser") and _has_field(email)):
        return ()
    superusers = users._default_manager.filter(is_superuser=True)
    if _has_field("is_active"):
        superusers = superusers.filter(is_active=True)
    addresses = superusers.order_by("pk").values_list(email, flat=True)
    return tuple({address.lower(): address for address in addresses if _is_valid(address)}.values())


def _has_field(name: str) -> bool:
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _is_valid(address: str | None) -> bool:
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True
