"""The rules for alerts, by Prometheus' own tool: it takes them, each fires when it should, none when all is well."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "docs" / "alerts.yml"
L = "lifecycle_container_"
DURATION = f"{L}cascade_stop_duration_seconds_bucket"
FIRES = {  # a sample a minute, for an hour and a half
    "ContainerMetricsMissing": {f"{L}metrics_up": "0x90"},
    "ContainerNodesGone": {f"{L}nodes_live": "0x90"},
    "ContainerStopFailed": {f'{L}stop_failures_total{{reason="timeout"}}': "0x85 1x5"},
    "ContainerStopSlow": {
        f'{DURATION}{{depth="2",le="35.0"}}': "0x90",
        f'{DURATION}{{depth="2",le="60.0"}}': "0+1x90",
        f'{DURATION}{{depth="2",le="+Inf"}}': "0+1x90",
    },
    "ContainerOrphans": {f"{L}orphans_detected_total": "0x80 2x10"},
    "ContainerFailures": {
        f'{L}endings_total{{type="HAUL",status="FAILED"}}': "0+6x90",
        f'{L}endings_total{{type="HAUL",status="COMPLETED"}}': "0+1x90",
    },
    "ContainerRestarts": {f'{L}restarts_total{{type="HAUL"}}': "0+1x90"},
    "ContainerDispatchLag": {f"{L}dispatch_lag_seconds": "0+60x90"},
    "ContainerPassLate": {f'{L}pass_last_run_timestamp_seconds{{pass="sweep"}}': "60x90"},
    "ContainerPassNever": {
        f"{L}metrics_up": "1x90",
        f'{L}pass_last_run_timestamp_seconds{{pass="prune"}}': "0+60x90",
    },
}
WELL = {
    f"{L}metrics_up": "1x90",
    f"{L}nodes_live": "2x90",
    f'{L}stop_failures_total{{reason="timeout"}}': "3x90",
    f'{DURATION}{{depth="2",le="35.0"}}': "0+1x90",
    f'{DURATION}{{depth="2",le="+Inf"}}': "0+1x90",
    f"{L}orphans_detected_total": "7x90",
    f'{L}endings_total{{type="HAUL",status="FAILED"}}': "0+1x90",
    f'{L}endings_total{{type="HAUL",status="COMPLETED"}}': "0+6x90",
    f'{L}restarts_total{{type="HAUL"}}': "9x90",
    f"{L}dispatch_lag_seconds": "1x90",
    f'{L}pass_last_run_timestamp_seconds{{pass="sweep"}}': "0+60x90",
}


@pytest.fixture(scope="module")
def promtool():
    """At a desk without it these are skipped with their reason; in CI they fail."""
    path = shutil.which("promtool")
    if path is None:
        missing = "promtool is missing (Debian, Ubuntu: apt install prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return lambda *words: subprocess.run([path, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def see(promtool, tmp_path):
    """Has Prometheus look at series for an hour and a half: the alert fires then, or does not."""

    def see(series, alert, *, fires):
        firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0 or vector(0)'
        expected = [{"labels": "{}", "value": int(fires)}]
        case = {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": firing, "eval_time": "90m", "exp_samples": expected}],
        }
        test = tmp_path / "test.json"
        test.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
        seen = promtool("test", "rules", str(test))
        assert seen.returncode == 0, seen.stdout + seen.stderr

    return see


def test_prometheus_takes_the_rules(promtool):
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr
    assert f"{len(FIRES)} rules found" in checked.stdout


def test_every_rule_has_a_case():
    assert re.findall(r"- alert: (\w+)", RULES.read_text()) == list(FIRES)


@pytest.mark.parametrize("alert", FIRES)
def test_it_fires(see, alert):
    see(FIRES[alert], alert, fires=True)


@pytest.mark.parametrize("alert", FIRES)
def test_it_is_quiet_when_all_is_well(see, alert):
    see(WELL, alert, fires=False)


def test_what_nobody_tells_is_missed(see):
    see({}, "ContainerMetricsMissing", fires=True)
