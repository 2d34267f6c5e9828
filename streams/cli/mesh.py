"""`foremesh mesh`: Envoy, and the processes that configure it and that it calls."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from streams.cli import pass_settings
from streams.cli.amounts import DEADLINE_MS, QUEUE
from streams.cli.command_group import CommandGroup
from streams.cli.console import echo
from streams.cli.output_file import OutputFile, write_whole
from streams.errors import SettingInvalid
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.policy import EdgeCertificate, JwtProvider, RoutePolicy
from streams.runtime.access import certificate_files, loopback_only
from streams.runtime.addresses import address, is_loopback
from streams.settings import Settings

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Run Envoy's control plane, or another process of the mesh."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(control)


def _addresses(function: F) -> F:
    """Give a command an option for every address; it is called with `addresses`."""

    @functools.wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        addresses = MeshAddresses(
            **{f.name: given.pop(f.name) for f in dataclasses.fields(MeshAddresses)}
        )
        return function(*args, addresses=addresses, **given)

    for item in reversed(dataclasses.fields(MeshAddresses)):
        called = click.option(
            f"--{item.name}",
            default=item.default,
            envvar=MeshAddresses.variable(item.name),
            show_default=True,
            show_envvar=True,
            help=item.metadata["about"],
        )(called)
    return called  # type: ignore[return-value]  # takes one argument less


def _option(
    name: str, default: Any, about: str, kind: click.ParamType | None = None
) -> Callable[[F], F]:
    return click.option(
        f"--{name}",
        type=kind,
        default=default,
        envvar=MeshAddresses.variable(name),
        show_default=default != "",
        show_envvar=True,
        help=about,
    )


_pool = _option("pool", "default", "Name of the pool.")
_queue = _option("queue", 64, "Most requests that wait for one constituent.", QUEUE)
_deadline = _option(
    "deadline-ms", 10_000, "Most that a request may take, in milliseconds.", DEADLINE_MS
)


@command.command()
@_addresses
@_pool
@_deadline
@_option("jwt-issuer", "", "Issuer of the users' tokens; without one, x-foremesh-user is trusted.")
@_option("jwt-keys", "", "File with the issuer's JSON Web Key Set.")
@_option("jwt-claim", "sub", "The claim that names the user.")
@_option("jwt-tier-claim", "", "The claim that names the user's tier.")
@pass_settings
def control(
    settings: Settings,
    *,
    addresses: MeshAddresses,
    pool: str,
    deadline_ms: int,
    jwt_issuer: str,
    jwt_keys: str,
    jwt_claim: str,
    jwt_tier_claim: str,
) -> None:
    """Run the control plane (ADS).

    It configures Envoys from the catalogue and the instances of a pool.
    """
    from streams.request_path.envoy.control_plane import serve_control_plane  # noqa: PLC0415  # keep --help instant

    jwt = None
    if jwt_issuer:
        keys = _text(jwt_keys)
        jwt = JwtProvider(issuer=jwt_issuer, jwks=keys, claim=jwt_claim, tier_claim=jwt_tier_claim)
    tls = _edge_certificate(settings, addresses.edge, jwt)
    policy = RoutePolicy(pool=pool, deadline_ms=deadline_ms, jwt=jwt, tls=tls)
    _run(lambda stop: serve_control_plane(settings, addresses, policy, stop))


@command.command()
@_addresses
@_pool
@_queue
@_deadline
@pass_settings
def decide(
    settings: Settings, *, addresses: MeshAddresses, pool: str, queue: int, deadline_ms: int
) -> None:
    """Run the decision service (ext_authz).

    It claims exclusive instances for requests.
    """
    from streams.request_path.envoy.decision_service import serve_decisions  # noqa: PLC0415  # keep --help instant

    policy = RoutePolicy(pool=pool, deadline_ms=deadline_ms)
    _run(lambda stop: serve_decisions(settings, addresses, policy, queue, stop))


@command.command()
@_addresses
@_pool
@_queue
@_deadline
@pass_settings
def activate(
    settings: Settings, *, addresses: MeshAddresses, pool: str, queue: int, deadline_ms: int
) -> None:
    """Run the activator: the standard path.

    It holds a request that found nothing warm while it starts an instance.
    """
    from streams.request_path.envoy.activator import serve_activator  # noqa: PLC0415  # keep --help instant

    policy = RoutePolicy(pool=pool, deadline_ms=deadline_ms)
    _run(lambda stop: serve_activator(settings, addresses, policy, queue, stop))


@command.command()
@_addresses
@_pool
@pass_settings
def log(settings: Settings, *, addresses: MeshAddresses, pool: str) -> None:
    """Run the access log service.

    It publishes requests and outcomes to Kafka.
    """
    from streams.request_path.envoy.access_log import serve_access_log  # noqa: PLC0415  # keep --help instant

    _run(lambda stop: serve_access_log(settings, addresses, pool, stop))


@command.command()
@_addresses
@_pool
@_deadline
@pass_settings
def compose(settings: Settings, *, addresses: MeshAddresses, pool: str, deadline_ms: int) -> None:
    """Run the gateway behind Envoy.

    It orchestrates composites, and calls every constituent through Envoy.
    """
    from streams.request_path.gateway.through_envoy import serve_gateway_behind_envoy  # noqa: PLC0415  # keep --help instant

    _run(
        lambda stop: serve_gateway_behind_envoy(
            settings,
            pool=pool,
            deadline_ms=deadline_ms,
            envoy=f"http://{addresses.inner}",
            at=loopback_only(addresses.compose, "gateway behind Envoy"),
            stop=stop,
        )
    )


@command.command()
@_addresses
@_option("node", "edge", "Name of the Envoy.")
@click.option(
    "--output",
    "-o",
    type=OutputFile(),
    show_envvar=True,
    help="File to write to, instead of standard output.",
)
def bootstrap(*, addresses: MeshAddresses, node: str, output: Path | None) -> None:
    """Write the bootstrap configuration of an Envoy."""
    from streams.request_path.envoy.bootstrap import bootstrap as make  # noqa: PLC0415  # keep --help instant

    text = json.dumps(make(addresses, node), indent=2) + "\n"
    if output is None:
        echo(text, nl=False)
    else:
        write_whole(output, text.encode())


@command.command()
@_addresses
@_option("node", "edge", "Name of the Envoy.")
@_option("workers", 1, "Threads that serve requests.", click.IntRange(1, 1_024))
@pass_settings
def envoy(settings: Settings, *, addresses: MeshAddresses, node: str, workers: int) -> None:
    """Run an Envoy of this mesh."""
    from streams.request_path.envoy.binary import exec_envoy  # noqa: PLC0415  # keep --help instant

    exec_envoy(addresses, Path(settings.build) / "envoy", node, workers)


def _edge_certificate(
    settings: Settings, edge: str, jwt: JwtProvider | None
) -> EdgeCertificate | None:
    """What Envoy shows users elsewhere than on loopback, where each needs a token of their own."""
    if is_loopback(address(edge)[0]):
        return None
    certificate, key = certificate_files(settings, edge, "edge of Envoy")
    if jwt is None:
        raise SettingInvalid(
            f"the edge of Envoy on {edge} must know its users: set FOREMESH_MESH_JWT_ISSUER and"
            " FOREMESH_MESH_JWT_KEYS, or use 127.0.0.1"
        )
    return EdgeCertificate(
        certificate=str(Path(certificate).absolute()), key=str(Path(key).absolute())
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise SettingInvalid(f"{path or 'the key set'} cannot be read: {error.strerror}") from error


def _run(work: Callable[[asyncio.Event], Any]) -> None:
    from streams.runtime.event_loop import run  # noqa: PLC0415  # keep --help instant

    run(work)
