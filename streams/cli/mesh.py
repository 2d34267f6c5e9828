"""`foremesh mesh`: the interceptor in a real mesh."""

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
from streams.errors import SettingInvalid
from streams.request_path.envoy.addresses import JwtProvider, MeshAddresses, RoutePolicy
from streams.settings import Settings

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Drive Envoy: without a command, be its control plane."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(control)


def _places(function: F) -> F:
    """Give a command an option for every place; it is called with `places`."""

    @functools.wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        places = MeshAddresses(
            **{f.name: given.pop(f.name) for f in dataclasses.fields(MeshAddresses)}
        )
        return function(*args, places=places, **given)

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


def _option(name: str, default: Any, about: str) -> Callable[[F], F]:
    return click.option(
        f"--{name}",
        default=default,
        envvar=MeshAddresses.variable(name),
        show_default=default != "",
        show_envvar=True,
        help=about,
    )


_pool = _option("pool", "default", "Its pool.")
_queue = _option("queue", 64, "Most requests that wait for one constituent.")
_deadline = _option("deadline-ms", 10_000, "Most that a request may take, in milliseconds.")


@command.command()
@_places
@_pool
@_deadline
@_option("jwt-issuer", "", "Issuer of the users' tokens; without one, x-foremesh-user is believed.")
@_option("jwt-keys", "", "File with the issuer's JSON Web Key Set.")
@_option("jwt-claim", "sub", "The claim that names the user.")
@_option("jwt-tier-claim", "", "The claim that names the user's tier.")
@pass_settings
def control(
    settings: Settings,
    *,
    places: MeshAddresses,
    pool: str,
    deadline_ms: int,
    jwt_issuer: str,
    jwt_keys: str,
    jwt_claim: str,
    jwt_tier_claim: str,
) -> None:
    """Tell Envoys of catalogue and instances (aggregated discovery service)."""
    from streams.request_path.envoy.control_plane import ControlPlane  # noqa: PLC0415  # keep --help instant

    jwt = None
    if jwt_issuer:
        keys = _text(jwt_keys)
        jwt = JwtProvider(issuer=jwt_issuer, jwks=keys, claim=jwt_claim, tier_claim=jwt_tier_claim)
    policy = RoutePolicy(pool=pool, deadline_ms=deadline_ms, jwt=jwt)
    _run(ControlPlane(settings, places, policy).run)


@command.command()
@_places
@_pool
@_queue
@_deadline
@pass_settings
def decide(
    settings: Settings, *, places: MeshAddresses, pool: str, queue: int, deadline_ms: int
) -> None:
    """Claim exclusive instances for requests (external authorization by HTTP)."""
    from streams.request_path.envoy.decision_service import DecisionService  # noqa: PLC0415  # keep --help instant

    policy = RoutePolicy(pool=pool, deadline_ms=deadline_ms)
    _run(DecisionService(settings, places, policy, queue).run)


@command.command()
@_places
@_pool
@_queue
@_deadline
@pass_settings
def activate(
    settings: Settings, *, places: MeshAddresses, pool: str, queue: int, deadline_ms: int
) -> None:
    """Start what is missing and hold the request meanwhile: the standard path."""
    from streams.request_path.envoy.activator import StandardPathProxy  # noqa: PLC0415  # keep --help instant

    policy = RoutePolicy(pool=pool, deadline_ms=deadline_ms)
    _run(StandardPathProxy(settings, places, policy, queue).run)


@command.command()
@_places
@_pool
@pass_settings
def log(settings: Settings, *, places: MeshAddresses, pool: str) -> None:
    """Write requests and outcomes to Kafka, from Envoy's access log."""
    from streams.request_path.envoy.access_log import AccessLogService  # noqa: PLC0415  # keep --help instant

    async def run(stop: asyncio.Event) -> None:
        await AccessLogService(settings, places, pool).run(stop)

    _run(run)


@command.command()
@_places
@_pool
@_deadline
@pass_settings
def compose(settings: Settings, *, places: MeshAddresses, pool: str, deadline_ms: int) -> None:
    """Orchestrate composites behind Envoy, each constituent through Envoy again."""
    from streams.request_path.gateway.through_envoy import EnvoyGatewayProcess  # noqa: PLC0415  # keep --help instant

    gateway = EnvoyGatewayProcess(settings, pool, deadline_ms, f"http://{places.inner}")
    _run(lambda stop: gateway.run(places.compose, stop))


@command.command()
@_places
@_option("node", "edge", "Its name.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="A file, instead of printing it.",
)
def bootstrap(*, places: MeshAddresses, node: str, output: Path | None) -> None:
    """Write what an Envoy is started with."""
    from streams.request_path.envoy.bootstrap import bootstrap as made  # noqa: PLC0415  # keep --help instant

    text = json.dumps(made(places, node), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


@command.command()
@_places
@_option("node", "edge", "Its name.")
@_option("workers", 1, "Threads that serve requests.")
@pass_settings
def envoy(settings: Settings, *, places: MeshAddresses, node: str, workers: int) -> None:
    """Run Envoy, told where its control plane is."""
    from streams.request_path.envoy.binary import exec_envoy  # noqa: PLC0415  # keep --help instant

    exec_envoy(places, Path(settings.build) / "envoy", node, workers)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise SettingInvalid(f"{path or 'the key set'} cannot be read: {error.strerror}") from error


def _run(work: Callable[[asyncio.Event], Any]) -> None:
    from streams.runtime.event_loop import run  # noqa: PLC0415  # keep --help instant

    run(work)
