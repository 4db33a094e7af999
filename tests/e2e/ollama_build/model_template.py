"""Ready-made models for the real Ollama: created once into the user's cache, copied from there in milliseconds.

A copy pretends to a size: its blob is made longer by a hole (no disk space is used) and its manifest says so, so that
/api/tags, Ollama's own prediction and the pretended GPU agree. Never starts or stops an Ollama (`build` needs one).
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.e2e.ollama_build import tiny_gguf

Kind = Literal["llm", "embed"]
_NAME = "template"  # what a model is called in Ollama and in the cache before it gets its own name


@dataclass(frozen=True, slots=True, kw_only=True)
class PretendedModel:
    """A model to put into a real Ollama.

    Attributes:
        name: as clients call it; the tag may be left out.
        seed: two models of the same kind, seed and eos have the same weights file: Ollama takes them for one.
        mib: size it pretends to, in MiB, more than the real 4 or 8; 0 keeps the real size.
        kind: "llm" chats; "embed" embeds, and answers /api/generate with 400.
        eos: weight of the end of the turn after a sentence; 0 goes on until num_predict.
    """

    name: str
    seed: int
    mib: int
    kind: Kind = "llm"
    eos: float = 0.5


STANDARD_MODELS = (
    PretendedModel(name="nomic-embed-text", seed=1, mib=274, kind="embed"),
    PretendedModel(name="llama3.2:1b", seed=1, mib=1331),
    PretendedModel(name="llama3.2:3b", seed=2, mib=2048),
    PretendedModel(name="gemma3:4b", seed=3, mib=3379),
    PretendedModel(name="llama3.1:8b", seed=4, mib=4813),
    PretendedModel(name="qwen3:8b", seed=5, mib=5325),
    PretendedModel(name="deepseek-r1:14b", seed=6, mib=9216),
    PretendedModel(name="phi4:14b", seed=7, mib=9318),
    PretendedModel(name="gemma3:27b", seed=8, mib=17408),
)
ENDLESS_MODELS = (
    PretendedModel(name="endless-a", seed=21, mib=4813, eos=0),
    PretendedModel(name="endless-b", seed=22, mib=5325, eos=0),
)


def is_built(model: PretendedModel) -> bool:
    """Whether the cache has this model's template."""
    return _folder(model).exists()


def build(model: PretendedModel, *, ollama: Path, url: str, models_dir: Path) -> None:
    """Has a running Ollama create the model's template, and keeps it in the cache.

    Args:
        model: what to create; its name and size play no part here.
        ollama: the command line client.
        url: where that Ollama answers.
        models_dir: its OLLAMA_MODELS.
    """
    folder = _folder(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work = Path(temporary)
        if model.kind == "llm":
            tiny_gguf.write_chat_model(work / "model.gguf", seed=model.seed, eos=model.eos)
        else:
            tiny_gguf.write_embedding_model(work / "model.gguf", seed=model.seed)
        (work / "Modelfile").write_text(f"FROM {work / 'model.gguf'}\n")
        command = [str(ollama), "create", _NAME, "-f", str(work / "Modelfile")]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OLLAMA_HOST": url})
        manifest = _manifest(models_dir)
        ready = work / "ready"
        (ready / "blobs").mkdir(parents=True)
        for blob in _blobs(models_dir, json.loads(manifest.read_text())):
            shutil.copyfile(blob, ready / "blobs" / blob.name)
        target = ready / manifest.relative_to(models_dir)
        target.parent.mkdir(parents=True)
        manifest.replace(target)
        if not folder.exists():  # else another run was faster
            ready.rename(folder)


def install(model: PretendedModel, models_dir: Path) -> None:
    """Copies the model's template into an Ollama's models folder, under its name and with its pretended size.

    Raises:
        FileNotFoundError: the template is not built.
    """
    folder = _folder(model)
    template = _manifest(folder)
    manifest = json.loads(template.read_text())
    (models_dir / "blobs").mkdir(parents=True, exist_ok=True)
    for blob in _blobs(folder, manifest):
        shutil.copyfile(blob, models_dir / "blobs" / blob.name)
    if model.mib:
        [weights] = [layer for layer in manifest["layers"] if layer["mediaType"].endswith("image.model")]
        weights["size"] = model.mib << 20
        os.truncate(_blob(models_dir, weights), weights["size"])
    base, _, tag = model.name.partition(":")
    target = models_dir / template.relative_to(folder).parents[1] / base / (tag or "latest")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(manifest))


def _folder(model: PretendedModel) -> Path:
    script = hashlib.sha256(Path(tiny_gguf.__file__).read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "keepwarm" / f"models-{script}" / f"{model.kind}-seed{model.seed}-eos{model.eos:g}"


def _manifest(models_dir: Path) -> Path:
    [manifest] = models_dir.glob(f"manifests/*/library/{_NAME}/latest")
    return manifest


def _blobs(models_dir: Path, manifest: dict[str, Any]) -> list[Path]:
    return [_blob(models_dir, layer) for layer in [manifest["config"], *manifest["layers"]]]


def _blob(models_dir: Path, layer: dict[str, Any]) -> Path:
    return models_dir / "blobs" / str(layer["digest"]).replace(":", "-")
