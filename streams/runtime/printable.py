"""Text from outside, made harmless for terminals and log lines."""

from __future__ import annotations

import logging
import re
from typing import Any

__all__ = ["HARMFUL", "PrintableFormatter", "printable", "printable_line"]

# Control characters but tab and newline, what turns the direction of text, separators of lines and
# paragraphs, what has no width, and halves of surrogate pairs.
HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""The text with harmful characters as escapes, which are also those of JSON.

    Examples
    --------
    >>> print(printable("ann\x1b[2J\u202eexe"))
    ann\u001b[2J\u202eexe
    """
    return HARMFUL.sub(lambda found: _escaped(found[0]), text)


def printable_line(text: str) -> str:
    """The text as one harmless line."""
    return printable(text).replace("\n", "\\n")


class PrintableFormatter(logging.Formatter):
    """Formats log records as one harmless line each; lines of a traceback follow below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's
        """The line of a record."""
        return printable_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's
        """The traceback of a record."""
        return printable(super().formatException(ei))


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
