"""The manifests of deploy/kubernetes: against Kubernetes' own schemas, each other and the code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from click.testing import CliRunner
from harness import CHECKOUT
from kube import KubernetesHouse
from provisioner_rigs import until, want
from ruamel.yaml import YAML
from services import catalog_of, command, constituent

from streams.adapters.metrics.definition import PROCESSES
from streams.cli import cli
from streams.provisioners.kubernetes.cluster import CONSTITUENT, POOL
from streams.provisioners.kubernetes.leader_election import LeaderElection
from streams.records import Action, InstanceState
from streams.settings import Settings

FOLDER = CHECKOUT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
CHART = YAML(typ="safe", pure=True).load(CHECKOUT / "deploy" / "helm" / "Chart.yaml")
OLDEST = CHART["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
VERSIONS = (OLDEST, kubernetes_validate.latest_version())
SLEEPS_SINCE = (1, 30)  # earlier releases refuse a Pod that sleeps before it is ended
THEIRS = {
    "kustomize.config.k8s.io/v1beta1",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
}  # no schemas of Kubernetes'


def documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


def every(kind: str) -> Iterator[dict[str, Any]]:
    for path in FILES:
        yield from (one for one in documents(path) if one["kind"] == kind)


def pods() -> dict[str, dict[str, Any]]:
    """What runs, by the name of what runs it: the example apart."""
    found = [*every("Deployment"), *every("Job"), *every("CronJob")]
    return {
        one["metadata"]["name"]: one["spec"].get("jobTemplate", one)["spec"]["template"]
        for one in found
        if CONSTITUENT not in one["metadata"].get("labels", {})
    }


def containers_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


CONTAINERS = [
    pytest.param(container, id=f"{name}/{container['name']}")
    for name, template in pods().items()
    for container in containers_of(template)
]
SERVING = [one for one in CONTAINERS if "ports" in one.values[0]]  # type: ignore[operator]  # a container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_manifest_is_what_kubernetes_takes(path: Path, version: str) -> None:
    for one in documents(path):
        if one["apiVersion"] not in THEIRS:
            kubernetes_validate.validate(one, version, strict=True)


def test_the_oldest_kubernetes_that_is_promised_lets_a_pod_sleep_before_it_ends() -> None:
    sleeping = [c for t in pods().values() for c in containers_of(t) if "lifecycle" in c]

    assert [one["lifecycle"]["preStop"].keys() for one in sleeping] == [{"sleep"}] * len(sleeping)
    assert tuple(map(int, OLDEST.split("."))) >= SLEEPS_SINCE
    assert f"Kubernetes {OLDEST} or later" in (CHECKOUT / "docs" / "install.md").read_text()


def test_every_file_is_part_of_a_kustomization() -> None:
    named = {
        (path.parent / name).resolve()
        for path in FOLDER.rglob("kustomization.yaml")
        for name in documents(path)[0]["resources"]
    }
    files = {path for path in FILES if ".example." not in path.name}

    folders = {path.parent for path in files if path.name == "kustomization.yaml"}
    assert {path for path in files if path.name != "kustomization.yaml"} == {
        path for path in named if path.is_file()
    }
    assert {path for path in named if path.is_dir()} <= folders


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_runs_a_command_that_there_is(container: dict[str, Any]) -> None:
    assert container["command"] == ["foremesh"]  # the image has no shell to rely on
    words = container["args"]
    names = [word for word in words if not word.startswith("-")]
    given = [word for word in words if word.startswith("--")]
    depth = 2 if names[0] in {"mesh", "topics", "db"} else 1
    said = CliRunner().invoke(cli, [*names[:depth], "--help"])

    assert said.exit_code == 0, said.output
    assert [option for option in given if option not in said.output] == []


@pytest.mark.parametrize("container", CONTAINERS)
def test_only_envoy_runs_the_image_that_has_envoy(container: dict[str, Any]) -> None:
    envoy = container["args"] == ["mesh", "envoy"]

    assert container["image"] == ("foremesh-envoy" if envoy else "foremesh")


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_is_bounded_and_may_do_nothing_special(container: dict[str, Any]) -> None:
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["cpu"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_writes_only_to_its_own_folder(container: dict[str, Any]) -> None:
    writable = [one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")]

    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert writable == ["/tmp"]


@pytest.mark.parametrize("container", SERVING)
def test_a_port_has_a_name_that_kubernetes_takes(container: dict[str, Any]) -> None:
    names = [port["name"] for port in container["ports"]]

    assert [name for name in names if not re.fullmatch("(?=.{1,15}$)[a-z]+(-[a-z]+)*", name)] == []


@pytest.mark.parametrize("container", SERVING)
def test_a_container_is_asked_whether_it_has_started_and_lives(container: dict[str, Any]) -> None:
    ports = {port["name"] for port in container["ports"]}
    asked = [container["startupProbe"], container["livenessProbe"]]
    asked += filter(None, [container.get("readinessProbe")])

    for probe in asked:
        (how,) = (probe[kind] for kind in ("httpGet", "tcpSocket") if kind in probe)
        assert how["port"] in ports
        if "path" in how:
            metrics = of_metrics(how["port"])
            ready = "/ready" if probe is container.get("readinessProbe") else "/metrics"
            assert how["path"] in ({"/metrics", ready} if metrics else {"/healthz"})
            assert how.get("scheme") == (None if metrics else "HTTPS")


def of_metrics(port: str) -> bool:
    """Whether metrics are what is asked for at a port of this name."""
    return port == "metrics" or port.endswith("-scrape")


def test_every_pod_is_asked_whether_it_is_ready() -> None:
    silent = [
        one["metadata"]["name"]
        for one in every("Deployment")
        if not any("readinessProbe" in c for c in containers_of(one["spec"]["template"]))
    ]

    assert silent == []


def test_what_has_replicas_has_a_budget_unless_only_one_of_them_is_ready() -> None:
    replicas = {
        one["metadata"]["name"]: one["spec"]["replicas"]
        for one in every("Deployment")
        if "replicas" in one["spec"]
    }
    budgets = {one["metadata"]["name"]: one["spec"] for one in every("PodDisruptionBudget")}

    assert {name for name, count in replicas.items() if count > 1} - {"provisioner"} == set(budgets)
    assert all(one["maxUnavailable"] == 1 for one in budgets.values())


def test_a_job_is_gone_before_the_next_release_which_could_not_change_it() -> None:
    jobs = list(every("Job"))

    assert [one["metadata"]["name"] for one in jobs] == ["set-up"]
    assert all(0 < one["spec"]["ttlSecondsAfterFinished"] <= 600 for one in jobs)


def test_only_the_provisioner_is_given_a_token_of_the_api_server() -> None:
    trusted = {
        name
        for name, template in pods().items()
        if template["spec"].get("automountServiceAccountToken") is not False
    }

    assert trusted == {"provisioner"}
    account = pods()["provisioner"]["spec"]["serviceAccountName"]
    assert [one["metadata"]["name"] for one in every("ServiceAccount")] == [account]


def test_every_service_and_policy_selects_something_and_names_its_port() -> None:
    ports = {
        name: {p["name"] for c in t["spec"]["containers"] for p in c.get("ports", ())}
        for name, t in pods().items()
    }
    component = "app.kubernetes.io/component"
    for one in every("Service"):
        selected = one["spec"]["selector"][component]
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports[selected]
    for one in every("NetworkPolicy"):
        assert one["spec"]["podSelector"]["matchLabels"][component] in ports


def test_what_serves_metrics_is_scraped_as_the_process_that_it_is() -> None:
    (monitor,) = every("ServiceMonitor")
    config = next(every("ConfigMap"))
    services = [
        one
        for one in every("Service")
        if one["metadata"].get("labels") == monitor["spec"]["selector"]["matchLabels"]
    ]
    scraped = {
        (one["spec"]["selector"]["app.kubernetes.io/component"], port["targetPort"])
        for one in services
        for port in one["spec"]["ports"]
        if port["name"] in {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
    }
    served = {
        (name, port["name"]): (container, port["containerPort"])
        for name, template in pods().items()
        for container in template["spec"]["containers"]
        for port in container.get("ports", ())
        if of_metrics(port["name"])
    }

    assert scraped == served.keys()
    for container, number in served.values():
        own = {one["name"]: one["value"] for one in container.get("env", ())}
        assert str(number) == {**config["data"], **own}["FOREMESH_METRICS_PORT"]
        assert process_of(container["name"], monitor) in PROCESSES


def process_of(container: str, monitor: dict[str, Any]) -> str:
    """The label `process` that a ServiceMonitor gives to what a container exposes."""
    found = container
    for rule in monitor["spec"]["endpoints"][0]["relabelings"][2:]:
        if matched := re.fullmatch(rule["regex"], found):
            found = matched.expand(rule["replacement"].replace("$", "\\"))
    return found


def test_every_setting_is_one_of_ours() -> None:
    told = {name for config in every("ConfigMap") for name in config["data"]}
    known = {Settings.variable(name) for name in Settings.__dataclass_fields__}
    mesh = {f"FOREMESH_MESH_{name}" for name in ("EDGE", "JWT_ISSUER", "JWT_KEYS")}

    assert told <= known | mesh


def test_what_listens_beyond_loopback_has_what_it_asks_for() -> None:
    told = (FOLDER / "base" / "config.yaml").read_text()
    made = set(re.findall(r"--from-file=(\S+)", told))
    data = {name: value for config in every("ConfigMap") for name, value in config["data"].items()}
    named = {Path(value) for value in data.values() if value.startswith("/etc/foremesh/")}

    assert {path.name for path in named} == made
    settings = Settings.from_env(data)
    assert settings.tls_certificate
    assert settings.provisioner.startswith("https://")
    for name, template in pods().items():
        containers = template["spec"]["containers"]
        if name in {"gateway", "provisioner", "mesh", "dashboard", "keda"}:
            mounts = [one["mountPath"] for c in containers for one in c["volumeMounts"]]
            assert mounts == ["/etc/foremesh", "/tmp"] * len(containers)
        else:
            assert not any("0.0.0.0" in str(container) for container in containers)


def test_who_is_told_where_the_provisioner_is_may_ask_it() -> None:
    told = {
        name
        for name, template in pods().items()
        for container in containers_of(template)
        for source in container["envFrom"]
        if source.get("configMapRef", {}).get("name") == "provisioner"
    }
    (policy,) = (one for one in every("NetworkPolicy") if one["metadata"]["name"] == "provisioner")
    (selector,) = policy["spec"]["ingress"][0]["from"]
    (expression,) = selector["podSelector"]["matchExpressions"]

    assert told - {"provisioner"} == {*expression["values"]} == {"gateway", "mesh", "dashboard"}


def test_where_keda_scales_nobody_is_told_of_a_provisioner() -> None:
    data = {
        name
        for folder in ("base", "keda")
        for path in (FOLDER / folder).glob("*.yaml")
        for one in documents(path)
        if one["kind"] == "ConfigMap"
        for name in one["data"]
    }

    assert "FOREMESH_KAFKA" in data
    assert "FOREMESH_PROVISIONER" not in data


def test_the_notes_of_the_chart_send_to_pods_that_have_the_certificates() -> None:
    notes = (CHECKOUT / "deploy" / "helm" / "templates" / "NOTES.txt").read_text()
    sent = re.findall(r"exec (?:-i )?deploy/(\w+) -- foremesh (\w+)", notes)

    assert [command for _, command in sent] == ["catalog", "doctor"]
    for name, _ in sent:
        (container,) = pods()[name]["spec"]["containers"]
        assert "/etc/foremesh" in {one["mountPath"] for one in container["volumeMounts"]}


def test_the_examples_carry_what_foremesh_looks_for() -> None:
    (example,) = (one for one in every("Deployment") if CONSTITUENT in one["metadata"]["labels"])
    (scaled,) = every("ScaledObject")
    labels = example["spec"]["template"]["metadata"]["labels"]

    assert labels == example["metadata"]["labels"]
    metadata = scaled["spec"]["triggers"][0]["metadata"]
    assert metadata["constituent"] == labels[CONSTITUENT]
    assert metadata["pool"] == labels[POOL]


def test_the_example_says_how_to_make_the_secret_of_keda() -> None:
    (access,) = every("TriggerAuthentication")
    told = (FOLDER / "keda" / "scaledobject.example.yaml").read_text()
    (name, files), *others = re.findall(r"create secret generic (\S+) (.*)", told)
    targets = access["spec"]["secretTargetRef"]

    assert not others
    assert {one["name"] for one in targets} == {name}
    assert {f"--from-file={one['key']}" for one in targets} == {*files.split()}


def test_the_page_pushes_the_images_that_it_has_the_chart_take() -> None:
    page = (CHECKOUT / "docs" / "install.md").read_text()
    pushed = re.findall(r"buildah push (\S+) docker://(\S+):(\S+)", page)
    (repository, tag) = re.findall(r"--set image.repository=(\S+),image.tag=(\S+)", page)[0]

    assert pushed == [
        ("foremesh", repository, tag),
        ("foremesh-envoy", f"{repository}-envoy", tag),
    ]


def test_the_page_looks_at_the_namespace_where_the_provisioner_may_scale() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "kubernetes.md").read_text()
    (kustomization,) = documents(FOLDER / "kustomization.yaml")

    assert re.findall(r"--namespace (\w+)", page) == [kustomization["namespace"]]
    assert page.index("kubectl apply -k") < page.index("foremesh control mode")


def allowed() -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for role in (*every("Role"), *every("ClusterRole"))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def verb_of(request: Any) -> str:
    if request.method == "GET":
        return "watch" if "watch" in request.params else ("get" if request.name else "list")
    return {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}[request.method]


async def live_and_end(here: KubernetesHouse) -> None:
    """Lead, start an instance, and end it."""
    client = here.kube.connect()
    lease = LeaderElection(client, "foremesh-default", "me")
    assert [await lease._try_acquire() for _ in range(2)] == [True, True]
    await client.close()
    provisioner = await here.open()
    await provisioner.standard(want("a"))
    await asyncio.sleep(here.limits.grace_ms / 1000)
    await provisioner.carry_out(command("a", action=Action.RELEASE))
    await until(lambda: here.told.last(InstanceState.GONE))


async def test_the_role_allows_what_the_provisioner_asks_for_and_nothing_else() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        await live_and_end(here)
        asked = {
            (one.resource.group, "/".join(filter(None, names)), verb_of(one))
            for one in here.kube.api
            if one.resource is not None
            for names in [(one.resource.plural, one.subresource)]
            if one.headers["Authorization"] == "Bearer provisioner"
        }

    assert asked == allowed()
