"""What settings leave open that their owner may not have meant to. Never refuses anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.access import KEYLESS, Group

if TYPE_CHECKING:
    from proxy.settings.schema import Settings


def open_doors(settings: Settings) -> list[str]:
    """Return one sentence for each door that stands open, with what closes it."""
    listen, access, warnings = settings.server.listen, settings.access, []
    keyless = access.client(KEYLESS, on_loopback=listen.is_loopback)
    if not listen.is_loopback and Group.MANAGE in keyless.groups:
        why = "access.keys is empty" if not access.keys else "access.allow.keyless says so"
        warnings.append(
            f"server.listen {listen}: whoever reaches this port may use, pull and delete models without a key, for "
            f"{why}. Make keys (keepwarm key new NAME), or listen on 127.0.0.1"
        )
    if not listen.is_loopback and access.keys and settings.server.tls.certificate is None:
        warnings.append(
            f"server.listen {listen}: keys and prompts travel unencrypted, for server.tls has no certificate. That is "
            "well only if something in front of keepwarm encrypts, or nobody else is on this network"
        )
    if listen.is_loopback and access.keys and KEYLESS not in access.allow:
        warnings.append(
            "access.keys: programs on this machine need no key, for server.listen is on loopback. If a web server or a "
            "tunnel leads here, close it to them: access.allow.keyless.endpoints: []"
        )
    return warnings
