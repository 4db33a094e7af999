"""deploy/helm/keepwarm: what Helm makes of the chart is what Kubernetes, the Prometheus Operator and Grafana expect."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator

from proxy import __version__
from proxy.settings import load

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "keepwarm"
PAGE = ROOT / "docs" / "monitoring.md"
OPERATOR = "monitoring.coreos.com/v1"
ALL_ON = ("serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboards.enabled=true")
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "mine"}],
    "env": [{"name": "OTEL_SERVICE_NAME", "value": "gpu-1"}],
    "service": {"type": "LoadBalancer", "port": 80, "adminPort": 81},
    "persistence": {"storageClass": "fast", "size": "2Gi"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "serviceMonitor": {
        "enabled": True,
        "interval": "30s",
        "labels": {"release": "prometheus"},
        "authorization": {"credentials": {"name": "keepwarm", "key": "token"}},
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "keepwarm"}},
}
Document = dict[str, Any]


@functools.cache
def program() -> str:
    """The Helm that `make deploy` built."""
    builds = [Path(__file__).parent / "install_helm.sh"]
    return subprocess.run(builds, capture_output=True, text=True, check=True).stdout.strip()


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(), *arguments], capture_output=True, text=True, check=False, timeout=60)


def rendered(*settings: str, release: str = "kw", values: Path | None = None) -> list[Document]:
    arguments = ["template", release, str(CHART), "--kube-version", kubernetes_validate.latest_version()]
    arguments += [part for setting in settings for part in ("--set", setting)]
    made = helm(*arguments, *(("--values", values) if values else ()))
    assert made.returncode == 0, made.stderr
    return [document for document in yaml.safe_load_all(made.stdout) if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def one(documents: list[Document], kind: str) -> Document:
    (document,) = of_kind(documents, kind)
    return document


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The chart with every value set."""
    values = tmp_path_factory.mktemp("helm") / "values.yaml"
    values.write_text(yaml.safe_dump(EVERYTHING))
    return rendered(values=values)


def validate(document: Document, version: str) -> None:
    """Check it strictly: what the schema does not know is a mistake."""
    if document["apiVersion"] == OPERATOR:
        kind = getattr(operator, document["kind"])
        known = kind.model_validate(document).model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert known == document
    else:
        kubernetes_validate.validate(document, version, strict=True)


def test_helm_finds_nothing_to_complain_about() -> None:
    checked = helm("lint", "--strict", CHART)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
def test_every_object_is_what_kubernetes_expects(version: str, everything: list[Document]) -> None:
    for document in [*rendered(), *rendered(*ALL_ON, "persistence.enabled=false"), *everything]:
        validate(document, version)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("Deployment", {"replica": 1}),
        ("Service", {"ports": [{"port": "many"}]}),
        ("ServiceMonitor", {"endpoint": []}),
        ("PrometheusRule", {"groups": [{"name": "a", "rules": [{"exprr": "1"}]}]}),
    ],
)
def test_a_mistake_would_be_seen(kind: str, wrong: Document) -> None:
    document = of_kind(rendered(*ALL_ON), kind)[0]
    document["spec"].update(wrong)
    with pytest.raises((kubernetes_validate.ValidationError, ValueError, AssertionError)):
        validate(document, kubernetes_validate.latest_version())


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("service.port=many", "/service/port"),
        ("serviceMonitor.interval=15", "/serviceMonitor/interval"),
        ("persistance.enabled=false", "persistance"),
        ("settings.upstream.url=", "/settings/upstream/url"),
        ("settings=null", "settings"),
    ],
)
def test_a_value_that_is_none_is_refused_by_its_name(setting: str, named: str) -> None:
    made = helm("template", "kw", CHART, "--set", setting)
    assert made.returncode != 0
    assert named in made.stderr


