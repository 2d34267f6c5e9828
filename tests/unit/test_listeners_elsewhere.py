"""A listener that others can reach does not start without a certificate, and says the way out."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli import cli
from streams.errors import SettingInvalid

CLEAR = "FOREMESH_TLS_CERTIFICATE and FOREMESH_TLS_KEY, or listen on 127.0.0.1"
BESIDE = "use 127.0.0.1"
FILES = {"FOREMESH_TLS_CERTIFICATE": "c.pem", "FOREMESH_TLS_KEY": "k.pem"}


def refusal(*args: str, **env: str) -> str:
    result = CliRunner().invoke(cli, args, env=env)
    assert isinstance(result.exception, SettingInvalid), (result.output, result.exception)
    return str(result.exception)


@pytest.mark.parametrize(
    ("command", "fix"),
    [
        ("gateway --listen", CLEAR),
        ("provision --listen", CLEAR),
        ("keda --listen", CLEAR),
        ("dashboard --listen", CLEAR),
        ("mesh control --edge", CLEAR),
        ("mesh control --inner", BESIDE),
        ("mesh control --control", BESIDE),
        ("mesh log --log", BESIDE),
        ("mesh decide --decide", BESIDE),
        ("mesh decide --leases", BESIDE),
        ("mesh activate --activate", BESIDE),
        ("mesh compose --compose", BESIDE),
        ("mesh bootstrap --admin", BESIDE),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_it_does_not_start_in_the_clear(command: str, fix: str, host: str) -> None:
    said = refusal(*command.split(), f"{host}:1")

    assert f"{host}:1" in said
    assert fix in said
    assert "\n" not in said


def test_what_cannot_ask_for_a_token_must_know_its_peers() -> None:
    scaler = refusal("keda", "--listen", "0.0.0.0:1", **FILES)
    edge = refusal("mesh", "control", "--edge", "0.0.0.0:1", **FILES)

    assert "set FOREMESH_TLS_CA to the CA of their certificates" in scaler
    assert "set FOREMESH_MESH_JWT_ISSUER" in edge
