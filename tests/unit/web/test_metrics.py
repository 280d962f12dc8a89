"""The text that Prometheus reads, and the dashboard that is drawn from it."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chalicelib.counters import BOUNDS_MS, EVENTS, Counts
from chalicelib.measurements import Snapshot
from chalicelib.resources.sqs import QueueDepth
from chalicelib.store.census import Census
from chalicelib.web.metrics import metrics_text
from tests.builders import NOON

DASHBOARD = json.loads((Path(__file__).parents[3] / "docs" / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in GRAPHS for target in panel["targets"]]
COLUMNS = 24
CENSUS = Census(
    moving={"pending": 3, "submitted": 2},
    claimed=1,
    await_price=5,
    await_launch=1,
    dead_letters=0,
    oldest_due_seconds=1.5,
    oldest_submitted_seconds=0.5,
    counted_at=NOON,
)
COUNTS = Counts(
    totals={
        "event:confirmed": 4,
        "execution:1": 2,
        "execution:3": 1,
        "execution:18": 1,
        "execution:milliseconds": 1250,
    },
    last_minute={"pending": 2, "confirmed": 1},
    last_five_minutes={"confirmed": 3, "failed": 1},
    open_connections=2,
)


def snapshot(**changes):
    whole = {"measured_at": NOON, "census": CENSUS, "counts": COUNTS, "queues": {"orders": QueueDepth(1, 2, 3)}}
    return Snapshot(**{**whole, **changes})


def families(snapshot):
    text, _ = metrics_text(snapshot, slots=10)
    return list(text_string_to_metric_families(text.decode()))


def samples(snapshot):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families(snapshot)
        for sample in family.samples
    }


TOLD = samples(snapshot())
NAMES = {name for name, *_ in TOLD}
LABELS = {label for _, *labels in TOLD for label, _ in labels} | {"job"}


def test_pending_orders_are_those_that_move_and_those_that_wait():
    assert TOLD["oee_orders", ("status", "pending")] == 3 + 5 + 1
    assert TOLD["oee_orders_unclaimed",] == 3 - 1


def test_a_histogram_counts_up_to_each_bound():
    told = {
        labels[0][1]: value for (name, *labels), value in TOLD.items() if name == "oee_order_execution_seconds_bucket"
    }

    assert list(told) == [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    assert [told["0.1"], told["0.25"], told["0.5"], told["300.0"], told["+Inf"]] == [2, 2, 3, 3, 4]
    assert TOLD["oee_order_execution_seconds_count",] == 4
    assert TOLD["oee_order_execution_seconds_sum",] == 1.25


def test_what_was_never_counted_is_zero_so_that_its_first_increase_shows():
    assert {event for _, (_, event) in [key for key in TOLD if key[0] == "oee_order_events_total"]} == set(EVENTS)
    assert TOLD["oee_order_events_total", ("event", "failed")] == 0


def test_while_no_order_has_ended_there_is_no_success():
    quiet = Counts(totals={}, last_minute={}, last_five_minutes={"pending": 1}, open_connections=0)

    assert ("oee_order_success_ratio",) not in samples(snapshot(counts=quiet))
    assert TOLD["oee_order_success_ratio",] == 0.75


@pytest.mark.parametrize(("source", "part"), [("census", "postgres"), ("counts", "redis"), ("queues", "sqs")])
def test_what_a_part_that_is_down_would_say_is_left_out(source, part):
    told = samples(snapshot(**{source: None}))

    assert told["oee_up", ("part", part)] == 0
    assert sum(value for (name, *_), value in told.items() if name == "oee_up") == 2
    assert len(told) < len(TOLD)


def test_names_follow_prometheuss_conventions():
    for family in families(snapshot()):
        assert re.fullmatch(r"oee_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert family.name.endswith("_total") is False
    counters = [family for family in families(snapshot()) if family.type == "counter"]
    assert all(sample.name == f"{family.name}_total" for family in counters for sample in family.samples)


# --- The dashboard ---


@pytest.mark.parametrize(
    ("title", "expression"), EXPRESSIONS, ids=[f"{title} {n}" for n, (title, _) in enumerate(EXPRESSIONS)]
)
def test_the_dashboard_asks_for_metrics_and_labels_that_there_are(title, expression):
    asked = re.findall(r"(oee_\w+){([^}]*)}", expression)

    assert asked
    assert expression.count("oee_") == len(asked), "each is of the chosen engine"
    for name, selectors in asked:
        assert name in NAMES
        assert 'job=~"$job"' in selectors
        assert {selector.partition("=")[0].rstrip("~!") for selector in selectors.split(",")} <= LABELS
    assert expression.count("(") == expression.count(")")


def test_legends_name_labels_that_there_are():
    legends = [target["legendFormat"] for panel in GRAPHS for target in panel["targets"]]

    assert {label for legend in legends for label in re.findall(r"{{(\w+)}}", legend)} <= LABELS


def test_every_metric_has_its_place_on_the_dashboard():
    drawn = {name for _, expression in EXPRESSIONS for name in re.findall(r"oee_\w+", expression)}

    suffixes = ("_bucket", "_count", "_sum", "_total")
    assert {name for name in NAMES if not name.endswith(suffixes)} <= drawn
    assert {name for name in NAMES if name.endswith("_total")} <= drawn


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    ids = [panel["id"] for panel in PANELS]
    cells = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(ids) == len(set(ids))
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < COLUMNS


def test_every_panel_asks_the_data_source_that_is_chosen():
    (datasource,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["type"] == "datasource"]

    assert datasource["query"] == "prometheus"
    for panel in GRAPHS:
        for asking in (panel, *panel["targets"]):
            assert asking["datasource"] == {"type": "prometheus", "uid": f"${{{datasource['name']}}}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_dashboard_has_a_row_for_each_concern():
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == [
        *("Traffic", "Success", "Latency", "Queues", "Slots", "Retries and pacing", "Connections and parts"),
    ]
