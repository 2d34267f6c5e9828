"""A provisioner of another package: found by its entry point, run by `foremesh provision`."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Eventually, RunForemesh
from services import answers, catalog_of, command, constituent, read, send

from streams.errors import ProvisionerUnusable
from streams.provisioners.core.plugins import factory_of
from streams.records import Instance, InstanceState
from streams.runtime.ports import free_port
from streams.settings import Settings

MODULE = """
from streams.provisioners.local.command_policy import CommandPolicy
from streams.provisioners.local.provisioner import LocalProvisioner

nothing = 3

def make(pool, catalog, emit, limits):
    return LocalProvisioner(pool, catalog, emit, limits, commands=CommandPolicy.of(["*"]))
"""
ENTRIES = """[foremesh.provisioners]
elsewhere = elsewhere_provisioner:make
broken = elsewhere_provisioner:missing
number = elsewhere_provisioner:nothing
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a package that offers provisioners."""
    folder = tmp_path / "packages"
    info = folder / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "elsewhere_provisioner.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return folder


def test_it_is_listed_and_runs_as_ours_do(
    package: Path,
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
) -> None:
    del topics
    send(settings, catalog_of(constituent("a")))
    at = f"127.0.0.1:{free_port()}"
    words = ("provision", "--on", "elsewhere", "--listen", at)
    running = run_foremesh(*words, PYTHONPATH=str(package))
    eventually(lambda: answers(running, at))

    send(settings, [command("a")])

    eventually(lambda: InstanceState.WARM in states(settings))


def states(settings: Settings) -> set[InstanceState]:
    return {one.state for one in read(settings, "instances") if isinstance(one, Instance)}


@pytest.mark.parametrize(
    ("name", "why"),
    [("broken", "has no attribute"), ("number", "is of type int, and makes nothing")],
)
def test_one_that_cannot_be_used_is_refused_in_a_sentence(
    package: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.syspath_prepend(package)

    with pytest.raises(ProvisionerUnusable, match=f"The provisioner '{name}' .*{why}"):
        factory_of(name)
