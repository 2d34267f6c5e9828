"""README and docs are true: each block of a page is run, in order, in a folder of its own."""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kubernetes_validate
import pytest
from conftest import corner
from documented import documented
from documents import PAGES, PORT, Reader, blocks, printed, script
from harness import CHECKOUT
from ruamel.yaml import YAML

from streams.adapters.kafka.topics import create_topics
from streams.catalog.yaml_reader import parse as parse_catalog
from streams.devstack import LocalStack
from streams.runtime.ports import free_port
from streams.settings import Settings

TUTORIAL = CHECKOUT / "docs" / "tutorial.md"  # has tests of its own
INSTANCES = CHECKOUT / "docs" / "reference" / "instances.md"  # has a test of its own
FOLLOWED = [page for page in PAGES if script(page) and page not in {TUTORIAL, INSTANCES}]


# Why a block is not run, word by word as its first line says: page -> reasons.
NOT_RUN = {
    "README.md": ["they are the tests, and the demo has one of its own."],
    "docs/contributing.md": ["they are the tests."],
    "docs/how-to/envoy.md": ["needs a cluster; `make cluster` asks the Service with such a token."],
    "docs/how-to/keda.md": [
        "needs a cluster with KEDA; `make cluster` starts one and runs KEDA 2.21 there."
    ],
    "docs/how-to/kubernetes.md": [
        "needs a cluster; `make cluster` starts one and runs the provisioner there."
    ],
    "docs/install.md": [
        "they install the wheel in an environment of their own.",
        "needs buildah and root; `make image` builds it and runs it.",
        "needs a cluster; `make chart` renders it, `make cluster` installs it.",
        "needs systemd and root; they check what each unit calls.",
    ],
}
# Blocks in these are no lines to type; the tests of each are elsewhere, or below.
ELSEWHERE = {
    "pycon": "test_library: the examples are true",
    "mermaid": "test_topology: it is the picture of the rows",
    "go": "make go: builds it and asks it",
    "dockerfile": "nowhere: its base has a model's libraries, and is of gigabytes",
    "": "what is printed, as an example",
    "{toctree}": "make docs",
    "{include}": "make docs",
    "{eval-rst}": "make docs",
    "{from-code}": "make docs",
}


CATALOG = """\
constituents:
  search: {cpu: 100, memory: 64, warm_up_ms: 500, price: 0.02}
  pricing: {cpu: 100, memory: 64, warm_up_ms: 500, price: 0.02}
composites: {search: [search], pricing: [pricing]}
tiers: {standard: {weight: 0.005, sla_ms: 2000}}
pools: {default: {cpu: 4000, memory: 4096, bandwidth: 1000}}
"""


def moments() -> Iterator[tuple[datetime, str, str]]:
    """Four users, who search, and three minutes later ask the price."""
    for n in range(48):
        at = datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(minutes=10 * n)
        user = ("alice", "ben", "carol", "dan")[n % 4]
        yield at, user, "search"
        yield at + timedelta(minutes=3), user, "pricing"


def given(folder: Path) -> None:
    """The files that pages speak of as the reader's own."""
    folder.mkdir()
    requests = [f"{at:%FT%TZ},{user},{service}\n" for at, user, service in moments()]
    access = [
        f'10.0.0.1 - {user} [{at:%d/%b/%Y:%T %z}] "POST /{service}/v1 HTTP/1.1" 200 9 "-" "app"\n'
        for at, user, service in moments()
    ]
    envoy = [
        f'[{at:%FT%T}.000Z] "POST /{service} HTTP/2" 204 - 154 0 226 100'
        f' "10.1.2.3" "{user}" "cc21d9b0" "{service}" "tcp://10.0.2.1:80"\n'
        for at, user, service in moments()
    ]
    nested = [
        {"user": {"id": user}, "http": {"route": service}, "ts": f"{at:%FT%TZ}"}
        for at, user, service in moments()
    ]
    called = [f"{at:%d.%m.%Y %T} {user} called {service}\n" for at, user, service in moments()]
    job = "1 {} 5 10 4 -1 -1 4 100 -1 1 17 3 5 1 1 -1 -1\n"
    (folder / "requests.csv.gz").write_bytes(zipped(["ts,user,service\n", *requests]))
    (folder / "access.log").write_text("".join(access))
    (folder / "access.log.gz").write_bytes(zipped(access))
    (folder / "envoy.log").write_text("".join(envoy))
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in nested))
    (folder / "app.log").write_text("".join(called))
    (folder / "pricing.py").write_text(documented("python")[0])
    (folder / "jobs.swf").write_text("; UnixStartTime: 1731689800\n" + job.format(70))


