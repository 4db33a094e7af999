"""A simulated Ollama: its scheduler in virtual time, and an HTTP server on top."""
