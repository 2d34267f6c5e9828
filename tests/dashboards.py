"""The expressions of the dashboards in deploy/grafana."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from harness import CHECKOUT

__all__ = ["DASHBOARDS", "EXPRESSIONS", "Expression"]

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((CHECKOUT / "deploy" / "grafana" / "dashboards").glob("*.json"))
}


class Expression(NamedTuple):
    """What a panel asks of Prometheus."""

    dashboard: str
    panel: str
    text: str  # with an interval in place of Grafana's variable

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"


def _expressions() -> Iterator[Expression]:
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "1m")
                yield Expression(name, panel["title"], text)


EXPRESSIONS = list(_expressions())
