"""The rules and alerts of deploy/prometheus, by Prometheus' own tool."""

from __future__ import annotations

import re
from typing import Any

import pytest
from harness import CHECKOUT
from prometheus import Tools, tools
from ruamel.yaml import YAML

from streams.adapters.metrics.definition import PROCESSES

FOLDER = CHECKOUT / "deploy" / "prometheus"
RUNBOOK = (CHECKOUT / "docs" / "runbook.md").read_text()


@pytest.fixture(scope="session")
def promtool() -> Tools:
    return tools(CHECKOUT / "build")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(FOLDER / name)
    return found


ALERTS = {rule["alert"]: rule for rule in read("alerts.yml")["groups"][0]["rules"]}


def test_the_configuration_and_its_rules_are_valid(promtool: Tools) -> None:
    assert "17 rules found" in promtool.check("check", "config", FOLDER / "prometheus.yml")


def test_alerts_fire_when_they_should_and_only_then(promtool: Tools) -> None:
    assert "SUCCESS" in promtool.check("test", "rules", FOLDER / "alerts.test.yml")


def test_each_alert_is_seen_to_fire() -> None:
    fired = {
        case["alertname"]
        for test in read("alerts.test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert fired == ALERTS.keys()


def test_each_alert_has_its_entry_in_the_runbook_and_each_entry_its_alert() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == list(ALERTS)


def test_each_alert_says_where_its_entry_is() -> None:
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


def test_links_in_the_runbook_lead_to_entries() -> None:
    linked = set(re.findall(r"\]\(#(\w+)\)", RUNBOOK))

    assert linked <= {name.lower() for name in ALERTS}


def test_every_process_is_scraped() -> None:
    job = read("prometheus.yml")["scrape_configs"][0]
    scraped = [one["labels"]["process"] for one in job["static_configs"]]

    assert scraped == list(PROCESSES)
