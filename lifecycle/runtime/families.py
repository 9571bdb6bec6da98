"""The metrics: their names, what each means, and its samples. docs/metrics.md has them in a table."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from lifecycle.domain.counters import ACTIVE_DEPTHS, BOUNDS, DEPTHS, Counter, StopFailure
from lifecycle.domain.status import LIVE, TERMINAL
from lifecycle.runtime.passes import NAMES
from lifecycle.runtime.reading import Reading

Samples = Iterable[tuple[tuple[str, ...], float]]
BUCKETS = (*BOUNDS, "+Inf")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: what its name ends in, what it tells, by which labels, and how it is read."""

    kind: type[CounterMetricFamily | GaugeMetricFamily]
    name: str
    text: str
    labels: tuple[str, ...]
    samples: Callable[[Reading], Samples]

    def of(self, prefix: str, reading: Reading) -> Metric:
        """As it is told."""
        family = self.kind(prefix + self.name, self.text, labels=self.labels)
        for labels, value in self.samples(reading):
            family.add_metric(labels, value)
        return family


def _by_type(counter: Counter) -> Callable[[Reading], Samples]:
    """Of every type that there is: a rate needs a zero to rise from."""
    return lambda reading: [((type_,), reading.value(counter, type=type_)) for type_ in reading.types]


def _endings(reading: Reading) -> Samples:
    """Every end of every type that there is."""
    return [
        ((type_, status), reading.value(Counter.ENDINGS, status, type=type_))
        for type_ in reading.types
        for status in sorted(TERMINAL)
    ]


def _labelled(counter: Counter, labels: Iterable[str]) -> Callable[[Reading], Samples]:
    """Those that there are none of too."""
    known = tuple(labels)
    return lambda reading: [((label,), reading.value(counter, label)) for label in known]


def _active(reading: Reading) -> Samples:
    """All depths of every type that is live."""
    types = sorted({each.type for each in reading.gauges.active})
    return [((type_, depth), reading.active(type=type_, depth=depth)) for type_ in types for depth in ACTIVE_DEPTHS]


def _pass_runs(reading: Reading) -> Samples:
    runs = dict.fromkeys(NAMES, 0) | {each.name: each.runs for each in reading.gauges.passes}
    return [((name,), number) for name, number in runs.items()]


def _pass_times(reading: Reading) -> Samples:
    return [((each.name,), each.ended_at.timestamp()) for each in reading.gauges.passes if each.ended_at is not None]


C, G = CounterMetricFamily, GaugeMetricFamily
FAMILIES = (
    Family(
        C,
        "container_cascade_stops_total",
        "Stops that marked a container, by how many levels their tree had",
        ("depth",),
        _labelled(Counter.STOPS, DEPTHS),
    ),
    Family(
        C,
        "container_stop_failures_total",
        "Containers that were not stopped as they should be",
        ("reason",),
        _labelled(Counter.STOP_FAILURES, StopFailure),
    ),
    Family(
        C,
        "container_orphans_detected_total",
        "Containers found live whose parent had ended or was missing",
        (),
        lambda reading: [((), reading.value(Counter.ORPHANS))],
    ),
    Family(G, "container_active_total", "Containers that have not ended, now", ("type", "depth"), _active),
    Family(
        G,
        "container_live",
        "Containers that have not ended, now, by status",
        ("status",),
        lambda reading: [((status.value,), reading.active(status=status.value)) for status in sorted(LIVE)],
    ),
    Family(
        C,
        "container_endings_total",
        "Containers that ended",
        ("type", "status"),
        _endings,
    ),
    Family(
        C,
        "container_restarts_total",
        "Runs that were lost or failed and used up one of their container's restarts",
        ("type",),
        _by_type(Counter.RESTARTS),
    ),
    Family(
        C,
        "container_recoveries_total",
        "Interrupted containers that went on",
        ("type",),
        _by_type(Counter.RECOVERIES),
    ),
    Family(
        G,
        "container_due",
        "Containers that wait for an execution: their time has come",
        (),
        lambda reading: [((), reading.gauges.due)],
    ),
    Family(
        G,
        "container_dispatch_lag_seconds",
        "For how long the first of those that are due has waited",
        (),
        lambda reading: [((), reading.gauges.lag)],
    ),
    Family(
        G,
        "container_nodes_live",
        "Nodes whose lease has not run out",
        (),
        lambda reading: [((), reading.gauges.nodes)],
    ),
    Family(
        G,
        "container_pass_last_run_timestamp_seconds",
        "When each periodic pass last came to its end",
        ("pass",),
        _pass_times,
    ),
    Family(
        C,
        "container_pass_runs_total",
        "Runs of each periodic pass",
        ("pass",),
        _pass_runs,
    ),
)
DURATION = "container_cascade_stop_duration_seconds"
DURATION_TEXT = "From the mark of a stop until the container that it names had ended"
UP = "container_metrics_up"
UP_TEXT = "1 if the database told the metrics, 0 if it did not: then there are no others"


def families(prefix: str, reading: Reading | None) -> Iterator[Metric]:
    """Every metric of a reading; without one only that there is none."""
    yield GaugeMetricFamily(prefix + UP, UP_TEXT, value=reading is not None)
    if reading is None:
        return
    for family in FAMILIES:
        yield family.of(prefix, reading)
    yield _durations(prefix, reading)


def _durations(prefix: str, reading: Reading) -> Metric:
    histogram = HistogramMetricFamily(prefix + DURATION, DURATION_TEXT, labels=("depth",))
    for depth in DEPTHS:
        counts = [reading.value(Counter.STOP_BUCKET, depth, le) for le in BUCKETS]
        buckets = list(zip(BUCKETS, accumulate(counts), strict=True))
        histogram.add_metric((depth,), buckets, reading.value(Counter.STOP_SECONDS, depth))
    return histogram
