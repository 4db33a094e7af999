"""keepwarm: a reverse proxy that keeps the right Ollama models in GPU memory."""

__version__ = "0.1.0"
