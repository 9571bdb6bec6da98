"""Documents, dashboard and rules name the metrics that there are."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from lifecycle.domain.counters import Counted, Counter, StopFailure
from lifecycle.domain.gauges import Active, Gauges, PassRuns
from lifecycle.runtime.families import DURATION, DURATION_TEXT, FAMILIES, UP, UP_TEXT, families
from lifecycle.runtime.reading import Reading
from lifecycle.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
PREFIX = Settings().metrics_prefix
NAME = re.compile(rf"\b{PREFIX}container_\w+")
RULES, DASHBOARD, PAGE = (DOCS / name for name in ("alerts.yml", "grafana.json", "metrics.md"))
READING = Reading(
    tuple(Counted(counter, "HAUL", "1", "", 1) for counter in Counter),
    Gauges((Active("HAUL", "0", "RUNNING", 1),), 0, 0.0, 1, (PassRuns("sweep", datetime.now(UTC), 1, 0),)),
)


class Told(Collector):
    """A reading, to be scraped."""

    def describe(self):
        return []

    def collect(self):
        return families(PREFIX, READING)


def exported():
    """Every name that a sample can have."""
    registry = CollectorRegistry()
    registry.register(Told())
    text = generate_latest(registry).decode()
    return {re.match(r"\w+", line)[0] for line in text.splitlines() if not line.startswith("#")}


def rows():
    """The table of docs/metrics.md, as the code would write it."""
    kinds = {"CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge"}
    told = [(each.name, kinds[each.kind.__name__], each.labels, each.text) for each in FAMILIES]
    told.insert(1, (DURATION, "histogram", ("depth",), DURATION_TEXT))
    told.append((UP, "gauge", (), UP_TEXT))
    for name, kind, labels, text in told:
        yield f"| `{PREFIX}{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |"


def test_the_table_is_that_of_the_code():
    expected = "\n".join(rows())
    written = "\n".join(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{PREFIX}container"))
    assert written == expected, f"write into docs/metrics.md:\n{expected}"


def test_the_table_of_reasons_is_that_of_the_code():
    reasons = re.search(r"\| reason \| what happened \|\n(.*?)\n\n", PAGE.read_text(), re.DOTALL)[1]
    assert re.findall(r"^\| `(\w+)`", reasons, re.MULTILINE) == list(StopFailure)


@pytest.mark.parametrize("path", [RULES, DASHBOARD, PAGE], ids=lambda path: path.name)
def test_every_metric_that_is_named_is_exported(path):
    named = {name for name in NAME.findall(path.read_text()) if not name.endswith("_")}
    assert named
    assert named <= exported() | {f"{PREFIX}{DURATION}"}


def test_the_dashboard_shows_every_metric():
    shown = set(NAME.findall(DASHBOARD.read_text()))
    bucket = f"{PREFIX}{DURATION}"
    assert {name for name in exported() if not name.startswith(bucket)} | {f"{bucket}_bucket"} == shown


def test_the_panels_of_the_dashboard_do_not_overlap():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [(x, y) for panel in panels for x, y in cells_of(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def cells_of(place):
    return [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
