"""Pages for machines: whether the site answers, whether the monitor works, and its figures."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from monitoring.checking.figures import figures
from monitoring.checking.health import problems
from monitoring.conf import conf
from monitoring.models import database_now

AWAY = "Cannot query the database"


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers. Nothing else is asked, so that a database outage does not get the process restarted."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Whether the whole monitor works, or why not. Names no monitor, since callers need not log in."""
    try:
        reasons = [problem.text for problem in problems(database_now())]
    except DatabaseError:
        reasons = [AWAY]
    if reasons:
        return JsonResponse({"ready": False, "reasons": reasons}, status=503)
    return JsonResponse({"ready": True})


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Figures for Prometheus, for clients with the token METRICS_TOKEN and for staff who are logged in."""
    try:
        if not (_has_token(request) or _is_staff(request)):
            refusal = "Send the token METRICS_TOKEN as 'Authorization: Bearer TOKEN', or log in as staff"
            return _said(refusal, 401, {"WWW-Authenticate": "Bearer"})
        from monitoring.metrics import written

        content, content_type = written(figures(database_now()), request.headers.get("Accept", ""))
        return HttpResponse(content, content_type=content_type)
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        return _said("There are no metrics without prometheus-client; install the extra 'metrics'", 404)
    except DatabaseError:
        return _said(AWAY, 503)


def _has_token(request: HttpRequest) -> bool:
    wanted, given = conf().METRICS_TOKEN, request.headers.get("Authorization", "")
    return bool(wanted) and constant_time_compare(given, f"Bearer {wanted}")


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # a project without sessions has none
    return bool(user and user.is_active and getattr(user, "is_staff", False))


def _said(words: str, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(f"{words}\n", status=status, content_type="text/plain", headers=headers)
