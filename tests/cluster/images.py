"""Images for a node, made here: archives that containerd imports."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["archive"]

OCI = "application/vnd.oci.image"
NOBODY = "65532:65532"


def archive(path: Path, name: str, files: Mapping[str, Path], entrypoint: list[str]) -> None:
    """Write an image of one layer that has these programs, by their path in it."""
    layer = _tar({inside: (file.read_bytes(), 0o755) for inside, file in files.items()})
    root = {"type": "layers", "diff_ids": [_digest(layer)]}
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "User": NOBODY},
            "rootfs": root,
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": _described(config, "config.v1+json"),
            "layers": [_described(layer, "layer.v1.tar")],
        }
    )
    named = {
        **_described(manifest, "manifest.v1+json"),
        "annotations": {"io.containerd.image.name": name},
    }
    blobs = {f"blobs/{_digest(one).replace(':', '/')}": one for one in (layer, config, manifest)}
    index = {"schemaVersion": 2, "manifests": [named]}
    rest = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    path.write_bytes(_tar({inside: (data, 0o644) for inside, data in {**rest, **blobs}.items()}))


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _described(data: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": f"{OCI}.{kind}", "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(what: object) -> bytes:
    return json.dumps(what).encode()
