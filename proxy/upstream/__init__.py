"""Everything that knows Ollama's API: bodies, errors, endpoints of management, GPU memory beside it."""
