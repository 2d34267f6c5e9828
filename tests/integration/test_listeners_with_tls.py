"""Listeners beyond loopback: with TLS, and with a token or a certificate of their peers."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path

import aiohttp
import grpc
import pytest
from harness import CHECKOUT, RunForemesh, Running
from issuer import issuer, token
from meshed import Mesh
from services import catalog_of, constituent, send

from streams.provisioners.keda import externalscaler_pb2, externalscaler_pb2_grpc
from streams.provisioners.keda.scaler import KedaScaler, WantedInstances, serve
from streams.records.catalog import Catalog
from streams.runtime.access import grpc_certificates
from streams.runtime.ports import free_ports
from streams.runtime.token_file import dashboard_token_of, token_of, users_token_of
from streams.settings import Settings

TLS = CHECKOUT / "tests" / "tls"
FILES = {
    "FOREMESH_TLS_CERTIFICATE": str(TLS / "localhost.pem"),
    "FOREMESH_TLS_KEY": str(TLS / "localhost.key"),
    "FOREMESH_TLS_CA": str(TLS / "ca.pem"),
}
TRUST = ssl.create_default_context(cafile=str(TLS / "ca.pem"))


async def status(url: str, method: str = "POST", **headers: str) -> int:
    """The status of the answer; 0 while nothing answers."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json={}, headers=sent, ssl=TRUST) as answer,
        ):
            return answer.status
    except aiohttp.ClientError:
        return 0


async def serves(running: Running, url: str) -> None:
    """Wait until a process answers over TLS."""
    for _ in range(400):
        assert running.process.poll() is None, running.output
        if await status(url, "GET") == 200:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(running.output)


async def test_gateway_and_provisioner_ask_for_their_tokens_over_tls(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    gateway, provisioner = free_ports(2)
    env = {**FILES, "FOREMESH_PROVISIONER": f"https://localhost:{provisioner}"}
    running = run_foremesh("provision", "--listen", f"0.0.0.0:{provisioner}", **env)
    await serves(running, f"https://localhost:{provisioner}/healthz")
    running = run_foremesh("gateway", "--listen", f"0.0.0.0:{gateway}", **env)
    await serves(running, f"https://localhost:{gateway}/healthz")
    theirs = f"Bearer {users_token_of(settings)}"
    ours = f"Bearer {token_of(settings)}"

    url = f"https://localhost:{gateway}/only-a"
    assert await status(url, x_foremesh_user="ann") == 401
    assert await status(url, x_foremesh_user="ann", authorization=ours) == 401
    assert await status(url, x_foremesh_user="ann", authorization=theirs) == 200
    uses = f"https://localhost:{provisioner}/use"
    assert await status(uses, authorization=theirs) == 401
    assert await status(uses, authorization=ours) == 400  # let in, and not understood
    assert await status(f"http://localhost:{gateway}/only-a", x_foremesh_user="ann") == 0


async def test_doctor_asks_servers_beyond_loopback_over_tls(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    (port,) = free_ports(1)
    env = {**FILES, "FOREMESH_PROVISIONER": f"https://localhost:{port}"}
    running = run_foremesh("provision", "--listen", f"0.0.0.0:{port}", **env)
    await serves(running, f"https://localhost:{port}/healthz")

    asked = run_foremesh("doctor", **env)
    asked.wait()

    assert f"answers at https://localhost:{port}" in asked.output  # nobody reads what it has sent
    untrusted = run_foremesh("doctor", **{**env, "FOREMESH_TLS_CA": ""})
    untrusted.wait()
    assert "set FOREMESH_TLS_CA" in " ".join(untrusted.output.split())


async def test_the_dashboard_beyond_loopback_is_read_by_who_logs_in_with_the_token(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    (port,) = free_ports(1)
    url = f"https://localhost:{port}"
    running = run_foremesh("dashboard", "--listen", f"0.0.0.0:{port}", **FILES)
    await serves(running, f"{url}/healthz")
    token = dashboard_token_of(settings)
    login = f"Basic {b64encode(f'ann:{token}'.encode()).decode()}"

    assert await status(url, "GET") == 401
    assert await status(url, "GET", authorization=login) == 200
    assert await status(f"{url}/section/users", "GET") == 401
    assert await status(f"{url}/change") == 401
    assert await status(f"{url}/change", authorization=login) == 401
    assert await status(f"{url}/change", authorization=f"Bearer {token}") == 400


async def test_a_scaler_beyond_loopback_answers_who_shows_a_certificate() -> None:
    settings = Settings.from_env(FILES)
    wanted = WantedInstances()
    wanted.read([])
    scaler = KedaScaler(wanted, lambda: Catalog.of([constituent("a")]))
    tls = grpc_certificates(settings, "0.0.0.0:0", "scaler")
    ca, key, certificate = (
        (TLS / name).read_bytes() for name in ("ca.pem", "localhost.key", "localhost.pem")
    )
    ref = externalscaler_pb2.ScaledObjectRef(name="x", scalerMetadata={"constituent": "a"})

    async def ask(credentials: grpc.ChannelCredentials | None) -> bool:
        at = f"localhost:{port}"
        made = (
            grpc.aio.secure_channel(at, credentials)
            if credentials
            else grpc.aio.insecure_channel(at)
        )
        async with made as channel:
            stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
            return bool((await stub.GetMetricSpec(ref, timeout=5)).metricSpecs)

    async with serve(scaler, "0.0.0.0:0", tls) as port:
        assert await ask(grpc.ssl_channel_credentials(ca, key, certificate))
        for nobody in (None, grpc.ssl_channel_credentials(ca)):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(nobody)


async def test_an_edge_beyond_loopback_serves_verified_users_over_tls(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), constituent("b", concurrency=8)))
    mesh = Mesh(run_foremesh)
    [port] = free_ports(1)
    mesh.env |= {**FILES, **issuer(tmp_path), "FOREMESH_MESH_EDGE": f"0.0.0.0:{port}"}
    mesh.start("control", "log", "decide", "activate", "compose", envoy=False)
    envoy = mesh.again("envoy")
    await serves(envoy, f"https://localhost:{port}/healthz")
    good = {"authorization": f"Bearer {token(sub='ann')}"}

    for composite in ("only-b", "all"):
        url = f"https://localhost:{port}/{composite}"
        assert await status(url, x_foremesh_user="ann") == 401
        assert await status(url, **good) == 200
