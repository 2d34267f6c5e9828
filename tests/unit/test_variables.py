"""Variables that are nearly settings: each is told, and what it is taken for."""

from __future__ import annotations

import pytest

from streams.cli import cli
from streams.cli.variables import misspelt

NEARLY = {
    ("worker", "FOREMESH_PARTITION"): "FOREMESH_PARTITIONS",
    ("worker", "FOREMESH_POSTGRES_URL"): "FOREMESH_POSTGRES",
    ("worker", "FOREMESH_WORKER_REBILD"): "FOREMESH_WORKER_REBUILD",
    ("worker", "FOREMESH_METRICS_PROT"): "FOREMESH_METRICS_PORT",
    ("worker", "FOREMESH_DASHBOARD_TOKN_FILE"): "FOREMESH_DASHBOARD_TOKEN_FILE",
    ("mesh", "FOREMESH_MESH_DECIDES"): "FOREMESH_MESH_DECIDE",
    ("db", "FOREMESH_DB_PRUNE_KEPT"): "FOREMESH_DB_PRUNE_KEEP",
    ("dead-letters", "FOREMESH_DEAD_LETTERS_LIST_TOPICS"): "FOREMESH_DEAD_LETTERS_LIST_TOPIC",
}


@pytest.mark.parametrize(("called", "name"), NEARLY)
def test_a_misspelt_variable_is_told_with_the_one_that_is_meant(called: str, name: str) -> None:
    (sentence,) = misspelt({name: "1"}, cli, called)
    assert sentence == f"{name} is no setting and has no effect: {NEARLY[called, name]} is meant?"


@pytest.mark.parametrize(
    "name",
    [
        "FOREMESH_PARTITIONS",
        "FOREMESH_VERBOSE",
        "FOREMESH_WORKER_REBUILD",
        "FOREMESH_GATEWAY_LISTEN",  # of another command
        "FOREMESH_GATEWAY_PORT",  # of a service in Kubernetes
        "FOREMESH_COMMIT_OF_THE_IMAGE",  # of somebody
        "MY_FOREMESH_PARTITION",
    ],
)
def test_what_is_a_setting_or_resembles_none_is_not_told(name: str) -> None:
    assert not [*misspelt({name: "1"}, cli, "worker")]
