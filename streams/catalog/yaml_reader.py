"""Reads the catalogue from YAML written by people, and reports every error with its line.

::

    constituents:
      pricing: {cpu: 250, memory: 128, bandwidth: 5, warm_up_ms: 900, price: 0.02}
      stock: {cpu: 250, memory: 256, warm_up_ms: 1500, price: 0.02, concurrency: 8}
      payment: {cpu: 500, memory: 512, warm_up_ms: 2500, price: 0.05}
      index: {cpu: 500, memory: 512, warm_up_ms: 700, price: 0.05,
              warm_up: /search, warm_up_body: '{"query": "a"}'}   # posted before it counts as warm
      model: {cpu: 100, memory: 9000, warm_up_ms: 8000, price: 0.2,   # may be warm alone, for what
              command: ["{python}", "{zygote}", --import, torch]}   # is forked from it: see zygote
      sketch: {cpu: 500, memory: 700, warm_up_ms: 900, price: 0.05, base: model}
      portrait: {cpu: 500, memory: 700, warm_up_ms: 900, price: 0.05, base: model}
    composites:
      checkout: [[pricing, stock], payment]   # steps; those of an inner list run in parallel
      search: {steps: [index], logged: [page]}   # the access log keeps this parameter, no other
      draw: [sketch, portrait]
      quote: {steps: [pricing], idempotent: true}   # may be served twice, whatever the method
    tiers:
      gold: {weight: 0.02, sla_ms: 200, priority: 10}
      bronze: {weight: 0.005, sla_ms: 2000, quota: 0.3}   # holds at most so much of a pool
    pools:
      default: {cpu: 8000, memory: 16384, bandwidth: 1000, budget: 1.5,
                trust_tier_header: true}   # a proxy in front sets x-foremesh-tier or removes it;
                                           # without, every request is of the default tier
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node

from streams.catalog.fields import SECTIONS, CatalogField, name_of, near
from streams.catalog.merge_keys import MOST, inherited, is_merge
from streams.catalog.yaml_nodes import FieldInvalid, compose
from streams.errors import CatalogInvalid
from streams.records.catalog import (
    Catalog,
    CatalogEntry,
    Composite,
    Constituent,
    Pool,
    Resources,
    Tier,
)

__all__ = ["load", "parse"]

MAX_BYTES = 4 * 1024 * 1024

_MOST_SHOWN = 100  # errors
_MAPPING = "tag:yaml.org,2002:map"
_EXTENSION = "x-"  # begins the names of sections that are not read; others may refer to them

_STEPS = SECTIONS["composites"]["steps"]
_KINDS: Mapping[str, str] = {
    "constituents": "constituent",
    "composites": "composite",
    "tiers": "tier",
    "pools": "pool",
}


def load(path: str | Path) -> Catalog:
    """Read the catalogue of a file, or of standard input ("-"); see `parse`."""
    name = "standard input" if path == "-" else str(path)
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CatalogInvalid(f"{name} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise CatalogInvalid(f"{name} is larger than {MAX_BYTES} bytes: is it a catalogue?")
    try:
        return parse(data.decode(), name)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CatalogInvalid(f"{name}, line {line}: not valid UTF-8") from error


def parse(text: str, name: str = "catalogue") -> Catalog:
    """Read a catalogue.

    Raises
    ------
    CatalogInvalid
        It has errors: the first of them, in the order of their lines.
    """
    root = compose(text, name)
    if root is None:
        raise CatalogInvalid(f"{name} is empty: it needs {', '.join(SECTIONS)}")
    reader = _CatalogReader()
    entries = list(reader.entries(root))
    if reader.faults:
        found = sorted(set(reader.faults))
        lines = "".join(f"\n  line {line}: {what}" for line, what in found[:_MOST_SHOWN])
        lines += f"\n  and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise CatalogInvalid(f"{name} has {len(found)} error{'s'[: len(found) > 1]}:{lines}")
    return Catalog.of(entries)


@dataclass
class _CatalogReader:
    """Continues after an error, so that all are reported at once."""

    faults: list[tuple[int, str]] = field(default_factory=list)  # line, sentence
    known: dict[str, Node] = field(default_factory=dict)  # constituents, also faulty ones
    bases: frozenset[str] = frozenset()  # those that others start from

    def fault(self, node: Node, what: str) -> None:
        self.faults.append((node.start_mark.line + 1, what))

    def entries(self, root: Node) -> Iterator[CatalogEntry]:
        sections = self.pairs(root, "the catalogue", root)
        for name, (key, _) in sections.items():
            if name not in SECTIONS and not name.startswith(_EXTENSION):
                self.fault(key, f"{name!r} is no section of a catalogue{near(name, SECTIONS)}")
        parts = {
            name: self.pairs(node, name, key)
            for name, (key, node) in sections.items()
            if name in SECTIONS
        }
        self.known = {name: key for name, (key, _) in parts.get("constituents", {}).items()}
        constituents = list(self.constituents(parts.get("constituents", {})))
        self.bases = frozenset(item.base for item in constituents if item.base)
        self.must_have_bases(constituents)
        pools = list(self.pools(parts.get("pools", {})))
        yield from constituents
        yield from self.composites(parts.get("composites", {}))
        yield from self.tiers(parts.get("tiers", {}))
        yield from pools
        if constituents and not parts.get("pools"):
            self.fault(root, "the catalogue has no pools: instances have nowhere to run")
        elif len(pools) == len(parts.get("pools", {})):
            self.must_fit(constituents, pools)

    def pairs(self, node: Node, what: str, at: Node) -> dict[str, tuple[Node, Node]]:
        """The named values of a mapping at `at`; of duplicate names the first."""
        if not isinstance(node, MappingNode) or node.tag != _MAPPING:
            self.fault(at, f"{what} must be a mapping of names")
            return {}
        found: dict[str, tuple[Node, Node]] = {}
        for name, key, value in self.named(node.value, what):
            if name in found:
                first = found[name][0].start_mark.line + 1
                self.fault(key, f"{name!r} is twice in {what}, first on line {first}")
            else:
                found[name] = (key, value)
        taken_over = list(inherited(node))
        for name, key, value in self.named(taken_over, what):
            found.setdefault(name, (key, value))
        for key, _ in filter(lambda pair: is_merge(pair[0]), taken_over):
            self.fault(
                key, f"<< in {what} must name mappings, {MOST} at most, as in `<<: *defaults`"
            )
        return found

    def named(
        self, pairs: Iterable[tuple[Node, Node]], what: str
    ) -> Iterator[tuple[str, Node, Node]]:
        """The pairs with their names, merge keys left out."""
        for key, value in pairs:
            if is_merge(key):
                continue
            try:
                yield name_of(key), key, value
            except FieldInvalid as wrong:
                self.fault(key, f"a name in {what} {wrong}")

    def values(self, kind: str, name: str, node: Node, key: Node) -> dict[str, Any] | None:
        """The fields of an entry; None when one of them is wrong."""
        before, what = len(self.faults), f"{_KINDS[kind]} {name!r}"
        spec, given = SECTIONS[kind], self.pairs(node, what, key)
        if not isinstance(node, MappingNode):
            return None
        for field_name, (at, _) in given.items():
            if field_name not in spec:
                meant = near(field_name, spec) or f"; there are {', '.join(spec)}"
                self.fault(at, f"{what} has an unknown field {field_name!r}{meant}")
        read = {n: self.value(what, n, spec[n], v) for n, (_, v) in given.items() if n in spec}
        for field_name, item in spec.items():
            if item.required and field_name not in given:
                self.fault(
                    key,
                    f"{what} has no {field_name} ({item.about}), as {field_name}: {item.example}",
                )
        return read if len(self.faults) == before else None

    def value(self, what: str, name: str, item: CatalogField, node: Node) -> Any:
        try:
            return item.form.read(node)
        except FieldInvalid as wrong:
            self.fault(wrong.node, f"{what}: {name} {wrong}" if name else f"{what} {wrong}")
            return None

    def constituents(self, part: dict[str, tuple[Node, Node]]) -> Iterator[Constituent]:
        for name, (key, node) in part.items():
            values = self.values("constituents", name, node, key)
            if values is not None:
                yield Constituent(service=name, needs=_resources(values), **values)

    def tiers(self, part: dict[str, tuple[Node, Node]]) -> Iterator[Tier]:
        for name, (key, node) in part.items():
            values = self.values("tiers", name, node, key)
            if values is not None:
                yield Tier(tier=name, **values)

    def pools(self, part: dict[str, tuple[Node, Node]]) -> Iterator[Pool]:
        for name, (key, node) in part.items():
            values = self.values("pools", name, node, key)
            if values is not None:
                yield Pool(pool=name, capacity=_resources(values), **values)

    def composites(self, part: dict[str, tuple[Node, Node]]) -> Iterator[Composite]:
        for name, (key, node) in part.items():
            values: dict[str, Any] | None
            if isinstance(node, MappingNode):
                values = self.values("composites", name, node, key)
            else:
                values = {"steps": self.value(f"composite {name!r}", "", _STEPS, node)}
            if values is None or values["steps"] is None:
                continue
            for at, service in (pair for step in values["steps"] for pair in step):
                if service not in self.known:
                    meant = near(service, self.known) or "; add it to constituents"
                    self.fault(
                        at, f"composite {name!r} names {service!r}, which is no constituent{meant}"
                    )
                elif service in self.bases:
                    self.fault(
                        at,
                        f"composite {name!r} names {service!r}, which others start from: it"
                        " serves no requests itself",
                    )
            steps = tuple(tuple(service for _, service in step) for step in values.pop("steps"))
            yield Composite(service=name, steps=steps, **values)

    def must_have_bases(self, constituents: list[Constituent]) -> None:
        """Check bases: each is a constituent without a base of its own, so layers are one deep."""
        for item in constituents:
            what = f"constituent {item.service!r}: base {item.base!r}"
            if item.base and item.base not in self.known:
                self.fault(
                    self.known[item.service],
                    f"{what} is no constituent{near(item.base, self.known)}",
                )
            elif item.base and item.service in self.bases:
                self.fault(
                    self.known[item.service], f"{what} cannot be: others start from this one"
                )

    def must_fit(self, constituents: list[Constituent], pools: list[Pool]) -> None:
        alone = {item.service: item.needs for item in constituents}
        for item in constituents:
            needs = item.needs + alone.get(item.base, Resources())
            if not any(needs.fits(pool.capacity) for pool in pools):
                self.fault(
                    self.known[item.service],
                    f"constituent {item.service!r} fits in no pool: one instance takes"
                    f" {needs.cpu:g} millicores, {needs.memory:g} MiB and"
                    f" {needs.bandwidth:g} Mbit/s" + (" with its base" if item.base else ""),
                )


def _resources(values: dict[str, Any]) -> Resources:
    """The resources of an entry, removed from its values."""
    return Resources(**{f.name: values.pop(f.name, 0.0) for f in fields(Resources)})
