"""Builds the real Ollama with its llama.cpp, once; it stays in the cache."""

import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).with_name("install_ollama.sh")


class OllamaBuildError(Exception):
    """The real Ollama cannot be built here; the text says what is missing."""


def install_ollama() -> Path:
    """Builds the real Ollama unless the cache has it (7 minutes on 2 cores), and tells where it is.

    Raises:
        OllamaBuildError: it cannot be built here.
    """
    ran = subprocess.run([_SCRIPT], check=False, capture_output=True, text=True)
    if ran.returncode:
        raise OllamaBuildError(ran.stderr.strip())
    return Path(ran.stdout.strip())
