"""`keepwarm key`: makes keys. Keeps none, writes no file, asks nobody."""

from __future__ import annotations

import secrets
from hashlib import sha256

import click
from pydantic import TypeAdapter, ValidationError

from proxy.domain.access import KEYLESS
from proxy.settings.access import OTHER
from proxy.settings.values import ClientName

_RANDOM_BYTES = 32


@click.group()
def key() -> None:
    """Make keys for clients, and the token of the admin port."""


@key.command()
@click.argument("name", required=False)
@click.option("--admin", is_flag=True, help="Make the token of the admin port instead.")
def new(name: str | None, *, admin: bool) -> None:
    """Make a key for the client NAME: it is shown once, with the lines for the settings file."""
    if admin is (name is not None):
        raise click.UsageError("expected NAME, or --admin and no NAME")
    secret = f"kw_{secrets.token_urlsafe(_RANDOM_BYTES)}"
    digest = sha256(secret.encode()).hexdigest()
    if name is None:
        what, lines = "The token of the admin port", f"admin:\n  token_sha256: {digest}"
    else:
        what, lines = f"The key of {_checked(name)}", f"access:\n  keys:\n    {name}: {digest}"
    click.echo(f"{what}, shown only now:\n\n  {secret}\n\nFor the settings file:\n\n{lines}")


def _checked(name: str) -> str:
    try:
        checked: str = TypeAdapter(ClientName).validate_python(name)
    except ValidationError as error:
        (details,) = error.errors()
        raise click.UsageError(f"NAME: {details['msg']}") from error
    if checked in (KEYLESS, OTHER):
        raise click.UsageError(f"NAME: expected another name: '{checked}' has a meaning of its own")
    return checked
