"""The GPU memory of this machine, read from files that look like sysfs."""

from pathlib import Path

import pytest

from proxy.upstream.gpu import AmdgpuProbe, GpuMemory, find_probe, is_local

GIB = 2**30


def card(drm: Path, name: str, total: object, used: object) -> Path:
    device = drm / name / "device"
    device.mkdir(parents=True)
    (device / "mem_info_vram_total").write_text(f"{total}\n")
    (device / "mem_info_vram_used").write_text(f"{used}\n")
    return device


def test_amdgpus_files_are_summed_over_all_cards(tmp_path: Path) -> None:
    cards = [card(tmp_path, "card0", 16 * GIB, 3 * GIB), card(tmp_path, "card1", 8 * GIB, GIB)]
    assert AmdgpuProbe(cards).read() == GpuMemory(24 * GIB, 20 * GIB, 2, "amdgpu")


def test_more_used_than_there_is_leaves_nothing_free(tmp_path: Path) -> None:
    memory = AmdgpuProbe([card(tmp_path, "card0", GIB, 2 * GIB)]).read()
    assert memory is not None
    assert memory.free_bytes == 0


@pytest.mark.parametrize("text", ["", "unknown", "12 GiB"])
def test_a_file_that_makes_no_sense_reads_as_not_known(tmp_path: Path, text: str) -> None:
    assert AmdgpuProbe([card(tmp_path, "card0", GIB, text)]).read() is None


def test_a_card_that_went_away_reads_as_not_known(tmp_path: Path) -> None:
    device = card(tmp_path, "card0", GIB, 0)
    probe = AmdgpuProbe([device])
    (device / "mem_info_vram_used").unlink()
    assert probe.read() is None


def test_the_probe_finds_the_cards_of_a_local_upstream_once_each(tmp_path: Path) -> None:
    card(tmp_path, "card0", 16 * GIB, 0)
    (tmp_path / "card0-HDMI-A-1").mkdir()  # a connector, no device
    (tmp_path / "card2" / "device").mkdir(parents=True)  # a card of another driver
    probe = find_probe("http://127.0.0.1:11434", tmp_path)
    assert probe is not None
    memory = probe.read()
    assert memory is not None
    if memory.source == "amdgpu":  # on a machine with NVIDIA's driver that one tells
        assert memory == GpuMemory(16 * GIB, 16 * GIB, 1, "amdgpu")


def test_an_upstream_elsewhere_has_no_probe(tmp_path: Path) -> None:
    card(tmp_path, "card0", 16 * GIB, 0)
    assert find_probe("http://192.168.1.5:11434", tmp_path) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434",
        "http://127.8.9.1",
        "http://localhost:11434",
        "http://LOCALHOST:11434",
        "http://[::1]:11434",
        "https://localhost/ollama",
    ],
)
def test_loopback_is_this_machine(url: str) -> None:
    assert is_local(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:1",
        "http://ollama:11434",
        "http://localhost.example.org",
        "http://[fe80::1]:1",
        "https://ollama.com",
    ],
)
def test_every_other_address_may_be_another_machine(url: str) -> None:
    assert not is_local(url)
