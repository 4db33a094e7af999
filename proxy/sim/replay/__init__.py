"""Replays a workload in virtual time: the very engine that serves requests, or a baseline, on a model of Ollama."""
