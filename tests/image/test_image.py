"""The images, built with buildah on a base of Debian's: what is in them, and that they run as promised.

`make image` runs it, as root, in minutes: nothing of it is part of `make test`.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click
import pytest
from buildah import buildah, built

pytestmark = pytest.mark.timeout(900)  # the first one builds

MOST_BYTES = 150_000_000  # to pull
MOST_UNPACKED, MOST_OF_ENVOY = 400_000_000, 120_000_000
NOBODY = "65534"
PROFILE = """
import foremesh, time
began = time.monotonic()
vector = foremesh.Profiler().learn(foremesh.Request(request_id="r", user="u", service="s", at_ms=1))
print(vector.services[0].service, time.monotonic() - began)
"""


class RunInImage(Protocol):
    """Run a program as the image would; what it printed, on both outputs."""

    def __call__(self, *argv: str, code: int = 0) -> str: ...


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image."""
    return built()


@pytest.fixture(scope="session")
def config(image: str) -> dict[str, Any]:
    """How the image is run."""
    return configured(image)


def configured(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
    return dict(found["OCIv1"]["config"])


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The root file system of a container."""
    made = buildah("from", "--pull-never", image)
    yield Path(buildah("mount", made))
    buildah("rm", made)


@pytest.fixture(scope="session")
def root(image: str) -> Iterator[Path]:
    """That of the image."""
    with mounted(image) as found:
        yield found


@pytest.fixture(scope="session")
def run(root: Path, config: dict[str, Any]) -> RunInImage:
    return running(root, config)


def running(root: Path, config: dict[str, Any]) -> RunInImage:
    """Programs in an image: as its user, in its environment, with a root that is read-only."""
    script = (
        'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && '
        'mount -t tmpfs -o mode=1777 tmpfs "$0/tmp" && cd / && exec env -i "$@"'
    )
    within = ["/usr/sbin/chroot", f"--userspec={NOBODY}:{NOBODY}", str(root)]

    def run(*argv: str, code: int = 0) -> str:
        words = [
            "unshare",
            "--mount",
            "bash",
            "-c",
            script,
            str(root),
            *config["Env"],
            *within,
            *argv,
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def compressed(folder: Path) -> int:
    """About how many bytes are pulled of what is below a folder."""
    counter = Counted()
    packed: Sequence[str] = ("tar", "--create", "--directory", str(folder), ".")
    with (
        subprocess.Popen(packed, stdout=subprocess.PIPE) as tar,
        gzip.open(counter, "wb", compresslevel=1) as file,
    ):
        assert tar.stdout is not None
        shutil.copyfileobj(tar.stdout, file, 1 << 20)
    return counter.size


class Counted:
    """A file that only counts."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def flush(self) -> None: ...


def test_it_is_not_run_by_root(config: dict[str, Any]) -> None:
    assert config["User"] == f"{NOBODY}:{NOBODY}"


def test_it_is_one_program_without_a_shell(config: dict[str, Any], root: Path) -> None:
    assert config["Entrypoint"] == ["foremesh"]
    assert config["Cmd"] == ["--help"]
    assert [
        name for name in ("sh", "bash", "dash", "perl", "apt") if (root / "bin" / name).exists()
    ] == []


def test_it_is_small_to_pull(root: Path) -> None:
    size = compressed(root)

    click.echo(f"\nto pull: {size / 1e6:.0f} MB")
    assert size < MOST_BYTES


def unpacked(root: Path) -> int:
    """How many bytes the files below a folder have."""
    files = [path.lstat() for path in root.rglob("*") if path.is_symlink() or path.is_file()]
    return sum({one.st_ino: one.st_size for one in files}.values())


def test_it_is_small_unpacked(root: Path) -> None:
    size = unpacked(root)

    click.echo(f"\nunpacked: {size / 1e6:.0f} MB")
    assert size < MOST_UNPACKED


def test_envoy_is_in_an_image_of_its_own_which_is_the_same_but_for_it(
    root: Path, config: dict[str, Any]
) -> None:
    with_envoy = built("foremesh-envoy")

    assert configured(with_envoy) == config
    with mounted(with_envoy) as there:
        envoy = there / "opt/foremesh/bin/envoy"
        assert unpacked(there) - unpacked(root) == envoy.stat().st_size < MOST_OF_ENVOY
        assert "version" in running(there, config)("envoy", "--version")


def test_without_envoy_it_says_which_image_has_it(run: RunInImage) -> None:
    assert "only foremesh-envoy has it" in run("foremesh", "mesh", "envoy", code=1)


def test_the_command_runs_though_nothing_can_be_written(run: RunInImage) -> None:
    assert "Commands" in run("foremesh", "--help")
    assert "Read-only file system" in run("python", "-c", "open('/opt/x', 'w')", code=1)


def test_its_kernels_are_compiled_already(run: RunInImage) -> None:
    service, seconds = run("python", "-c", PROFILE).split()

    assert service == "s"
    assert float(seconds) < 20.0


def test_it_has_what_kubernetes_needs(run: RunInImage) -> None:
    run("python", "-c", "import streams.cli.provision_kubernetes")


def test_it_has_nothing_that_only_tests_need(run: RunInImage) -> None:
    for name in ("pytest", "mypy", "pip", "hatchling", "scipy"):
        assert "No module named" in run("python", "-c", f"import {name}", code=1)


def test_what_was_left_out_of_it_is_said(run: RunInImage) -> None:
    said = run("foremesh", "evaluate", "/dev/null", code=1)
    assert "is missing, as in the image: install foremesh by pip" in said
    assert "Traceback" not in said


def test_every_process_can_load_all_that_it_needs(run: RunInImage) -> None:
    modules = ("pipeline.worker", "pipeline.sink", "dashboard.app", "request_path.gateway.app",
               "provisioners.keda.scaler_process", "request_path.envoy.control_plane",
               "tracing.record_tracer")  # fmt: skip
    run("python", "-c", "import " + ", ".join(f"streams.{name}" for name in modules))
