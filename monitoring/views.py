"""What machines ask: whether the site answers, and whether the monitor does its work. Open to everybody."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from monitoring.checking.health import problems
from monitoring.models import database_now


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers; nothing else is asked, so that a database that is away does not restart it."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """The whole monitor works, or why it does not. Names no monitor, since it asks nobody who they are."""
    try:
        reasons = [problem.text for problem in problems(database_now())]
    except DatabaseError:
        reasons = ["The database could not be asked"]
    if reasons:
        return JsonResponse({"ready": False, "reasons": reasons}, status=503)
    return JsonResponse({"ready": True})
