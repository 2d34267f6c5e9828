"""The catalogue as people see it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from streams.records.catalog import Catalog, Resources
from streams.report.text_table import NAME, NUMBER, ColumnKind, TextTable, counted

__all__ = ["tables_of"]

RESOURCES: dict[str, ColumnKind] = {"cpu m": NUMBER, "MiB": NUMBER, "Mbit/s": NUMBER}


def tables_of(catalog: Catalog) -> Iterator[TextTable | str]:
    """A table of each kind of entry, and how many of each are in force."""
    yield constituents(catalog)
    yield composites(catalog)
    yield tiers(catalog)
    yield pools(catalog)
    yield (
        f"In force: {counted(len(catalog.constituents), 'constituent')},"
        f" {counted(len(catalog.composites), 'composite')}, {counted(len(catalog.tiers), 'tier')},"
        f" {counted(len(catalog.pools), 'pool')}."
    )


def constituents(catalog: Catalog) -> TextTable:
    """What instances are started of."""
    others = {"warm-up ms": NUMBER, "price/h": NUMBER, "at once": NUMBER}
    found = catalog.constituents.values()
    based = any(c.base for c in found)
    return TextTable(
        columns={
            "constituent": NAME, **({"started from": NAME} if based else {}), **RESOURCES, **others
        },
        rows=[
            [
                c.service,
                *([c.base] if based else []),
                *_amounts(c.needs),
                f"{c.warm_up_ms:,}",
                f"{c.price:g}",
                f"{c.concurrency:,}",
            ]
            for c in found
        ],
        legend="What one instance needs, how long it starts, what it costs warm for an hour.",
        empty="No constituents.",
    )  # fmt: skip


def composites(catalog: Catalog) -> TextTable:
    """What users ask for."""
    return TextTable(
        columns={"composite": NAME, "steps": NAME},
        rows=[
            [c.service, " → ".join(" + ".join(step) for step in c.steps)]
            for c in catalog.composites.values()
        ],
        legend="Steps run one after the other (→), those of a step in parallel (+).",
        empty="No composites: every service may be asked for.",
    )


def tiers(catalog: Catalog) -> TextTable:
    """The classes of users."""
    columns = {"1 s is worth": NUMBER, "SLA ms": NUMBER, "priority": NUMBER, "quota %": NUMBER}
    return TextTable(
        columns={"tier": NAME, **columns},
        rows=[
            [t.tier, f"{t.weight:g}", f"{t.sla_ms:,}", f"{t.priority}", f"{100 * t.quota:g}"]
            for t in catalog.tiers.values()
        ],
        legend="Worth is in the unit of the prices; a quota is of each resource of a pool.",
        empty="No tiers: all users are alike.",
    )


def pools(catalog: Catalog) -> TextTable:
    """What instances run on."""
    return TextTable(
        columns={"pool": NAME, **RESOURCES, "budget/h": NUMBER},
        rows=[
            [p.pool, *_amounts(p.capacity), f"{p.budget:g}" if p.budget < math.inf else "none"]
            for p in catalog.pools.values()
        ],
        legend="What instances may take together, and cost in an hour.",
        empty="No pools: every pool may be named.",
    )


def _amounts(amount: Resources) -> tuple[str, str, str]:
    return f"{amount.cpu:,.10g}", f"{amount.memory:,.10g}", f"{amount.bandwidth:,.10g}"
