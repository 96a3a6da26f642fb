"""Where the mail provider tells what became of a mail: one address, and only where a secret guards it."""

from typing import Any

from django.urls import include, path


def urls_of(provider: str, secret: str) -> list[Any]:
    """`anymail/PROVIDER/tracking/`, under the name that Anymail gives it; nothing without a provider or a secret.

    Anymail has addresses for each provider there is, and for mails that come in: what nobody calls is not open.
    """
    if not (provider and secret):
        return []
    from anymail import urls as anymail_urls  # not before it is needed: it imports every provider's code

    wanted = [pattern for pattern in anymail_urls.urlpatterns if pattern.name == f"{provider}_tracking_webhook"]
    return [path("anymail/", include((wanted, "anymail")))]
