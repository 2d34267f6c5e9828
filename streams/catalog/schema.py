"""The catalogue's form for editors, as JSON Schema, and for people, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from streams.catalog.fields import MAX_NAME, NAME, SECTIONS
from streams.records.catalog import Composite, Constituent, Pool, Resources, Tier

__all__ = ["json_schema", "markdown"]

_ENTRIES: Mapping[str, tuple[type, ...]] = {
    "constituents": (Constituent, Resources),
    "composites": (Composite,),
    "tiers": (Tier,),
    "pools": (Pool,),
}
_ABOUT: Mapping[str, str] = {
    "constituents": "Services of which instances are started, by name.",
    "composites": "Services that users ask for: their steps alone, or with the keys below.",
    "tiers": "Classes of users.",
    "pools": "Resources that instances run on; where there are constituents, one at least.",
}
_HEAD = f"""\
# Catalogue

What services are made of, what they need, and what waiting is worth: YAML for `foremesh catalog load`.
`foremesh catalog infer` writes a first one from a request log. `foremesh catalog reference` writes this
page. `foremesh catalog schema > catalog.schema.json` gives editors a JSON Schema: name it in the first
line of a catalogue.

```yaml
# yaml-language-server: $schema=catalog.schema.json
constituents:
  pricing: {{cpu: 250, memory: 128, bandwidth: 5, warm_up_ms: 900, price: 0.02}}
  payment: {{cpu: 500, memory: 512, warm_up_ms: 2500, price: 0.05}}
composites:
  checkout: [pricing, payment]
tiers:
  gold: {{weight: 0.02, sla_ms: 200, priority: 10}}
  standard: {{weight: 0.005, sla_ms: 2000}}
pools:
  default: {{cpu: 8000, memory: 16384, bandwidth: 1000}}
```

Names have {MAX_NAME} characters at most. Sections whose names begin with `x-` are not read: anchors may
stand there, and merge keys (`<<: *usual`) take them in. What an instance must do is in
[its own page](instances.md).
"""


def json_schema() -> dict[str, Any]:
    """The form of a catalogue, in JSON Schema of 2020-12.

    What it does not say: that constituents of a composite exist, and that instances fit a pool.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Catalogue of foremesh",
        "type": "object",
        "properties": {name: _section(name) for name in SECTIONS},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def markdown() -> str:
    """Every key with what it is, what it may be, its default and an example."""
    return "".join([_HEAD, *map("".join, map(_table, SECTIONS))])


def _section(name: str) -> dict[str, Any]:
    entry: dict[str, Any] = _entry(name)
    if name == "composites":
        entry = {"anyOf": [SECTIONS[name]["steps"].form.schema, entry]}
    return {
        "description": _ABOUT[name],
        "type": "object",
        "propertyNames": NAME.schema,
        "additionalProperties": entry,
    }


def _entry(section: str) -> dict[str, Any]:
    keys = SECTIONS[section]
    return {
        "type": "object",
        "properties": {"<<": {}, **{name: _value(section, name) for name in keys}},
        "required": [name for name, key in keys.items() if key.required],
        "additionalProperties": False,
    }


def _value(section: str, name: str) -> dict[str, Any]:
    key = SECTIONS[section][name]
    return {"description": f"{key.about} ({key.form.about})", **key.form.schema}


def _table(section: str) -> Iterator[str]:
    yield f"\n## {section}\n\n{_ABOUT[section]}\n\n"
    yield "| key | what it is | may be | default | example |\n|---|---|---|---|---|\n"
    for name, key in SECTIONS[section].items():
        default = "required" if key.required else _default(section, name)
        yield f"| `{name}` | {key.about} | {key.form.about} | {default} | `{key.example}` |\n"


def _default(section: str, name: str) -> str:
    for entry in _ENTRIES[section]:
        for field in fields(entry):
            if field.name == name and field.default is not MISSING:
                return _written(field.default)
    raise KeyError(name)


def _written(value: Any) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case "" | ():
            return "none"
        case float():
            return f"`.{value}`" if value == float("inf") else f"`{value:g}`"
        case _:
            return f"`{value}`"
