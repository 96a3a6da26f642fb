"""The figures in Prometheus' formats. They come from the database: a process's own counters know no other process."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from monitoring.checking.figures import Figures
from monitoring.checking.health import OVERDUE_AFTER
from monitoring.values.outage import DEAD_AFTER

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
K = TypeVar("K", bound=str)


class _Figures(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        return gauges(self._figures)


def written(figures: Figures, accept: str) -> tuple[bytes, str]:
    """The figures in the format that an Accept header asks for, and that format's content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(figures))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def gauges(of: Figures) -> Iterator[Metric]:
    """Figures that are not known are left out."""
    yield _by("monitors", "Monitors by where they stand.", "state", of.monitors)
    yield _gauge(
        "monitors_overdue", f"Monitors whose check is late by more than {OVERDUE_AFTER // MINUTE} minutes.", of.overdue
    )
    yield _gauge("incidents_open", "Incidents that are open.", of.open_incidents)
    yield _by("runs_last_hour", "Runs first recorded within the last hour, by their status now.", "status", of.runs)
    yield _gauge("mails_unsent", "Alerts to an address, and mails, that wait to be written or sent.", of.unsent)
    yield _gauge("mail_unsent_age_seconds", "How long the oldest of these has waited; 0 without one.", of.unsent_for)
    yield _gauge("mails_given_up_last_day", "Mails that were given up within a day.", of.given_up)
    if of.since_tick is not None:
        yield _gauge("tick_age_seconds", "Time since the last round began that ended well.", of.since_tick)
    if of.round_took is not None:
        yield _gauge("round_duration_seconds", "How long that round took.", of.round_took)
    alive = f"Processes that run tasks and said within {DEAD_AFTER // SECOND} seconds that they live."
    yield _gauge("recorders_alive", alive, of.recorders)
    yield _gauge(
        "events_dropped", "Events of runs for which the memory of the known processes was too full.", of.dropped
    )
    yield _gauge("events_refused", "Events of runs of the known processes that the database refused.", of.set_aside)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"monitoring_{name}", documentation, value=value)


def _by(name: str, documentation: str, label: str, values: Mapping[K, int]) -> Metric:
    gauge = GaugeMetricFamily(f"monitoring_{name}", documentation, labels=[label])
    for each, value in values.items():
        gauge.add_metric([str(each)], value)
    return gauge
