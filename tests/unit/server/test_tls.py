"""Which certificate a client sees, while the files change. The handshakes are real, without a socket."""

from __future__ import annotations

import os
import shutil
import ssl
from typing import TYPE_CHECKING

import pytest

from proxy.server.tls import Certificate, CertificateError
from tests.unit.server.certificates import make_certificate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates first and second."""
    folder: Path = tmp_path_factory.mktemp("made")
    for name in ("first", "second"):
        make_certificate(folder, name)
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The files that the settings name; the first certificate is in them."""
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    put(made, "first", certificate, key)
    return certificate, key


def put(made: Path, name: str, certificate: Path, key: Path) -> None:
    """Replace both by rename, as certbot does."""
    for source, target in ((made / f"{name}.pem", certificate), (made / f"{name}.key", key)):
        shutil.copy(source, target.with_suffix(".new"))
        target.with_suffix(".new").rename(target)


def seen(certificate: Certificate, trusted: Path, server_name: str | None = "localhost") -> str:
    """Shake hands; return what the server's certificate is called."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.check_hostname = server_name is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=server_name)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert()
    assert found
    (((_, name),),) = found["subject"]
    return str(name)


@pytest.mark.parametrize("server_name", ["localhost", None])
def test_new_files_are_used_for_new_connections(made: Path, files: tuple[Path, Path], server_name: str | None) -> None:
    certificate = Certificate(*files)
    assert seen(certificate, made / "first.pem", server_name) == "first"
    put(made, "second", *files)
    certificate.refresh()
    assert seen(certificate, made / "second.pem", server_name) == "second"


def test_files_that_did_not_change_are_not_read_again(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(*files)
    certificate.refresh()
    assert not caplog.records


@pytest.mark.parametrize("damage", ["junk", "empty", "missing", "of another"])
def test_files_that_cant_be_used_leave_the_certificate_before(
    made: Path, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    certificate = Certificate(*files)
    file, key = files
    if damage == "missing":
        key.unlink()
    elif damage == "of another":
        shutil.copy(made / "second.key", key)
    else:
        file.write_text("-----BEGIN" if damage == "junk" else "")
    certificate.refresh()
    certificate.refresh()
    assert seen(certificate, made / "first.pem") == "first"
    (record,) = caplog.records  # said once, not every two seconds
    assert record.levelname == "ERROR"
    assert str(file) in record.message
    assert "the certificate before stays in use" in record.message
    put(made, "second", *files)
    certificate.refresh()
    assert seen(certificate, made / "second.pem") == "second"


def test_files_that_cant_be_used_at_the_start_are_an_error_with_the_reason(
    made: Path, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    file, key = files
    with pytest.raises(CertificateError, match=r"server\.tls: certificate .*gone\.pem .* No such file"):
        Certificate(tmp_path / "gone.pem", key)
    with pytest.raises(CertificateError, match=r"KEY_VALUES_MISMATCH|key values mismatch"):
        Certificate(file, made / "second.key")


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "locked", "-passout", "pass:secret")
    with pytest.raises(CertificateError, match="the key needs a passphrase"):
        Certificate(*files)


def test_a_key_that_may_not_be_read_is_said_so(files: tuple[Path, Path]) -> None:
    if os.geteuid() == 0:  # root may read everything: a folder stands for it
        files[1].unlink()
        files[1].mkdir()
    else:
        files[1].chmod(0)
    with pytest.raises(CertificateError, match=r"can't be used: "):
        Certificate(*files)