def zipped(lines: Iterable[str]) -> bytes:
    return gzip.compress("".join(lines).encode())


class FreePorts(dict[str, str]):
    """For each port that a page names one that is free."""

    def __missing__(self, port: str) -> str:
        self[port] = str(free_port())
        return self[port]

    def variables(self) -> Mapping[str, str]:
        """Where what a page starts listens if it is not told."""
        names = (
            "EDGE",
            "INNER",
            "ADMIN",
            "CONTROL",
            "LOG",
            "DECIDE",
            "LEASES",
            "ACTIVATE",
            "COMPOSE",
        )
        ports = ("8000", "8001", "9901", "8082", "8083", "8084", "8087", "8085", "8086")
        mesh = {f"FOREMESH_MESH_{n}": self.at(p) for n, p in zip(names, ports, strict=True)}
        return {
            **mesh,
            "FOREMESH_GATEWAY": self.at("8080"),
            "FOREMESH_PROVISIONER": f"http://{self.at('8081')}",
            "FOREMESH_DASHBOARD": self.at("8088"),
            "FOREMESH_KEDA_LISTEN": self.at("9091"),
        }

    def at(self, port: str) -> str:
        return f"127.0.0.1:{self[port]}"


@pytest.fixture
def settings(stack: LocalStack, template: str, tmp_path: Path) -> Iterator[Settings]:
    """A corner of the stack with its topics."""
    with corner(stack, template, tmp_path) as found:
        few = replace(found, partitions=2, commit_ms=100)
        create_topics(few)
        yield few


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_the_blocks_of_a_page_run_in_order(page: Path, settings: Settings, tmp_path: Path) -> None:
    ports = FreePorts()
    typed = PORT.sub(lambda found: ports[found[0]], script(page))
    typed = typed.replace("broker:9092", settings.kafka)
    typed = typed.replace("postgresql://user@host/foremesh", settings.postgres)
    given(tmp_path / "page")
    if "-o catalog.yaml" not in typed:
        (tmp_path / "page" / "catalog.yaml").write_text(CATALOG)
    reader = Reader(tmp_path / "page", {**settings.to_env(), **ports.variables()})

    try:
        said = reader.follow(typed)
    finally:
        codes = reader.stop()

    assert set(codes.values()) <= {0}, f"{codes}\n{reader.logs()}"
    assert [line for line in printed(page) if line not in said] == []


def test_what_is_not_run_is_known_and_says_why() -> None:
    found = {
        str(page.relative_to(CHECKOUT)): reasons
        for page in PAGES
        if (reasons := [block.not_run for block in blocks(page) if block.not_run])
    }

    assert found == NOT_RUN
    assert sum(map(len, NOT_RUN.values())) <= 9


def test_every_block_is_in_a_language_that_something_tests() -> None:
    tested = {"sh", "sql", "python", "text", "yaml", "toml", *ELSEWHERE}

    assert {block.language for page in PAGES for block in blocks(page)} <= tested


def test_every_block_in_yaml_is_a_catalogue_or_a_resource_of_kubernetes() -> None:
    for block in (block for page in PAGES for block in blocks(page) if block.language == "yaml"):
        if "apiVersion:" in block.text:
            kubernetes_validate.validate(YAML(typ="safe").load(block.text), "1.37", strict=True)
        else:
            assert parse_catalog(block.text).constituents


def test_the_deployment_of_a_page_is_the_example_of_the_manifests() -> None:
    page = CHECKOUT / "docs" / "how-to" / "kubernetes.md"
    (shown,) = (block.text for block in blocks(page) if block.language == "yaml")

    example = CHECKOUT / "deploy" / "kubernetes" / "constituent.example.yaml"
    assert YAML(typ="safe").load(shown) == YAML(typ="safe").load(example)


def test_every_block_in_toml_is_read() -> None:
    texts = [block.text for page in PAGES for block in blocks(page) if block.language == "toml"]

    assert all(map(tomllib.loads, texts))
