"""Beside the live proxy: what Ollama alone would have made of the same requests."""
