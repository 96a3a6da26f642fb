import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking.ids import RECORDED_AT, ids_before
from monitoring.models import BackgroundTask
from tests.factories import NOW, ago, make_run

pytestmark = pytest.mark.django_db


def test_the_oldest_young_run_is_found_by_bisection() -> None:
    runs = BackgroundTask.objects.all()
    assert ids_before(runs, RECORDED_AT, NOW) == (0, 0)
    made = [make_run(submitted_at=ago(days=200 - day), started_at=ago(days=200 - day)) for day in range(200)]
    make_run(status="Cancelled", started_at=None)
    with CaptureQueriesContext(connection) as asked:
        assert ids_before(runs, RECORDED_AT, ago(days=90)) == (made[0].pk, made[110].pk)
    assert len(asked) <= 2 + 8
    assert ids_before(runs, RECORDED_AT, NOW) == (made[0].pk, made[-1].pk + 1)
