"""The Helm chart: it installs the manifests of deploy/kubernetes, as its values change them.

`make chart` runs it; Go builds Helm first, in minutes, where there is none.
"""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from harness import CHECKOUT
from helm import helm_program
from ruamel.yaml import YAML

CHART = CHECKOUT / "deploy" / "helm"
MANIFESTS = CHECKOUT / "deploy" / "kubernetes"
VERSION = kubernetes_validate.latest_version()
RELEASE = YAML(typ="safe").load(CHART / "Chart.yaml")["appVersion"]
THEIRS = "monitoring.coreos.com/v1"  # no schema of Kubernetes'
Manifest = dict[str, Any]
Rendered = Mapping[tuple[str, str], Manifest]
Render = Callable[..., Rendered]


@pytest.fixture(scope="session")
def helm() -> Path:
    return helm_program()


@pytest.fixture
def said(helm: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run helm in the chart with these values."""

    def said(*words: str, **values: Any) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "values.yaml"
        YAML(typ="safe").dump(values, path)
        return subprocess.run(
            [helm, *words, CHART, "-f", path, "--kube-version", VERSION, "-n", "shop"],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return said


@pytest.fixture
def render(said: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """What is installed with these values, by kind and name."""

    def render(**values: Any) -> Rendered:
        done = said("template", "mine", **values)
        assert done.returncode == 0, done.stderr
        return by_name([one for one in YAML(typ="safe").load_all(done.stdout) if one])

    return render


def by_name(manifests: list[Manifest]) -> Rendered:
    return {(one["kind"], one["metadata"]["name"]): one for one in manifests}


def written(*files: str) -> Rendered:
    """The manifests of a kustomization and those that it names."""
    return by_name(
        [one for file in files for path in sorted(MANIFESTS.glob(file)) for one in documents(path)]
    )


def documents(path: Path) -> list[Manifest]:
    if path.name in {"kustomization.yaml", "namespace.yaml"} or ".example." in path.name:
        return []
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


def plain(one: Manifest) -> Manifest:
    """A manifest without what the chart always changes."""
    found = copy.deepcopy(one)
    found["metadata"] = {"name": found["metadata"]["name"].removesuffix("-1")}
    for subject in found.get("subjects", ()):
        subject["namespace"] = ""
    if found["kind"] in {"Deployment", "Job", "CronJob"}:
        template_of(found)["metadata"].pop("annotations", None)
        for container in containers(found):
            container.update(image="", imagePullPolicy="")
    return found


def template_of(one: Manifest) -> Manifest:
    found: Manifest = one["spec"].get("jobTemplate", one)["spec"]["template"]
    return found


def containers(one: Manifest) -> list[Manifest]:
    spec = template_of(one)["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


CASES = [
    pytest.param({}, ("*.yaml", "base/*.yaml"), id="foremesh"),
    pytest.param({"scaledBy": "keda"}, ("keda/*.yaml", "base/*.yaml"), id="keda"),
    pytest.param(
        {"monitoring": True}, ("*.yaml", "base/*.yaml", "monitoring/*.yaml"), id="monitoring"
    ),
]


@pytest.mark.parametrize(("values", "files"), CASES)
def test_it_installs_what_kustomize_does(
    render: Render, values: Mapping[str, Any], files: tuple[str, ...]
) -> None:
    installed = [plain(one) for one in render(**values).values()]

    assert by_name(installed) == by_name([plain(one) for one in written(*files).values()])


@pytest.mark.parametrize(("values", "files"), CASES)
def test_kubernetes_takes_what_it_installs(
    render: Render, values: Mapping[str, Any], files: tuple[str, ...]
) -> None:
    del files
    for one in render(**values).values():
        if one["apiVersion"] != THEIRS:
            kubernetes_validate.validate(one, VERSION, strict=True)


@pytest.mark.parametrize(
    ("image", "usual", "with_envoy"),
    [
        ({}, f"foremesh:{RELEASE}", f"foremesh-envoy:{RELEASE}"),
        ({"repository": "r/f", "tag": "9"}, "r/f:9", "r/f-envoy:9"),
        ({"repository": "r/f", "envoyRepository": "e"}, f"r/f:{RELEASE}", f"e:{RELEASE}"),
    ],
)
def test_everything_runs_the_image_of_the_chart_and_envoy_alone_the_one_that_has_it(
    render: Render, image: Mapping[str, str], usual: str, with_envoy: str
) -> None:
    found = all_containers(render(image=image))

    assert {c["image"] for c in found if c["name"] == "envoy"} == {with_envoy}
    assert {c["image"] for c in found if c["name"] != "envoy"} == {usual}


def all_containers(installed: Rendered) -> list[Manifest]:
    return [
        each
        for (kind, _), one in installed.items()
        if kind in {"Deployment", "Job", "CronJob"}
        for each in containers(one)
    ]


def test_all_of_it_is_in_the_namespace_of_the_release(render: Render) -> None:
    found = render()

    namespaces = {
        one["metadata"].get("namespace")
        for (kind, _), one in found.items()
        if "Cluster" not in kind
    }
    binding = found["ClusterRoleBinding", "foremesh-provisioner"]
    assert namespaces == {"shop"}
    assert {one["namespace"] for one in binding["subjects"]} == {"shop"}


def test_a_setting_is_changed_and_what_reads_it_starts_again(render: Render) -> None:
    before, after = render(), render(config={"FOREMESH_KAFKA": "k:1", "FOREMESH_PARTITIONS": 4})

    data = after["ConfigMap", "foremesh"]["data"]
    assert (data["FOREMESH_KAFKA"], data["FOREMESH_PARTITIONS"]) == ("k:1", "4")
    assert data["FOREMESH_TOKEN_FILE"] == "/etc/foremesh/token"
    assert annotations_of(before) != annotations_of(after)


def annotations_of(installed: Rendered) -> Manifest:
    found: Manifest = installed["Deployment", "worker"]["spec"]["template"]["metadata"]
    return dict(found["annotations"])


def test_a_part_has_replicas_resources_and_places_of_its_own(render: Render) -> None:
    resources = {"requests": {"cpu": 2}, "limits": {"memory": "2Gi"}}
    worker = render(
        parts={
            "worker": {
                "replicas": 7,
                "pod": {"nodeSelector": {"disk": "fast"}},
                "containers": {"worker": {"resources": resources}},
            }
        }
    )["Deployment", "worker"]

    pod = worker["spec"]["template"]["spec"]
    assert worker["spec"]["replicas"] == 7
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "2Gi"}
    assert pod["containers"][0]["args"] == ["worker"]


@pytest.mark.parametrize("part", ["mesh", "gateway", "provisioner", "dashboard", "set-up", "prune"])
def test_a_part_is_left_out_with_all_that_belongs_to_it(render: Render, part: str) -> None:
    left = render(parts={part: {"enabled": False}}, monitoring=True)

    own = {part, f"{part}-1", f"{part}-metrics", f"foremesh-{part}"}
    assert [name for _, name in left if name in own] == []
    assert ("Deployment", "worker") in left


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"parts": {"wroker": {"replicas": 2}}}, "wroker"),
        ({"scaledBy": "magic"}, "scaledBy"),
        ({"replicas": 2}, "replicas"),
    ],
)
def test_a_value_that_there_is_not_is_refused_by_its_name(
    said: Callable[..., subprocess.CompletedProcess[str]], values: Mapping[str, Any], word: str
) -> None:
    done = said("template", "mine", **values)

    assert done.returncode != 0
    assert word in done.stderr


def test_helm_finds_no_fault(
    said: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = said("lint")

    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_packed_whole(helm: Path, tmp_path: Path, render: Render) -> None:
    subprocess.run([helm, "package", CHART, "-d", tmp_path], check=True, capture_output=True)
    (packed,) = tmp_path.glob("foremesh-*.tgz")
    words = [helm, "template", "mine", packed, "-n", "shop", "--kube-version", VERSION]
    done = subprocess.run(words, check=True, capture_output=True, text=True)

    there = by_name([one for one in YAML(typ="safe").load_all(done.stdout) if one])
    assert there == render()
