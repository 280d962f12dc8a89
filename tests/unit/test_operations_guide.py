"""What operators are told about metrics is so."""

import re
from pathlib import Path

import yaml

from chalicelib.web.identity import METRICS
from tests.unit.web.test_metrics import NAMES

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_is_explained_and_every_one_that_is_explained_is_there():
    told = set(re.findall(r"`(oee_\w+)", (DOCS / "operations.md").read_text()))

    assert {re.sub("_(bucket|count|sum)$", "", name) for name in NAMES} == told


def test_the_scrape_jobs_are_yaml_and_ask_for_the_scope_that_is_needed():
    laptop, deployed = yaml.safe_load((DOCS / "prometheus.yml").read_text())["scrape_configs"]

    assert laptop["metrics_path"] == deployed["metrics_path"] == "/metrics"
    assert deployed["oauth2"]["scopes"] == [METRICS]
