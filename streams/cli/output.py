"""What a command found: for people, or with `--output json` one JSON document for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rich.console import RenderableType

from streams.cli.console import PrintableConsole, echo, output_option
from streams.report.text_table import set_apart

__all__ = ["json_option", "tell"]

F = TypeVar("F", bound=Callable[..., Any])


def json_option(keys: str, *others: str) -> Callable[[F], F]:
    """The option `--output` of every command that prints a table or a fact.

    Parameters
    ----------
    keys
        What the document is, with the names of its keys: a part of the command's help.
    others
        Further forms.
    """
    about = f"Text for people, or one JSON document: {keys}"
    return output_option(about, "text", "json", *others)


def tell(output: str, facts: Any, *shown: RenderableType) -> None:
    """Print the facts as JSON, or what people are shown of them; text is printed as it is."""
    if output == "json":
        echo(json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False))
        return
    for part in set_apart(shown):
        if isinstance(part, str):
            echo(part)
        else:
            PrintableConsole().print(part)


def _plain(value: Any) -> Any:
    """The same without what JSON does not know: a figure that is none is null."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
