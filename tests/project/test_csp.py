from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from project.csp import HEADER, POLICY, content_security_policy


@pytest.mark.parametrize("path", ["/admin/login/", "/healthz", "/static/admin/css/base.css"])
def test_every_page_may_load_only_its_own_files(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.getvalue()  # read, so that a file is closed
    policy = response[HEADER]
    assert policy == POLICY
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_a_view_that_sets_the_header_itself_is_left_alone(rf: RequestFactory) -> None:
    respond = content_security_policy(lambda request: HttpResponse(headers={HEADER: "sandbox"}))
    assert respond(rf.get("/")).headers[HEADER] == "sandbox"


@pytest.mark.parametrize(
    ("debug", "status", "has_header"), [(True, 404, False), (True, 500, False), (False, 500, True)]
)
def test_only_the_error_pages_for_developers_have_none(
    rf: RequestFactory, settings: Any, debug: bool, status: int, has_header: bool
) -> None:
    settings.DEBUG = debug
    respond = content_security_policy(lambda request: HttpResponse(status=status))
    assert (HEADER in respond(rf.get("/")).headers) is has_header
