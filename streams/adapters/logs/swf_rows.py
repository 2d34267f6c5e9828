"""Rows of the Standard Workload Format, in which job schedulers are recorded.

References
----------
Feitelson, Tsafrir, Krakov: Experience with using the Parallel Workloads Archive. JPDC 74, 2014.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from streams.adapters.logs.rows import LineStream, LogRow

__all__ = ["swf_rows"]

_COLUMNS = (
    *("job", "submit", "wait", "run", "processors", "cpu_time", "memory"),
    *("requested_processors", "requested_time", "requested_memory", "status"),
    *("user", "group", "executable", "queue", "partition", "preceding", "think_time"),
)
_BEGAN = re.compile(r";\s*UnixStartTime:\s*(\d{1,12})\b")
_SECONDS = re.compile(r"\d{1,12}(\.\d*)?", re.ASCII)


def swf_rows(lines: LineStream, name: str) -> Iterator[LogRow]:
    """Rows of SWF; `submit` is in seconds since the epoch if the header has its UnixStartTime."""
    del name
    began = 0
    for line in lines:
        if line.text.lstrip().startswith(";"):
            found = _BEGAN.match(line.text.lstrip())
            began = int(found[1]) if found else began
        else:
            yield LogRow(line.number, line.text, line.fault or _fields(line.text, began))


def _fields(text: str, began: int) -> dict[str, str] | str:
    """The fields of a job; -1 stands for what is not known."""
    cells = text.split()
    if len(cells) != len(_COLUMNS):
        return f"{len(cells)} fields where SWF has {len(_COLUMNS)}"
    fields = {
        name: "" if cell == "-1" else cell for name, cell in zip(_COLUMNS, cells, strict=True)
    }
    if _SECONDS.fullmatch(fields["submit"]):
        fields["submit"] = f"{began + float(fields['submit']):.3f}"
    return fields
