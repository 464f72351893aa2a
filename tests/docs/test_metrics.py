"""The page of metrics and the rules for alerts know the metrics that a worker has, and no others."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.acceptance.command_line import CommandLine
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "metrics.md"
RULES = ROOT / "docs" / "snippets" / "alerts.yaml"
METRIC = re.compile(r"flowcraft_worker_\w+")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """Kind and value of every metric of a worker that has done nothing yet."""
    cli = CommandLine(tmp_path_factory.mktemp("watched") / "home")
    with cli.worker("--health-port", "0") as worker:
        address = worker.expect(" ready: ").partition("health on ")[2].replace("/healthz", "/metrics")
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the worker's own address
            text = answer.read().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    values = dict(re.findall(r"^(\w+) ([\d.]+)$", text, re.MULTILINE))
    assert kinds.keys() == values.keys()
    return {name: (kinds[name], float(values[name])) for name in kinds}


def test_the_page_has_every_metric_and_no_other(served: dict[str, tuple[str, float]]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {name: kind for name, (kind, _) in served.items()}
    assert len(rows) == len(served)


def test_counters_are_there_before_anything_is_counted(served: dict[str, tuple[str, float]]) -> None:
    # An increase from nothing to 1 is none for whoever watches.
    counters = {name: value for name, (kind, value) in served.items() if kind == "counter"}
    assert len(counters) >= 10
    assert set(counters.values()) == {0.0}


def test_the_rules_watch_metrics_that_there_are(served: dict[str, tuple[str, float]]) -> None:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    assert len(group["rules"]) > 4
    for rule in group["rules"]:
        names = METRIC.findall(rule["expr"])
        assert names, rule["alert"]
        for name in names:
            assert name in served, f"{rule['alert']}: there is no {name}"
            assert ("increase(" in rule["expr"]) is (served[name][0] == "counter")
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("page", ["howto/production.md", "howto/run-workers.md"])
def test_pages_name_metrics_that_there_are(page: str, served: dict[str, tuple[str, float]]) -> None:
    path: Path = ROOT / "docs" / page
    assert set(METRIC.findall(path.read_text(encoding="utf-8"))) <= served.keys()
