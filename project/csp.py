"""What a page of this site may load: the site's own files and data: images, so no inline scripts or styles.

Django 6 has a middleware for this, 5.2 does not.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

HEADER = "Content-Security-Policy"
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Django middleware. The header of a view that sets its own stays."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        # Django's error pages for developers have inline styles and scripts.
        if not (settings.DEBUG and response.status_code in (404, 500)):
            response.headers.setdefault(HEADER, POLICY)
        return response

    return respond
