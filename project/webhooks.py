"""The webhook at which the mail provider reports what became of a mail; it exists only if a secret guards it."""

from typing import Any

from django.urls import include, path


def urls_of(provider: str, secret: str) -> list[Any]:
    """`anymail/PROVIDER/tracking/`, under the name that Anymail gives it; nothing without a provider or a secret.

    Anymail's own URLs cover every provider, and incoming mail too; those that nobody calls stay closed.
    """
    if not (provider and secret):
        return []
    from anymail import urls as anymail_urls  # not before it is needed: it imports every provider's code

    wanted = [pattern for pattern in anymail_urls.urlpatterns if pattern.name == f"{provider}_tracking_webhook"]
    return [path("anymail/", include((wanted, "anymail")))]
