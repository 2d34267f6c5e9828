"""An issuer of users' tokens: its key, and tokens that are signed with it."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path

__all__ = ["KEYS", "issuer", "token"]

SECRET = b"a secret of thirty-two bytes, 256"
ISSUER = "https://issuer.example"  # as in the manifests


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KEYS = {"keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": _encoded(SECRET)}]}


def token(**claims: str) -> str:
    """Signed with the key of KEYS."""
    parts = ({"alg": "HS256", "kid": "1"}, {"iss": ISSUER, **claims})
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_encoded(hmac.digest(SECRET, signed.encode(), 'sha256'))}"


def issuer(folder: Path) -> dict[str, str]:
    """The settings that name the issuer of `token`."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps(KEYS))
    return {"FOREMESH_MESH_JWT_ISSUER": ISSUER, "FOREMESH_MESH_JWT_KEYS": str(keys)}
