from pathlib import Path

import pytest

from proxy.sim.replay.published import azure, catalogue, lmsys, servegen
from proxy.sim.replay.rows import TraceError

DATA = Path("tests/data/traces")  # extracts; README.md there names their licences


def test_azure_places_a_request_in_each_active_minute():
    trace = azure(DATA / "azure.csv", seed=1)
    rows = [line.split(",") for line in (DATA / "azure.csv").read_text().splitlines()[1:]]
    # one row has two containers
    assert len(trace.arrivals) == sum(int(containers) for _, _, containers in rows) == len(rows) + 1
    minutes = sorted(float(start) for start, _, containers in rows for _ in range(int(containers)))
    first = minutes[0]
    for arrival, minute in zip(trace.arrivals, minutes, strict=True):
        assert minute - 60 <= arrival.at + first <= minute + 60


def test_azure_is_the_same_for_the_same_seed_and_another_for_another():
    path = DATA / "azure.csv"
    assert azure(path, seed=1) == azure(path, seed=1) != azure(path, seed=2)


@pytest.mark.parametrize("containers", ["0", "1.5"])
def test_azure_refuses_containers_that_are_no_count(tmp_path, containers):
    path = tmp_path / "azure.csv"
    path.write_text(f"minute_start_s,model,containers\n0,app,{containers}\n")
    with pytest.raises(TraceError, match=r"azure\.csv:2:7: containers: expected a whole number >= 1"):
        azure(path, seed=1)


def test_lmsys_is_stretched_to_a_day_and_served_as_long_as_its_tokens_take():
    trace = lmsys(DATA / "lmsys.csv")
    assert trace.arrivals[0].at == 0
    assert trace.arrivals[1].at == pytest.approx(0.2079 * 144)
    # 13 tokens read at 1,000 a second, 199 written at 50
    assert trace.arrivals[0].service_seconds == pytest.approx(0.013 + 3.98)
    assert trace.ids[trace.arrivals[0].model] == "13"


def test_servegen_is_cut_after_three_days():
    trace = servegen(DATA / "servegen.csv", seed=1)
    assert len(trace.arrivals) == 30  # the last two rows are of the seventh day
    assert trace.arrivals[0].at == 0
    assert all(arrival.service_seconds > 0 for arrival in trace.arrivals)


def test_the_catalogue_has_sizes_and_the_load_times_of_the_disk():
    models = {model.name: model for model in catalogue(disk="sata")}
    assert len(models) == 28
    assert (models["qwen3:8b"].bytes, models["qwen3:8b"].load_seconds) == (5803979776, 11.4)
    assert {model.load_seconds for model in catalogue(disk="warm") if model.name == "qwen3:8b"} == {1.57}


def test_a_model_that_is_named_twice_is_refused(tmp_path):
    path = tmp_path / "models.csv"
    path.write_text("name,vram_bytes_4k,load_s_nvme_2.5GBps\na,1,1\na,2,2\n")
    with pytest.raises(TraceError, match=r"models.csv:3:1: name: expected each model once \(got 'a'\)"):
        catalogue(path)
    path.write_text("name,vram_bytes_4k,load_s_nvme_2.5GBps\n")
    with pytest.raises(TraceError, match="expected at least one model"):
        catalogue(path)
