"""Writes the catalogue as YAML, the way people write it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from streams.records.catalog import Catalog, CatalogEntry, Composite, Resources
from streams.runtime.printable import HARMFUL

__all__ = ["dump", "plain"]

UNITS = """\
cpu in millicores, memory in MiB, bandwidth in Mbit/s; price of one warm instance for an hour;
weight is the worth of one second not waited, budget the most that warm instances may cost in an
hour, both in the unit of the prices; quota is the share of a pool that warm instances for a tier
may take; where trust_tier_header is true, whoever calls may name a tier. Steps of a composite run
one after the other, those of an inner list in parallel."""


def dump(catalog: Catalog, comment: str = "") -> str:
    """Write a catalogue as YAML, so that `yaml_reader.parse` reads it back; `comment` goes on top.

    Characters that a terminal would hide or obey are escapes of YAML, so what is printed is the same.
    """
    out = io.StringIO()
    for line in f"{comment}\n{UNITS}".strip().splitlines():
        out.write(f"# {line}".rstrip() + "\n")
    yaml = YAML()
    # A name that is broken between two lines may come back with a space more.
    yaml.width = 1_000_000
    yaml.representer.add_representer(str, _text)
    yaml.dump({name: part for name, part in plain(catalog).items() if part}, out)
    return HARMFUL.sub(lambda found: f"\\U{ord(found[0]):08x}", out.getvalue())


def plain(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """The catalogue as plain values, in the form of its YAML: sections, and entries by name."""
    return {
        "constituents": {name: _plain(item) for name, item in catalog.constituents.items()},
        "composites": {name: _composite(item) for name, item in catalog.composites.items()},
        "tiers": {name: _plain(item) for name, item in catalog.tiers.items()},
        "pools": {name: _plain(item) for name, item in catalog.pools.items()},
    }


def _text(representer: Any, value: str) -> Any:
    # Unquoted, these could not be escapes, or would be read as the sign of a key.
    style = '"' if HARMFUL.search(value) or value[:1] == "?" else None
    return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _plain(entry: CatalogEntry) -> dict[str, Any]:
    """The fields of an entry that differ from their defaults, resources first."""
    values: dict[str, Any] = {}
    for item in fields(entry):
        value = getattr(entry, item.name)
        if isinstance(value, Resources):
            values |= {f.name: _short(getattr(value, f.name)) for f in fields(Resources)}
        elif item.name not in {"service", "tier", "pool"} and value != item.default:
            values[item.name] = _short(value)
    return values


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return _flow(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _composite(composite: Composite) -> Any:
    steps = _flow(step[0] if len(step) == 1 else _flow(step) for step in composite.steps)
    more = {k: v for k, v in _plain(composite).items() if k != "steps"}
    return {"steps": steps, **more} if more else steps


def _flow(items: Iterable[Any]) -> CommentedSeq:
    seq = CommentedSeq(items)
    seq.fa.set_flow_style()
    return seq