def test_the_settings_are_keepwarms_own(everything: list[Document], tmp_path: Path) -> None:
    settings = next(document for document in of_kind(everything, "ConfigMap") if "keepwarm.yaml" in document["data"])
    file = tmp_path / "keepwarm.yaml"
    file.write_text(settings["data"]["keepwarm.yaml"])
    said = dict(re.findall(r"\b(KEEPWARM_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    loaded = load(file, said)
    assert loaded.upstream.url == "http://ollama:11434"
    assert loaded.admin.needs_no_token
    container = one(everything, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [str(loaded.server.listen), str(loaded.admin.listen)] == [
        f"0.0.0.0:{ports[name]}" for name in ("http", "admin")
    ]


def test_the_values_that_the_page_shows_are_good(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```yaml\n(# values\.yaml\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "values.yaml").write_text(shown)
    documents = rendered(values=tmp_path / "values.yaml")
    assert {"ServiceMonitor", "PrometheusRule"} <= {document["kind"] for document in documents}


@pytest.mark.parametrize("release", ["kw", "keepwarm", "a-name-as-long-as-helm-allows-which-is-fifty-three-chars"[:53]])
def test_names_are_short_enough_and_lead_to_each_other(release: str) -> None:
    documents = rendered(*ALL_ON, release=release)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name) for _, name in names)
    pod = one(documents, "Deployment")["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    for service in of_kind(documents, "Service"):
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
    (settings, history, _) = pod["spec"]["volumes"]
    assert ("ConfigMap", settings["configMap"]["name"]) in names
    assert ("PersistentVolumeClaim", history["persistentVolumeClaim"]["claimName"]) in names


def test_prometheus_scrapes_the_admin_service_alone() -> None:
    documents = rendered(*ALL_ON)
    monitor = one(documents, "ServiceMonitor")["spec"]
    chosen = [
        service
        for service in of_kind(documents, "Service")
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert [service["metadata"]["name"] for service in chosen] == ["kw-keepwarm-admin"]
    assert monitor["endpoints"][0]["port"] == chosen[0]["spec"]["ports"][0]["name"]
    assert chosen[0]["spec"]["type"] == "ClusterIP"


def test_dashboards_and_rules_are_the_ones_of_this_repository() -> None:
    documents = rendered(*ALL_ON)
    boards = [document for document in of_kind(documents, "ConfigMap") if "keepwarm.yaml" not in document["data"]]
    shipped = {name: json.loads(text) for board in boards for name, text in board["data"].items()}
    here = {
        f"keepwarm-{file.name}": json.loads(file.read_text()) for file in (ROOT / "grafana/dashboards").glob("*.json")
    }
    assert shipped == here != {}
    assert all(board["metadata"]["labels"]["grafana_dashboard"] == "1" for board in boards)
    assert all(len(json.dumps(board)) < 1_000_000 for board in boards)  # what a ConfigMap can hold
    rules = {rule["metadata"]["name"].rpartition("-")[2]: rule["spec"] for rule in of_kind(documents, "PrometheusRule")}
    assert rules == {
        name: yaml.safe_load((ROOT / "grafana/prometheus" / f"{name}.yaml").read_text())
        for name in ("recording", "alerts")
    }


def test_a_packaged_chart_carries_them_too(tmp_path: Path) -> None:
    packaged = helm("package", CHART, "--destination", tmp_path)
    assert packaged.returncode == 0, packaged.stderr
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        names = set(archive.getnames())
    wanted = [*(ROOT / "grafana/dashboards").glob("*.json"), *(ROOT / "grafana/prometheus").glob("*.yaml")]
    assert {f"keepwarm/files/{file.parent.name}/{file.name}" for file in wanted} <= names


def test_the_pod_fits_the_image_and_the_settings() -> None:
    pod = one(rendered(), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    built = (ROOT / "Dockerfile").read_text()
    assert f"--uid {pod['securityContext']['runAsUser']} " in built
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted >= {"/etc/keepwarm", "/var/lib/keepwarm"}
    assert all(path in built for path in ("/etc/keepwarm/keepwarm.yaml", "VOLUME /var/lib/keepwarm"))
    assert {str(port["containerPort"]) for port in container["ports"]} == set(
        re.findall(r"^EXPOSE (\d+) (\d+)$", built, re.MULTILINE)[0]
    )
    assert pod["terminationGracePeriodSeconds"] > load(None, {}).server.shutdown_grace
    assert container["image"] == f"keepwarm:{__version__}"
