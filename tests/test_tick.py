import pytest

from monitoring.tick import check_config
from tests.factories import NOW, make_expectation, make_run

pytestmark = pytest.mark.django_db


def test_a_completed_run_in_the_window_owes_nothing() -> None:
    make_run()
    assert check_config([make_expectation()], NOW).announcements == ()
