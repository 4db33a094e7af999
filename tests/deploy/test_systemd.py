"""deploy/systemd/keepwarm.service, judged by systemd itself."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from proxy.cli import main

pytestmark = pytest.mark.deploy

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "keepwarm.service"
MOST_EXPOSED = 2.0
"""Of 10; systemd calls what is below 3 OK. What is left are network, devices and /proc, which keepwarm needs."""


def complaints(unit: Path) -> list[str]:
    """What `systemd-analyze verify` finds; that keepwarm is not installed on this machine is none."""
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr.splitlines()
    return [line for line in found if "/opt/keepwarm/bin/keepwarm is not executable: No such file" not in line]


def test_systemd_finds_nothing_to_complain_about() -> None:
    assert complaints(UNIT) == []


def test_systemd_would_see_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "keepwarm.service"
    wrong.write_text(UNIT.read_text().replace("ProtectHome=yes", "ProtectHom=yes"))
    assert "Unknown key 'ProtectHom' in section [Service]" in complaints(wrong)[0]


def test_the_service_is_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    last = text.strip().splitlines()[-1]
    print(last)  # noqa: T201 - the figure is of interest in itself
    found = re.search(r"exposure level for keepwarm\.service: ([\d.]+)", last)
    assert found
    assert float(found[1]) <= MOST_EXPOSED


def test_it_starts_keepwarm_with_a_command_that_exists() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    program, command, *options = shlex.split(line)
    assert program == "/opt/keepwarm/bin/keepwarm"
    known = {option for parameter in main.commands[command].params for option in parameter.opts}
    assert {option for option in options if option.startswith("-")} <= known
