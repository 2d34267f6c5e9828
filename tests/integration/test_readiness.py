from __future__ import annotations

import pytest
from harness import RunForemesh, code_of, eventually
from meshed import START_S, listens

from streams.runtime.ports import free_ports


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("name", ["gateway", "provision", "keda"])
def test_a_server_is_ready_once_it_listens(run_foremesh: RunForemesh, name: str) -> None:
    port, metrics = free_ports(2)
    at, env = f"127.0.0.1:{port}", {"FOREMESH_METRICS_PORT": str(metrics)}
    running = run_foremesh(name, "--listen", at, **env)

    eventually(lambda: code_of(f"http://127.0.0.1:{metrics}/ready") == 200, START_S)

    assert listens(running, at)
