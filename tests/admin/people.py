"""Who looks at the admin."""

from itertools import count

from django.contrib.auth.models import Permission, User
from django.test import Client

_ids = count(1)


def staff(*permissions: str) -> Client:
    """Logged in, with these permissions of ours alone: `staff("view_incident")`."""
    user = User.objects.create_user(f"staff-{next(_ids)}", is_staff=True)
    wanted = Permission.objects.filter(codename__in=permissions, content_type__app_label="monitoring")
    assert len(wanted) == len(permissions)
    user.user_permissions.set(wanted)
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
