"""`foremesh acl`: the rights that each component needs, on Kafka and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from streams.adapters.kafka.rights import KafkaRight, acl_commands, rights_of
from streams.adapters.postgres.roles import DatabaseRoles, grants
from streams.cli import pass_settings
from streams.cli.command_group import CommandGroup
from streams.cli.output import json_option, tell
from streams.flow.components import COMPONENTS
from streams.settings import Settings

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

PATTERN = "User:foremesh-{component}"


class PrincipalParam(click.ParamType):
    """COMPONENT=PRINCIPAL."""

    name = "component=principal"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The component and its principal."""
        del param, ctx
        if isinstance(value, tuple):
            return value
        component, _, principal = value.partition("=")
        if component not in COMPONENTS or ":" not in principal:
            self.fail(f"{value!r} is not as sink=User:ann, with one of {', '.join(COMPONENTS)}")
        return component, principal


@click.group(cls=CommandGroup)
def command() -> None:
    """Print the rights that each component needs."""


@command.command("print")
@click.argument("components", nargs=-1, type=click.Choice(list(COMPONENTS)), metavar="[COMPONENT]…")
@click.option(
    "--principal",
    "given",
    type=PrincipalParam(),
    multiple=True,
    show_envvar=True,
    help="Who a component is, as sink=User:ann; may be given again.",
)
@click.option(
    "--principals",
    "pattern",
    default=PATTERN,
    show_default=True,
    show_envvar=True,
    help="Who every other component is.",
)
@json_option(
    "a list of component, principal, resource_type, resource_name, pattern_type, operation"
)
@pass_settings
def print_command(
    settings: Settings,
    components: tuple[str, ...],
    given: Iterable[tuple[str, str]],
    pattern: str,
    output: str,
) -> None:
    """Print the Kafka rights of each COMPONENT, of all without one; nothing is changed.

    They are calls of kafka-acls.
    `worker` is one that runs all stages; a stage by its name is a worker of its own. Several
    components may have one principal. Whoever may write to `catalog` or `commands` runs commands on
    the hosts of provisioners, and whoever may write to `instances` directs users' requests.
    """
    wanted = components or tuple(COMPONENTS)
    principals = {name: pattern.replace("{component}", name) for name in wanted} | dict(given)
    rights = {name: rights_of(COMPONENTS[name], settings) for name in wanted}
    said: list[str] = []
    for name in wanted:
        said.append(f"# {name}: {COMPONENTS[name].runs}")
        said += acl_commands(principals[name], rights[name], settings.kafka)
    tell(output, as_json(rights, principals), *said)


def _role(name: str) -> Callable[[F], F]:
    default, about = getattr(DatabaseRoles(), name), f"Name of the {name}'s role."
    return click.option(
        f"--{name}", default=default, show_default=True, show_envvar=True, help=about
    )


@command.command("postgres")
@_role("owner")
@_role("writer")
@_role("reader")
@json_option("statements (a list of SQL)")
@pass_settings
def postgres_command(
    settings: Settings, *, owner: str, writer: str, reader: str, output: str
) -> None:
    """Print the rights in PostgreSQL as SQL; nothing is changed.

    The owner runs `foremesh db`, `reset` and `forget`, the writer `foremesh sink`, the reader
    dashboard, top, report, explain, predict and doctor. The roles exist before, and the tables
    (`foremesh db migrate` as the owner) before the rights of writer and reader; print it again
    after a migration.
    """
    roles = DatabaseRoles(owner=owner, writer=writer, reader=reader)
    statements = list(grants(settings.postgres, roles))
    tell(output, {"statements": statements}, *statements)


def as_json(
    rights: Mapping[str, Iterable[KafkaRight]], principals: Mapping[str, str]
) -> list[dict[str, str]]:
    """The rights as plain values."""
    return [
        {
            "component": name,
            "principal": principals[name],
            "resource_type": right.resource,
            "resource_name": right.name,
            "pattern_type": right.pattern,
            "operation": right.operation,
        }
        for name, some in rights.items()
        for right in some
    ]
