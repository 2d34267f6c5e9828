"""The dashboards of deploy/grafana: what they ask for is there, and can be asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dashboards import DASHBOARDS, EXPRESSIONS
from harness import CHECKOUT
from prometheus import tools
from ruamel.yaml import YAML

from streams.adapters.metrics.table import TABLE

GRAFANA = CHECKOUT / "deploy" / "grafana"
YAML_FILES = YAML(typ="safe", pure=True)
RULES = YAML_FILES.load(CHECKOUT / "deploy" / "prometheus" / "rules.yml")["groups"][0]["rules"]
ALERTS = YAML_FILES.load(CHECKOUT / "deploy" / "prometheus" / "alerts.yml")["groups"][0]["rules"]
RECORDED = {rule["record"] for rule in RULES}
OURS = re.compile(r"\bforemesh_\w+")
# Of a histogram each has a name of its own.
SERIES = {
    f"{row.name}{suffix}"
    for row in TABLE.rows.values()
    for suffix in (("_bucket", "_sum", "_count") if row.kind == "histogram" else ("",))
}
ASKED = [
    *(one.text for one in EXPRESSIONS),
    *(rule["expr"] for rule in (*RULES, *ALERTS)),
]


def test_every_expression_can_be_parsed(tmp_path: Path) -> None:
    rules = [{"record": f"x:{n}", "expr": one.text} for n, one in enumerate(EXPRESSIONS)]
    with (tmp_path / "rules.yml").open("w") as file:
        YAML_FILES.dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)

    said = tools(CHECKOUT / "build").check("check", "rules", tmp_path / "rules.yml")
    assert f"{len(rules)} rules found" in said


def test_expressions_name_metrics_that_there_are() -> None:
    named = {name for text in ASKED for name in OURS.findall(text)}
    recorded = {name for text in ASKED for name in re.findall(r"\bforemesh:[\w:]+", text)}

    assert named <= SERIES
    assert recorded <= RECORDED


def test_every_rule_that_is_recorded_is_asked_for() -> None:
    asked = " ".join(ASKED)

    assert [name for name in sorted(RECORDED) if name not in asked] == []


def test_every_metric_is_shown_or_told_somewhere() -> None:
    shown = {name for text in ASKED for name in OURS.findall(text)}
    unseen = {
        row.name
        for row in TABLE.rows.values()
        if not any(name.startswith(row.name) for name in shown)
    }

    assert unseen == {"foremesh_sink_failed_timestamp_seconds"}  # for who looks into one outage


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_of_a_dashboard_have_their_own_places_and_the_datasource_that_is_provisioned(
    name: str,
) -> None:
    [source] = YAML_FILES.load(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")[
        "datasources"
    ]
    panels = DASHBOARDS[name]["panels"]
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert all(panel["description"] for panel in panels)


def test_dashboards_are_provisioned_from_where_they_are() -> None:
    [provider] = YAML_FILES.load(GRAFANA / "provisioning" / "dashboards" / "foremesh.yaml")[
        "providers"
    ]

    assert (CHECKOUT / provider["options"]["path"]).samefile(GRAFANA / "dashboards")
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 4
