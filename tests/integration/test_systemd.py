"""The units of deploy/systemd: systemd itself reads them, and the command knows what they call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from debian import unpack
from harness import CHECKOUT

from streams.cli import cli
from streams.request_path.envoy.addresses import PROCESSES
from streams.settings import Settings

FOLDER = CHECKOUT / "deploy" / "systemd"
UNITS = sorted(path for kind in ("service", "target", "timer") for path in FOLDER.glob(f"*.{kind}"))
SERVICES = [path for path in UNITS if path.suffix == ".service"]
PROGRAM = "/opt/foremesh/bin/foremesh"
MOST_EXPOSED = 40  # tenths, of 100; a service that nothing is done about has 96
EXAMPLES = {"foremesh-provision@": "default", "foremesh-mesh@": "envoy"}


def instance(path: Path) -> str:
    """The unit that a template makes."""
    return path.name.replace("@.", f"@{EXAMPLES.get(path.stem, '1')}.")


def calls(path: Path) -> list[list[str]]:
    """The words after the program of each command of a unit."""
    found = re.findall(rf"^ExecStart={PROGRAM} (.*)$", path.read_text(), re.MULTILINE)
    return [line.split() for line in found]


@pytest.fixture(scope="module")
def analyze() -> tuple[str, dict[str, str]]:
    """`systemd-analyze`, unpacked where it is not installed, and what it needs around it."""
    if found := shutil.which("systemd-analyze"):
        return found, {}
    folder, missing = CHECKOUT / "build" / "systemd", "systemd is missing: install it"
    for package in ("systemd", "libsystemd-shared"):
        if not (folder / package / "usr").exists():
            unpack(package, folder / package, missing)
    (library,) = folder.rglob("libsystemd-shared-*.so")
    return str(folder / "systemd/usr/bin/systemd-analyze"), {"LD_LIBRARY_PATH": str(library.parent)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as installed where there is a program, with an instance of each template."""
    folder = tmp_path_factory.mktemp("units") / "system"
    shutil.copytree(FOLDER, folder)
    program = folder / "foremesh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        copied = folder / path.name
        copied.write_text(path.read_text().replace(PROGRAM, str(program)))
    return folder


def ask(analyze: tuple[str, dict[str, str]], installed: Path, *words: str) -> str:
    program, env = analyze
    done = subprocess.run(
        [program, *words],
        env={**os.environ, **env, "SYSTEMD_UNIT_PATH": f"{installed}:"},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_fault(
    analyze: tuple[str, dict[str, str]], installed: Path, path: Path
) -> None:
    said = ask(analyze, installed, "verify", "--man=no", str(installed / instance(path)))

    assert [line for line in said.splitlines() if "foremesh" in line] == []


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_calls_a_command_that_there_is(path: Path) -> None:
    for words in calls(path):
        below = 2 if words[0] in {"mesh", "topics", "db"} else 1
        named = [word.replace("%i", "envoy") for word in words[:below]]
        said = CliRunner().invoke(cli, [*named, "--help"])

        assert said.exit_code == 0, said.output
        assert [word for word in words if word.startswith("--") and word not in said.output] == []


def test_every_process_that_keeps_running_has_a_unit() -> None:
    called = {words[0] for path in SERVICES for words in calls(path)}

    kept = {"worker", "sink", "provision", "gateway", "mesh", "dashboard", "keda"}
    assert called == {*kept, "topics", "db"}


def test_kernels_are_compiled_before_the_units_start_which_may_not_write_them() -> None:
    page = (CHECKOUT / "docs" / "install.md").read_text()
    (block,) = [one for one in re.findall(r"(?s)```sh\n(.*?)```", page) if "systemctl" in one]

    assert 0 < block.index("import streams.pipeline.assembly") < block.index("systemctl start")


def test_what_a_loaded_catalogue_may_start_is_noted_where_the_provisioner_looks() -> None:
    common = (FOLDER / "foremesh-.service.d" / "10-common.conf").read_text()
    page = (CHECKOUT / "docs" / "install.md").read_text()
    (build,) = re.findall(r"FOREMESH_BUILD=(\S+)", common)
    (block,) = [one for one in re.findall(r"(?s)```sh\n(.*?)```", page) if "systemctl" in one]

    assert f"FOREMESH_BUILD={build}" in (FOLDER / "example.env").read_text().splitlines()
    assert re.search(r"--uid=foremesh -p EnvironmentFile=/etc/foremesh/foremesh.env", block)
    assert (
        block.index("start foremesh-set-up") < block.index("catalog load") < block.index("@default")
    )


def test_old_rows_are_deleted_by_a_timer() -> None:
    assert (FOLDER / "foremesh-prune.timer").exists()
    (words,) = calls(FOLDER / "foremesh-prune.service")

    said = CliRunner().invoke(cli, ["db", "prune", "--help"], terminal_width=80)
    assert words == ["db", "prune"]
    assert "FOREMESH_DB_PRUNE_KEEP" in said.output


def test_the_unit_of_the_mesh_says_what_its_instances_are() -> None:
    told = (FOLDER / "foremesh-mesh@.service").read_text()

    assert set(re.findall(r"@(\w+)", told.splitlines()[0])) == set(PROCESSES)


@pytest.mark.parametrize(
    "path", [path for path in SERVICES if "provision" not in path.name], ids=lambda path: path.name
)
def test_a_unit_may_do_little(
    analyze: tuple[str, dict[str, str]], installed: Path, path: Path
) -> None:
    unit = str(installed / instance(path))
    ask(analyze, installed, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)


def test_the_provisioner_may_have_cgroups_and_devices() -> None:
    """Drop-ins are read in the order of their names, after the unit itself."""
    common, own = FOLDER / "foremesh-.service.d", FOLDER / "foremesh-provision@.service.d"
    (first,), (second,) = common.iterdir(), own.iterdir()

    assert first.name < second.name
    assert {"Delegate=yes", "PrivateDevices=no"} <= set(second.read_text().splitlines())


def test_the_settings_of_the_units_are_ours() -> None:
    text = "".join(path.read_text() for path in FOLDER.rglob("*") if path.is_file())
    known = {Settings.variable(name) for name in Settings.__dataclass_fields__}
    known |= {"FOREMESH_DB_PRUNE_KEEP"}  # an option's

    assert set(re.findall(r"\bFOREMESH_\w+(?==)", text)) <= known
