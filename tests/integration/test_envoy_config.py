"""What is written for Envoy, judged by Envoy itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from services import catalog_of, constituent

from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.binary import find_envoy
from streams.request_path.envoy.bootstrap import bootstrap
from streams.request_path.envoy.clusters import clusters
from streams.request_path.envoy.listeners import listeners
from streams.request_path.envoy.policy import JwtProvider, RoutePolicy
from streams.request_path.envoy.routes import routes

KEYS = '{"keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": "c2VjcmV0"}]}'
# Names that mean something in paths, in headers, or to Envoy's formatter.
ODD = ("a b", "100%", "%REQ(x)%", "größe", "a/b?c#d", "x" * 256)


def problems(config: dict[str, Any], folder: Path) -> str:
    """What Envoy has against a configuration."""
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    done = subprocess.run(
        [find_envoy(), "--mode", "validate", "-c", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""


def whole(places: MeshAddresses, policy: RoutePolicy) -> dict[str, Any]:
    """All that the control plane tells, in one file."""
    services = [constituent(name, concurrency=n % 2 + 1) for n, name in enumerate(ODD)]
    catalog = catalog_of(*services)
    config = bootstrap(places)
    told = {one["name"]: one for one in routes(catalog, policy)}
    found = list(listeners(places, policy))
    for listener in found:
        manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
        manager["route_config"] = told[manager.pop("rds")["route_config_name"]]
    config["static_resources"]["clusters"] += clusters(catalog, places)
    config["static_resources"]["listeners"] = found
    return config


def test_envoy_accepts_the_bootstrap(tmp_path: Path) -> None:
    assert problems(bootstrap(MeshAddresses()), tmp_path) == ""


def test_envoy_accepts_every_resource_whatever_the_services_are_called(tmp_path: Path) -> None:
    assert problems(whole(MeshAddresses(), RoutePolicy()), tmp_path) == ""


def test_envoy_accepts_the_verification_of_tokens(tmp_path: Path) -> None:
    jwt = JwtProvider(issuer="https://issuer.example", jwks=KEYS, tier_claim="tier")

    assert problems(whole(MeshAddresses(), RoutePolicy(jwt=jwt)), tmp_path) == ""


def test_a_wrong_configuration_is_told_apart(tmp_path: Path) -> None:
    wrong = bootstrap(MeshAddresses())
    wrong["static_resources"]["clusters"][0]["connect_timeout"] = "soon"

    assert "connect_timeout" in problems(wrong, tmp_path)
