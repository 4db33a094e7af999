"""Host headers (OLLAMA.md 21)."""

from __future__ import annotations

import pytest

from proxy.sim.hosts import host_allowed


@pytest.mark.parametrize(
    "host",
    [
        *("", "localhost", "localhost:11434", "a.localhost", "nas.local", "x.internal:8080"),
        *("127.0.0.1:80", "10.0.0.5", "192.168.1.4:1", "[::1]:11434", "::1", "0.0.0.0"),
    ],
)
def test_local_hosts_are_answered(host: str) -> None:
    assert host_allowed(host)


@pytest.mark.parametrize("host", ["keepwarm:11435", "myserver.lan", "8.8.8.8", "example.com:80", "localhost.evil.com"])
def test_other_hosts_are_not(host: str) -> None:
    assert not host_allowed(host)
