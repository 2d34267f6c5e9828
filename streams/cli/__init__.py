"""The command line: one module per command, imported when the command is called."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import traceback
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from click.shell_completion import CompletionItem

from streams.cli.command_group import CommandGroup
from streams.cli.console import echo
from streams.cli.standard_output import give_up, have_one, is_unwritable
from streams.cli.variables import misspelt
from streams.errors import ForemeshError
from streams.runtime.log_limit import LogLimit
from streams.runtime.printable import PrintableFormatter, printable
from streams.settings import Settings

__all__ = ["EXIT_CODES", "INTERRUPTED", "cli", "main", "pass_settings"]

INTERRUPTED = 130  # as in shells

EXIT_CODES = {
    0: "All is well; a process that runs until stopped was stopped.",
    1: "It failed, or it found something: one sentence on standard error or the table says what.",
    2: "The command line cannot be understood: a word, an option or a value is wrong.",
    INTERRUPTED: "Interrupted by Ctrl-C before it was done.",
}

# New objects at which they are looked through for garbage, which is hardly any: at 700, Python's
# default, a sixth of a worker's start goes into looking at what it imports.
NEW_OBJECTS = 5_000

LEFT_OUT = {"matplotlib", "river"}  # of the image, which serves: `evaluate` and pictures need them

# command -> (module below streams.cli, what it does). The command is the module's `command`.
COMMANDS = {
    "up": ("stack_up", "Start the local stack: Kafka, PostgreSQL, topics, schema."),
    "down": ("stack_down", "Stop the local stack."),
    "status": ("stack_status", "Show which servers of the local stack run, and where."),
    "topics": ("topics", "Create or check the topics."),
    "acl": ("acl", "Print the rights that each component needs on Kafka and in PostgreSQL."),
    "catalog": ("catalog", "Load, infer or show a catalogue."),
    "worker": ("worker", "Run the stages named, or all that are not optional."),
    "sink": ("sink", "Write the records on Kafka to PostgreSQL."),
    "provision": ("provision", "Start and end instances as commanded."),
    "keda": ("keda", "Tell KEDA's autoscalers how many instances are wanted."),
    "gateway": ("gateway", "Serve composite requests over HTTP."),
    "mesh": ("mesh", "Drive Envoy: control plane, decisions, activator, access log."),
    "produce": ("produce", "Send a request log to Kafka."),
    "predict": ("predict", "Show a user's latest prediction vector."),
    "report": ("report", "Report hits, misses, latency, time saved and wasted, from PostgreSQL."),
    "control": ("control", "Set what the allocator may do with a pool."),
    "dashboard": ("dashboard", "Serve one live web page: gains, health, what is warm and why."),
    "top": ("top", "Watch a pool in the terminal: hit rate, instances, decisions."),
    "explain": ("explain", "Explain why an instance was started, or was not there."),
    "replay": ("replay", "Run the stages over a log in one thread, without Kafka."),
    "evaluate": ("evaluate", "Score the profiler on a trace, prequentially."),
    "compare": ("compare", "Simulate a trace under every keep-warm policy."),
    "dead-letters": ("dead_letters", "List or replay records that could not be used."),
    "db": ("db", "Migrate the database, delete old rows."),
    "reset": ("reset", "Have pools begin anew: clear what was asked and learnt."),
    "forget": ("forget", "Delete what is kept of a user."),
    "metrics": ("metrics", "Describe what each process tells Prometheus."),
    "doctor": ("doctor", "Check broker, topics, schemas, database and lag."),
    "completion": ("completion", "Print what completes commands in bash, zsh or fish."),
    "demo": ("demo", "Play a synthetic population against a real stack."),
}


class LazyGroup(CommandGroup):
    """A group that imports the module of a command only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which one needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"streams.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, without importing them, and the options."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        found = [CompletionItem(name, help=COMMANDS[name][1]) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them, so that help is instant."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), about) for code, about in EXIT_CODES.items()])
        with formatter.section("Settings, from the environment"):
            formatter.write_dl(
                [
                    (Settings.variable(f.name), f"{f.metadata['about']} [{f.default}]")
                    for f in fields(Settings)
                ]
            )


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "FOREMESH"})
@click.option("--kafka", envvar="FOREMESH_KAFKA", show_envvar=True, help="Bootstrap servers.")
@click.option("--postgres", envvar="FOREMESH_POSTGRES", show_envvar=True, help="Database URL.")
@click.option("--prefix", envvar="FOREMESH_PREFIX", show_envvar=True, help="Prefix of topic names.")
@click.option("--verbose", "-v", is_flag=True, show_envvar=True, help="Log more; show tracebacks.")
@click.option("--quiet", "-q", is_flag=True, show_envvar=True, help="Log only what is wrong.")
@click.version_option(package_name="foremesh")
@click.pass_context
def cli(ctx: click.Context, /, verbose: bool, quiet: bool, **given: str | None) -> None:
    """Learn which service each user asks for next, and keep it warm.

    Commands that print a table or a fact have --output json. `foremesh completion` prints what
    completes all of this in a shell.
    """
    handler = logging.StreamHandler()
    handler.addFilter(LogLimit())
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, handlers=[handler])
    ctx.obj = settings_of(given)
    for sentence in misspelt(os.environ, ctx.command, ctx.invoked_subcommand):
        echo(f"foremesh: {sentence}", err=True)


def settings_of(given: dict[str, Any]) -> Settings:
    """The settings of the environment, overridden by the options given."""
    return replace(Settings.from_env(), **{k: v for k, v in given.items() if v is not None})


pass_settings = click.make_pass_decorator(Settings)


def main() -> None:
    """Run the command line; exits with one of `EXIT_CODES`.

    A `ForemeshError` prints its message; so does an error about a file: the folder of the stack, a
    token, a log.
    """
    gc.set_threshold(NEW_OBJECTS)
    have_one()
    sys.excepthook = _show
    try:
        code = cli(standalone_mode=False)  # else Ctrl-C looks like a failure
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except Exception as error:
        sentence = _told(error, verbose=logging.getLogger().isEnabledFor(logging.DEBUG))
        if sentence is None:
            raise
        echo(f"foremesh: {sentence}", err=True)
        sys.exit(2 if isinstance(error, UnicodeEncodeError) else 1)
    sys.exit(code)


def _told(error: Exception, *, verbose: bool) -> str | None:
    """What is wrong, in one sentence; None if that is for developers to find out."""
    if isinstance(error, OSError) and error.filename is None and is_unwritable(error):
        give_up()
        return f"nothing can be written: {error.strerror or error}"
    said: str | None = None
    match error:
        case ForemeshError():
            said = str(error)
        case OSError(filename=str(name)):
            said = f"{name} cannot be used: {error.strerror}"
        case FileNotFoundError() if not _is_somewhere():
            said = "the folder in which this runs was removed: change to another one"
        case UnicodeEncodeError() if error.object in sys.argv:
            said = f"{error.object!r} is no text in UTF-8"
        case ModuleNotFoundError() if (error.name or "").partition(".")[0] in LEFT_OUT:
            said = f"{error.name} is missing, as in the image: install foremesh by pip"
    return None if verbose else said


def _is_somewhere() -> bool:
    """Whether there is a current folder."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace))))
