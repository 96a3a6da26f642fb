from datetime import timedelta

import pytest

from monitoring.values.evidence import usual_duration
from monitoring.values.outcome import RunFacts
from tests.factories import ago


def took(minutes: float, status: str = "Completed") -> RunFacts:
    started_at = ago(hours=5)
    return RunFacts(
        id=1,
        task_id="run-1",
        status=status,
        submitted_at=None,
        started_at=started_at,
        finished_at=started_at + timedelta(minutes=minutes),
    )


@pytest.mark.parametrize(
    ("runs", "usual"),
    [
        ([took(3), took(4), took(600)], 4),
        ([took(3), took(4), took(5), took(600)], 4.5),
        ([took(3), took(4), took(5), took(1, "Stopped"), took(1, "Running")], 4),
        ([took(3), took(4)], None),
        ([took(3), took(4), took(-1)], None),
        ([], None),
    ],
)
def test_the_usual_duration_is_the_middle_of_what_completed(runs: list[RunFacts], usual: float | None) -> None:
    assert usual_duration(runs) == (None if usual is None else timedelta(minutes=usual))
