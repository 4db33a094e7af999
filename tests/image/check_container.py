"""Starts a container as its image says and checks what a user of it relies on; build_and_run.sh calls it.

    check_container.py IMAGE.json RUN…

IMAGE.json is what `buildah inspect` says, RUN… what runs a command in the container. It needs network and process
namespaces of its own (it takes the only keepwarm in sight for the container's) and never builds anything.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_HEALTHY_SECONDS = 30
_EXIT_SECONDS = 35  # shutdown_grace is 30 s; nothing is in flight here


def main(config: dict[str, Any], run: list[str]) -> None:
    """Starts, checks and stops the container; ends with the reason if something is wrong."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    command = [*config["Entrypoint"], *config["Cmd"]]
    began = time.monotonic()
    server = subprocess.Popen([*run, *command])
    wait_until_healthy(server, [*run, *health_command(config)])
    say(f"healthy after {time.monotonic() - began:.1f} s")

    process = find(command)
    uid = int(status(process)["Uid"].split()[0])
    expect(uid != 0, "it runs as root")
    store = Path(f"/proc/{process}/root/var/lib/keepwarm/usage.sqlite")
    expect(store.exists(), "the store is not in the volume /var/lib/keepwarm")

    subprocess.run(["kill", "-TERM", str(process)], check=True)
    code = server.wait(_EXIT_SECONDS)
    expect(code == 0, f"SIGTERM ended it with {code}")
    say(f"ran as uid {uid}, kept its store in the volume, and exited 0 on SIGTERM")


def health_command(config: dict[str, Any]) -> list[str]:
    """The image's own HEALTHCHECK."""
    form, *command = config["Healthcheck"]["Test"]
    expect(form == "CMD", f"HEALTHCHECK is {form}, but there may be no shell")
    return list(command)


def wait_until_healthy(server: subprocess.Popen[bytes], health: list[str]) -> None:
    """Asks as a container engine does, until it is healthy."""
    deadline = time.monotonic() + _HEALTHY_SECONDS
    while (asked := subprocess.run(health, check=False, capture_output=True, text=True)).returncode:
        expect(server.poll() is None, f"it ended with {server.returncode} before it was healthy")
        expect(time.monotonic() < deadline, f"not healthy in {_HEALTHY_SECONDS} s: {asked.stderr[-500:]}")
        time.sleep(0.2)


def find(command: list[str]) -> int:
    """The pid of the command in the container: behind its interpreter, if a script starts it."""
    tail = [*(part.encode() for part in command[1:]), b""]
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        arguments = file.read_bytes().split(b"\0")
        if arguments[-len(tail) :] == tail and b"python" in arguments[0]:
            found.append(int(file.parent.name))
    expect(len(found) == 1, f"there should be one process {command}, not {found}")
    return found[0]


def status(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Ends with the reason if it does not hold."""
    if not holds:
        sys.exit(f"image: FAILED: {otherwise}")


def say(text: str) -> None:
    """One line of progress."""
    sys.stdout.write(f"image: {text}\n")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text())["Docker"]["config"], sys.argv[2:])
