"""The models that a simulated Ollama has."""

from __future__ import annotations

import pytest

from proxy.sim.catalog import DEFAULT_MODELS, Catalog, SimModel
from proxy.sim.names import parse_name


def catalog(*models: SimModel) -> Catalog:
    return Catalog(models, mib_per_second=1024, overhead_seconds=0.25)


def test_eight_models_that_chat_and_one_that_embeds_are_there_by_default() -> None:
    chatting = [model for model in DEFAULT_MODELS if not model.embedding]
    assert (len(chatting), len(DEFAULT_MODELS)) == (8, 9)
    assert (min(model.mib for model in chatting), max(model.mib for model in chatting)) == (1331, 17408)


def test_a_load_takes_as_long_as_its_bytes_need_and_a_little_more() -> None:
    [entry] = catalog(SimModel(name="x", mib=2048))
    assert entry.spec.load_seconds == pytest.approx(2.25)


def test_the_answer_of_show_gives_the_predicted_size_by_ollamas_formula() -> None:
    for entry in catalog(*DEFAULT_MODELS):
        info = entry.show()["model_info"]
        family = info["general.architecture"]
        head_dim = info[f"{family}.embedding_length"] // info[f"{family}.attention.head_count"]
        per_token = 2 * info[f"{family}.block_count"] * info[f"{family}.attention.head_count_kv"] * head_dim * 2
        assert entry.spec.predicted_bytes(1000) == entry.spec.file_bytes + per_token * 1000


def test_a_copy_is_one_more_name_for_the_same_weights() -> None:
    models = catalog(SimModel(name="x", mib=100))
    [original] = models
    models.copy(original, "y:1")
    copied = models.find(parse_name("Y:1"))
    assert copied is not None
    assert (copied.spec.weights, copied.spec.name) == (original.spec.weights, "y:1")
    assert copied.digest != original.digest
    models.remove(original)
    assert [entry.name.shortest for entry in models] == ["y:1"]


def test_a_modelfiles_num_ctx_is_shown() -> None:
    [entry] = catalog(SimModel(name="x", mib=100, num_ctx=2048))
    assert entry.show()["parameters"].split() == ["num_ctx", "2048"]
