"""What `keepwarm check` and a start warn of."""

import pytest

from proxy.settings import open_doors
from proxy.settings.schema import Settings

ALICE = {"keys": {"alice": "0" * 64}}
NO_ONE_ELSE = {**ALICE, "allow": {"keyless": {"endpoints": []}}}
ANYBODY = {**ALICE, "allow": {"keyless": {"endpoints": ["use", "manage"]}}}
TLS = {"certificate": "/c.pem", "key": "/k.pem"}
OUTSIDE = {"listen": ":11435"}


@pytest.mark.parametrize(
    ("settings", "beginnings"),
    [
        ({}, []),
        ({"server": OUTSIDE}, ["server.listen :11435: whoever reaches this port may use, pull and delete"]),
        ({"server": {**OUTSIDE, "tls": TLS}, "access": ALICE}, []),
        ({"server": OUTSIDE, "access": ALICE}, ["server.listen :11435: keys and prompts travel unencrypted"]),
        ({"server": {**OUTSIDE, "tls": TLS}, "access": ANYBODY}, ["server.listen :11435: whoever reaches"]),
        ({"access": ALICE}, ["access.keys: programs on this machine need no key"]),
        ({"access": NO_ONE_ELSE}, []),
    ],
)
def test_each_door_that_stands_open_is_named(settings, beginnings):
    warnings = open_doors(Settings.model_validate(settings))
    assert len(warnings) == len(beginnings)
    assert all(warning.startswith(beginning) for warning, beginning in zip(warnings, beginnings, strict=True))
