"""Each experiment is a generator of cases; its docstring is what `--list` says of it."""

from collections.abc import Callable, Iterator

from tests.faults.experiments.crowds import sixty_at_once, thousand_at_once
from tests.faults.experiments.deaths import at_a_statement, at_random_moments, while_the_server_is_slow
from tests.faults.experiments.mailservers import (
    busy,
    closed_in_the_middle,
    closed_port,
    down_for_ten_minutes,
    hanging,
    unknown_address,
)
from tests.faults.experiments.order import down_before_up, success_meanwhile
from tests.faults.experiments.providers import provider_errors
from tests.faults.experiments.templates import broken_templates
from tests.faults.report import Case
from tests.faults.world import World

Experiment = Callable[[World], Iterator[Case]]

# The slow ones last.
EXPERIMENTS: dict[str, Experiment] = {
    experiment.__name__.replace("_", "-"): experiment
    for experiment in (
        closed_port,
        while_the_server_is_slow,
        at_a_statement,
        sixty_at_once,
        down_before_up,
        success_meanwhile,
        down_for_ten_minutes,
        busy,
        unknown_address,
        closed_in_the_middle,
        provider_errors,
        broken_templates,
        thousand_at_once,
        hanging,
        at_random_moments,
    )
}
