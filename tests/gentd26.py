"""The image-generation trace as a catalogue and a log: `python tests/gentd26.py OUT`.

The source does not join its parts: a request names its base model and how many adapters (LoRA) it
uses, but not which; the loading times name neither model nor adapter. They are joined here so
that every distribution stays what it was measured to be:

- A composite is a base model with so many adapters. The adapters load after it, side by side.
- The base models, in the order of a hash of their names, take the quantiles of the measured
  loading times of base models: each its own, for good, and together the measured distribution.
- The n-th adapter of a base model is a constituent of its own, since adapters fit one family of
  models; its time is taken in the same way from those of adapters.
- Of sizes nothing was published. A base model counts 4 GiB, which is that of a Stable Diffusion
  checkpoint, an adapter 150 MiB; an hour costs in proportion.

ControlNets are left out: no request says whether it uses one.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import tarfile
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from harness import CHECKOUT

from streams.catalog.yaml_writer import dump
from streams.records import Request
from streams.records.catalog import (
    Catalog,
    CatalogEntry,
    Composite,
    Constituent,
    Pool,
    Resources,
    Tier,
)

__all__ = ["FOLDER", "catalogue", "requests"]

FOLDER = CHECKOUT.parent / "shared" / "data" / "gentd26"
BASE, ADAPTER = Resources(cpu=1000, memory=4096), Resources(cpu=100, memory=150)


def requests(folder: Path = FOLDER) -> list[Request]:
    """The requests that name a model, in order of time, each of its composite."""
    with gzip.open(folder / "events.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["item"]]
    found = [
        Request(
            request_id=f"r{number}",
            user=row["user"],
            service=_composite(row["item"], int(row["num_lora"])),
            at_ms=int(row["ts"]) * 1000,
        )
        for number, row in enumerate(rows)
    ]
    return sorted(found, key=lambda request: request.at_ms)


def catalogue(log: Iterable[Request], folder: Path = FOLDER) -> Catalog:
    """The composites of the log, made of base models and adapters that take as long as measured."""
    services = sorted({request.service for request in log})
    parts = {service: _parts(service) for service in services}
    bases = {base for base, *_ in parts.values()}
    adapters = {name for _, *names in parts.values() for name in names}
    starts = _starts(bases, folder / "latency" / "basemodel_update_latency_anon.tar.gz")
    starts |= _starts(adapters, folder / "latency" / "lora_update_latency_anon.tar.gz")
    return Catalog.of(_entries(parts, starts))


def _entries(
    parts: Mapping[str, list[str]], starts_ms: Mapping[str, int]
) -> Iterable[CatalogEntry]:
    for name, warm_up_ms in sorted(starts_ms.items()):
        needs = ADAPTER if "/" in name else BASE
        price = needs.memory / BASE.memory
        yield Constituent(service=name, needs=needs, warm_up_ms=warm_up_ms, price=price)
    for service, (base, *adapters) in parts.items():
        steps = ((base,), tuple(adapters)) if adapters else ((base,),)
        yield Composite(service=service, steps=steps)
    yield Tier(tier="standard", weight=0.01, sla_ms=1_000)
    yield Pool(pool="default", capacity=BASE.times(10))


def _composite(model: str, adapters: int) -> str:
    return f"{model}+{adapters}" if adapters else model


def _parts(service: str) -> list[str]:
    model, _, count = service.partition("+")
    return [model, *(f"{model}/lora-{n + 1}" for n in range(int(count or 0)))]


def _starts(names: Iterable[str], measured: Path) -> dict[str, int]:
    """A start in ms for each name, by quantiles in the order of a hash."""
    values = sorted(_values(measured))
    ordered = sorted(names, key=lambda name: blake2b(name.encode()).digest())
    shares = [(rank + 0.5) / len(ordered) for rank in range(len(ordered))]
    return {
        name: round(values[int(share * len(values))])
        for name, share in zip(ordered, shares, strict=True)
    }


def _values(measured: Path) -> Iterable[float]:
    with tarfile.open(measured) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and not member.name.startswith("._"):
                rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))
                yield from (float(row["value"]) for row in rows)


def main(out: Path) -> None:
    """Write both for `foremesh compare`."""
    out.mkdir(parents=True, exist_ok=True)
    log = requests()
    (out / "catalog.yaml").write_text(dump(catalogue(log)), encoding="utf-8")
    with (out / "requests.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("user", "service", "ts"))
        writer.writerows((r.user, r.service, r.at_ms // 1000) for r in log)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
