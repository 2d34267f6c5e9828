from __future__ import annotations

from streams.request_path.core.provisioner_client import instance_of


def test_an_answer_of_a_newer_provisioner_is_understood() -> None:
    told = {
        "instance_id": "x",
        "service": "a",
        "pool": "p",
        "state": "warm",
        "endpoint": "http://127.0.0.1:1",
        "command_id": "c",
        "started_ms": 1,
        "changed_ms": 2,
        "mood": "good",
    }

    assert instance_of(told).state.value == "warm"
