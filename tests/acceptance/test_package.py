"""Wheel and sdist as someone installs them: in an environment of their own, far from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = next(path for path in sys.path if path.endswith("site-packages"))


def run(argv: Sequence[str | Path], folder: Path, **env: str) -> str:
    done = subprocess.run(
        argv,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, folder: Path, *targets: str) -> None:
    chosen = [word for target in targets for word in ("-t", target)]
    run([sys.executable, "-m", "hatchling", "build", *chosen, "-d", folder], source)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel and an sdist of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build(CHECKOUT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and its dependencies from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    (wheel,) = built.glob("*.whl")
    packages = Path(run([folder / "bin" / "python", "-c", SITE], folder).strip())
    run([sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install",
         "--no-deps", "--no-index", wheel], folder)  # fmt: skip
    # A plain line: the links of that folder, to this checkout among them, are not followed.
    (packages / "dependencies.pth").write_text(DEPENDENCIES + "\n")
    return folder / "bin"


SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def names_in(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as opened:
        return {one.filename: one.CRC for one in opened.infolist() if "RECORD" not in one.filename}


def test_an_installed_wheel_has_the_command(installed: Path, tmp_path: Path) -> None:
    assert "Commands" in run([installed / "foremesh", "--help"], tmp_path)
    said = run([installed / "foremesh", "--version"], tmp_path)
    assert said == f"foremesh, version {PROJECT['version']}\n"


def test_an_installed_wheel_is_imported_by_its_name(installed: Path, tmp_path: Path) -> None:
    program = "import foremesh, streams; print(foremesh.__version__, streams.__file__)"
    said = run([installed / "python", "-c", program], tmp_path)

    version, _, file = said.strip().partition(" ")
    assert version == PROJECT["version"]
    assert file.startswith(str(installed.parent))


def test_an_installed_wheel_has_its_schemas_and_tables(installed: Path, tmp_path: Path) -> None:
    program = (
        "from streams.runtime.files import data_path as at\n"
        "from streams.adapters.avro import codec\n"
        "from streams.adapters.postgres import maintenance\n"
        "print(at('schemas'), at('deploy/pom.xml'), bool(codec.installed()))"
    )
    said = run([installed / "python", "-c", program], tmp_path).split()

    assert [word.startswith(str(installed.parent)) for word in said] == [True, True, False]
    assert said[2] == "True"


@pytest.mark.parametrize("package", ["foremesh", "streams"])
def test_the_types_of_a_wheel_are_known_to_those_who_use_it(built: Path, package: str) -> None:
    (wheel,) = built.glob("*.whl")

    assert f"{package}/py.typed" in names_in(wheel)


def test_a_program_that_uses_the_wheel_is_checked(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(
        "import foremesh\nvector = foremesh.Profiler().learn(3)\nreveal_type(vector)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", installed / "python", "ours.py"],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert 'incompatible type "int"; expected "Request"' in done.stdout, done.stdout
    assert '"streams.records.predictions.Prediction | None"' in done.stdout


def test_the_sdist_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (source,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(source) as opened:
        opened.extractall(tmp_path, filter="data")

    build(tmp_path / source.name.removesuffix(".tar.gz"), tmp_path, "wheel")

    assert names_in(tmp_path / wheel.name) == names_in(wheel)


def test_the_sdist_has_every_file_of_the_checkout(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}

    tracked = run(["git", "ls-files", "-z"], CHECKOUT).split("\0")
    files = {name for name in tracked if (CHECKOUT / name).is_file()}
    assert files - packed == set()


def test_every_extra_is_named_where_people_look_for_it() -> None:
    told = (CHECKOUT / "docs" / "install.md").read_text()
    extras = PROJECT["optional-dependencies"]

    assert [name for name in extras if f"foremesh[{name}]" not in told] == []
    assert set(re.findall(r"foremesh\[(\w+)\]", told)) <= set(extras)


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = (CHECKOUT / "deploy" / "helm" / "Chart.yaml").read_text()

    versions = re.findall(r"^(?:version|appVersion): (\S+)$", chart, re.MULTILINE)
    assert versions == [PROJECT["version"]] * 2


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version() -> None:
    told = (CHECKOUT / "CHANGELOG.md").read_text()
    first, *_ = re.findall(r"^## (\S+)", told, re.MULTILINE)

    assert first in {"Unreleased", PROJECT["version"]}


def test_the_image_has_no_dependency_of_tests_and_all_others_as_pinned() -> None:
    deploy = CHECKOUT / "deploy"
    pinned = {
        name: set(pins(deploy / f"requirements{name}.txt")) for name in ("", "-image", "-build")
    }

    assert pinned["-image"] | pinned["-build"] < pinned[""]
    named = {pin.partition("==")[0] for pin in pinned["-image"]}
    assert not named & {"hypothesis", "hatchling", "mypy", "pytest", "ruff"}


def pins(path: Path) -> list[str]:
    return re.findall(r"^([\w.-]+==\S+)", path.read_text(), re.MULTILINE)
