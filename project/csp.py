"""What a page of this site may load: its own files and nothing else, no script or style that stands in the page.

Django 6 has a middleware for it, 5.2 has not.
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
    """Django middleware. A view that sets the header itself knows better."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        # Django's pages about an error, for developers, have their styles and scripts in them.
        if not (settings.DEBUG and response.status_code in (404, 500)):
            response.headers.setdefault(HEADER, POLICY)
        return response

    return respond
