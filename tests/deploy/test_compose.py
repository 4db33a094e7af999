"""docker-compose.yml: a good Compose file, whose parts are there and fit each other. No container engine is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.server.gate import is_local_name
from proxy.settings import load
from proxy.settings.keys import VARIABLES

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def by_the_schema(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Check it against the schema of the Compose specification."""
    (folder / "docker-compose.yml").write_text(text)
    command = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, folder / "docker-compose.yml"], capture_output=True, text=True, check=False)


def with_the_gpu() -> str:
    """Take the # from the lines of the GPU reservation."""
    text, commented = re.subn(r"^    # (?=deploy:| )", "    ", FILE.read_text(), flags=re.MULTILINE)
    assert commented == 7
    return text


def test_it_is_what_compose_expects(tmp_path: Path) -> None:
    checked = by_the_schema(tmp_path, FILE.read_text())
    assert checked.returncode == 0, checked.stdout


def test_a_mistake_in_it_would_be_seen(tmp_path: Path) -> None:
    checked = by_the_schema(tmp_path, FILE.read_text().replace("start_period:", "start_perod:", 1))
    assert checked.returncode == 1
    assert "start_perod" in checked.stdout


def test_the_reservation_of_the_gpu_is_right_once_its_comment_is_gone(tmp_path: Path) -> None:
    checked = by_the_schema(tmp_path, with_the_gpu())
    assert checked.returncode == 0, checked.stdout
    ollama = yaml.safe_load(with_the_gpu())["services"]["ollama"]
    assert ollama["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def mounts() -> list[tuple[str, str]]:
    return [tuple(mount.split(":")[:2]) for service in SERVICES.values() for mount in service["volumes"]]  # type: ignore[misc]


def test_all_that_is_mounted_exists_and_is_no_single_file() -> None:
    for source, _ in mounts():
        assert (ROOT / source).is_dir() if source.startswith("./") else source in COMPOSE["volumes"]


def test_every_service_is_known_to_be_healthy_and_comes_back() -> None:
    built = (ROOT / "Dockerfile").read_text()
    for name, service in SERVICES.items():
        assert "healthcheck" in service or ("build" in service and "HEALTHCHECK" in built), name
        assert service["restart"] == "unless-stopped"
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert condition == {"condition": "service_healthy"}


def test_nothing_listens_beyond_this_machine_and_ollama_not_at_all() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert published["ollama"] == published["prometheus"] == []


def test_keepwarm_is_given_settings_that_exist_and_time_to_finish() -> None:
    keepwarm = SERVICES["keepwarm"]
    assert set(keepwarm["environment"]) <= set(VARIABLES)
    grace = yaml.safe_load((ROOT / "config" / "keepwarm.yaml").read_text())["server"]["shutdown_grace"]
    assert int(keepwarm["stop_grace_period"].removesuffix("s")) > int(grace.removesuffix("s"))
    assert (ROOT / "config" / "keepwarm.yaml").is_file()


def test_the_admin_port_is_open_to_prometheus_and_this_machine_as_it_is_published() -> None:
    """The image's own environment and Compose's together are settings that keepwarm starts with."""
    said = dict(re.findall(r"\b(KEEPWARM_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    keepwarm = SERVICES["keepwarm"]
    env = {**said, **keepwarm["environment"], "KEEPWARM_MEMORY_BUDGET": "auto"}
    settings = load(ROOT / "config" / "keepwarm.yaml", env)
    assert not settings.admin.listen.is_loopback
    assert settings.admin.needs_no_token
    listens = {settings.server.listen.port, settings.admin.listen.port}
    assert {int(port.rpartition(":")[2]) for port in keepwarm["ports"]} == listens
    (target,) = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"][0]["static_configs"]
    assert all(is_local_name(host) for host in target["targets"])


def test_ollama_is_the_one_that_keepwarm_is_tested_with() -> None:
    tested = re.search(
        r"^ollama=([\d.]+)", (ROOT / "tests/e2e/ollama_build/install_ollama.sh").read_text(), re.MULTILINE
    )
    assert tested
    assert SERVICES["ollama"]["image"] == f"ollama/ollama:{tested[1]}"


def test_prometheus_is_set_up_as_the_one_that_the_rules_are_tested_with() -> None:
    here = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])
    tested = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yaml").read_text())
    assert here.pop("rule_files") == [f"/etc/keepwarm/{name}" for name in tested.pop("rule_files")]
    assert here["scrape_configs"][0].pop("static_configs") == [{"targets": ["keepwarm:11436"]}]
    tested["scrape_configs"][0].pop("static_configs")
    assert here == tested


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    (source,) = yaml.safe_load((ROOT / "grafana/provisioning/datasources/keepwarm.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/keepwarm.yaml").read_text())["providers"]
    assert source["url"] == "http://prometheus:9090"
    assert ("./grafana/dashboards", provider["options"]["path"]) in mounts()
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana/dashboards" / Path(home).name).is_file()
    assert str(Path(home).parent) == provider["options"]["path"]
