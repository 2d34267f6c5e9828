"""What a Deployment's annotations say, which anybody may write who can write the Deployment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube import deployment
from lightkube.resources.apps_v1 import Deployment

from streams.provisioners.kubernetes.cluster import (
    JOURNAL,
    REQUESTS,
    WarmDeployment,
    lacks_requests,
)
from streams.provisioners.kubernetes.scale_journal import MOST_PODS, ScaleJournal
from streams.records.catalog import Constituent, Resources

NEEDS = Resources(cpu=100, memory=32)
A = Constituent(service="a", needs=NEEDS, warm_up_ms=100, price=1.0)
DAMAGED = '{"cpu": 100m}', "{", "[]", "7", '{"cpu": 7}', '{"cpu": "x"}', '{"cpu": "1e9999m"}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["cpu", "memory", "wanted", "commands"]), inner)
    ),
)


def read(annotation: str, text: str, requests: dict[str, str] | None = None) -> WarmDeployment:
    made = deployment("a")
    made["metadata"]["annotations"] = {annotation: text}
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"requests": requests or {}}
    one: Any = Deployment.from_dict(made)
    return WarmDeployment.of(one)


def test_requests_that_are_noted_as_ours_follow_the_catalogue() -> None:
    ours = {"cpu": "50m", "memory": "16Mi"}

    assert lacks_requests(read(REQUESTS, json.dumps(ours), ours), A)


@pytest.mark.parametrize("text", DAMAGED)
def test_requests_count_as_those_of_others_where_the_note_is_damaged(text: str) -> None:
    assert not lacks_requests(read(REQUESTS, text, {"cpu": "50m", "memory": "16Mi"}), A)


@pytest.mark.parametrize("text", ['{"wanted": 1e999}', "[" * 100_000, '{"wanted": []}', "null"])
def test_a_damaged_journal_is_empty(text: str) -> None:
    assert read(JOURNAL, text).journal == ScaleJournal()


@pytest.mark.parametrize("wanted", [-1, MOST_PODS + 1, 10**30])
def test_a_journal_of_a_number_that_no_cluster_has_is_empty(wanted: int) -> None:
    written = ScaleJournal(MOST_PODS, ("c1",))

    assert ScaleJournal.of(written.text()) == written
    assert ScaleJournal.of(f'{{"wanted": {wanted}}}') == ScaleJournal()


@given(annotation=st.sampled_from([JOURNAL, REQUESTS]), text=st.text() | JSON.map(json.dumps))
def test_no_annotation_keeps_a_deployment_from_being_read(annotation: str, text: str) -> None:
    assert read(annotation, text).name == "a-warm"
