"""Tasks of Django's own framework, which Django 5.2 does not have."""

from typing import Any

from django.tasks import task


@task
def ship(order_id: int, token: str = "") -> None: ...


@task(takes_context=True)
def ship_with_context(context: Any, order_id: int) -> None:
    raise ValueError(f"there is no order {order_id}")
