"""What `keepwarm key new` prints is what the settings take."""

import re
from hashlib import sha256

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import main
from proxy.settings.schema import Settings


def made(*arguments: str) -> tuple[str, Settings]:
    done = CliRunner().invoke(main, ["key", "new", *arguments])
    assert done.exit_code == 0, done.output
    (secret,) = re.findall(r"^  (kw_\S+)$", done.stdout, re.MULTILINE)
    return secret, Settings.model_validate(yaml.safe_load(done.stdout.partition("For the settings file:\n\n")[2]))


def test_the_lines_to_paste_hold_the_digest_of_the_key_that_is_shown() -> None:
    secret, settings = made("alice@laptop")
    assert dict(settings.access.keys) == {"alice@laptop": sha256(secret.encode()).hexdigest()}


def test_the_token_of_the_admin_port_is_made_alike() -> None:
    secret, settings = made("--admin")
    assert settings.admin.token_sha256 == sha256(secret.encode()).hexdigest()


def test_no_two_keys_are_alike_and_none_can_be_guessed() -> None:
    secrets = {made("alice")[0] for _ in range(20)}
    assert len(secrets) == 20
    assert all(len(secret) == len("kw_") + 43 for secret in secrets)  # 256 bits, 6 a character


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "expected NAME, or --admin and no NAME"),
        (["alice", "--admin"], "expected NAME, or --admin and no NAME"),
        (["a b"], "expected a name of at most 32"),
        (["x" * 33], "expected a name of at most 32"),
        (["keyless"], "'keyless' has a meaning of its own"),
        (["other"], "'other' has a meaning of its own"),
    ],
)
def test_a_name_that_the_settings_would_not_take_is_refused(arguments: list[str], complaint: str) -> None:
    done = CliRunner().invoke(main, ["key", "new", *arguments])
    assert done.exit_code == 2
    assert complaint in done.output
    assert "kw_" not in done.output
